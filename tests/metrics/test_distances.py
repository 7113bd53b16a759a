from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from adverb.metrics import neighbours
from adverb.metrics.distances import (
    _mmd,
    frechet_distance,
    frechet_from_moments,
    judge,
    kernel_distance,
    manifold_metrics,
)


def gaussian(n: int, width: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Correlated features [n, width]."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n, width)) @ (np.eye(width) + 0.3 * rng.standard_normal((width, width)))
    return torch.from_numpy(mixed + shift)


def by_sqrtm(a: torch.Tensor, b: torch.Tensor) -> float:
    """The formula as it is written, by scipy's matrix square root."""
    a, b = a.numpy(), b.numpy()
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(cov_a @ cov_b).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root))


def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.mean(0), x.T.cov()


@pytest.mark.parametrize(("n", "m", "width"), [(400, 300, 24), (50, 51, 50), (500, 40, 32)])
def test_frechet_is_the_formula(n, m, width):
    a, b = gaussian(n, width, 0), gaussian(m, width, 1, shift=0.2)
    expected = by_sqrtm(a, b)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_from_moments(*moments(a), *moments(b)) == pytest.approx(expected, rel=1e-6)


def test_frechet_with_fewer_samples_than_dimensions():
    """The low-rank path against the D × D one, where sqrtm itself is inaccurate."""
    a, b = gaussian(20, 80, 0), gaussian(30, 80, 1)
    assert frechet_distance(a, b) == pytest.approx(frechet_from_moments(*moments(a), *moments(b)), rel=1e-5)


def test_frechet_of_known_gaussians():
    """Diagonal covariances commute: d² = |m₁ - m₂|² + Σ (√s₁ - √s₂)²."""
    mean_a, mean_b = torch.tensor([0.0, 1.0, -2.0]), torch.tensor([0.5, 1.0, 1.0])
    variance_a, variance_b = torch.tensor([1.0, 4.0, 0.0]), torch.tensor([9.0, 0.25, 2.0])
    found = frechet_from_moments(mean_a, variance_a.diag(), mean_b, variance_b.diag())
    assert found == pytest.approx(0.25 + 9.0 + 4.0 + 2.25 + 2.0, rel=1e-12)


def test_frechet_of_singular_covariances():
    """Features in a subspace are as far apart as they are within it, without loss of accuracy."""
    a, b = gaussian(300, 5, 0), gaussian(300, 5, 1, shift=1.0)
    basis = torch.linalg.qr(gaussian(64, 5, 2)).Q  # [64, 5], orthonormal columns
    assert frechet_distance(a @ basis.T, b @ basis.T) == pytest.approx(frechet_distance(a, b), rel=1e-10)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 40), st.integers(1, 12), st.integers(0, 1000), st.floats(0.1, 10))
def test_frechet_properties(n, width, seed, scale):
    a, b = gaussian(n, width, seed), gaussian(n + 3, width, seed + 1)
    d = frechet_distance(a, b)
    close = {"rel": 1e-8, "abs": 1e-9}
    assert frechet_distance(a, a) < 1e-9
    assert frechet_distance(b, a) == pytest.approx(d, **close)
    assert frechet_distance(scale * a, scale * b) == pytest.approx(scale**2 * d, **close)
    rotation = torch.linalg.qr(gaussian(width, width, seed + 2)).Q
    assert frechet_distance(a @ rotation, b @ rotation) == pytest.approx(d, **close)
    assert frechet_distance(a, a + scale) == pytest.approx(width * scale**2, **close)


def test_mmd_is_the_double_loop():
    x, y = gaussian(9, 4, 0), gaussian(9, 4, 1, shift=0.5)

    def kernel(p, q):
        return (float(p @ q) / 4 + 1) ** 3

    pairs = [(i, j) for i in range(9) for j in range(9)]
    expected = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j) / (9 * 8)
    expected -= 2 * sum(kernel(x[i], y[j]) for i, j in pairs) / 81
    assert _mmd(x, y) == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_averages_disjoint_blocks():
    a, b = gaussian(45, 6, 0), gaussian(60, 6, 1)
    value, error = kernel_distance(a, b, seed=3)
    shuffle = np.random.Generator(np.random.PCG64(3))
    rows_a, rows_b = shuffle.permutation(45)[:44].reshape(11, 4), shuffle.permutation(60)[:44].reshape(11, 4)
    parts = [_mmd(a[i], b[j]) for i, j in zip(rows_a, rows_b, strict=True)]
    assert value == pytest.approx(np.mean(parts)) and error == pytest.approx(np.std(parts, ddof=1) / math.sqrt(11))
    assert kernel_distance(a, b, seed=3) == (value, error) != kernel_distance(a, b, seed=4)


def test_kernel_distance_is_unbiased_and_its_error_honest():
    """Over many data sets, value over error is a standard score when nothing differs, at any N."""
    draws = [torch.from_numpy(np.random.default_rng(s).standard_normal((2, 200, 8))) for s in range(150)]
    scores = [value / error for value, error in (kernel_distance(*pair) for pair in draws)]
    assert abs(np.mean(scores)) < 4 / math.sqrt(150)
    assert 0.75 < np.std(scores) < 1.4
    value, error = kernel_distance(draws[0][0], draws[0][1] + 0.5)
    assert value > 5 * error


def by_sklearn(real: np.ndarray, fake: np.ndarray, k: int, k_density: int) -> dict[str, float]:
    def radii(x, k):
        return NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x).kneighbors(x)[0][:, k]

    cross = np.linalg.norm(fake[:, None] - real[None], axis=2)  # [fakes, reals]
    return {
        "precision": (cross <= radii(real, k)).any(1).mean(),
        "recall": (cross <= radii(fake, k)[:, None]).any(0).mean(),
        "density": (cross <= radii(real, k_density)).sum(1).mean() / k_density,
        "coverage": (cross <= radii(real, k_density)).any(0).mean(),
    }


@pytest.mark.parametrize(
    ("reals", "fakes", "width", "shift"), [(300, 200, 3, 0.3), (150, 260, 16, 0.0), (80, 80, 1, 2)]
)
@pytest.mark.parametrize("entries", [1000, 1 << 22])
def test_manifold_metrics_are_exact_in_any_blocks(reals, fakes, width, shift, entries, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_ENTRIES", entries)
    real, fake = gaussian(reals, width, 0).float(), gaussian(fakes, width, 1, shift).float()
    expected = by_sklearn(real.double().numpy(), fake.double().numpy(), 3, 5)
    assert manifold_metrics(real, fake) == pytest.approx(expected, rel=1e-12)
    expected = by_sklearn(real.double().numpy(), fake.double().numpy(), 7, 2)
    assert manifold_metrics(real, fake, k=7, k_density=2) == pytest.approx(expected, rel=1e-12)


def test_manifold_metrics_at_the_extremes():
    real = gaussian(200, 8, 0).float()
    same = manifold_metrics(real, real.clone())
    assert same["precision"] == same["recall"] == same["coverage"] == 1
    far = manifold_metrics(real, real + 1000)
    assert far == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    copies = manifold_metrics(real, real[:1].expand(200, -1))  # one real image, over and over
    assert copies["precision"] == 1 and copies["recall"] < 0.02 and copies["coverage"] < 0.2
    with pytest.raises(ValueError, match="more than 5"):
        manifold_metrics(real, real[:5])


NAMES = ["frechet", "kernel", "kernel_se", "precision", "recall", "density", "coverage"]


def test_judge_holds_every_number_against_the_floor():
    real_a, real_b, same = (torch.from_numpy(np.random.default_rng(s).standard_normal((600, 8))) for s in range(3))
    result = judge(real_a, real_b, same, seed=1)
    assert sorted(result) == sorted([*NAMES, *(f"{name}_floor" for name in NAMES), "samples"])
    assert all(isinstance(value, float) for value in result.values())
    assert result["frechet"] < 2 * result["frechet_floor"] and abs(result["kernel"]) < 4 * result["kernel_se"]
    worse = judge(real_a, real_b, same * 0.3, seed=1)
    assert {n: worse[f"{n}_floor"] for n in NAMES} == {n: result[f"{n}_floor"] for n in NAMES}
    assert worse["frechet"] > 5 * worse["frechet_floor"] and worse["kernel"] > 5 * worse["kernel_se"]
    assert worse["recall"] < worse["recall_floor"] / 2 and worse["precision"] > worse["precision_floor"]
    assert judge(real_a, real_b, same, seed=1) == result != judge(real_a[:500], real_b, same, seed=1)


def test_judge_compares_equal_sizes():
    """The Fréchet distance of equal distributions falls with N: a floor from more samples would be unfair."""
    real_a, real_b, fake = (torch.from_numpy(np.random.default_rng(s).standard_normal((1000, 16))) for s in range(3))
    result = judge(real_a, real_b, fake[:100])
    assert result["samples"] == 100
    assert result["frechet_floor"] == pytest.approx(result["frechet"], rel=0.35)
    assert result["frechet_floor"] > 3 * judge(real_a, real_b, fake)["frechet_floor"]


def test_judge_of_a_diverged_generator():
    real_a, real_b, fake = (gaussian(60, 4, seed) for seed in range(3))
    fake[7, 2] = torch.nan
    result = judge(real_a, real_b, fake)
    assert all(math.isnan(result[n]) for n in NAMES) and all(math.isfinite(result[f"{n}_floor"]) for n in NAMES)
