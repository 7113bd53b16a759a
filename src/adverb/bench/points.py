"""Mixtures of Gaussians in the plane: data whose modes are known, for the GAN objective as it is.

A point is an image of 1×1 pixel with two channels, so that the perceptrons of image GANs, the losses, the penalties
and the engine are the ones that are shipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from adverb.metrics.modes import class_shares, mode_metrics
from adverb.objectives.base import Draw
from adverb.objectives.gan import Gan
from adverb.objectives.images import Batch

REACH = 0.75  # where the outermost modes lie in the networks' units: the generator's tanh has its slope there
SAMPLES = 2_500  # of an evaluation, as in the papers
HIGH_QUALITY = 3.0  # deviations from the nearest mode, within which a sample counts (Srivastava et al. 2017, §4.1)


@dataclass(frozen=True)
class Mixture:
    """Gaussians of one deviation and equal weights. centres: float64 [K, 2]."""

    name: str
    centres: np.ndarray
    deviation: float

    # what the GAN objective asks of a data set
    shape = (1, 1, 2)
    labels = None
    label_names = ()

    def __len__(self) -> int:
        return 2**31  # points are drawn anew for every batch

    def split(self, fraction: float) -> tuple[Mixture, Mixture]:
        """What is trained on and what is held out: new points either way."""
        return self, self

    @property
    def scale(self) -> float:
        """The networks' units in one unit of the plane."""
        return REACH / np.abs(self.centres).max()

    def sample(self, n: int, seed: tuple[int, ...]) -> np.ndarray:
        """float64 [n, 2]."""
        random = np.random.Generator(np.random.PCG64(seed))
        chosen = random.integers(len(self.centres), size=n)
        return self.centres[chosen] + self.deviation * random.normal(size=(n, 2))

    def measure(self, points: np.ndarray) -> dict[str, float]:
        """modes, high_quality and reverse_kl of points [N, 2], as the papers count them.

        high_quality: the share within three deviations of the nearest centre; of the mixture itself 1 - exp(-9/2).
        modes: those with at least one high-quality point. reverse_kl: in nats, of the shares of the modes that points
            are nearest to, from equal shares (Lin et al. 2018, "PacGAN", §4.1).
        """
        apart = np.linalg.norm(points[:, None] - self.centres, axis=2)  # [N, K]
        nearest = torch.from_numpy(apart.argmin(axis=1))
        good = torch.from_numpy(apart.min(axis=1) <= HIGH_QUALITY * self.deviation)
        k = len(self.centres)
        equal = torch.full((k,), 1 / k, dtype=torch.float64)
        return {
            "modes": float(nearest[good].unique().numel()),
            "high_quality": good.double().mean().item(),
            "reverse_kl": mode_metrics(class_shares(nearest, k), equal)["reverse_kl"],
        }


def ring() -> Mixture:
    """Eight modes on the unit circle (Srivastava et al. 2017, "VEEGAN", §4.1; Lin et al. 2018, §4.1)."""
    angles = 2 * math.pi * np.arange(8) / 8
    return Mixture("ring of 8", np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.01)


def grid(side: int) -> Mixture:
    """side² modes, two units apart: 5 as in the papers of the ring, 10 the same over a larger plane."""
    line = 2.0 * np.arange(side) - (side - 1)
    return Mixture(f"grid of {side**2}", np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2), 0.05)


class PointGan(Gan):
    """The GAN objective on a mixture, which stands where the images would be."""

    best = None
    unit = "points"
    judged_by = "the mixture's own centres"

    def __init__(self, recipe, context, console, mixture: Mixture):
        self.mixture = mixture
        super().__init__(recipe, context, console)

    def read(self) -> Mixture:
        return self.mixture

    def batch(self, index: int, start: int, stop: int) -> Batch:
        points = self.mixture.sample(self.recipe.train.batch_size, (self.recipe.seed, index))[start:stop]
        return torch.from_numpy(points * self.mixture.scale).float()[:, :, None, None], None  # [N, 2, 1, 1]

    def real_images(self, batch: Batch, draw: Draw) -> Batch:
        return batch

    def look(self, progress: float, step: int, broken: bool) -> None:
        """Health is about images; here the modes themselves are counted."""

    def prepare(self) -> None:
        pass

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        made = self.mixture.measure(self.generate(networks["generator"], SAMPLES, self.recipe.seed + 1))
        floor = self.mixture.measure(self.mixture.sample(SAMPLES, (self.recipe.seed,)))
        return made | {f"{name}_floor": value for name, value in floor.items()} | {"samples": float(SAMPLES)}

    @torch.no_grad()
    def generate(self, generator: nn.Module, n: int, seed: int) -> np.ndarray:
        """float64 [n, 2], in units of the plane."""
        latent = torch.randn(n, self.recipe.model.latent_size, generator=torch.Generator().manual_seed(seed))
        points = generator(latent.to(self.context.device))[:, :, 0, 0]
        return points.double().cpu().numpy() / self.mixture.scale

    def plan(self) -> dict[str, str]:
        loss, train = self.recipe.loss.name, self.recipe.train
        return {"data": self.mixture.name, "game": f"{loss}, perceptrons, batch {train.batch_size}"}
