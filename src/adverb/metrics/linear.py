"""A linear classifier on the vectors of texts: fitted in a second, so that it can be fitted many times."""

from __future__ import annotations

import numpy as np

STRENGTH = 10.0  # the inverse of the penalty; vectors have length 1


def fitted(known: np.ndarray, targets: np.ndarray, unknown: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities float32 [U, classes] of the rows `unknown` [U, H], by logistic regression on `known` [N, H].

    targets: int64 [N] in {0, …, classes - 1}; a class that none of them is has probability 0.
    """
    said = np.zeros((len(unknown), classes), np.float32)
    present = np.unique(targets)
    if len(present) == 1:
        said[:, present] = 1
        return said
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=STRENGTH, max_iter=2000).fit(known, targets)
    said[:, model.classes_] = model.predict_proba(unknown)
    return said


def out_of_fold(vectors: np.ndarray, targets: np.ndarray, folds: np.ndarray, classes: int) -> np.ndarray:
    """What is said of each row by the classifier of the other folds: probabilities float32 [N, classes].

    vectors [N, H], targets int64 [N], folds int64 [N].
    """
    said = np.zeros((len(vectors), classes), np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        said[held] = fitted(vectors[~held], targets[~held], vectors[held], classes)
    return said
