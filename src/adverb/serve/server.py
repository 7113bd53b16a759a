"""`adverb serve`: open the models, listen, and leave in good order."""

from __future__ import annotations

import ipaddress
import signal
import socket

from rich.console import Console
from rich.markup import escape

from adverb.errors import UserError
from adverb.serve.limits import Limits

DRAIN = 5.0  # seconds beyond the longest time to an answer, until what is not answered is given up


def serve(
    models: list[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    key: str | None = None,
    console: Console,
    limits: Limits = Limits(),
) -> None:
    """Answer until SIGTERM or SIGINT; then take on nothing new, answer what has begun, and return.

    models: see `models.open_models`. Raises UserError where FastAPI and uvicorn are not
    installed, the models can't be opened, or the port is taken.
    """
    try:
        import uvicorn

        from adverb.serve.app import create_app
    except ImportError as error:
        raise UserError(f"serving needs the package {error.name}: pip install 'adverb[serve]'") from None
    from adverb.serve.models import open_models

    if key is not None and not key.strip():
        raise UserError("the API key is empty: leave it out, or give one")
    opened = open_models(models)
    at = f"[{host}]" if ":" in host else host
    ours = {"localhost", "127.0.0.1", "[::1]", at.lower()} if key is None and _is_loopback(host) else None
    app = create_app(opened, key=key, hosts=ours, limits=limits, draining=lambda: server.should_exit)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=round(limits.answer + DRAIN),
    )
    server = uvicorn.Server(config)
    listening = _listen(host, port)
    names = escape(", ".join(opened.served))
    console.print(f"[bold]http://{at}:{listening.getsockname()[1]}[/]  {names}", highlight=False, soft_wrap=True)
    if key is None and not _is_loopback(host):
        console.print("[yellow]anyone who can reach this address may use the models: think of --api-key[/]")
    # uvicorn raises the signal again once it has drained: by then there is nothing left to interrupt.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, signal.SIG_IGN)
    server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(f"can't listen on {host}, port {port}: {error.strerror}. Name another by --port") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
