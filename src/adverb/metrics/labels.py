"""How well classes, sets of classes and numbers were predicted.

`kind` says which: "single" (one class a row), "multi" (any number of classes a row) or "regression" (a number a row).
Everything is NumPy on counts, so that a bootstrap can afford a thousand calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLD = 0.5  # a class of a multi-label row is said from this probability on


def said(probabilities: np.ndarray, kind: str) -> np.ndarray:
    """What is answered: int64 [N] of [N, C] (single), bool [N, C] of [N, C] (multi), float [N] (regression)."""
    if kind == "single":
        return probabilities.argmax(axis=1)
    return probabilities >= THRESHOLD if kind == "multi" else probabilities.reshape(len(probabilities))


def classification_metrics(targets: np.ndarray, probabilities: np.ndarray, kind: str) -> dict[str, float]:
    """The metrics of a kind of classifier, all of them fractions, not per cent.

    single: targets int [N] in {0, …, C - 1}, probabilities [N, C]: accuracy, macro_f1, mcc.
    multi: targets 0/1 [N, C], probabilities [N, C]: micro_f1, macro_f1, subset_accuracy (the whole row right).
    regression: targets [N], predictions [N] or [N, 1]: pearson, spearman, rmse.

    macro_f1 is the mean over the classes as in scikit-learn: with kind "single" over the classes that occur among the
    targets or the answers, with "multi" over all; a class without a right answer counts as 0. mcc is Matthews'
    correlation coefficient in its form for many classes (Gorodkin 2004, R_K). Correlations with something constant are
    undefined and count as 0, since such a prediction tells nothing. ValueError if there are no rows or shapes differ.
    """
    if len(targets) == 0 or len(targets) != len(probabilities):
        raise ValueError(f"{len(targets)} targets for {len(probabilities)} predictions")
    answers = said(probabilities, kind)
    if kind == "single":
        counts = confusion(targets, answers, probabilities.shape[1])
        _, _, f1, occurs = _scores(counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1))
        return {
            "accuracy": float(counts.trace() / len(targets)),
            "macro_f1": float(f1[occurs].mean()),
            "mcc": _correlation_of_classes(counts),
        }
    if kind == "multi":
        right, made, true = _label_counts(targets, answers)
        return {
            "micro_f1": float(_scores(right.sum(), made.sum(), true.sum())[2]),
            "macro_f1": float(_scores(right, made, true)[2].mean()),
            "subset_accuracy": float((answers == targets.astype(bool)).all(axis=1).mean()),
        }
    if kind == "regression":
        targets = targets.reshape(len(targets)).astype(np.float64)
        answers = answers.astype(np.float64)
        return {
            "pearson": _pearson(targets, answers),
            "spearman": _pearson(_ranks(targets), _ranks(answers)),
            "rmse": float(np.sqrt(np.square(targets - answers).mean())),
        }
    raise ValueError(f'kind is "single", "multi" or "regression", not {kind!r}')


def per_class(
    targets: np.ndarray, probabilities: np.ndarray, kind: str, names: Sequence[str]
) -> list[dict[str, str | float | int]]:
    """A row a class: label, precision, recall, f1, rows (that have it) and said (how often it was answered).

    Shapes as in `classification_metrics`, kind "single" or "multi". What is 0/0 counts as 0.
    """
    answers = said(probabilities, kind)
    if kind == "single":
        counts = confusion(targets, answers, len(names))
        right, made, true = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    else:
        right, made, true = _label_counts(targets, answers)
    precision, recall, f1, _ = _scores(right, made, true)
    columns = ("label", "precision", "recall", "f1", "rows", "said")
    rows = zip(names, *(a.tolist() for a in (precision, recall, f1, true, made)), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def confusion(targets: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """int64 [C, C]: how often class i (row) was called j (column), of targets and answers, both int [N]."""
    return np.bincount(targets * classes + answers, minlength=classes * classes).reshape(classes, classes)


def _label_counts(targets: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each class of a multi-label set: right answers, answers, occurrences, int64 [C]."""
    true = targets.astype(bool)
    return (true & answers).sum(axis=0), answers.sum(axis=0), true.sum(axis=0)


def _scores(right, made, true) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall, F1 and whether the class occurs at all, of counts of any one shape."""
    precision, recall = right / np.maximum(made, 1), right / np.maximum(true, 1)
    return precision, recall, 2 * right / np.maximum(made + true, 1), made + true > 0


def _correlation_of_classes(counts: np.ndarray) -> float:
    true, made, rows = counts.sum(axis=1).astype(float), counts.sum(axis=0).astype(float), float(counts.sum())
    spread = (rows**2 - true @ true) * (rows**2 - made @ made)
    return float((counts.trace() * rows - true @ made) / np.sqrt(spread)) if spread > 0 else 0.0


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # the mean of equal numbers is rounded: their deviations need not be 0
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    return float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1, 1))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
