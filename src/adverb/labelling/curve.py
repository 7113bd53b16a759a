"""How far more labels would help: accuracy over the number of labels, and a power law that goes on from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adverb.data.order import epoch_order
from adverb.data.parts import different_rows
from adverb.metrics.linear import fitted

ROUNDS = 12  # random splits, each with a curve of its own
HELD = 0.25  # of the rows, in each split
SIZES = 6
SMALLEST = 8  # labels
DRAWS = 400  # of the bootstrap
AHEAD = (1, 2, 4, 8)  # times the labels there are


@dataclass
class Curve:
    """measured: [(labels, accuracy, its standard deviation over the splits)]. expected: [(labels, accuracy, low,
    high)] with the 95 % interval, the first at the number of labels that there are."""

    measured: list[tuple[int, float, float]]
    expected: list[tuple[int, float, float, float]]


def learning_curve(vectors: np.ndarray, targets: np.ndarray, classes: int, *texts: list[str]) -> Curve | None:
    """vectors [N, H], targets int64 [N]. None where N is too small for a curve.

    texts: lists of N strings; of rows with equal ones the first counts, so that none is judged that was learnt from.

    Each split holds a quarter back and learns from more and more of the others. error(n) = c + a n^-b with a, b, c ≥ 0
    is fitted to all (Hestness et al. 2017; Figueroa et al. 2012), and for the interval to splits drawn with
    replacement. What it can't know is a kind of text that nobody has labelled yet.
    """
    first = different_rows(len(targets), *texts)
    vectors, targets, rows = vectors[first], targets[first], len(first)
    largest = rows - round(HELD * rows)
    if largest < 2 * SMALLEST:
        return None
    sizes = np.unique(np.geomspace(SMALLEST, largest, SIZES).round().astype(int))
    errors = np.empty((ROUNDS, len(sizes)))
    for split in range(ROUNDS):
        order = epoch_order(rows, split, 0)
        held, rest = order[largest:], order[:largest]
        for place, size in enumerate(sizes):
            chosen = rest[:size]
            said = fitted(vectors[chosen], targets[chosen], vectors[held], classes).argmax(1)
            errors[split, place] = (said != targets[held]).mean()
    random = np.random.Generator(np.random.PCG64(0))
    ahead = rows * np.array(AHEAD)
    middle = power_law(sizes, errors.mean(0), ahead)
    drawn = [power_law(sizes, errors[random.integers(ROUNDS, size=ROUNDS)].mean(0), ahead) for _ in range(DRAWS)]
    # How far a mean over splits of the same rows can be from that over all texts: the rows themselves are a sample.
    sampled = np.sqrt(middle * (1 - middle) / rows)
    drawn = np.clip(np.array(drawn) + random.standard_normal((DRAWS, 1)) * sampled, 0, 1)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return Curve(
        [(int(n), 1 - m, s) for n, m, s in zip(sizes, errors.mean(0).tolist(), errors.std(0).tolist(), strict=True)],
        [(int(n), 1 - m, 1 - h, 1 - lo) for n, m, lo, h in zip(ahead, *map(list, (middle, low, high)), strict=True)],
    )


def power_law(sizes: np.ndarray, errors: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """error(ahead) of the law c + a n^-b, a, b, c ≥ 0, that is nearest to errors [S] at sizes [S], by least squares.

    For each b of a grid, a and c are those of a line that is not negative (Lawson & Hanson 1974).
    """
    from scipy.optimize import nnls

    best = None
    for b in np.geomspace(0.05, 2.0, 40):
        powers = np.stack([np.ones(len(sizes)), (sizes / sizes[0]) ** -b], 1)
        (c, a), residual = nnls(powers, errors)
        if best is None or residual < best[0]:
            best = residual, c + a * (ahead / sizes[0]) ** -b
    return best[1]
