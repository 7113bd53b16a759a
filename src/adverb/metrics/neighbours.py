"""Nearest neighbours by brute force, in blocks, so that memory stays bounded whatever the number of samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

BLOCK_ENTRIES = 1 << 22  # float64 entries of one block of distances, or of one block of flattened samples: 32 MiB


def nearest(query: Tensor | np.ndarray, reference: Tensor | np.ndarray, k: int = 1) -> tuple[Tensor, Tensor]:
    """The k nearest of `reference` [M, ...] to each of `query` [N, ...], by Euclidean distance.

    Rows are flattened, and both may be uint8 arrays or float tensors: features, or images as they are for distances
    in pixel space (both in the same form and range). Only one block of each is held in float64 at a time.

    Returns distances, float64 [N, k], ascending, and indices into `reference`, int64 [N, k]. Samples with equal
    values have a distance of exactly 0. ValueError if `reference` has fewer than k rows or the shapes differ.
    """
    if query.shape[1:] != reference.shape[1:]:
        raise ValueError(f"samples of unequal shape: {list(query.shape[1:])} and {list(reference.shape[1:])}")
    if not 1 <= k <= len(reference):
        raise ValueError(f"k = {k} nearest of {len(reference)} samples")
    width = max(1, int(np.prod(query.shape[1:])))
    distances = torch.empty(len(query), k, dtype=torch.float64)
    indices = torch.empty(len(query), k, dtype=torch.int64)
    for rows in blocks(len(query), max(width, 2048)):
        mine = _flat(query[rows])
        best = torch.full((len(mine), 0), torch.inf, dtype=torch.float64)
        where = torch.zeros((len(mine), 0), dtype=torch.int64)
        for columns in blocks(len(reference), max(width, len(mine))):
            found = squared_distances(mine, _flat(reference[columns]))  # [rows, columns]
            found, at = found.topk(min(k, found.shape[1]), dim=1, largest=False)
            best, where = torch.cat([best, found], dim=1), torch.cat([where, at + columns.start], dim=1)
            best, order = best.topk(min(k, best.shape[1]), dim=1, largest=False)
            where = where.gather(1, order)
        distances[rows], indices[rows] = best.sqrt(), where
    return distances, indices


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances, float64 [N, M], of a [N, D] from b [M, D].

    |a|² + |b|² - 2ab cancels to rounding noise where a = b; in float64 that noise is far below what two different
    float32 vectors can show, so it is set to the 0 that it stands for.
    """
    a, b = a.double(), b.double()
    norms = a.square().sum(1)[:, None] + b.square().sum(1)
    squared = torch.addmm(norms, a, b.T, alpha=-2)
    return squared.masked_fill_(squared < 1e-13 * norms, 0.0)


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Cut `rows` so that a block of rows × `columns` has about BLOCK_ENTRIES entries."""
    step = max(1, BLOCK_ENTRIES // max(1, columns))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _flat(samples: Tensor | np.ndarray) -> Tensor:
    return torch.as_tensor(samples).reshape(len(samples), -1).double()
