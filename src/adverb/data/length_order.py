"""Batches of rows of like lengths: a pure function of (seed, position), as `adverb.data.order`, with less padding.

Each epoch is shuffled, cut into pools of many batches, and sorted by length inside a pool; then the batches are
shuffled. What is in a batch stays random but for its lengths, and sentences of 5 and of 50 tokens rarely meet.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from adverb.data.order import epoch_order

POOL = 100  # batches sorted together: hardly any padding is left, and yet a row meets other rows each epoch


class LengthOrder:
    """An endless stream of epochs of rows with the given lengths, in batches of `batch_size`.

    Batches run across the ends of epochs, so all have batch_size rows, and each row comes exactly once an epoch;
    only the batch in which two epochs meet is not of like lengths.
    Raises ValueError without rows, for batch_size < 1 or a negative seed.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int):
        if len(lengths) < 1 or batch_size < 1 or seed < 0:
            raise ValueError(f"no order of {len(lengths)} rows in batches of {batch_size} for seed={seed}")
        self.lengths, self.batch_size, self.seed = np.asarray(lengths), batch_size, seed
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)  # the one being read and, at its end, the next

    def batch(self, index: int) -> np.ndarray:
        """Rows of the index-th batch, int64 [batch_size], those of one epoch by rising length. ValueError below 0."""
        if index < 0:
            raise ValueError(f"no batch {index}")
        n, position, parts, missing = len(self.lengths), index * self.batch_size, [], self.batch_size
        while missing:
            epoch, offset = divmod(position, n)
            parts.append(self._epoch(epoch)[offset : offset + missing])
            position += len(parts[-1])
            missing -= len(parts[-1])
        return np.concatenate(parts)

    def _make_epoch(self, epoch: int) -> np.ndarray:
        """The rows of an epoch as they are read: the rest of the batch before it, whole batches, the start of one."""
        n, size = len(self.lengths), self.batch_size
        order = epoch_order(n, self.seed, epoch)
        rest = min(n, -epoch * n % size)
        whole = (n - rest) // size
        body = order[rest : rest + whole * size]
        pools = [body[start : start + POOL * size] for start in range(0, len(body), POOL * size)]
        if whole:
            by_length = [pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools]
            batches = np.concatenate(by_length).reshape(whole, size)
            body = batches[epoch_order(whole, self.seed + 1, epoch)].reshape(-1)
        return np.concatenate([order[:rest], body, order[rest + whole * size :]])
