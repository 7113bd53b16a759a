"""The normal numbers that torch draws for a seed on a CPU, without torch."""

from __future__ import annotations

import math

import numpy as np

BLOCK = 16  # numbers that torch makes at a time; of fewer it makes one by one


def randn(n: int, seed: int) -> np.ndarray:
    """torch.randn(n, generator=torch.Generator().manual_seed(seed)), float32 [n], but for rounding.

    The words of a Mersenne Twister (Matsumoto & Nishimura 1998), and Box & Muller 1958: from 16 uniform numbers of 24
    bits the first eight give radii and the others angles; from 53 bits, in pairs, where there are fewer than 16.
    """
    twister = np.random.MT19937()
    twister._legacy_seeding(seed & 0xFFFFFFFF)
    if n < BLOCK:
        high, low = np.asarray(twister.random_raw(2 * (n + n % 2)), np.uint64).reshape(-1, 2).T
        uniform = ((high << np.uint64(32) | low) & np.uint64((1 << 53) - 1)) * 2.0**-53
        angle, radius = uniform.reshape(-1, 2).T
        angle, radius = 2 * math.pi * angle, np.sqrt(-2 * np.log1p(-radius))
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()[:n].astype(np.float32)
    whole = n // BLOCK * BLOCK
    words = np.asarray(twister.random_raw(n + BLOCK * (n > whole)), np.uint64)
    uniform = ((words & np.uint64((1 << 24) - 1)) * 2.0**-24).astype(np.float32)
    drawn = _box_muller(uniform[:whole])
    if n > whole:  # the last block begins where it ends with the last number
        drawn = np.concatenate([drawn[: n - BLOCK], _box_muller(uniform[n:])])
    return drawn


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    """float32 [16 k] of [0, 1) to normal numbers."""
    first, second = uniform.reshape(-1, 2, BLOCK // 2).transpose(1, 0, 2)  # [k, 8] each
    radius, angle = np.sqrt(-2 * np.log(1 - first)), np.float32(2 * math.pi) * second
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1).ravel()
