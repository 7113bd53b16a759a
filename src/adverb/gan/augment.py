"""Augmentation for little data: what the discriminator sees, of real and of generated images alike.

The transformations are DiffAugment's (Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN
training"): colour, translation, cutout. Each is differentiable, twice, so that the generator learns through it, and
acts on every image by itself. How often they are applied follows ADA (Karras et al. 2020, "Training generative
adversarial networks with limited data"): with a probability p that rises while the discriminator overfits.
"""

from __future__ import annotations

import torch
from torch import Tensor

NUMBERS = 10  # random numbers that an image's augmentation takes
BRIGHTNESS = 0.5  # largest shift of all pixels, of a range of 2
CONTRAST = 0.5  # largest change of the distance from the image's mean
TRANSLATION = 1 / 8  # of the image's side
CUTOUT = 1 / 2  # of the image's side
MOST = 0.8  # beyond, generated images begin to look augmented (Karras et al. 2020, §2.2)
STEP = 0.05  # of p, a look


def next_p(p: float, overfitting: float, target: float) -> float:
    """ADA's control: p goes up a step while the discriminator overfits more than `target`, down while less (§3)."""
    return min(max(p + (STEP if overfitting > target else -STEP), 0.0), MOST)


def augment(images: Tensor, numbers: Tensor, p: float) -> Tensor:
    """Colour, translation and cutout, each applied to each image with probability p.

    images: float32 [N, C, H, W] in about [-1, 1]; gradients flow back to them, and a second time.
    numbers: [N, NUMBERS], uniform on [0, 1), other ones in every call.
    p: in [0, 1]; 1 is DiffAugment.
    """
    applied = (numbers[:, :3] < p).float()  # [N, 3]
    amount = numbers[:, 3:]  # [N, 7]
    images = _colour(images, applied[:, 0], amount[:, :3])
    images = _translation(images, applied[:, 1], amount[:, 3:5])
    return _cutout(images, applied[:, 2], amount[:, 5:])


def _colour(images: Tensor, applied: Tensor, amount: Tensor) -> Tensor:
    """Brightness, saturation (0 to 2 times) and contrast; an alpha channel is left as it is."""
    brightness, saturation, contrast = ((amount - 0.5) * applied[:, None]).T.reshape(3, -1, 1, 1, 1)  # ±0.5, or 0
    colour = images[:, :3] if images.shape[1] == 4 else images
    if colour.shape[1] == 3:
        grey = colour.mean(1, keepdim=True)
        colour = grey + (1 + 2 * saturation) * (colour - grey)
    mean = colour.mean((1, 2, 3), keepdim=True)
    colour = mean + (1 + 2 * CONTRAST * contrast) * (colour - mean) + 2 * BRIGHTNESS * brightness
    return torch.cat([colour, images[:, 3:]], dim=1) if images.shape[1] == 4 else colour


def _translation(images: Tensor, applied: Tensor, amount: Tensor) -> Tensor:
    """Whole pixels up to an eighth of the side; the edge is repeated where nothing moves in."""
    n, channels, height, width = images.shape
    rows, columns = (
        (torch.arange(side, device=images.device) + shift[:, None]).clamp(0, side - 1)  # [N, side]
        for side, shift in (
            (height, _whole(amount[:, 0], height, applied)),
            (width, _whole(amount[:, 1], width, applied)),
        )
    )
    source = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # [N, H·W]
    # one gather of flat pixels: a third of the time of indexing on a CPU, and its gradients are scatters and gathers
    moved = images.flatten(2).gather(2, source[:, None].expand(-1, channels, -1))
    return moved.reshape(images.shape).contiguous(memory_format=torch.channels_last)


def _whole(amount: Tensor, side: int, applied: Tensor) -> Tensor:
    """Uniform on the whole numbers from -side/8 to side/8 (at least ±1), or 0 where not applied; int64 [N]."""
    most = max(1, round(side * TRANSLATION))
    return ((amount * (2 * most + 1)).floor() - most).mul(applied).long()


def _cutout(images: Tensor, applied: Tensor, amount: Tensor) -> Tensor:
    """A rectangle of half the sides, its centre anywhere in the image, becomes mid-grey."""
    inside = applied[:, None, None] > 0  # [N, 1, 1]
    for axis, side in ((1, images.shape[2]), (2, images.shape[3])):
        size = round(side * CUTOUT)
        start = (amount[:, axis - 1] * side).floor() - size // 2  # [N]
        pixel = torch.arange(side, device=images.device) - start[:, None]  # [N, side]
        inside = inside & ((pixel >= 0) & (pixel < size)).unsqueeze(3 - axis)
    return images * (~inside)[:, None]
