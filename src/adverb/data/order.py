"""The order in which rows are read: a pure function of (seed, position), so that resuming needs no replay.

A permutation is the argsort of PCG64's raw 64-bit words. NumPy promises the stream of a bit generator for ever,
but not the algorithm of `Generator.permutation`; this way an upgrade of NumPy can't change a resumed run.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=4)  # the epoch being read and, at its end, the next one
def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """A uniformly random permutation of 0 … n-1, read-only int64 [n], the same for the same (n, seed, epoch).

    Raises ValueError for n < 1, a negative seed or a negative epoch.
    """
    if n < 1 or seed < 0 or epoch < 0:
        raise ValueError(f"no order of n={n} rows for seed={seed}, epoch={epoch}")
    words = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(n)
    order = np.argsort(words, kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order


def indices_of_batch(n: int, batch_size: int, seed: int, index: int) -> np.ndarray:
    """The index-th batch, int64 [batch_size], of an endless stream of shuffled epochs of n rows.

    Batches run across the ends of epochs: batch b holds positions [b·batch_size, (b+1)·batch_size) of the stream,
    so each row is seen exactly once per epoch even where batch_size does not divide n, or exceeds it.
    Raises ValueError for n < 1, batch_size < 1 or index < 0.
    """
    if n < 1 or batch_size < 1 or index < 0:
        raise ValueError(f"no batch {index} of {batch_size} rows out of {n}")
    position, parts, missing = index * batch_size, [], batch_size
    while missing:
        epoch, offset = divmod(position, n)
        part = epoch_order(n, seed, epoch)[offset : offset + missing]
        parts.append(part)
        position += len(part)
        missing -= len(part)
    return np.concatenate(parts)
