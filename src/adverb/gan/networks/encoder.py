"""The encoder of a variational autoencoder: a discriminator that says where an image lies, not whether it is real."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adverb.gan.networks.common import LatentInput, leaky_init_


class Encoder(nn.Module):
    """images [N, C, H, W] (and label [N] int64 with classes) -> mean and log-variance of the latent, float32 [N, Z].

    discriminator: as `build` makes it; its features are what is looked at, its head is dropped. The networks of the
    residual and DCGAN generators are its mirror.
    """

    def __init__(self, discriminator: nn.Module, latent_size: int, classes: int = 0):
        super().__init__()
        features = discriminator.head.linear.in_features
        del discriminator.head
        self.body = discriminator
        self.input = LatentInput(features, classes)
        self.out = nn.Linear(self.input.out_features, 2 * latent_size)
        leaky_init_(self.out.weight, scale=0.1, leaky=False)  # near the prior at the start: little to pay for
        nn.init.zeros_(self.out.bias)

    def forward(self, images: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        features = self.body.features(images)
        with torch.autocast(features.device.type, enabled=False):
            mean, log_variance = self.out(self.input(features.float(), label)).chunk(2, dim=1)
        return mean, log_variance
