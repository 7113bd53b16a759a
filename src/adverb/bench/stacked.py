"""Stacked MNIST (Metz et al. 2017): three digits in one picture, one a colour channel, a thousand modes by name.

Stacked Digits is the same with the 8×8 scans of scikit-learn, for machines without a network. A mode counts as made
when a classifier of single digits reads it in at least one sample.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from adverb.data.grid import save_grid
from adverb.data.image_set import ImageSet, Rows
from adverb.data.images import load_images
from adverb.errors import UserError
from adverb.gan.networks import build
from adverb.metrics.classifier import trained_classifier
from adverb.metrics.features import FeatureExtractor
from adverb.metrics.modes import class_shares, mode_metrics
from adverb.objectives.gan import Gan

STACKS = 128_000  # pictures of the data set, drawn once (Srivastava et al. 2017; Kumar et al. 2019, §5.2)
SAMPLES = 26_000  # of the last evaluation, as in the papers
LOOK = 2_600  # of those before it
DIGITS = 10
MODES = DIGITS**3


class Stacks:
    """Pictures put together when they are asked for: an array uint8 [N, H, W, 3], as far as `Rows` needs one."""

    dtype = np.dtype(np.uint8)

    def __init__(self, digits: np.ndarray, rows: np.ndarray):
        """digits: uint8 [M, H, W, 1]; rows: which three of them a picture stacks, int64 [N, 3]."""
        self.digits, self.rows = digits, rows
        self.shape = (len(rows), *digits.shape[1:3], 3)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.concatenate([self.digits[self.rows[index][..., c]] for c in range(3)], axis=-1)


def stack(digits: ImageSet, count: int = STACKS, seed: int = 0) -> ImageSet:
    """`count` random stacks of three grey digits each, without labels: what is drawn is to be found out."""
    rows = np.random.Generator(np.random.PCG64(seed)).integers(len(digits), size=(count, 3))
    return replace(
        digits,
        images=Rows(Stacks(np.asarray(digits.images), rows), np.arange(count)),
        labels=None,
        label_names=[],
        captions=None,
        names=[f"stack {i}" for i in range(count)],
        hashes=np.arange(count, dtype=np.uint64),
    )


class Reader:
    """Which of the thousand modes a picture shows, by a classifier of the digits that were stacked."""

    def __init__(self, digits: ImageSet):
        network, self.accuracy = trained_classifier(digits.images, digits.labels)
        self.classifier = FeatureExtractor("classifier", "of single digits", network)

    def __call__(self, images: np.ndarray) -> torch.Tensor:
        """uint8 [N, H, W, 3] to int64 [N] in {0, …, 999}, the red digit first."""
        a, b, c = (self.classifier.classify(images[..., i : i + 1]).argmax(1) for i in range(3))
        return (a * DIGITS + b) * DIGITS + c

    def measure(self, images: np.ndarray) -> dict[str, float]:
        """modes and reverse_kl, from equal shares."""
        equal = torch.full((MODES,), 1 / MODES, dtype=torch.float64)
        found = mode_metrics(class_shares(self(images), MODES), equal)
        return {"modes": found["modes"], "reverse_kl": found["reverse_kl"]}


class StackedGan(Gan):
    """The GAN objective on stacks of `path`'s digits; shrink: by how much the discriminator is narrower."""

    best = None

    def __init__(self, recipe, context, console, path: str | Path, shrink: int = 1):
        self.digits, self.shrink = load_images(path, channels=1), shrink
        labels = self.digits.label_names if self.digits.labels is not None else []
        if len(labels) != DIGITS:
            raise UserError(f"{path} has {len(labels) or 'no'} classes: stacks are made of digits, with ten")
        super().__init__(recipe, context, console)

    def read(self) -> ImageSet:
        return stack(self.digits)

    def make_networks(self) -> dict[str, nn.Module]:
        networks = super().make_networks()
        if self.shrink > 1:
            config = self.network_config()
            _, networks["discriminator"] = build(**config | {"widths": [w // self.shrink for w in config["widths"]]})
        return networks

    def prepare(self) -> None:
        self.reader = Reader(self.digits)

    @property
    def judged_by(self) -> str:
        return f"a classifier of the single digits (held-out accuracy {self.reader.accuracy:.1%})"

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        """modes and reverse_kl of 26,000 samples at the end, beside the same of as many real stacks."""
        generator, n = self._pipeline(networks), SAMPLES if final else LOOK
        save_grid(generator.generate(64, seed=self.recipe.seed), folder / f"step-{step:07d}.png", columns=8)
        floor = self.reader.measure(stack(self.digits, n, seed=1).batch(np.arange(n)))
        made = self.reader.measure(generator.generate(n, seed=self.recipe.seed + 1))
        return made | {f"{name}_floor": value for name, value in floor.items()} | {"samples": float(n)}
