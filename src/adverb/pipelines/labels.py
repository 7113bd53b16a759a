"""Which classes a generator draws: by name, by number, each in turn, or as often as the training data has them."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import numpy as np

from adverb.errors import UserError

EACH = "each"  # for a label: all of them


def labels_for(
    names: Sequence[str],
    shares: np.ndarray | None,
    n: int,
    seed: int | Sequence[int],
    label: str | int | np.ndarray | None,
) -> np.ndarray | None:
    """Labels of n images, int64 [n]; None where there are no names.

    shares: float [classes], by which they are drawn where label is None; of several seeds one each. label: the name or
    index of a class, EACH for all of them in turn, or one index an image.
    Raises UserError for a label that is not known, or that is asked for where there are none.
    """
    if not names:
        if label is not None:
            raise UserError("this generator was trained without labels: ask for none")
        return None
    if label is None:
        if not isinstance(seed, Integral):
            return np.concatenate([labels_for(names, shares, 1, one, None) for one in seed])
        random = np.random.Generator(np.random.PCG64(seed))
        return random.choice(len(names), size=n, p=shares / shares.sum()).astype(np.int64)
    if isinstance(label, np.ndarray):
        if label.shape != (n,) or not ((0 <= label) & (label < len(names))).all():
            raise UserError(f"label: expected {n} numbers from 0 to {len(names) - 1}, one an image")
        return label.astype(np.int64)
    if str(label) == EACH:
        return np.arange(n) % len(names)
    return np.full(n, _index(names, label), dtype=np.int64)


def _index(names: Sequence[str], label: str | int) -> int:
    """A number is an index where there is one so large; else, as words are, a name."""
    if isinstance(label, Integral) and 0 <= label < len(names):
        return int(label)
    if str(label) in names:
        return names.index(str(label))
    if str(label).isdecimal() and int(label) < len(names):
        return int(label)
    import difflib

    near = difflib.get_close_matches(str(label), names, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it knows {', '.join(names[:12])}" + " …" * (len(names) > 12)
    raise UserError(f"unknown label '{label}': {hint}")
