"""DCGAN (Radford et al. 2016), section 3, for images of any size.

Strided convolutions instead of pooling, batch normalisation and ReLU in the generator, leaky ReLU in the
discriminator, weights from N(0, 0.02²). Odd sizes come out exactly: the generator crops the row or column that
doubling made too many, the discriminator adds one of zeros before halving.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad, relu

from adverb.errors import UserError
from adverb.gan.networks.common import (
    SLOPE,
    CaptionMap,
    LatentInput,
    ProjectionHead,
    add_spectral_norm,
    check_widths,
    stage_sizes,
)

Norm = Literal["batch"] | None


def _grids(image_size: tuple[int, int]) -> list[tuple[int, int]]:
    grids = stage_sizes(image_size)
    if len(grids) < 2:
        raise UserError(
            f"dcgan needs images of at least 7×7 pixels, not {image_size[0]}×{image_size[1]}.\n"
            "Use larger images (data.size) or model.network=mlp."
        )
    return grids


def _norm(norm: Norm, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-5) if norm == "batch" else nn.Identity()


def _dcgan_init(module: nn.Module) -> None:
    of_captions = {part for layer in module.modules() if isinstance(layer, CaptionMap) for part in layer.modules()}
    for layer in module.modules():
        if layer in of_captions:
            continue  # has a start of its own
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, mean=1.0, std=0.02)


class _Double(nn.Module):
    """[N, in, h, w] -> [N, out, *size], size being twice (h, w) or one less."""

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int], upsample: str, bias: bool):
        super().__init__()
        self.size = size
        self.upsample = upsample
        if upsample == "transposed":
            self.conv = nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=bias)
        else:
            self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.upsample == "nearest":
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        height, width = self.size
        return self.conv(x)[:, :, :height, :width]


class DcganGenerator(nn.Module):
    """latent [N, Z] (and label [N] int64 with classes, [N, E] with captions) -> images [N, C, H, W] float32 in [-1, 1].

    widths: channels of every grid of `stage_sizes` but the image's own, coarsest first.
    upsample: "transposed", 4×4 with stride 2 as in the paper, or "nearest", copied pixels and a 3×3 convolution
        (Odena et al. 2016: no checkerboard).
    norm: "batch" as in the paper, or None.
    Z = 64, (256, 128, 64), 28×28 grey: 919,425 parameters.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        channels: int,
        latent_size: int,
        widths: Sequence[int] = (256, 128, 64),
        classes: int = 0,
        caption_size: int = 0,
        upsample: Literal["transposed", "nearest"] = "transposed",
        norm: Norm = "batch",
    ):
        super().__init__()
        coarsest, *finer = _grids(image_size)
        widths = check_widths(widths, [coarsest, *finer[:-1]], "dcgan")
        self.grid = (widths[0], *coarsest)
        bias = norm is None  # batch normalisation subtracts it again
        self.input = LatentInput(latent_size, classes, caption_size)
        self.project = nn.Linear(self.input.out_features, widths[0] * coarsest[0] * coarsest[1], bias=bias)
        self.norms = nn.ModuleList(_norm(norm, width) for width in widths)
        self.doubles = nn.ModuleList(
            _Double(narrow, wide, size, upsample, bias)
            for narrow, wide, size in zip(widths[:-1], widths[1:], finer[:-1], strict=True)
        )
        self.to_image = _Double(widths[-1], channels, finer[-1], upsample, bias=True)
        _dcgan_init(self)
        self.to(memory_format=torch.channels_last)  # the layout that convolutions in bfloat16 want

    def latent_map(self) -> Tensor:
        """[C·h·w, Z], the linear map that a latent goes through first, with the normalisation behind it."""
        weight, norm = self.project.weight[:, : self.input.latent_size], self.norms[0]
        if isinstance(norm, nn.BatchNorm2d):  # of a trained network, one factor a channel
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()  # [C]
            weight = weight * scale.repeat_interleave(len(weight) // len(scale))[:, None]
        return weight

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.project(self.input(latent, label)).unflatten(1, self.grid)  # [N, C·h·w] -> [N, C, h, w]
        x = relu(self.norms[0](x.contiguous(memory_format=torch.channels_last)))
        for double, norm in zip(self.doubles, self.norms[1:], strict=True):
            x = relu(norm(double(x)))
        return self.to_image(x).tanh().float()


class DcganDiscriminator(nn.Module):
    """images [N, C, H, W] (and label [N] int64 with classes, [N, E] with captions) -> logits [N] float32.

    widths: as the generator's, coarsest grid first.
    norm: None, so that every image is judged by itself and gradient penalties are sound, or "batch" as in the paper
        (not on the first layer); a batch of reals and a batch of fakes must then not be joined into one.
    (256, 128, 64), 28×28 grey: 660,929 parameters without, 661,697 with normalisation.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        channels: int,
        widths: Sequence[int] = (256, 128, 64),
        classes: int = 0,
        caption_size: int = 0,
        norm: Norm = None,
        spectral_norm: bool = False,
    ):
        super().__init__()
        grids = _grids(image_size)[:-1]
        widths = [channels, *reversed(check_widths(widths, grids, "dcgan"))]
        self.halves = nn.ModuleList(
            nn.Conv2d(narrow, wide, 4, stride=2, padding=1)
            for narrow, wide in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norms = nn.ModuleList(_norm(norm if i else None, width) for i, width in enumerate(widths[1:]))
        self.head = ProjectionHead(widths[-1] * grids[0][0] * grids[0][1], classes, caption_size)
        _dcgan_init(self)
        self.to(memory_format=torch.channels_last)
        if spectral_norm:
            add_spectral_norm(self)

    def features(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F], what the last linear layer sees."""
        x = images
        for half, norm in zip(self.halves, self.norms, strict=True):
            x = pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2)) if x.shape[2] % 2 or x.shape[3] % 2 else x
            x = leaky_relu(norm(half(x)), SLOPE)
        return x.flatten(1)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        return self.head(self.features(images), label)
