"""Which labels look wrong: confident learning (Northcutt, Jiang & Chuang 2021, §3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEAST = 4  # rows of a class below which nothing is said of its labels: out of fold, it was hardly seen


@dataclass(frozen=True)
class Doubt:
    """row: of the labelled ones. label: what it has. suggested: what it should rather have. given, probability: how
    probable the one and the other are, out of fold."""

    row: int
    label: int
    suggested: int
    given: float
    probability: float


def find_doubts(said: np.ndarray, targets: np.ndarray) -> list[Doubt]:
    """Rows that confidently belong to another class than they are labelled with, the clearest first.

    said: probabilities [N, C] out of fold; targets: int64 [N]. A row counts as of class j where p_j is at least the
    mean of p_j over the rows labelled j (eq. 2); of several such classes, the one with the highest p_j. The order is
    that of the normalised margin, p of the label less the highest of the others.
    """
    rows = np.arange(len(targets))
    counts = np.bincount(targets, minlength=said.shape[1])
    own = said[rows, targets]
    sums = np.bincount(targets, own, minlength=said.shape[1])
    threshold = np.where(counts >= LEAST, sums / np.maximum(counts, 1), np.inf)
    confident = np.where(said >= threshold, said, -1.0)
    suggested = confident.argmax(1)
    doubtful = (confident.max(1) >= 0) & (suggested != targets) & (counts[targets] >= LEAST)
    others = said.copy()
    others[rows, targets] = -1
    margin = own - others.max(1)
    order = [row for row in np.argsort(margin, kind="stable").tolist() if doubtful[row]]
    return [
        Doubt(row, int(targets[row]), int(suggested[row]), float(own[row]), float(said[row, suggested[row]]))
        for row in order
    ]
