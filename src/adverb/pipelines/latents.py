"""Where a generator's images come from: latents from N(0, I), their truncation, and walks between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral

import numpy as np

from adverb.errors import UserError
from adverb.pipelines.randn import BLOCK, randn


def normal(n: int, size: int, seed: int | Sequence[int], truncation: float = 1.0) -> np.ndarray:
    """n latents, float32 [n, size], the same for the same seed; of several seeds, one each, and n is their number.

    Raises UserError for no latent at all, a seed below 0, and a truncation that is not above 0 and at most 1.
    """
    if isinstance(seed, Integral):
        if n < 1 or seed < 0:
            raise UserError(f"n={n}, seed={seed}: expected at least 1 image, and a seed of at least 0")
        whole = -(-n * size // BLOCK) * BLOCK  # of other numbers, the last would depend on n
        latents = randn(whole, int(seed))[: n * size].reshape(n, size)
    else:
        latents = np.concatenate([normal(1, size, one) for one in seed])
    return truncated(latents, truncation)


def truncated(latents: np.ndarray, truncation: float) -> np.ndarray:
    """Standard normal numbers, made truncated normal ones with the deviation `truncation`: the tails are cut off.

    Latents here are N(0, I) as they enter the network, so there is no mean to draw towards as in a mapped space; what
    trades variety for typical images is the truncated normal of BigGAN (Brock et al. 2019, §3.1). Instead of drawing
    again what lies outside, the quantiles are kept, z' = Φ⁻¹(Φ(-b) + (1 - 2Φ(-b)) Φ(z)): the same distribution, while
    a seed keeps its image, more and more typical.
    """
    if not 0 < truncation <= 1:
        raise UserError(f"truncation={truncation:g}: expected a number above 0 and up to 1")
    if truncation == 1:
        return latents
    from scipy.special import ndtr, ndtri

    outside = ndtr(-bound(truncation))
    return ndtri(outside + (1 - 2 * outside) * ndtr(latents.astype(np.float64))).astype(np.float32)


def bound(deviation: float) -> float:
    """Where to cut the standard normal off, on both sides, for a deviation below 1.

    The variance between -b and b is 1 - 2b φ(b) / (2Φ(b) - 1).
    """
    from scipy.optimize import brentq

    def excess(b: float) -> float:
        density = math.exp(-b * b / 2) / math.sqrt(2 * math.pi)
        return 1 - 2 * b * density / math.erf(b / math.sqrt(2)) - deviation**2

    return brentq(excess, deviation, 40.0)  # uniform has b = √3 · deviation, and nothing has less


def closed_walk(points: np.ndarray, frames: int) -> np.ndarray:
    """From each of the points [n, Z] to the next and from the last to the first: [n * frames, Z]."""
    return np.concatenate([slerp(points[i], points[(i + 1) % len(points)], frames) for i in range(len(points))])


def slerp(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """n points [n, Z] on the great circle from a (included) to b (left out), radii interpolated (Shoemake 1985)."""
    t = np.linspace(0, 1, n + 1, dtype=np.float32)[:-1, None]
    radius_a, radius_b = np.linalg.norm(a), np.linalg.norm(b)
    angle = np.arccos(np.clip(np.dot(a / radius_a, b / radius_b), -1, 1))
    if angle < 1e-4:
        return a + t * (b - a)
    direction = (np.sin((1 - t) * angle) * a / radius_a + np.sin(t * angle) * b / radius_b) / np.sin(angle)
    return direction * (radius_a + t * (radius_b - radius_a))
