"""Variational autoencoders of images (Kingma & Welling 2014, "Auto-encoding variational Bayes"), the other way to draw.

An encoder says where in the latent space an image lies, q(z | x) = N(mean, variance); the generator draws it back
from there, p(x | z) = N(generator(z), deviation²). Both are trained on the evidence lower bound of log p(x),

    ELBO(x) = E_q log p(x | z) - KL(q(z | x), N(0, 1))                                               (eq. 3 there)

with one z per image by the reparametrisation z = mean + deviation · noise (eq. 10), and the KL in closed form
(appendix B). `loss.beta` weighs the KL: β-VAE (Higgins et al. 2017, eq. 4). The deviation of the pixels is one
number, learned with the rest, so that reconstruction and KL are in the proportion that the bound asks for (Rybkin et
al. 2021, "Simple and effective VAE training with calibrated decoders").

Networks, data, judge and what is saved are those of GANs: the encoder is a discriminator with another head.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from adverb.gan.networks import build
from adverb.gan.networks.encoder import Encoder
from adverb.gan.probe import set_aside
from adverb.metrics.images import as_float
from adverb.objectives.base import Draw, Phase
from adverb.objectives.images import Batch, ImageObjective
from adverb.optim import ramp
from adverb.schema.vae import VaeRecipe

FINEST = 1 / 255  # of the deviation: half the step between two of the 256 levels, finer than which no image is
NOISE_LR = 20.0  # of the deviation, over the networks': it should follow what they can do, not hold them up
JUDGED = 256  # images of which the bound is measured


class PixelNoise(nn.Module):
    """The deviation of a pixel around what the generator draws: one for all pixels and images, at least FINEST."""

    def __init__(self):
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(5.0))  # a deviation of 0.6 at the start, about that of the data

    def forward(self) -> Tensor:
        """log of the deviation, a scalar."""
        return math.log(FINEST) + softplus(self.raw)


class Vae(ImageObjective):
    averaged = ("generator", "encoder", "noise")
    headline = ("elbo", "kl", "deviation")

    def __init__(self, recipe: VaeRecipe, context, console):
        super().__init__(recipe, context, console)
        self.data, self.held_out = set_aside(self.images)
        noise = self.networks["noise"]
        weights = [p for network in self.networks.values() if network is not noise for p in network.parameters()]
        groups = [{"params": weights}, {"params": list(noise.parameters()), "lr_ratio": NOISE_LR}]
        self.optimizers = {"vae": torch.optim.Adam(groups, fused=True)}
        self.phases = [Phase("vae", self.loss)]
        self.beta = 0.0
        self.units_per_step = self.recipe.train.batch_size

    def make_networks(self) -> dict[str, nn.Module]:
        generator, discriminator = build(**self.network_config())
        encoder = Encoder(discriminator, self.recipe.model.latent_size, self.classes)
        return {"generator": generator, "encoder": encoder, "noise": PixelNoise()}

    # -- a training step

    def loss(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        images, label = self.real_images(batch, draw)
        noise = draw.randn(self.recipe.model.latent_size)
        reconstruction, kl = bound(self.networks, images, label, noise)
        loss = (self.beta * kl - reconstruction).mean()
        metrics = {
            "elbo": (reconstruction - kl).mean(),
            "kl": kl.mean(),
            "deviation": self.networks["noise"]().exp(),
        }
        return loss, {name: value.detach() for name, value in metrics.items()}

    def schedule(self, progress: float, step: int) -> None:
        done = self.burnt_in(progress)
        self.set_adam(self.optimizers["vae"], done)
        self.beta = ramp(self.recipe.loss.beta, done)

    # -- judging

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        """As a GAN's, and the bound in nats an image (β = 1), its KL and the deviation, on held-out images."""
        return super().evaluate(networks, folder, step, final) | self.measure(networks)

    def measure(self, networks: dict[str, nn.Module]) -> dict[str, float]:
        data = self.data if self.held_out is None else self.held_out
        rows = range(min(JUDGED, len(data)))
        device = self.context.device
        images = as_float(data.batch(rows)).to(device)
        label = torch.from_numpy(data.labels[rows.start : rows.stop]).to(device) if self.classes else None
        noise = torch.randn(len(rows), self.recipe.model.latent_size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad(), self.context.autocast():
            reconstruction, kl = bound(networks, images, label, noise.to(device))
        return {
            "elbo": (reconstruction - kl).mean().item(),
            "kl_to_prior": kl.mean().item(),
            "deviation": networks["noise"]().exp().item(),
        }

    # -- in words

    def plan(self) -> dict[str, str]:
        beta = self.recipe.loss.beta
        weight = "→".join(f"{b:g}" for b in (beta if isinstance(beta, tuple) else (beta,)))
        size = f"{self.recipe.model.latent_size} latent dimensions, batch {self.recipe.train.batch_size}"
        kind = f"β = {weight}, {self.recipe.model.network} networks, {size}"
        return super().plan() | {"autoencoder": kind + (", conditional" if self.classes else "")}


def bound(networks: dict[str, nn.Module], images: Tensor, label: Tensor | None, noise: Tensor) -> tuple[Tensor, Tensor]:
    """(log p(x | z), KL(q(z | x), p(z))) of every image, [N] each, in nats; the ELBO is their difference.

    images [N, C, H, W] in [-1, 1]; noise: standard normal [N, Z].
    """
    mean, log_variance = networks["encoder"](images, label)
    latent = mean + (log_variance / 2).exp() * noise
    drawn = networks["generator"](latent, label).float()
    return gaussian_log_density(images, drawn, networks["noise"]()), kl_to_prior(mean, log_variance)


def gaussian_log_density(x: Tensor, mean: Tensor, log_deviation: Tensor) -> Tensor:
    """log N(x; mean, deviation²), summed over everything but the first dimension: [N]."""
    squared = ((x - mean) / log_deviation.exp()).square()
    return -(squared / 2 + log_deviation + math.log(2 * math.pi) / 2).flatten(1).sum(1)


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance), N(0, 1)), summed over the latent [N, Z] -> [N] (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
