"""Image GANs: one training step, from noise to both optimisers.

A step is `critic_steps` times the discriminator's phase, then the generator's. The losses and penalties are in
`adverb.gan`; what is here is which images meet which loss. With the default recipe this is R3GAN's training
(Huang et al. 2024, "The GAN is dead; long live the GAN!"): relativistic pairing, zero-centred penalties on real
and generated images, and cosine ramps of learning rate, penalty, second moment and average.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adverb.gan.losses import LOSSES
from adverb.gan.networks import build
from adverb.gan.penalties import gradient_penalty, zero_centred
from adverb.objectives.base import Draw, Phase
from adverb.objectives.images import Batch, ImageObjective
from adverb.optim import ramp
from adverb.schema.gan import GanRecipe


class Gan(ImageObjective):
    averaged = ("generator",)
    headline = ("d_loss", "g_loss", "real_logit", "fake_logit")

    def __init__(self, recipe: GanRecipe, context, console):
        super().__init__(recipe, context, console)
        recipe = self.recipe
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), betas=(recipe.optim.beta1, 0.99), fused=True)
            for name, network in self.networks.items()
        }
        self.loss, self.r1, self.r2 = LOSSES[recipe.loss.name], 0.0, 0.0
        self.phases = [
            Phase("discriminator", self.discriminator_loss, repeats=recipe.loss.critic_steps),
            Phase("generator", self.generator_loss),
        ]
        self.units_per_step = recipe.train.batch_size * recipe.loss.critic_steps

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

    # -- what changes over the run

    def schedule(self, progress: float, step: int) -> None:
        recipe, done = self.recipe, self.burnt_in(progress)
        lr, beta2 = ramp(recipe.optim.lr, done), ramp(recipe.optim.beta2, done)
        for name, optimizer in self.optimizers.items():
            ratio = recipe.optim.discriminator_lr_ratio if name == "discriminator" else 1.0
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = lr * ratio, (recipe.optim.beta1, beta2)
        # lazy regularisation (Karras et al. 2020, §3.1): the same push on average for a fraction of the cost
        strength = 0.0 if step % recipe.loss.lazy else float(recipe.loss.lazy)
        self.r1, self.r2 = strength * ramp(recipe.loss.r1, done), strength * ramp(recipe.loss.r2, done)

    # -- in words

    def plan(self) -> dict[str, str]:
        loss = self.recipe.loss
        game = f"{loss.name}, {self.recipe.model.network} networks, batch {self.recipe.train.batch_size}"
        return super().plan() | {"game": game + (", conditional" if self.classes else "")}
