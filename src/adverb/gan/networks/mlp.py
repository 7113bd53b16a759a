"""The smallest GAN: fully connected on both sides, the textbook example (Goodfellow et al. 2014, section 5).

With the details that later proved to matter: leaky ReLU everywhere (a dead unit in the discriminator is a hole in
the generator's gradient), a tanh onto the images' range, no batch normalisation in the discriminator, no sigmoid at
its end (the losses take logits).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from adverb.gan.networks.common import SLOPE, LatentInput, ProjectionHead, add_spectral_norm, leaky_init_


class _Hidden(nn.Module):
    """Linear layers, each followed by a leaky ReLU: [N, sizes[0]] -> [N, sizes[-1]]."""

    def __init__(self, sizes: Sequence[int]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        for layer in self.layers:
            leaky_init_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = leaky_relu(layer(x), SLOPE)
        return x


class MlpGenerator(nn.Module):
    """latent [N, Z] (and label [N] int64 with classes, [N, E] with captions) -> images [N, C, H, W] float32 in [-1, 1].

    widths: the hidden layers, from the latent to the image. Z = 64, (128,), 28×28 grey: 109,456 parameters.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        channels: int,
        latent_size: int,
        widths: Sequence[int] = (128,),
        classes: int = 0,
        caption_size: int = 0,
    ):
        super().__init__()
        self.image_shape = (channels, *image_size)
        self.input = LatentInput(latent_size, classes, caption_size)
        self.hidden = _Hidden([self.input.out_features, *widths])
        self.to_image = nn.Linear(widths[-1], math.prod(self.image_shape))
        leaky_init_(self.to_image.weight, leaky=False)  # pre-activations of variance 1 before the tanh, less the mean
        nn.init.zeros_(self.to_image.bias)

    def latent_map(self) -> Tensor:
        """[first hidden layer, Z], the linear map that a latent goes through first."""
        return self.hidden.layers[0].weight[:, : self.input.latent_size]

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        images = self.to_image(self.hidden(self.input(latent, label))).tanh()  # [N, C·H·W]
        return images.unflatten(1, self.image_shape).float()


class MlpDiscriminator(nn.Module):
    """images [N, C, H, W] (and label [N] int64 with classes, [N, E] with captions) -> logits [N] float32.

    widths: as the generator's, and taken from the last to the first. (128,), 28×28 grey: 100,609 parameters.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        channels: int,
        widths: Sequence[int] = (128,),
        classes: int = 0,
        caption_size: int = 0,
        spectral_norm: bool = False,
    ):
        super().__init__()
        widths = list(reversed(widths))
        self.hidden = _Hidden([channels * math.prod(image_size), *widths])
        self.head = ProjectionHead(widths[-1], classes, caption_size)
        if spectral_norm:
            add_spectral_norm(self)

    def features(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F], what the last linear layer sees."""
        return self.hidden(images.flatten(1))

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        return self.head(self.features(images), label)
