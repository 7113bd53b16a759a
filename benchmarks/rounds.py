"""Sides that take turns, so that what disturbs one round disturbs all of them, and ratios taken round by round."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np


def turns(sides: Iterable[str], rounds: int) -> Iterator[str]:
    """Each name once a round, every other round in the opposite order."""
    names = sorted(sides)
    for number in range(rounds):
        yield from reversed(names) if number % 2 else names


def as_many(rates: Sequence[float], others: Sequence[float]) -> str:
    """How many times the rates of the same rounds of another side: median, least and most."""
    ratios = np.array(rates) / np.array(others)
    return f"× {np.median(ratios):5.2f} ({ratios.min():.2f}–{ratios.max():.2f})"
