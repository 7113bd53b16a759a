"""How far a score could have come out otherwise, had other rows been drawn: the percentile bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def interval(
    score: Callable[[np.ndarray], float], n: int, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The interval of one score; see `intervals`."""
    return intervals(lambda rows: {"": score(rows)}, n, resamples, seed, level)[""]


def intervals(
    scores: Callable[[np.ndarray], dict[str, float]],
    n: int,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """The middle `level` of each score over `resamples` draws of n rows with replacement (Efron 1979): (low, high).

    `scores` takes row indices, int64 [n], and names its numbers, the same names for all rows; where one is undefined
    it may be NaN, and is left out. Draws come from NumPy's PCG64, so that (n, resamples, seed) always give the same
    rows. What is said is about the rows: that another training run would come out otherwise is not in it.
    (NaN, NaN) if a score is never defined. ValueError if there is nothing to draw.
    """
    if n < 1 or resamples < 1 or not 0 < level < 1:
        raise ValueError(f"no interval at level {level} of {resamples} draws from {n} rows")
    random = np.random.Generator(np.random.PCG64(seed))
    drawn = [scores(random.integers(n, size=n)) for _ in range(resamples)]
    return {name: _middle(np.array([one[name] for one in drawn], dtype=np.float64), level) for name in drawn[0]}


def _middle(values: np.ndarray, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
