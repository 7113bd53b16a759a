"""Rows of unlike lengths to batches with little padding, and the padding itself."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

# Tokens of a batch, padding included. On a CPU more does not help: matrix products are at their peak long before,
# and activations leave the caches. An accelerator wants more work at once.
TOKEN_BUDGET = 1024
TOKEN_BUDGET_ACCELERATOR = 32_768
CALL = 1 / 32  # what another call of the model costs, as a share of the tokens that it could have read meanwhile

T = TypeVar("T")


def batches(lengths: Sequence[int], token_budget: int = TOKEN_BUDGET) -> list[list[int]]:
    """Indices of rows that go through a model together: each row once, the longest first.

    A batch ends where rows times its longest length would pass the budget (a longer row is alone), or where its
    padding would cost more than another call of the model; so among many rows most batches have none.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
    cut: list[list[int]] = []
    width = padding = 0
    for row in order:
        padding += width - lengths[row]
        if not cut or (len(cut[-1]) + 1) * width > token_budget or padding > CALL * token_budget:
            cut.append([])
            width, padding = lengths[row], 0
        cut[-1].append(row)
    return cut


def pad(
    rows: Sequence[Sequence[int]], pad_id: int, types: Sequence[Sequence[int]] | None = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """(input_ids, attention_mask, token_type_ids), int64 [B, L] each, L the longest row.

    rows: token ids of each row; types: the segment of each of them.
    The mask is None where nothing is padded, the types where all are 0: the model is faster without, and says the
    same.
    """
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    kept = np.arange(lengths.max())[None] < lengths[:, None]  # [B, L]

    def fill(values: Sequence[Sequence[int]], empty: int) -> np.ndarray:
        filled = np.full(kept.shape, empty, dtype=np.int64)
        filled[kept] = np.concatenate([np.asarray(row, dtype=np.int64) for row in values])
        return filled

    mask = None if kept.all() else kept.astype(np.int64)
    segments = fill(types, 0) if types is not None and any(map(any, types)) else None
    return fill(rows, pad_id), mask, segments


def ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """The same items in the same order, made in a background thread up to `depth` before they are asked for.

    What the iterable raises is raised here, where it would have been. Leaving the loop early ends the thread at its
    next item.
    """
    waiting: queue.Queue = queue.Queue(depth)
    left = threading.Event()

    def put(item: tuple[str, object]) -> bool:
        while not left.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(("item", item)):
                    return
            put(("end", None))
        except BaseException as error:
            put(("error", error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
    finally:
        left.set()
        thread.join(timeout=1)  # it may be waiting for a slow input: then it ends later
