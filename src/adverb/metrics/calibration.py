"""Whether a model is right as often as it says: calibration error, reliability, and the temperature that mends it.

Guo et al. 2017, "On calibration of modern neural networks".
"""

from __future__ import annotations

import numpy as np

TEMPERATURES = (0.05, 20.0)  # beyond, probabilities are 0 and 1, or all equal


def ece(probabilities: np.ndarray, targets: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error, a fraction: |accuracy - confidence| of each bin, weighted by its rows (eq. 3).

    Shapes as in `reliability`; 0 without rows.
    """
    rows = reliability(probabilities, targets, bins)
    total = sum(row["count"] for row in rows)
    return sum(row["count"] * abs(row["accuracy"] - row["confidence"]) for row in rows) / max(total, 1)


def reliability(probabilities: np.ndarray, targets: np.ndarray, bins: int = 15) -> list[dict[str, float]]:
    """What the diagram shows: of each of `bins` bins of equal width (low, high] that is not empty, its low and high
    end, its count, the mean confidence and the accuracy.

    probabilities [N, C] with targets int [N]: the confidence is the highest probability of a row, the accuracy how
    often that class is the true one. With 0/1 targets [N, C] (several classes a row): every class of every row counts,
    the confidence is its probability, the accuracy how often it is there.
    """
    if targets.ndim == 1:
        confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    else:
        confidence, right = probabilities.ravel(), targets.ravel().astype(bool)
    confidence = confidence.astype(np.float64)
    of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)  # 0 goes into the first bin
    count = np.bincount(of, minlength=bins)
    sums = np.bincount(of, confidence, minlength=bins), np.bincount(of, right, minlength=bins)
    return [
        {
            "low": place / bins,
            "high": (place + 1) / bins,
            "count": int(count[place]),
            "confidence": float(sums[0][place] / count[place]),
            "accuracy": float(sums[1][place] / count[place]),
        }
        for place in np.flatnonzero(count).tolist()
    ]


def fit_temperature(logits: np.ndarray, targets: np.ndarray, kind: str) -> float:
    """The number T that makes probabilities from logits / T most likely on held-out rows (Guo et al. 2017, § 4.2).

    logits [N, C]; kind "single" (softmax; targets int [N]; -inf where a row has fewer classes) or "multi" (sigmoid;
    targets 0/1 [N, C]); "regression" has no probabilities: 1. The labels that T is fitted to are softened as by one
    more row of which nothing is known (after Platt 1999): negligible where answers are wrong now and then, but where
    all are right, and the likelihood grows up to T = 0, it is what keeps probabilities from claiming more than N rows
    can show. T stays within TEMPERATURES, and is 1 where that is at least as likely: no rows, nothing gained, logits
    that are not finite.
    """
    if kind == "regression" or len(logits) == 0:
        return 1.0
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, dtype=np.float64)
    rows, classes = logits.shape
    unknown = 1 / (rows + 1)
    if kind == "single":
        truth, there = np.eye(classes)[targets], ~np.isneginf(logits)
        soft = (1 - unknown) * truth + unknown * there / there.sum(axis=1, keepdims=True)
    else:
        truth = np.asarray(targets, dtype=np.float64)
        soft = (1 - unknown) * truth + unknown / 2
    loss = _cross_entropy if kind == "single" else _binary_cross_entropy
    bounds = np.log(TEMPERATURES)  # the loss is convex in 1 / T: there is one minimum
    fitted = minimize_scalar(lambda x: loss(logits / np.exp(x), soft), bounds=bounds, method="bounded")
    temperature = float(np.exp(fitted.x))
    return temperature if loss(logits / temperature, truth) < loss(logits, truth) else 1.0


def _cross_entropy(logits: np.ndarray, truth: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    said = truth * np.where(truth > 0, shifted, 0)  # 0, too, of -inf
    return float((np.log(np.exp(shifted).sum(axis=1)) - said.sum(axis=1)).mean())


def _binary_cross_entropy(logits: np.ndarray, truth: np.ndarray) -> float:
    return float((np.logaddexp(0, logits) - truth * logits).mean())
