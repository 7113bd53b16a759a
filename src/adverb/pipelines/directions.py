"""Latent directions that change an image most, found without labels or training: closed-form factorisation."""

from __future__ import annotations

import torch
from torch import Tensor

from adverb.errors import UserError


def factorise(weight: Tensor, n: int) -> Tensor:
    """The n directions of the latent that a linear map answers most strongly, as unit vectors, float32 [n, Z].

    SeFa (Shen & Zhou 2021, "Closed-form factorization of latent semantics in GANs", eq. 6): the n that maximise
    |A d|² over unit vectors are the eigenvectors of AᵀA with the largest eigenvalues, the strongest first. An
    eigenvector has no sign: here its largest number is positive.

    weight: A, [F, Z], what the latent goes through first. Raises UserError for more directions than dimensions.
    """
    size = weight.shape[1]
    if not 1 <= n <= size:
        raise UserError(f"directions={n}: a latent of {size} dimensions has from 1 to {size}")
    weight = weight.detach().cpu().double()
    _, vectors = torch.linalg.eigh(weight.T @ weight)  # ascending, in columns
    found = vectors.T.flip(0)[:n]
    largest = found.gather(1, found.abs().argmax(1, keepdim=True))
    return (found * largest.sign()).float()
