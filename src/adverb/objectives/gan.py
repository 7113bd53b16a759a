"""Image GANs: one training step, from noise to both optimisers, and how the result is judged.

A step is `critic_steps` times the discriminator's phase, then the generator's. The losses and penalties are in
`adverb.gan`; what is here is which images meet which loss. With the default recipe this is R3GAN's training
(Huang et al. 2024, "The GAN is dead; long live the GAN!"): relativistic pairing, zero-centred penalties on real
and generated images, and cosine ramps of learning rate, penalty, second moment and average.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adverb.data.grid import save_grid
from adverb.data.images import ImageSet, load_images
from adverb.data.order import indices_of_batch
from adverb.gan.losses import LOSSES
from adverb.gan.networks import build
from adverb.gan.penalties import gradient_penalty, zero_centred
from adverb.gan.sizing import resolve
from adverb.metrics.judge import Judge
from adverb.metrics.modes import class_shares
from adverb.objectives.base import Draw, Objective, Phase
from adverb.optim import ramp
from adverb.pipelines.generator import Generator
from adverb.schema.gan import GanRecipe

GRID = 64  # images in a sample grid
Batch = tuple[Tensor, Tensor | None]  # images uint8 [N, H, W, C], labels int64 [N] or None


class Gan(Objective):
    averaged = ("generator",)
    headline = ("d_loss", "g_loss", "real_logit", "fake_logit")
    best = ("frechet", "min")
    unit = "img"

    def __init__(self, recipe: GanRecipe, context, console):
        self.console, self.context = console, context
        spec = recipe.data
        self.data: ImageSet = load_images(
            spec.path, size=spec.size, channels=spec.channels, label=spec.label, limit=spec.limit
        )
        self.recipe = recipe = resolve(recipe, self.data, context.device, context.precision)
        model, loss = recipe.model, recipe.loss
        self.classes = len(self.data.label_names) if model.conditional else 0
        torch.manual_seed(recipe.seed)
        self.networks = {
            name: network.to(context.device, memory_format=torch.channels_last)
            for name, network in self.make_networks().items()
        }
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), betas=(recipe.optim.beta1, 0.99), fused=True)
            for name, network in self.networks.items()
        }
        self.loss, self.r1, self.r2 = LOSSES[loss.name], 0.0, 0.0
        self.phases = [
            Phase("discriminator", self.discriminator_loss, repeats=loss.critic_steps),
            Phase("generator", self.generator_loss),
        ]
        self.units_per_step = recipe.train.batch_size * loss.critic_steps
        self._judge = None

    def make_networks(self) -> dict[str, nn.Module]:
        config = {k: v for k, v in self.network_config().items() if k != "label_names"}
        generator, discriminator = build(**config, spectral_norm=self.recipe.model.spectral_norm)
        return {"generator": generator, "discriminator": discriminator}

    # -- a training step

    def discriminator_loss(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        real, label = self.real_images(batch, draw)
        with torch.no_grad():
            fake = generator(draw.randn(self.recipe.model.latent_size), label).float()
        real.requires_grad_(self.r1 > 0)
        fake.requires_grad_(self.r2 > 0)
        real_logits, fake_logits = discriminator(real, label).float(), discriminator(fake, label).float()
        loss = adversarial = self.loss.discriminator(real_logits, fake_logits)
        metrics = {"real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}
        if self.r1 > 0:
            metrics["r1"] = zero_centred(real, real_logits).mean()
            loss = loss + self.r1 / 2 * metrics["r1"]
        if self.r2 > 0:
            metrics["r2"] = zero_centred(fake, fake_logits).mean()
            loss = loss + self.r2 / 2 * metrics["r2"]
        if weight := self.recipe.loss.gradient_penalty:
            mix = draw.rand()
            penalty = gradient_penalty(lambda x: discriminator(x, label).float(), real, fake, mix).mean()
            metrics["gradient_penalty"] = penalty
            loss = loss + weight * penalty
        return loss, {name: value.detach() for name, value in {"d_loss": adversarial, **metrics}.items()}

    def generator_loss(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        real, label = self.real_images(batch, draw)
        fake = generator(draw.randn(self.recipe.model.latent_size), label).float()
        fake_logits = discriminator(fake, label).float()
        real_logits = None
        if self.loss.paired:
            with torch.no_grad():
                real_logits = discriminator(real, label).float()
        loss = self.loss.generator(real_logits, fake_logits)
        return loss, {"g_loss": loss.detach()}

    def real_images(self, batch: Batch, draw: Draw) -> Batch:
        """uint8 [N, H, W, C] to float32 [N, C, H, W] in [-1, 1], channels last in memory; mirrored where asked."""
        images, label = batch
        real = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        if self.recipe.data.flip:
            mirrored = draw.rand() < 0.5
            real = torch.where(mirrored[:, None, None, None], real.flip(3), real)
        return real, label

    def batch(self, index: int, start: int, stop: int) -> Batch:
        rows = indices_of_batch(len(self.data), self.recipe.train.batch_size, self.recipe.seed, index)[start:stop]
        label = torch.from_numpy(self.data.labels[rows]) if self.classes else None
        return torch.from_numpy(self.data.batch(rows)), label

    # -- what changes over the run

    def schedule(self, progress: float, step: int) -> None:
        recipe = self.recipe
        done = min(1.0, progress / recipe.train.burn_in) if recipe.train.burn_in else 1.0
        lr, beta2 = ramp(recipe.optim.lr, done), ramp(recipe.optim.beta2, done)
        for name, optimizer in self.optimizers.items():
            ratio = recipe.optim.discriminator_lr_ratio if name == "discriminator" else 1.0
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = lr * ratio, (recipe.optim.beta1, beta2)
        # lazy regularisation (Karras et al. 2020, §3.1): the same push on average for a fraction of the cost
        strength = 0.0 if step % recipe.loss.lazy else float(recipe.loss.lazy)
        self.r1, self.r2 = strength * ramp(recipe.loss.r1, done), strength * ramp(recipe.loss.r2, done)

    def average_decay(self, progress: float, step: int) -> float:
        done = min(1.0, progress / self.recipe.train.burn_in) if self.recipe.train.burn_in else 1.0
        half_life = 1000 * ramp(self.recipe.average.half_life, done)
        return 0.5 ** (self.recipe.train.batch_size / half_life) if half_life > 0 else 0.0

    # -- judging and keeping

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        generator = self._pipeline(networks)
        columns = self.classes if 1 < self.classes <= 16 else int(math.sqrt(GRID))
        label = np.arange(columns * 8) % self.classes if self.classes else None
        grid = generator.generate(columns * 8, seed=self.recipe.seed, label=label)
        save_grid(grid, folder / f"step-{step:07d}.png", columns=columns)
        return self._judge(generator, scale=5 if final else 1)

    def prepare(self) -> None:
        spec = self.recipe.evaluate
        self._judge = Judge(self.data, spec.features, spec.samples, self.recipe.seed)
        self.console.print(f"  [dim]judge[/] {self._judge.name}", highlight=False)

    @property
    def judged_by(self) -> str | None:
        return self._judge.name if self._judge else None

    def save(self, networks: dict[str, nn.Module], folder: Path) -> None:
        self._pipeline(networks).save(folder)

    def network_config(self) -> dict[str, Any]:
        """What rebuilds the generator: the arguments of `adverb.gan.networks.build`, and the names of the labels."""
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
            "label_names": self.data.label_names if self.classes else [],
        }

    def _pipeline(self, networks: dict[str, nn.Module]) -> Generator:
        shares = class_shares(torch.from_numpy(self.data.labels), self.classes).numpy() if self.classes else None
        return Generator(networks["generator"], self.network_config(), shares)

    def plan(self) -> dict[str, str]:
        height, width, channels = self.data.shape
        classes = f", {len(self.data.label_names)} classes" if self.data.labels is not None else ""
        kind = {1: "grey", 3: "RGB", 4: "RGBA"}[channels]
        loss = self.recipe.loss
        return {
            "data": f"{len(self.data):,} images, {height}×{width} {kind}{classes} · {self.recipe.data.path}",
            "game": f"{loss.name}, {self.recipe.model.network} networks, batch {self.recipe.train.batch_size}"
            + (", conditional" if self.classes else ""),
        }
