"""Latent directions that change an image most, found without labels or training: closed-form factorisation."""

from __future__ import annotations

import numpy as np


def factorise(weight: np.ndarray) -> np.ndarray:
    """The directions of the latent as a linear map answers them, unit vectors, float32 [Z, Z], the strongest first.

    SeFa (Shen & Zhou 2021, "Closed-form factorization of latent semantics in GANs", eq. 6): the n that maximise
    |A d|² over unit vectors are the eigenvectors of AᵀA with the largest eigenvalues. An eigenvector has no sign: here
    its largest number is positive.

    weight: A, [F, Z], what the latent goes through first.
    """
    weight = weight.astype(np.float64)
    _, vectors = np.linalg.eigh(weight.T @ weight)  # ascending, in columns
    found = vectors.T[::-1]
    largest = np.take_along_axis(found, abs(found).argmax(1)[:, None], axis=1)
    return (found * np.sign(largest)).astype(np.float32)
