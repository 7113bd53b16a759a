"""Which texts to label next: those a classifier is unsure of, and that are unlike each other.

BADGE (Ash et al. 2020, "Deep batch active learning by diverse, uncertain gradient lower bounds", alg. 1): each text
stands for the gradient of the last layer, were the answer now given right: (p - e_y) h'. It is long where the answer is
unsure, and points elsewhere for other texts and other answers; k-means++ draws texts that are far from all drawn
before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adverb.metrics.linear import fitted


@dataclass(frozen=True)
class Next:
    """row: of the texts without labels. first, second: (class, probability), what it most likely is. nearest: the
    labelled row most like it, and their cosine."""

    row: int
    first: tuple[int, float]
    second: tuple[int, float]
    nearest: tuple[int, float]


def next_texts(
    known: np.ndarray, targets: np.ndarray, unknown: np.ndarray, classes: int, n: int, seed: int = 0
) -> list[Next]:
    """`n` of the rows `unknown`, fewer where there are no more; the most useful first.

    known [N, H] with targets int64 [N], unknown [U, H]: vectors of length 1.
    """
    said = fitted(known, targets, unknown, classes)
    chosen = badge(said, unknown, min(n, len(unknown)), seed)
    order = np.argsort(-said[chosen], axis=1)
    likeness = unknown[chosen] @ known.T
    found = []
    for row, ranked, like in zip(chosen.tolist(), order[:, :2].tolist(), likeness, strict=True):
        first, second = ((label, float(said[row, label])) for label in ranked)
        nearest = int(like.argmax())
        found.append(Next(row, first, second, (nearest, float(like[nearest]))))
    return found


def badge(said: np.ndarray, vectors: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """`n` different rows, int64, in the order drawn. said: probabilities [U, C]; vectors [U, H].

    The first is the one with the longest gradient; each of the others is drawn with a probability in proportion to its
    squared distance from the nearest drawn before.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    errors = said.astype(np.float64)  # [U, C], p - e_y
    errors[np.arange(len(said)), said.argmax(1)] -= 1
    vectors = vectors.astype(np.float64)
    squares = np.square(errors).sum(1) * np.square(vectors).sum(1)  # |(p - e_y) h'|²
    distance = np.full(len(said), np.inf)
    chosen = [int(squares.argmax())]
    while len(chosen) < n:
        last = chosen[-1]
        # the inner product of two outer products is the product of two inner ones
        products = (errors @ errors[last]) * (vectors @ vectors[last])
        distance = np.minimum(distance, np.maximum(squares + squares[last] - 2 * products, 0))
        distance[chosen] = 0
        total = distance.sum()
        if total > 0:
            chosen.append(int(random.choice(len(distance), p=distance / total)))
        else:  # all that is left equals what was drawn
            chosen += np.setdiff1d(np.arange(len(said)), chosen)[: n - len(chosen)].tolist()
    return np.array(chosen, np.int64)
