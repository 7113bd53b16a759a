"""How far one set of feature vectors is from another.

All functions take features [N, D] (float32 or float64, CPU), compute in float64 and return Python floats.
`judge` computes them all, beside the same numbers for real against real: the floor, which is what a perfect
generator would score with this many samples and these features.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from adverb.metrics.neighbours import blocks, nearest, squared_distances


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features (Heusel et al. 2017, eq. 6).

    d² = |m₁ - m₂|² + tr S₁ + tr S₂ - 2 tr (S₁S₂)^½, with unbiased covariances. Falls with the number of samples
    (its bias is of order D/N), so compare only values measured with equal sizes.

    If Fᵢᵀ Fᵢ = Sᵢ, the square roots of the eigenvalues of S₁S₂ are the singular values of F₁F₂ᵀ. Any such factor
    will do: the centred features themselves, or their R factor when that is smaller. No covariance is squared or
    inverted, so singular covariances lose no accuracy.
    """
    (mean_a, factor_a), (mean_b, factor_b) = _mean_and_factor(a), _mean_and_factor(b)
    cross = torch.linalg.svdvals(factor_a @ factor_b.T).sum()
    squared = (mean_a - mean_b).square().sum() + factor_a.square().sum() + factor_b.square().sum() - 2 * cross
    return max(squared.item(), 0.0)


def _mean_and_factor(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean [D], and F [min(N, D), D] with FᵀF the unbiased covariance."""
    n, width = _check(features).shape
    features = features.double()
    mean = features.mean(dim=0)
    centred = (features - mean) / math.sqrt(n - 1)
    return mean, torch.linalg.qr(centred, mode="r").R if n > width else centred


def frechet_from_moments(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> float:
    """The same distance from means [D] and covariances [D, D], such as published statistics.

    Takes tr (S₁S₂)^½ as the sum of the square roots of the eigenvalues of S₁^½ S₂ S₁^½, which is symmetric.
    """
    mean_a, cov_a, mean_b, cov_b = (t.double() for t in (mean_a, cov_a, mean_b, cov_b))
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt()  # S₁^½ up to a rotation, which the eigenvalues do not see
    cross = torch.linalg.eigvalsh(root.T @ cov_b @ root).clamp(min=0).sqrt().sum()
    squared = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(squared.item(), 0.0)


def kernel_distance(a: Tensor, b: Tensor, seed: int = 0, block: int = 1000) -> tuple[float, float]:
    """Kernel distance (KID, Bińkowski et al. 2018): unbiased MMD² with the kernel (xᵀy/D + 1)³, and its standard error.

    Both sets are shuffled (`seed`) and cut into disjoint blocks of at most `block` rows, at least ten blocks where
    there are enough rows; the estimate is the mean over the blocks. Disjoint blocks are independent, so their spread
    gives an honest standard error, which overlapping subsets do not. Unbiased: about 0, at times below 0, when both
    sets have the same distribution, whatever N is. Sets of unequal size are cut to the smaller.
    """
    n = min(len(_check(a)), len(_check(b)))
    size = max(2, min(block, n // 10))
    count = n // size
    shuffle = np.random.Generator(np.random.PCG64(seed))
    rows_a, rows_b = (torch.from_numpy(shuffle.permutation(len(x))[: count * size]) for x in (a, b))
    values = torch.tensor(
        [_mmd(a[i].double(), b[j].double()) for i, j in zip(rows_a.split(size), rows_b.split(size), strict=True)]
    )
    error = (values.std() / math.sqrt(count)).item() if count > 1 else math.nan
    return values.mean().item(), error


def _mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased MMD² between x [M, D] and y [M, D] (Bińkowski et al. 2018, eq. 4)."""
    m, width = x.shape
    xx, yy, xy = ((p @ q.T / width + 1).pow(3) for p, q in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (m * (m - 1))
    return (within - 2 * xy.mean()).item()


def manifold_metrics(real: Tensor, fake: Tensor, k: int = 3, k_density: int = 5) -> dict[str, float]:
    """Fidelity and variety apart: each set is a union of balls that reach to the k-th nearest neighbour of its members.

    precision: share of fakes inside a real ball; recall: share of reals inside a fake ball (Kynkäänniemi et al. 2019,
        eq. 1-2; k).
    density: real balls a fake lies in, over k, on average (may exceed 1); coverage: share of reals with a fake inside
        their ball (Naeem et al. 2020, eq. 4-5; k_density).

    All fall in [0, 1] but density. Distances are computed in blocks: memory is linear in the number of samples.
    Each set needs more rows than the larger k (ValueError).
    """
    most = max(k, k_density)
    if min(len(_check(real)), len(_check(fake))) <= most:
        raise ValueError(f"precision and recall need more than {most} samples of each: {len(real)} and {len(fake)}")
    real_near = nearest(real, real, most + 1)[0].square()  # column 0 is the sample itself, at distance 0
    radius, radius_density = real_near[:, k], real_near[:, k_density]
    radius_fake = nearest(fake, fake, k + 1)[0][:, k].square()

    precise, dense = 0, 0
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for rows in blocks(len(fake), len(real)):
        squared = squared_distances(fake[rows], real)  # [rows, reals]
        precise += (squared <= radius).any(dim=1).sum().item()
        recalled |= (squared <= radius_fake[rows, None]).any(dim=0)
        inside = squared <= radius_density
        dense += inside.sum().item()
        covered |= inside.any(dim=0)
    return {
        "precision": precise / len(fake),
        "recall": recalled.double().mean().item(),
        "density": dense / (k_density * len(fake)),
        "coverage": covered.double().mean().item(),
    }


def judge(real_a: Tensor, real_b: Tensor, fake: Tensor, seed: int = 0) -> dict[str, float]:
    """All distances of `fake` from `real_a`, and beside each its floor: the same for `real_b`, other real samples.

    The three are cut, at random by `seed`, to the size of the smallest. The Fréchet distance falls as N grows and
    recall depends on N too, so a fake can only be held against a floor measured with the same number of samples.

    Returns `frechet`, `kernel`, `kernel_se`, `precision`, `recall`, `density`, `coverage`, each of these with `_floor`
    appended, and `samples`. A generator that has diverged (features not finite) scores NaN, and its floor stands.
    """
    n = min(len(real_a), len(real_b), len(fake))
    shuffle = np.random.Generator(np.random.PCG64(seed))
    real_a, real_b, fake = (x[torch.from_numpy(shuffle.permutation(len(x))[:n])] for x in (real_a, real_b, fake))
    floor = _all_distances(real_a, real_b, seed)
    measured = _all_distances(real_a, fake, seed) if fake.isfinite().all() else dict.fromkeys(floor, math.nan)
    return measured | {f"{name}_floor": value for name, value in floor.items()} | {"samples": float(n)}


def _all_distances(real: Tensor, fake: Tensor, seed: int) -> dict[str, float]:
    kernel, kernel_se = kernel_distance(real, fake, seed)
    return {
        "frechet": frechet_distance(real, fake),
        "kernel": kernel,
        "kernel_se": kernel_se,
        **manifold_metrics(real, fake),
    }


def _check(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features must be [N, D] with N of at least 2: {list(features.shape)}")
    return features
