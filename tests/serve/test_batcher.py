"""The queue alone, with work that is no model."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from adverb.errors import UserError

pytest.importorskip("prometheus_client")
from adverb.serve.batcher import Batcher  # noqa: E402
from adverb.serve.limits import Limits, Refused  # noqa: E402
from adverb.serve.meters import Meters  # noqa: E402


@dataclass(eq=False)
class Doubling:
    """Doubles numbers, once it may; "bad" fails, "wrong" can't be answered."""

    model: str = "doubling"
    may: threading.Event = field(default_factory=threading.Event)
    batches: list[list] = field(default_factory=list)

    def run(self, items):
        self.may.wait(10)
        self.batches.append(list(items))
        if "bad" in items:
            raise RuntimeError("a model that fails")
        return [UserError("not this one") if item == "wrong" else item * 2 for item in items]


def run(scenario, **limits):
    """Run `scenario(batcher, work)` in an event loop; returns (its result, the work, the batcher)."""

    async def main():
        batcher, work = Batcher(Limits(**limits), Meters()), Doubling()
        try:
            result = await asyncio.wait_for(scenario(batcher, work), 20)
        finally:
            work.may.set()
            await asyncio.to_thread(batcher.close)
        return result, work, batcher

    return asyncio.run(main())


async def occupied(batcher: Batcher, work: Doubling) -> asyncio.Task:
    """The thread has taken a first request and waits for `may`: what comes now gathers in the queue."""
    first = asyncio.create_task(batcher.ask(work, [0], [1]))
    await asyncio.sleep(0)
    while batcher.queued:
        await asyncio.sleep(0.001)
    return first


def test_requests_share_batches_up_to_the_budget():
    async def scenario(batcher, work):
        first = await occupied(batcher, work)
        asked = [asyncio.create_task(batcher.ask(work, [i, i + 10], [3, 3])) for i in range(1, 6)]
        await asyncio.sleep(0.05)
        work.may.set()
        return await asyncio.gather(first, *asked)

    answers, work, batcher = run(scenario, batch=10)
    assert answers == [[0], *([2 * i, 2 * i + 20] for i in range(1, 6))]
    assert [len(batch) for batch in work.batches] == [1, 3, 3, 3, 1]  # 3 tokens each, 10 a batch, across requests
    assert batcher.queued == 0


def test_an_item_larger_than_a_batch_is_alone():
    async def scenario(batcher, work):
        work.may.set()
        return await batcher.ask(work, [1, 2, 3], [2, 50, 2])

    answers, work, _ = run(scenario, batch=10)
    assert answers == [2, 4, 6] and work.batches == [[1], [2], [3]]


def test_kinds_of_work_take_turns():
    async def scenario(batcher, work):
        first = await occupied(batcher, work)
        other = Doubling("other", work.may, work.batches)
        long = asyncio.create_task(batcher.ask(work, list(range(100)), [5] * 100))
        await asyncio.sleep(0.02)
        short = asyncio.create_task(batcher.ask(other, [7], [5]))
        await asyncio.sleep(0.02)
        work.may.set()
        return await asyncio.gather(first, long, short)

    (_, long, short), work, _ = run(scenario, batch=10)
    assert long == [2 * i for i in range(100)] and short == [14]
    assert work.batches[:4] == [[0], [0, 1], [7], [2, 3]]  # not behind the hundred that came before it


def test_a_full_queue_refuses_and_says_when_to_come_back():
    async def scenario(batcher, work):
        first = await occupied(batcher, work)
        waiting = asyncio.create_task(batcher.ask(work, [1], [90]))
        await asyncio.sleep(0.02)
        with pytest.raises(Refused, match="the queue is full: try again in") as refused:
            await batcher.ask(work, [2], [20])
        fits = asyncio.create_task(batcher.ask(work, [3], [10]))
        await asyncio.sleep(0.02)
        work.may.set()
        return refused.value, await asyncio.gather(first, waiting, fits)

    (refused, answers), *_ = run(scenario, queue=100)
    assert refused.status == 429 and int(refused.headers["Retry-After"]) >= 1
    assert answers == [[0], [2], [6]]


def test_what_is_larger_than_the_queue_is_answered_when_nothing_waits():
    async def scenario(batcher, work):
        work.may.set()
        return await batcher.ask(work, [1, 2], [80, 80])

    assert run(scenario, queue=100, batch=80)[0] == [2, 4]


def test_a_cancelled_request_leaves_the_queue_and_harms_nobody():
    async def scenario(batcher, work):
        first = await occupied(batcher, work)
        cancelled = asyncio.create_task(batcher.ask(work, [5] * 50, [1] * 50))
        after = asyncio.create_task(batcher.ask(work, [6], [1]))
        await asyncio.sleep(0.02)
        cancelled.cancel()
        await asyncio.sleep(0.02)
        queued = batcher.queued
        work.may.set()
        assert await after == [12] and await first == [0]
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        return queued

    queued, work, batcher = run(scenario)
    assert queued == 1 and work.batches == [[0], [6]]
    assert batcher.meters.registry.get_sample_value("adverb_queue_dropped_total") == 50


def test_a_request_cancelled_half_way_does_no_more():
    async def scenario(batcher, work):
        cancelled = asyncio.create_task(batcher.ask(work, [5] * 50, [1] * 50))
        await asyncio.sleep(0.05)  # its first ten are being worked on
        cancelled.cancel()
        await asyncio.sleep(0.02)
        work.may.set()
        return await batcher.ask(work, [1], [1])

    answers, work, _ = run(scenario, batch=10)
    assert answers == [2] and work.batches == [[5] * 10, [1]]


def test_one_bad_item_spoils_only_itself():
    async def scenario(batcher, work):
        first = await occupied(batcher, work)
        asked = [asyncio.create_task(batcher.ask(work, items, [1] * len(items))) for items in ([1], ["bad", 2], [3])]
        wrong = asyncio.create_task(batcher.ask(work, ["wrong", 4], [1, 1]))
        await asyncio.sleep(0.05)
        work.may.set()
        return await asyncio.gather(first, *asked, wrong)

    (_, good, bad, fine, wrong), *_ = run(scenario)
    assert good == [2] and fine == [6]
    assert isinstance(bad[0], RuntimeError) and bad[1] == 4
    assert isinstance(wrong[0], UserError) and wrong[1] == 8


def test_closing_answers_what_waits():
    async def scenario(batcher, work):
        first = await occupied(batcher, work)
        asked = [asyncio.create_task(batcher.ask(work, [i], [1])) for i in range(20)]
        await asyncio.sleep(0.02)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.02)
        work.may.set()
        answers = await asyncio.gather(first, *asked)
        await closing
        return answers

    assert run(scenario, batch=4)[0] == [[0], *([2 * i] for i in range(20))]
