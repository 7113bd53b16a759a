"""The DCGAN script that well-known GAN collections share, as the peer to measure against.

Written anew after its description: networks of upsample + 3×3 convolutions with BatchNorm (the collections pass 0.8
where the argument is eps), dropout in the discriminator, sigmoid + binary cross-entropy, Adam 2e-4 with betas
(0.5, 0.999), batch 64, latents of 100, a DataLoader that resizes and normalises each image as it is read.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

LATENT, SIZE, BATCH = 100, 32, 64


class Digits(Dataset):
    """Images as files are read by such scripts: PIL, resize, to tensor, normalise, one at a time."""

    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> torch.Tensor:
        image = Image.fromarray(self.images[i]).resize((SIZE, SIZE), Image.BILINEAR)
        return (torch.from_numpy(np.array(image)).float().div(255).unsqueeze(0) - 0.5) / 0.5


class PlainGenerator(nn.Module):
    def __init__(self, eps: float):
        super().__init__()
        self.start = nn.Linear(LATENT, 128 * (SIZE // 4) ** 2)
        self.body = nn.Sequential(
            nn.BatchNorm2d(128),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 128, 3, padding=1),
            nn.BatchNorm2d(128, eps),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(128, 64, 3, padding=1),
            nn.BatchNorm2d(64, eps),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(64, 1, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return self.body(self.start(latent).view(len(latent), 128, SIZE // 4, SIZE // 4))


class PlainDiscriminator(nn.Module):
    """forward gives logits; the script's sigmoid stands in its loss."""

    def __init__(self, eps: float):
        super().__init__()

        def block(inputs: int, outputs: int, norm: bool = True) -> list[nn.Module]:
            layers = [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Dropout2d(0.25)]
            return layers + ([nn.BatchNorm2d(outputs, eps)] if norm else [])

        self.body = nn.Sequential(*block(1, 16, norm=False), *block(16, 32), *block(32, 64), *block(64, 128))
        self.head = nn.Linear(128 * (SIZE // 16) ** 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(images).flatten(1))


def initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


class PlainLoop:
    """`train(seconds)` runs the script's loop for so long and returns images per second."""

    def __init__(self, images: np.ndarray, eps: float = 0.8, seed: int = 0):
        torch.manual_seed(seed)
        self.generator, self.discriminator = PlainGenerator(eps), PlainDiscriminator(eps)
        self.generator.apply(initialise)
        self.discriminator.apply(initialise)
        self.optimizer_g, self.optimizer_d = (
            torch.optim.Adam(n.parameters(), lr=2e-4, betas=(0.5, 0.999)) for n in (self.generator, self.discriminator)
        )
        self.loader = DataLoader(Digits(images), batch_size=BATCH, shuffle=True)
        self.loss = nn.BCELoss()

    def train(self, seconds: float) -> float:
        seen, start = 0, time.perf_counter()
        while True:
            for real in self.loader:
                valid, fake = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                self.optimizer_g.zero_grad()
                images = self.generator(torch.randn(len(real), LATENT))
                self.loss(self.discriminator(images).sigmoid(), valid).backward()
                self.optimizer_g.step()
                self.optimizer_d.zero_grad()
                loss_real = self.loss(self.discriminator(real).sigmoid(), valid)
                loss_fake = self.loss(self.discriminator(images.detach()).sigmoid(), fake)
                ((loss_real + loss_fake) / 2).backward()
                self.optimizer_d.step()
                seen += len(real)
                elapsed = time.perf_counter() - start
                if elapsed > seconds:
                    return seen / elapsed

    @torch.no_grad()
    def generate(self, n: int, *, seed: int = 0, with_labels: bool = False):
        """uint8 [n, 32, 32, 1], drawn as the script draws its pictures: with the batch's own statistics."""
        from adverb.data.grid import as_pixels

        latent = torch.randn(n, LATENT, generator=torch.Generator().manual_seed(seed))
        images = np.concatenate([as_pixels(self.generator(z)) for z in latent.split(250)])
        return (images, None) if with_labels else images
