"""The embedded digits: 1,797 scans of 8×8, from scikit-learn (Alpaydin and Kaynak 1998), no download needed."""

from __future__ import annotations

import numpy as np

from adverb.data.order import epoch_order

TEST = 297  # images held out, stratified by digit


def load_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 8, 8, 1] and labels int64 [N]: N is 1,500 for `train`, 297 for `test`.

    The scans have 17 grey values, 0 … 16; they are spread over 0 … 255 (one to one).
    The split is the same on every machine: of each digit, the same share is held out.
    """
    import sklearn.datasets

    digits = sklearn.datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    test = held_out(labels, TEST, seed=0)
    chosen = test if split == "test" else np.setdiff1d(np.arange(len(labels)), test)
    return images[chosen], labels[chosen]


def held_out(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` rows with the classes in the proportions of `labels`, int64 [count], ascending.

    Shares that are no whole numbers are rounded by largest remainder, so that the count is exact.
    """
    sizes = np.bincount(labels)
    exact = sizes * (count / len(labels))
    quota = np.floor(exact).astype(np.int64)
    quota[np.argsort(quota - exact, kind="stable")[: count - quota.sum()]] += 1
    shuffled = epoch_order(len(labels), seed, 0)
    rows = [shuffled[labels[shuffled] == c][:q] for c, q in enumerate(quota)]
    return np.sort(np.concatenate(rows))
