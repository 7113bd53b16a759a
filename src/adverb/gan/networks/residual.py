"""Residual networks without normalisation, after R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN!").

Generator and discriminator are each other's mirror: the same blocks on the same grids, coarse to fine in one, fine
to coarse in the other, and between two grids a bilinear resampling and a 1×1 convolution. The generator starts with
a linear map from the latent to the coarsest grid, as DCGAN's does; the discriminator ends by weighing that grid. No
style modulation, no noise inputs, no minibatch tricks, no normalisation: the initialisation (Zhang et al. 2019,
Fixup) does what normalisation was for.

R3GAN's own start, one learned picture whose channels the latent scales, gives the latent so little to say that in
short runs the images of a class were alike: recall 0.02 against 0.40 on MNIST, after the same minutes.

Inside, activations are [N, H, W, C]: a 1×1 convolution is then a matrix product, resampling is two of them (both
have cheap second derivatives), and the one true convolution sees the `channels_last` layout that it wants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad, pixel_shuffle, pixel_unshuffle
from torch.nn.utils import parametrizations

from adverb.errors import UserError
from adverb.gan.networks.common import (
    SLOPE,
    LatentInput,
    ProjectionHead,
    add_spectral_norm,
    check_widths,
    leaky_init_,
    stage_sizes,
)

LAYERS_PER_BLOCK = 3  # Fixup's m


def bilinear_matrix(size_in: int, size_out: int) -> Tensor:
    """The [size_out, size_in] float32 matrix that resamples a line of pixels.

    Linear interpolation when enlarging, the same triangle stretched over the source when reducing; rows sum to 1.
    For a factor of 2 these are the binomial filter (1, 3, 3, 1): no aliasing, and exact for odd sizes too, where
    the pixel centres of both grids simply do not line up.
    """
    ratio = size_in / size_out
    reach = max(ratio, 1.0)  # half the triangle's base, in source pixels
    centre = (torch.arange(size_out, dtype=torch.float64) + 0.5) * ratio
    source = torch.arange(size_in, dtype=torch.float64) + 0.5
    weight = (1 - (centre[:, None] - source).abs() / reach).clamp(min=0)
    return (weight / weight.sum(1, keepdim=True)).float()


class Resample(nn.Module):
    """[N, H, W, C] from one grid to another, bilinear and anti-aliased."""

    def __init__(self, size_in: tuple[int, int], size_out: tuple[int, int]):
        super().__init__()
        self.register_buffer("rows", bilinear_matrix(size_in[0], size_out[0]), persistent=False)
        self.register_buffer("columns", bilinear_matrix(size_in[1], size_out[1]), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n, _, width, channels = x.shape
        rows, columns = self.rows.to(x.dtype), self.columns.to(x.dtype)
        x = torch.bmm(rows.expand(n, -1, -1), x.flatten(2))  # [N, H, W·C] -> [N, H', W·C]
        x = x.reshape(-1, width, channels)  # [N·H', W, C]
        x = torch.bmm(columns.expand(x.shape[0], -1, -1), x)  # [N·H', W', C]
        return x.reshape(n, len(rows), len(columns), channels)


class Block(nn.Module):
    """x + 1×1(leaky(grouped 3×3(leaky(1×1(x))))): [N, H, W, C] -> the same.

    The inverted bottleneck: the 3×3 convolution is wide and, being grouped, cheap; the residual stream is narrow.
    Both activations follow a bias; nothing stands on the stream itself.

    Fixup: the last layer starts at zero, so that the block starts as the identity, and the others are scaled by
    L^(-1 / (2m - 2)), L being the blocks of the whole network and m their layers. zero_last=False starts the last
    layer as the others, for spectral normalisation, which would divide zero by zero and undoes any scale.
    """

    def __init__(self, width: int, expansion: int, group_width: int, depth: int, zero_last: bool):
        super().__init__()
        wide = width * expansion
        if wide % group_width and wide > group_width:
            raise UserError(
                f"A stage of width {width} expands to {wide} channels, which groups of {group_width} do not divide.\n"
                f"Choose model.widths in multiples of {group_width}, or another model.group_width."
            )
        self.expand = nn.Linear(width, wide)
        self.conv = nn.Conv2d(wide, wide, 3, padding=1, groups=max(wide // group_width, 1))
        self.contract = nn.Linear(wide, width, bias=False)
        scale = depth ** (-1 / (2 * LAYERS_PER_BLOCK - 2))
        leaky_init_(self.expand.weight, scale)
        leaky_init_(self.conv.weight, scale)
        nn.init.zeros_(self.expand.bias)
        nn.init.zeros_(self.conv.bias)
        if zero_last:
            nn.init.zeros_(self.contract.weight)
        else:
            leaky_init_(self.contract.weight, scale, leaky=False)

    def forward(self, x: Tensor) -> Tensor:
        y = leaky_relu(self.expand(x), SLOPE)  # [N, H, W, wide]
        y = self.conv(y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # the permutes are views: channels_last
        return x + self.contract(leaky_relu(y, SLOPE))


def _pointwise(in_features: int, out_features: int, bias: bool) -> nn.Linear:
    """A 1×1 convolution that nothing activates: keeps the variance."""
    layer = nn.Linear(in_features, out_features, bias=bias)
    leaky_init_(layer.weight, leaky=False)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Transition(nn.Module):
    """From one grid and width to the next: [N, H, W, C] -> [N, H', W', C'].

    A resampling and a 1×1 convolution (none where the widths agree). They commute; the convolution stands on the
    smaller grid.
    """

    def __init__(self, size_in: tuple[int, int], size_out: tuple[int, int], width_in: int, width_out: int):
        super().__init__()
        self.enlarges = size_out > size_in
        self.resample = Resample(size_in, size_out)
        self.mix = _pointwise(width_in, width_out, bias=False) if width_in != width_out else None

    def forward(self, x: Tensor) -> Tensor:
        if self.mix is None:
            return self.resample(x)
        return self.resample(self.mix(x)) if self.enlarges else self.mix(self.resample(x))


class Stage(nn.Module):
    """A transition onto the grid, unless it is the first, and the blocks there: [N, H, W, C] -> [N, H', W', C']."""

    def __init__(self, transition: Transition | None, blocks: list[Block]):
        super().__init__()
        self.transition = transition
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        if self.transition is not None:
            x = self.transition(x)
        for block in self.blocks:
            x = block(x)
        return x


def _stages(
    sizes: list[tuple[int, int]], widths: list[int], blocks: int, expansion: int, group_width: int, zero_last: bool
) -> nn.ModuleList:
    """One stage per grid, in the order given."""
    stages = nn.ModuleList()
    depth = blocks * len(sizes)
    for i, (size, width) in enumerate(zip(sizes, widths, strict=True)):
        transition = Transition(sizes[i - 1], size, widths[i - 1], width) if i else None
        stages.append(
            Stage(transition, [Block(width, expansion, group_width, depth, zero_last) for _ in range(blocks)])
        )
    return stages


class GridSum(nn.Module):
    """Every channel summed over the grid with weights of its own: [N, h, w, C] -> [N, C].

    A depthwise convolution as large as its input; written as a sum, its derivatives are cheap.
    """

    def __init__(self, size: tuple[int, int], width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*size, width) * (size[0] * size[1]) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).sum((1, 2))


def patched_stage_sizes(image_size: tuple[int, int], patch: int) -> list[tuple[int, int]]:
    """The grids of `stage_sizes`, the finest of which has one cell per patch of pixels."""
    return stage_sizes(tuple(-(-side // patch) for side in image_size))


class ResidualGenerator(nn.Module):
    """latent [N, Z] (and label [N] int64 with classes, [N, E] with captions) -> images [N, C, H, W] float32.

    Linear at the end, no tanh: images are in about [-1, 1] because the data are, and may overshoot; clamp to show.

    widths: channels of every grid of `stage_sizes`, coarsest first.
    blocks: residual blocks on every grid.
    group_width: channels in a group of the 3×3 convolutions (all in one group where there are fewer).
    expansion: of the channels inside a block.
    patch: side of the square of pixels that the finest grid draws at once, as a vision transformer reads patches;
        2 leaves a quarter of the work, since the finest grid is most of it.
    Z = 64, (128, 128, 64, 32), 28×28 grey: 397,729 parameters.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        channels: int,
        latent_size: int,
        widths: Sequence[int],
        blocks: int = 1,
        group_width: int = 16,
        expansion: int = 2,
        patch: int = 1,
        classes: int = 0,
        caption_size: int = 0,
    ):
        super().__init__()
        sizes = patched_stage_sizes(image_size, patch)
        widths = check_widths(widths, sizes, "residual")
        self.image_size, self.patch = image_size, patch
        self.input = LatentInput(latent_size, classes, caption_size)
        self.grid = (*sizes[0], widths[0])
        self.start = _pointwise(self.input.out_features, math.prod(self.grid), bias=True)
        self.stages = _stages(sizes, widths, blocks, expansion, group_width, zero_last=True)
        self.to_image = _pointwise(widths[-1], channels * patch**2, bias=True)

    def latent_map(self) -> Tensor:
        """[h·w·C, Z], the linear map that a latent goes through first."""
        return self.start.weight[:, : self.input.latent_size]

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.start(self.input(latent, label)).unflatten(1, self.grid)  # [N, h, w, C]
        for stage in self.stages:
            x = stage(x)
        images = pixel_shuffle(self.to_image(x).permute(0, 3, 1, 2), self.patch)  # [N, C·p², h, w] -> [N, C, h·p, w·p]
        height, width = self.image_size
        return images[:, :, :height, :width].float()  # [N, C, H, W]


class ResidualDiscriminator(nn.Module):
    """images [N, C, H, W] (and label [N] int64 with classes, [N, E] with captions) -> logits [N] float32.

    Arguments as the generator's, so that both are given the same. spectral_norm: of every weight (Miyato et al.
    2018), for the hinge loss; no Fixup then. (128, 128, 64, 32), 28×28 grey: 266,817 parameters.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        channels: int,
        widths: Sequence[int],
        blocks: int = 1,
        group_width: int = 16,
        expansion: int = 2,
        patch: int = 1,
        classes: int = 0,
        caption_size: int = 0,
        spectral_norm: bool = False,
    ):
        super().__init__()
        sizes = patched_stage_sizes(image_size, patch)
        widths = check_widths(widths, sizes, "residual")
        self.patch = patch
        self.from_image = _pointwise(channels * patch**2, widths[-1], bias=True)
        self.stages = _stages(sizes[::-1], widths[::-1], blocks, expansion, group_width, zero_last=not spectral_norm)
        self.grid_sum = GridSum(sizes[0], widths[0])
        self.head = ProjectionHead(widths[0], classes, caption_size)
        if spectral_norm:
            add_spectral_norm(self)
            parametrizations.spectral_norm(self.grid_sum, dim=2)  # as the matrix [C, h · w]

    def features(self, images: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, F], what the last linear layer sees."""
        below, right = (-size % self.patch for size in images.shape[2:])
        if below or right:  # the last patches are filled up with black
            images = pad(images, (0, right, 0, below))
        patches = pixel_unshuffle(images, self.patch)  # [N, C, H, W] -> [N, C·p², h, w]
        x = self.from_image(patches.permute(0, 2, 3, 1))  # [N, h, w, C]
        for stage in self.stages:
            x = stage(x)
        return self.grid_sum(x)

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        return self.head(self.features(images), label)
