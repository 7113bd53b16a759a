"""Image GANs: one training step, from noise to both optimisers.

A step is `critic_steps` times the discriminator's phase, then the generator's. The losses and penalties are in
`adverb.gan`; what is here is which images meet which loss. With the default recipe this is R3GAN's training
(Huang et al. 2024, "The GAN is dead; long live the GAN!"): relativistic pairing, zero-centred penalties on real
and generated images, and cosine ramps of learning rate, penalty, second moment and average. Every EVERY steps the
training looks at itself (`adverb.gan.health`): that steers how much is augmented, and heals where it is asked to.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from adverb.gan.augment import NUMBERS, augment, next_p
from adverb.gan.health import EVERY, IN_A_ROW, MEANINGS, Health
from adverb.gan.losses import LOSSES, GanLoss
from adverb.gan.networks import build
from adverb.gan.penalties import gradient_penalty, zero_centred
from adverb.gan.probe import SAMPLES, Probe, set_aside
from adverb.gan.remedies import Care, changed, in_words
from adverb.objectives.base import Draw, Look, Phase
from adverb.objectives.images import Batch, ImageObjective
from adverb.optim import ramp
from adverb.schema.gan import GanRecipe


class Gan(ImageObjective):
    averaged = ("generator",)
    headline = ("d_loss", "g_loss", "real_logit", "fake_logit")

    def __init__(self, recipe: GanRecipe, context, console):
        super().__init__(recipe, context, console)
        recipe = self.recipe
        self.data, self.held_out = set_aside(self.images)
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), betas=(recipe.optim.beta1, 0.99), fused=True)
            for name, network in self.networks.items()
        }
        self.r1, self.r2 = 0.0, 0.0
        self.p = 0.0  # of adaptive augmentation
        self.health, self.care = Health(), Care()
        self.phases = [
            Phase("discriminator", self.discriminator_loss, repeats=recipe.loss.critic_steps),
            Phase("generator", self.generator_loss),
        ]
        self.units_per_step = recipe.train.batch_size * recipe.loss.critic_steps

    @property
    def loss(self) -> GanLoss:
        return LOSSES[self.recipe.loss.name]

    def make_networks(self) -> dict[str, nn.Module]:
        generator, discriminator = build(**self.network_config(), spectral_norm=self.recipe.model.spectral_norm)
        return {"generator": generator, "discriminator": discriminator}

    # -- a training step

    def discriminator_loss(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        real, label = self.real_images(batch, draw)
        with torch.no_grad():
            fake = generator(draw.randn(self.recipe.model.latent_size), label).float()
        real.requires_grad_(self.r1 > 0)
        fake.requires_grad_(self.r2 > 0)
        judge = lambda images: discriminator(self.seen(images, draw), label).float()  # noqa: E731
        real_logits, fake_logits = judge(real), judge(fake)
        adversarial = self.loss.discriminator(real_logits, fake_logits)
        metrics = {"d_loss": adversarial, "real_logit": real_logits.mean(), "fake_logit": fake_logits.mean()}
        loss = adversarial + self.penalties((real, real_logits), (fake, fake_logits), judge, draw, metrics)
        return loss, {name: value.detach() for name, value in metrics.items()}

    def penalties(
        self,
        real: tuple[Tensor, Tensor],
        fake: tuple[Tensor, Tensor],
        judge: Callable[[Tensor], Tensor],
        draw: Draw,
        metrics: dict[str, Tensor],
    ) -> Tensor | float:
        """All penalties that the recipe asks for in this step (see `schedule`), summed; each is noted in `metrics`.

        real, fake: images [N, C, H, W] and what the discriminator says of them, [N]. judge: images to that.
        """
        loss = 0.0
        if self.r1 > 0:
            metrics["r1"] = zero_centred(*real).mean()
            loss = loss + self.r1 / 2 * metrics["r1"]
        if self.r2 > 0:
            metrics["r2"] = zero_centred(*fake).mean()
            loss = loss + self.r2 / 2 * metrics["r2"]
        if weight := self.recipe.loss.gradient_penalty:
            metrics["gradient_penalty"] = gradient_penalty(judge, real[0], fake[0], mix=draw.rand()).mean()
            loss = loss + weight * metrics["gradient_penalty"]
        return loss

    def generator_loss(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        real, label = self.real_images(batch, draw)
        fake = generator(draw.randn(self.recipe.model.latent_size), label).float()
        fake_logits = discriminator(self.seen(fake, draw), label).float()
        real_logits = None
        if self.loss.paired:
            with torch.no_grad():
                real_logits = discriminator(self.seen(real, draw), label).float()
        loss = self.loss.generator(real_logits, fake_logits)
        return loss, {"g_loss": loss.detach()}

    def seen(self, images: Tensor, draw: Draw) -> Tensor:
        """What the discriminator sees of images [N, C, H, W], real or generated: the same, more or less augmented."""
        p = {"none": 0.0, "diff": 1.0, "ada": self.p}[self.recipe.augment.policy]
        return augment(images, draw.rand(NUMBERS)[: len(images)], p) if p else images

    # -- what changes over the run

    def schedule(self, progress: float, step: int) -> None:
        recipe, done = self.recipe, self.burnt_in(progress)
        for name, optimizer in self.optimizers.items():
            self.set_adam(optimizer, done, recipe.optim.discriminator_lr_ratio if name == "discriminator" else 1.0)
        # lazy regularisation (Karras et al. 2020, §3.1): the same push on average for a fraction of the cost
        strength = 0.0 if step % recipe.loss.lazy else float(recipe.loss.lazy)
        self.r1, self.r2 = strength * ramp(recipe.loss.r1, done), strength * ramp(recipe.loss.r2, done)

    # -- health

    def look(self, progress: float, step: int, broken: bool) -> Look | None:
        if step % EVERY and not broken:
            return None
        signals = {} if broken else self.context.share(self._measure(step) if self.context.is_main else None)
        adaptive = self.recipe.augment.policy == "ada"
        if adaptive:
            signals["p"] = self.p
        before, word = self.health.word, self.health.judge(signals, broken)
        row = {"word": word, **signals}
        if adaptive:
            # where nothing is held out, the images are so few that the discriminator will know them by heart
            overfitting = self.health.overfitting if self.held_out else 1.0
            self.p = next_p(self.p, overfitting, self.recipe.augment.target)
        says, then = [], "go on"
        if (helped := self.care.outcome(word)) is not None:
            row["helped"] = "yes" if helped else "no"
            says.append(f"the remedy {'helped' if helped else 'did not help'}")
        if word != before:
            says.append(word if word == "healthy" else f"{word}: {MEANINGS[word]}")
        mode = self.recipe.health.mode
        if word != "healthy" and mode == "stop":
            then = "stop"
        elif word != "healthy" and mode == "heal" and (changes := self.care.prescribe(word, self.recipe)):
            row["remedy"] = in_words(changes, self.recipe)
            says.append(f"on with {row['remedy']}")
            self.recipe, then = changed(self.recipe, changes), "go back"
            self.health.forget()
        elif word not in ("healthy", before):
            changes = self.care.next(word, self.recipe)
            would = f"health.mode=heal would try {in_words(changes, self.recipe)}"
            says.append(would if changes and mode == "watch" else "nothing is left to try")
        return Look(word, row, " · ".join(says), then)

    def _measure(self, step: int) -> dict[str, float]:
        draw = Draw((self.recipe.seed, step, "look", 0), SAMPLES, 0, SAMPLES, self.context.device)
        with self.context.eager(), self.context.autocast():
            return self.probe(
                **self.networks,
                loss=self.loss,
                latent=draw.randn(self.recipe.model.latent_size),
                augment=lambda images: self.seen(images, draw),
            )

    @cached_property
    def probe(self) -> Probe:
        return Probe(self.data, self.held_out, self.label_of, self.context.device, self.recipe.data.flip)

    @property
    def sound(self) -> bool:
        """Before the first look, and from the moment on that looks have agreed that all is well."""
        enough = self.health.looks >= IN_A_ROW or not (self.health.looks or self.care.tried)
        return self.recipe.health.mode == "heal" and enough and self.health.all_is_well

    def state(self) -> dict[str, Any]:
        return {"p": self.p, "health": self.health.state(), "care": self.care.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.p = state["p"]
        self.health.load_state(state["health"])
        self.care.load_state(state["care"])
        self.recipe = self.care.resumed(self.recipe)

    # -- in words

    def plan(self) -> dict[str, str]:
        loss = self.recipe.loss
        game = f"{loss.name}, {self.recipe.model.network} networks, batch {self.recipe.train.batch_size}"
        return super().plan() | {"game": game + (", conditional" if self.classes else "")}
