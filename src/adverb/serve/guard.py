"""What every request goes through before its route sees it: ASGI middleware.

The name it was sent to, the key, the size of the body and the time it takes to arrive, the time until the answer, a
client that leaves, and the headers that keep a browser from doing more with an answer than it should.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Callable, Collection

from adverb.serve.limits import Limits, Refused
from adverb.serve.meters import Meters

log = logging.getLogger("adverb.serve")
CLIENT_LEFT = 499  # never sent: for the counters, as nginx writes it
READ_ON = 8  # times the largest size of a body
OPEN = ("/", "/healthz", "/readyz")  # need no key; neither does what lies under /page/
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Around an ASGI application.

    key: what a request must bring as `Authorization: Bearer KEY`; None: nothing. hosts: names by which the server may
    be asked, None for any. draining: whether the server ends, and takes on nothing new.
    """

    def __init__(
        self,
        app,
        limits: Limits,
        meters: Meters,
        key: str | None,
        hosts: Collection[str] | None,
        draining: Callable[[], bool],
    ):
        self.app, self.limits, self.meters, self.hosts, self.draining = app, limits, meters, hosts, draining
        self.key = None if key is None else hashlib.sha256(key.strip().encode()).digest()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), CLIENT_LEFT

        async def sending(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        self.meters.running.inc()
        try:
            await self._serve(scope, receive, sending, lambda: status != CLIENT_LEFT)
        except _Left:
            pass
        except Refused as refused:
            await answer(sending, refused)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if status != CLIENT_LEFT:  # the answer has begun: only a broken connection says that it is not whole
                raise
            await answer(sending, Refused(500, "the server failed: its log says why"))
        finally:
            self.meters.running.dec()
            route = getattr(scope.get("route"), "path", None) or "other"
            self.meters.request(route, status, time.perf_counter() - began)

    async def _serve(self, scope, receive, send, begun: Callable[[], bool]) -> None:
        """Raises Refused, and _Left when the client is gone; then nothing of the request goes on."""
        path = scope["path"]
        if path == "/healthz":
            await self.app(scope, receive, send)
            return
        if self.hosts is not None:
            self._must_be_meant(scope)
        if self.draining() and path != "/readyz":
            raise Refused(503, "the server is shutting down", Connection="close")
        if self.key is not None and path not in OPEN and not path.startswith("/page/"):
            self._authorise(scope)
        body = await self._body(scope, receive)
        gone = asyncio.ensure_future(_disconnect(receive))
        parts = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay():
            if (part := next(parts, None)) is not None:
                return part
            await asyncio.shield(gone)
            return {"type": "http.disconnect"}

        task = asyncio.ensure_future(self.app(scope, replay, send))
        try:
            done, _ = await asyncio.wait((task, gone), timeout=self.limits.answer, return_when=asyncio.FIRST_COMPLETED)
            if task in done:
                task.result()
            elif gone in done:
                raise _Left
            elif not begun():
                raise Refused(504, f"no answer within {self.limits.answer:g} s: send less at once, or try again later")
            else:
                await task  # on its way out
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task

    def _must_be_meant(self, scope) -> None:
        """A page elsewhere can have its own name lead here (DNS rebinding); then the browser lets it read answers."""
        given = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1")
        if re.sub(r":\d*$", "", given).lower() not in self.hosts:
            raise Refused(403, f"this server is not '{given}': ask it as localhost, or start it with an API key")

    def _authorise(self, scope) -> None:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        # Digests are of one length, so that the time of the comparison says nothing about the key.
        right = hmac.compare_digest(hashlib.sha256(token.strip()).digest(), self.key)
        if scheme.lower() != b"bearer" or not right:
            what = "this is not the API key" if given else "an API key is needed: send it as 'Authorization: Bearer …'"
            raise Refused(401, what, WWW_Authenticate="Bearer")

    async def _body(self, scope, receive) -> bytes:
        """What is too large is read on for a while: a client that still sends would not see an answer."""
        limit, size, body = self.limits.body, 0, bytearray()
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        too_large = Refused(413, f"the request is larger than {limit:,} bytes: send less at once", Connection="close")
        if int(length) > READ_ON * limit:
            raise too_large
        try:
            async with asyncio.timeout(self.limits.upload):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Left
                    part = message.get("body", b"")
                    size += len(part)
                    if size <= limit:
                        body += part
                    if size > limit and not message.get("more_body") or size > READ_ON * limit:
                        raise too_large
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            sentence = f"the request did not arrive within {self.limits.upload:g} s"
            raise Refused(408, sentence, Connection="close") from None


class _Left(Exception):
    """The client closed the connection."""


async def _disconnect(receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def answer(send, refused: Refused) -> None:
    """The error as JSON: {"error": sentence}."""
    body = json.dumps({"error": refused.sentence}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | refused.headers
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
