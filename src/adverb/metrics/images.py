"""Images in the forms that the judges take: real ones as read, generated ones as a file would hold them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# uint8 [N, H, W, C], or float [N, C, H, W] in [-1, 1]; C: 1 grey, 3 RGB, 4 RGBA, of uint8 with straight alpha, as files
# have it, of floats with premultiplied alpha, as networks see and draw it
Images = np.ndarray | Tensor


def as_float(images: Images) -> Tensor:
    """Either form to float32 [N, C, H, W] in [-1, 1] (-1 is black): what networks see, judges and others.

    Floats are first clamped and rounded to the 256 levels of an image file: real images are on those levels, and a
    judge must not tell generated ones apart by what no file would keep (Parmar et al. 2022). NaN stays NaN.
    Colours are multiplied by the opacity of RGBA images (Porter & Duff 1984): those of transparent pixels, which are
    not seen and may be anything, are then 0, and an edge has no hidden seam that would have to be drawn too.
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.ascontiguousarray(images))
        if images.dtype != torch.uint8:
            raise ValueError(f"expected uint8 [N, H, W, C]; this is {images.dtype} {list(images.shape)}")
    straight = images.dtype == torch.uint8
    if straight:
        if images.ndim != 4:
            raise ValueError(f"expected uint8 [N, H, W, C]; this is {images.dtype} {list(images.shape)}")
        levels = images.permute(0, 3, 1, 2).float()
    else:
        if not images.is_floating_point() or images.ndim != 4:
            raise ValueError(f"expected float [N, C, H, W] in [-1, 1]; this is {images.dtype} {list(images.shape)}")
        levels = ((images.float() + 1) * 127.5).clamp(0, 255).round()
    if levels.shape[1] not in (1, 3, 4):
        raise ValueError(f"expected 1, 3 or 4 channels (grey, RGB, RGBA); these have {levels.shape[1]}")
    if levels.shape[1] == 4 and straight:
        levels = torch.cat([levels[:, :3] * (levels[:, 3:] / 255), levels[:, 3:]], dim=1)
    return levels / 127.5 - 1


def as_rgb(images: Tensor) -> Tensor:
    """What `as_float` returns to RGB [N, 3, H, W]: grey is repeated, RGBA is laid on white."""
    channels = images.shape[1]
    if channels == 1:
        return images.expand(-1, 3, -1, -1)
    return images if channels == 3 else images[:, :3] + (1 - images[:, 3:])  # [-1, 1]: premultiplied + 2 (1 - opacity)
