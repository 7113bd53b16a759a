"""Where a generator's images come from: latents from N(0, I), their truncation, and walks between them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from adverb.errors import UserError


def normal(n: int, size: int, seed: int | Sequence[int], truncation: float = 1.0) -> Tensor:
    """n latents, float32 [n, size], the same for the same seed; of several seeds, one each, and n is their number.

    Raises UserError for a truncation that is not above 0 and at most 1.
    """
    if isinstance(seed, int):
        latent = torch.randn(n, size, generator=torch.Generator().manual_seed(seed))
    else:
        latent = torch.cat([normal(1, size, one) for one in seed])
    return truncated(latent, truncation)


def truncated(latent: Tensor, truncation: float) -> Tensor:
    """Standard normal numbers, made truncated normal ones with the deviation `truncation`: the tails are cut off.

    Latents here are N(0, I) as they enter the network, so there is no mean to draw towards as in a mapped space; what
    trades variety for typical images is the truncated normal of BigGAN (Brock et al. 2019, §3.1). Instead of drawing
    again what lies outside, the quantiles are kept, z' = Φ⁻¹(Φ(-b) + (1 - 2Φ(-b)) Φ(z)): the same distribution, while
    a seed keeps its image, more and more typical.
    """
    if not 0 < truncation <= 1:
        raise UserError(f"truncation={truncation:g}: expected a number above 0 and up to 1")
    if truncation == 1:
        return latent
    outside = torch.special.ndtr(torch.tensor(-bound(truncation), dtype=torch.float64))
    quantile = outside + (1 - 2 * outside) * torch.special.ndtr(latent.double())
    return torch.special.ndtri(quantile).float()


def bound(deviation: float) -> float:
    """Where to cut the standard normal off, on both sides, for a deviation below 1.

    The variance between -b and b is 1 - 2b φ(b) / (2Φ(b) - 1).
    """
    from scipy.optimize import brentq

    def excess(b: float) -> float:
        density = math.exp(-b * b / 2) / math.sqrt(2 * math.pi)
        return 1 - 2 * b * density / math.erf(b / math.sqrt(2)) - deviation**2

    return brentq(excess, deviation, 40.0)  # uniform has b = √3 · deviation, and nothing has less


def closed_walk(points: Tensor, frames: int) -> Tensor:
    """From each of the points [n, Z] to the next and from the last to the first: [n * frames, Z]."""
    return torch.cat([slerp(points[i], points[(i + 1) % len(points)], frames) for i in range(len(points))])


def slerp(a: Tensor, b: Tensor, n: int) -> Tensor:
    """n points [n, Z] on the great circle from a (included) to b (left out), radii interpolated (Shoemake 1985)."""
    t = torch.linspace(0, 1, n + 1)[:-1, None]
    radius_a, radius_b = a.norm(), b.norm()
    cosine = torch.clamp(torch.dot(a / radius_a, b / radius_b), -1, 1)
    angle = torch.arccos(cosine)
    if angle < 1e-4:
        return a + t * (b - a)
    direction = (torch.sin((1 - t) * angle) * a / radius_a + torch.sin(t * angle) * b / radius_b) / torch.sin(angle)
    return direction * (radius_a + t * (radius_b - radius_a))
