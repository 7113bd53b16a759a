"""What all objectives that draw images share, adversarial or not: their data, how a generator is judged and kept.

A subclass has a network called "generator", and says what a training step is.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.markup import escape
from torch import Tensor, nn

from adverb.data.grid import save_grid
from adverb.data.images import ImageSet, load_images
from adverb.data.order import indices_of_batch
from adverb.errors import UserError
from adverb.gan.sizing import resolve
from adverb.metrics.images import as_float
from adverb.metrics.judge import Judge
from adverb.metrics.modes import class_shares
from adverb.objectives.base import Draw, Objective
from adverb.optim import ramp, set_lr
from adverb.pipelines.generator import Generator
from adverb.schema.gan import ImageRecipe

GRID = 64  # images in a sample grid
Batch = tuple[Tensor, Tensor | None]  # images uint8 [N, H, W, C], labels int64 [N] or None


class ImageObjective(Objective):
    best = ("frechet_each", "min")
    unit = "img"

    def __init__(self, recipe: ImageRecipe, context, console):
        self.console, self.context, self.recipe = console, context, recipe
        self.images = self.data = self.read()  # by which it is judged, and which are trained on
        self.recipe = recipe = resolve(recipe, self.images, context.device, context.precision)
        self.classes = len(self.data.label_names) if recipe.model.conditional else 0
        torch.manual_seed(recipe.seed)
        self.networks = {
            name: network.to(context.device, memory_format=torch.channels_last)
            for name, network in self.make_networks().items()
        }
        self._judge = None

    def read(self) -> ImageSet:
        spec = self.recipe.data
        found = load_images(spec.path, size=spec.size, channels=spec.channels, label=spec.label, limit=spec.limit)
        if len(np.unique(found.hashes)) < 2:
            raise UserError(f"{spec.path}: there is but one image, {len(found):,} times over: give different ones")
        return found

    def make_networks(self) -> dict[str, nn.Module]:
        raise NotImplementedError

    # -- a training step

    def real_images(self, batch: Batch, draw: Draw) -> Batch:
        """uint8 [N, H, W, C] to float32 [N, C, H, W] in [-1, 1], channels last in memory; mirrored where asked.

        RGBA with premultiplied alpha, see `as_float`.
        """
        images, label = batch
        real = as_float(images)
        if self.recipe.data.flip:
            mirrored = draw.rand() < 0.5
            real = torch.where(mirrored[:, None, None, None], real.flip(3), real)
        return real, label

    def batch(self, index: int, start: int, stop: int) -> Batch:
        rows = indices_of_batch(len(self.data), self.recipe.train.batch_size, self.recipe.seed, index)[start:stop]
        return torch.from_numpy(self.data.batch(rows)), self.label_of(self.data, rows)

    def label_of(self, data: ImageSet, rows: np.ndarray) -> Tensor | None:
        """What the networks take as the labels of some images, rows int64 [n] of `data`: int64 [n], or None."""
        return torch.from_numpy(data.labels[rows]) if self.classes else None

    # -- what changes over the run

    def burnt_in(self, progress: float) -> float:
        """How far the ramps are, in [0, 1]."""
        return min(1.0, progress / self.recipe.train.burn_in) if self.recipe.train.burn_in else 1.0

    def set_adam(self, optimizer: torch.optim.Optimizer, done: float, lr_ratio: float = 1.0) -> None:
        """Learning rate, times the `lr_ratio` of groups that have one, and second moment, with the ramps at `done`."""
        spec = self.recipe.optim
        set_lr(optimizer, lr_ratio * ramp(spec.lr, done))
        for group in optimizer.param_groups:
            group["betas"] = (spec.beta1, ramp(spec.beta2, done))

    def average_decay(self, progress: float, step: int) -> float:
        half_life = 1000 * ramp(self.recipe.average.half_life, self.burnt_in(progress))
        return 0.5 ** (self.recipe.train.batch_size / half_life) if half_life > 0 else 0.0

    # -- judging and keeping

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        """Also `frechet_each`, which the best model is chosen by: by as many samples as at every other evaluation."""
        generator = self._pipeline(networks)
        save_grid(path=folder / f"step-{step:07d}.png", **self.sheet(generator))
        metrics = each = self._judge(generator)
        if final and self._judge.count(5) > self._judge.count():
            metrics = self._judge(generator, scale=5)
        return metrics | {"frechet_each": each["frechet"]}

    def sheet(self, generator: Generator) -> dict[str, Any]:
        """Samples for `save_grid`, of the same noise at every evaluation: images uint8 [N, H, W, C], columns, …"""
        columns = self.classes if 1 < self.classes <= 16 else int(math.sqrt(GRID))
        label = np.arange(columns * 8) % self.classes if self.classes else None
        return {"images": generator.generate(columns * 8, seed=self.recipe.seed, label=label), "columns": columns}

    def prepare(self) -> None:
        spec = self.recipe.evaluate
        self._judge = Judge(self.images, spec.features, spec.samples, self.recipe.seed)
        self.console.print(f"  [dim]judge[/] {escape(self._judge.name)}", highlight=False)

    @property
    def judged_by(self) -> str | None:
        return self._judge.name if self._judge else None

    def save(self, networks: dict[str, nn.Module], folder: Path) -> None:
        self._pipeline(networks).save(folder)

    def network_config(self) -> dict[str, Any]:
        """The arguments of `adverb.gan.networks.build`."""
        model = self.recipe.model
        height, width, channels = self.data.shape
        return {
            "network": model.network,
            "image_size": [height, width],
            "channels": channels,
            "latent_size": model.latent_size,
            "classes": self.classes,
            "widths": model.widths,
            "blocks": model.blocks,
            "group_width": model.group_width,
            "patch": model.patch,
        }

    def saved_config(self) -> dict[str, Any]:
        """What rebuilds the generator, and the names of its labels."""
        return self.network_config() | {"label_names": self.data.label_names if self.classes else []}

    def _pipeline(self, networks: dict[str, nn.Module]) -> Generator:
        shares = class_shares(torch.from_numpy(self.data.labels), self.classes).numpy() if self.classes else None
        return Generator(networks["generator"], self.saved_config(), shares)

    def plan(self) -> dict[str, str]:
        height, width, channels = self.data.shape
        classes = f", {len(self.data.label_names)} classes" if self.data.labels is not None else ""
        kind = {1: "grey", 3: "RGB", 4: "RGBA"}[channels]
        return {"data": f"{len(self.images):,} images, {height}×{width} {kind}{classes} · {self.recipe.data.path}"}
