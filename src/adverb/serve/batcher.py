"""Requests to batches: a bounded queue, and the one thread that calls models.

There is no waiting for a batch to fill. While the model reads one batch, the next gathers in the queue: alone, a
request starts at once, and under load batches are full.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from adverb.errors import UserError
from adverb.serve.limits import Limits, Refused
from adverb.serve.meters import Meters

log = logging.getLogger("adverb.serve")
REMEMBERED = 0.8  # of the measured speed, at each batch


class Work(Protocol):
    """What is to be done with items. Works that are equal, and hash alike, share batches."""

    model: str

    def run(self, items: Sequence[Any]) -> Sequence[Any]:
        """One result an item, in their order; a UserError in place of one says that this item can't be answered."""


class _Request:
    """The items of one caller: taken from the queue up to `taken`, answered but for `open` of them."""

    def __init__(self, work: Work, items: Sequence[Any], costs: Sequence[int]):
        self.work, self.items, self.costs = work, items, costs
        self.results: list[Any] = [None] * len(items)
        self.taken, self.open = 0, len(items)
        self.future: Future = Future()

    @property
    def waiting(self) -> int:
        """Tokens that are still in the queue."""
        return sum(self.costs[self.taken :])


class Batcher:
    """`ask` from any number of tasks of one event loop; models run in one thread, on one batch at a time.

    Kinds of work take turns, so that one with a long queue does not hold up the others; within a kind, first come
    first served. A large request is spread over several batches. A cancelled one leaves the queue at once, whatever
    of it has not begun.
    """

    def __init__(self, limits: Limits, meters: Meters):
        self.limits, self.meters = limits, meters
        self.queues: OrderedDict[Work, deque[_Request]] = OrderedDict()
        self.queued = 0  # tokens
        self.speed = 1000.0  # tokens a second, of the batches so far
        self.closed = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._loop, name="models", daemon=True)
        self.thread.start()

    async def ask(self, work: Work, items: Sequence[Any], costs: Sequence[int]) -> list[Any]:
        """The results of the items, of which each costs so many tokens.

        Raises Refused (429) when the queue is full, and what the work raised.
        """
        if not items:
            return []
        request = _Request(work, items, costs)
        with self.changed:
            if self.queued and self.queued + request.waiting > self.limits.queue:
                self.meters.refused.inc()
                seconds = max(1, math.ceil(self.queued / self.speed))
                raise Refused(429, f"the queue is full: try again in {seconds} s", Retry_After=str(seconds))
            self.queues.setdefault(work, deque()).append(request)
            self._count(request.waiting)
            self.changed.notify()
        try:
            return await asyncio.wrap_future(request.future)
        except asyncio.CancelledError:
            self._drop(request)
            raise

    def close(self) -> None:
        """Answer what is in the queue, then end the thread."""
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join()

    def _count(self, tokens: int) -> None:
        self.queued += tokens
        self.meters.queued.set(self.queued)

    def _drop(self, request: _Request) -> None:
        with self.changed:
            self.meters.dropped.inc(len(request.items) - request.taken)
            self._count(-request.waiting)
            request.taken = len(request.items)

    def _loop(self) -> None:
        while True:
            with self.changed:
                while not (batch := self._take()):
                    if self.closed:
                        return
                    self.changed.wait()
            tokens = sum(request.costs[i] for request, i in batch)
            began = time.perf_counter()
            self._run(batch)
            seconds = time.perf_counter() - began
            self.speed = REMEMBERED * self.speed + (1 - REMEMBERED) * tokens / max(seconds, 1e-6)
            self.meters.batch(batch[0][0].work.model, len(batch), tokens, seconds)

    def _take(self) -> list[tuple[_Request, int]]:
        """The next batch, as (request, number of the item): all of one work, up to `limits.batch` tokens."""
        batch: list[tuple[_Request, int]] = []
        tokens = 0
        while self.queues and not batch:
            work, requests = self.queues.popitem(last=False)
            while requests:
                request = requests[0]
                while request.taken < len(request.items):
                    cost = request.costs[request.taken]
                    if batch and tokens + cost > self.limits.batch:
                        break
                    batch.append((request, request.taken))
                    request.taken += 1
                    tokens += cost
                else:
                    requests.popleft()
                    continue
                break
            if requests:
                self.queues[work] = requests  # behind the others
        self._count(-tokens)
        return batch

    def _run(self, batch: list[tuple[_Request, int]]) -> None:
        work = batch[0][0].work
        try:
            results = work.run([request.items[i] for request, i in batch])
        except Exception as error:
            if len(batch) > 1:  # one of them is at fault: the others shall have their answers
                for one in batch:
                    self._run([one])
                return
            if not isinstance(error, UserError):
                log.exception("%s failed on %.200r", work, batch[0][0].items[batch[0][1]])
            results = [error]
        for (request, i), result in zip(batch, results, strict=True):
            request.results[i] = result
            request.open -= 1
            if request.open == 0 and request.future.set_running_or_notify_cancel():
                request.future.set_result(request.results)
