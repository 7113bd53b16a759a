"""The latent whose image is nearest to a given one, by descent on the latent, and on the label where there is one.

As Abdal et al. 2019 ("Image2StyleGAN") and Karras et al. 2020 (StyleGAN2, appendix D) project images, with the
distance in pixels and in the features of an untrained network, which needs no download and no discriminator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from adverb.data.decode import Unreadable, decode
from adverb.data.grid import as_pixels
from adverb.errors import UserError
from adverb.metrics.features import RandomFeatures
from adverb.metrics.images import as_float

if TYPE_CHECKING:
    from adverb.pipelines.generator import Generator

CANDIDATES = 256  # random images, the nearest of which are where to start, and whose distance is 1
LEARNING_RATE = 0.1
SURE = 4.0  # of a class, in logits, at the start


@dataclass
class Projection:
    """What came nearest to `target`, uint8 [H, W, C]: one row a restart, the nearest first."""

    target: np.ndarray
    latents: np.ndarray  # float32 [R, Z]
    classes: np.ndarray | None  # float32 [R, classes]: shares of the classes' embeddings, summing to 1
    images: np.ndarray  # uint8 [R, H, W, C]
    distances: np.ndarray  # float64 [R]; 0: equal, 1: as far as random images of the generator
    errors: np.ndarray  # float64 [R], root mean square over the pixels, of 255


def project(
    model: Generator, target: np.ndarray, *, restarts: int, steps: int, seed: int, label: str | int | None
) -> Projection:
    """See `Generator.project`. target: uint8 [H, W, C] in the generator's own size and channels."""
    if restarts < 1:
        raise UserError(f"restarts={restarts}: expected at least 1 descent")
    distance = Distance(target, model)
    labels = model.labels_for(CANDIDATES, seed, label)
    mixture = None if labels is None else torch.nn.functional.one_hot(torch.from_numpy(labels), len(model.label_names))
    latents = torch.from_numpy(model.latents(CANDIDATES, seed))
    start = distance.calibrate(latents, None if mixture is None else mixture.float()).argsort()[:restarts]
    latents = latents[start].to(model.device).requires_grad_()
    logits = None if mixture is None else (SURE * mixture[start].float()).to(model.device)
    free = [latents]
    if label is None and logits is not None:
        free.append(logits.requires_grad_())
    optimizer = torch.optim.Adam(free, betas=(0.9, 0.99))
    radius = math.sqrt(latents.shape[1])
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        classes = _shares(logits, fixed=label is not None)
        distance(blended(model, latents, classes)).sum().backward()
        optimizer.step()
        with torch.no_grad():  # beyond this radius there are no latents to speak of, and no images like the data
            latents *= (radius / latents.norm(dim=1, keepdim=True)).clamp(max=1)
    latents = latents.detach().cpu().numpy()
    classes = None if logits is None else _shares(logits.detach(), fixed=label is not None).cpu().numpy()
    images = draw_blended(model, latents, classes)
    shown = as_float(images).to(model.device)
    distances = distance(shown).double().cpu()
    order = distances.argsort().numpy()
    errors = (shown - distance.target).double().square().mean((1, 2, 3)).sqrt().cpu() * 127.5
    return Projection(
        target, latents[order], None if classes is None else classes[order], images[order],
        distances[order].numpy(), errors[order].numpy(),
    )  # fmt: skip


def read_image(image: str | Path | np.ndarray, size: tuple[int, int], channels: int) -> np.ndarray:
    """A file as training would see it, or an array that is so already: uint8 [H, W, C]. Raises UserError."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.shape != (*size, channels):
            wanted, got = (*size, channels), (image.dtype, image.shape)
            raise UserError(f"the image is {got[0]} {got[1]}, this generator draws uint8 {wanted}")
        return image
    try:
        return np.array(decode(Path(image), size, channels))  # writable
    except Unreadable as error:
        raise UserError(f"can't read {image}: {error}") from None


class Distance:
    """From images, float [N, C, H, W] in [-1, 1], to the target: [N], pixels and features in equal parts.

    Each part is the mean squared difference, over what it is for random images of the generator.
    """

    def __init__(self, target: np.ndarray, model: Generator):
        self.model = model
        self.target = as_float(target[None]).to(model.device)
        _, channels, height, width = self.target.shape
        self.features = RandomFeatures(channels, height, width).to(model.device)
        self.target_features = self.features(self.target)
        self.scales = (1.0, 1.0)

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor]:
        images = as_shown(images)
        pixels = (images - self.target).square().flatten(1).mean(1)
        return pixels, (self.features(images) - self.target_features).square().mean(1)

    def __call__(self, images: Tensor) -> Tensor:
        return sum(part / scale for part, scale in zip(self.parts(images), self.scales, strict=True)) / 2

    @torch.no_grad()
    def calibrate(self, latents: Tensor, classes: Tensor | None) -> Tensor:
        """Make 1 the mean distance of the images of these latents, and return theirs, [N]."""
        parts = []
        for i in range(0, len(latents), 64):
            rows = slice(i, i + 64)
            parts.append(torch.stack(self.parts(blended(self.model, latents[rows], _rows(classes, rows)))).cpu())
        parts = torch.cat(parts, dim=1)  # [2, N]
        self.scales = tuple(parts.mean(1).clamp(min=1e-12).tolist())
        return (parts / torch.tensor(self.scales)[:, None]).mean(0)


def as_shown(images: Tensor) -> Tensor:
    """Clipped to what a file can hold; gradients pass as if not, so that what is too bright can be made darker."""
    shown = images.clamp(-1, 1)
    if images.shape[1] == 4:  # premultiplied: no colour is above its opacity
        shown = torch.cat([shown[:, :3].minimum(shown[:, 3:]), shown[:, 3:]], dim=1)
    return images + (shown - images).detach()


def blended(model: Generator, latents: Tensor, classes: Tensor | None) -> Tensor:
    """The network's images [N, C, H, W] of latents [N, Z] and shares of classes [N, classes], with gradients.

    Every image has a label embedding of its own: the table of embeddings is replaced by one with a row for each.
    """
    latents = latents.to(model.device)
    if classes is None:
        return model.network(latents, None)
    table = classes.to(model.device) @ model.network.input.embedding.weight  # [N, Z]
    rows = torch.arange(len(latents), device=model.device)
    return functional_call(model.network, {"input.embedding.weight": table}, (latents, rows))


@torch.no_grad()
def draw_blended(model: Generator, latents: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    """`blended` as uint8 [N, H, W, C], of arrays."""
    latents, classes = torch.from_numpy(latents), None if classes is None else torch.from_numpy(classes)
    slices = (slice(i, i + model.at_once) for i in range(0, len(latents), model.at_once))
    return np.concatenate([as_pixels(blended(model, latents[rows], _rows(classes, rows))) for rows in slices])


def _rows(classes: Tensor | None, rows: slice) -> Tensor | None:
    return None if classes is None else classes[rows]


def _shares(logits: Tensor | None, fixed: bool) -> Tensor | None:
    """A class that is given is given wholly."""
    if logits is None:
        return None
    return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).float() if fixed else logits.softmax(1)
