"""What is measured, now and then, of a GAN in training: `Probe`. What it means says `adverb.gan.health`.

A look costs a few batches' forward passes and one backward pass to the images. It reads the networks as they stand,
changes nothing, and is given its noise, so that the training is the same with it as without, but for what it steers:
adaptive augmentation and the remedies. docs/health.md says what every signal means, and where it comes from.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from adverb.data.image_set import ImageSet
from adverb.data.order import epoch_order
from adverb.gan.losses import GanLoss
from adverb.metrics.images import Images, as_float
from adverb.metrics.modes import class_shares
from adverb.metrics.neighbours import nearest

SAMPLES = 256  # generated images of a look, and real ones beside them
JUDGED = 128  # of either, those that the discriminator judges
REFERENCE = 2048  # training images among which copies are looked for
FEWEST = 64  # images from which on some are held out
SIDE = 8  # pixels a side of the thumbnails in which images are compared
NEIGHBOURS = 5  # of coverage (Naeem et al. 2020)
LabelOf = Callable[[ImageSet, np.ndarray], Tensor | None]
EXPECTED = 8  # samples of a class that a look expects, for its absence to mean something
RARE = 0.1  # of what is expected: a class drawn less often counts as missing, as a few samples are always misplaced


def set_aside(data: ImageSet) -> tuple[ImageSet, ImageSet | None]:
    """(what is trained on, what is held out to see overfitting): a twentieth, from 8 to 256 images.

    Below FEWEST images none are held out: each is worth more to the training.
    """
    if len(data) < FEWEST:
        return data, None
    return data.split(min(max(len(data) // 20, 8), 256) / len(data))


def thumbnails(images: Images) -> Tensor:
    """Images (uint8 array [N, H, W, C] or float tensor [N, C, H, W]) averaged down to 8×8: float32 [N, D], on the CPU.

    A cheap space in which near is alike: what digits, faces or emoji differ in survives, the noise of pixels not.
    """
    small = as_float(images)
    return adaptive_avg_pool2d(small, tuple(min(SIDE, side) for side in small.shape[2:])).flatten(1).cpu()


class Probe:
    """Some images that stay the same over a run, and what every look measures against them.

    train, held_out: what `set_aside` returned, with two different images at least. label_of: (one of them, rows) ->
    what the networks take as the labels of these images, or None. mirrored: whether training mirrors images, so that a
    mirrored copy is a copy.
    """

    def __init__(
        self,
        train: ImageSet,
        held_out: ImageSet | None,
        label_of: LabelOf,
        device: torch.device,
        mirrored: bool = False,
    ):
        self.mirrored = mirrored
        order = epoch_order(len(train), 0, 0)
        rows = np.sort(order[:REFERENCE])
        _, unique = np.unique(train.hashes[rows], return_index=True)
        rows = rows[np.sort(unique)]  # an image that occurs twice can't be nearer to a copy than the next one is
        self.reference = thumbnails(train.batch(rows))
        self.reference_labels = None if train.labels is None else torch.from_numpy(train.labels[rows])
        self.shares = (
            None if train.labels is None else class_shares(torch.from_numpy(train.labels), len(train.label_names))
        )
        self.real, self.label = _some(train, order[:SAMPLES], label_of, device)
        self.held_out = None
        if held_out is not None:
            seen = epoch_order(len(held_out), 0, 0)[:JUDGED]  # of all classes, as they are stored one after the other
            self.held_out = _some(held_out, seen, label_of, device)

        own = thumbnails(train.batch(order[:SAMPLES]))
        self.own = own
        near = nearest(own, own, min(NEIGHBOURS, len(own) - 1) + 1)[0]  # column 0 is the image itself
        self.spacing, self.radius = near[:, 1].median(), near[:, -1]
        others = nearest(own, self.reference, min(3, len(self.reference)))[0]
        self.distance = others[:, 1].median()
        self.copies_floor = _copied(others[:, 1:]).double().mean()

    def __call__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: GanLoss,
        latent: Tensor,
        augment: Callable[[Tensor], Tensor],
    ) -> dict[str, float]:
        """All signals of the networks as they stand: their weights and statistics are the same afterwards.

        latent: [N, Z], of as many samples, which take the real images' labels. augment: what the discriminator's
        images go through in training.
        """
        label = None
        if self.label is not None:
            label = self.label[torch.arange(len(latent), device=latent.device) % len(self.label)]
        with _untouched(generator, discriminator):
            with torch.no_grad():
                fake = generator(latent, label).float()
            return self.logits(discriminator, loss, augment, fake, label) | self.diversity(fake)

    def logits(
        self,
        discriminator: nn.Module,
        loss: GanLoss,
        augment: Callable[[Tensor], Tensor],
        fake: Tensor,
        label: Tensor | None,
    ) -> dict[str, float]:
        """How the discriminator tells apart what it trains on, what it has never seen, and what is generated.

        fake [N, C, H, W], label [N] or None.
        """
        n = min(JUDGED, len(self.real), len(fake))
        first = None if label is None else label[:n]
        fake = fake[:n].detach().requires_grad_()
        with torch.enable_grad():
            fake_logits = discriminator(augment(fake), first).float()
            with torch.no_grad():
                real_logits = discriminator(augment(_floats(self.real[:n])), first).float()
            lost = loss.generator(real_logits, fake_logits)
            (slope,) = torch.autograd.grad(n * lost, fake)  # of the loss of each image, not of their mean
        fake_logits = fake_logits.detach()
        unsure = torch.full_like(real_logits, loss.unsure)
        chance = loss.discriminator(unsure, unsure).item()
        gap = real_logits.mean() - fake_logits.mean()
        signals = {
            # the loss that a change of all pixels by 1 could win: the norm alone means less, the larger the images
            "gradient": slope.flatten(1).float().norm(dim=1).mean() * math.sqrt(slope[0].numel()),
            "gap": gap,
            "accuracy_train": _above(real_logits, fake_logits),
        }
        if chance > 0:  # a Wasserstein critic has no value at which it is undecided
            signals["undecided"] = loss.discriminator(real_logits, fake_logits) / chance
        if self.held_out is not None:
            images, unseen = self.held_out
            with torch.no_grad():
                held_logits = discriminator(augment(_floats(images)), unseen).float()
            noise = real_logits.var() / len(real_logits) + held_logits.var() / len(held_logits)
            signals |= {
                "accuracy_held_out": _above(held_logits, fake_logits),
                "memory": real_logits.mean() - held_logits.mean(),
                "memory_se": noise.sqrt(),
            }
        return {name: float(value) for name, value in signals.items()}

    def diversity(self, fake: Tensor) -> dict[str, float]:
        """How samples [N, C, H, W] lie among themselves and among the real images."""
        beyond = fake - fake.clamp(-1, 1)
        signals = {"overshoot": beyond.square().mean().sqrt()}
        if not math.isfinite(signals["overshoot"]):
            return {"overshoot": math.inf}
        made = thumbnails(fake)
        alike = made[: len(self.own)]  # the more there are, the nearer is the next
        to_train, where = nearest(made, self.reference, 2)
        copied = _copied(to_train)
        if self.mirrored:
            copied |= _copied(nearest(thumbnails(fake.flip(3)), self.reference, 2)[0])
        signals |= {
            "variety": nearest(alike, alike, 2)[0][:, 1].median() / self.spacing,
            "distance": to_train[:, 0].median() / self.distance,
            "coverage": (nearest(self.own, made)[0][:, 0] <= self.radius).double().mean(),
            "copies": copied.double().mean(),
            "copies_floor": self.copies_floor,
        }
        if self.shares is not None:
            made_shares = class_shares(self.reference_labels[where[:, 0]], len(self.shares))
            expected = self.shares * len(fake) >= EXPECTED
            signals["missing"] = self.shares[expected & (made_shares < self.shares * RARE)].sum()
        return {name: float(value) for name, value in signals.items()}


@contextlib.contextmanager
def _untouched(*networks: nn.Module) -> Iterator[None]:
    """Networks look at images as they do in training; what they note of them on the way is undone at the end.

    Batch normalisation keeps statistics, spectral normalisation its singular vectors.
    """
    kept = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, old in kept:
                buffer.copy_(old)


def _some(data: ImageSet, rows: np.ndarray, label_of: LabelOf, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """uint8 [N, H, W, C] and int64 [N]: a quarter of the memory that floats would keep for the whole run."""
    label = label_of(data, rows)
    return torch.from_numpy(data.batch(rows)).to(device), None if label is None else label.to(device)


def _floats(images: Tensor) -> Tensor:
    """As training shows them: float32 [N, C, H, W] in [-1, 1], RGBA with premultiplied alpha."""
    return as_float(images).contiguous(memory_format=torch.channels_last)


def _above(real: Tensor, fake: Tensor) -> Tensor:
    """The share of all pairs in which the real image scores higher, ties half: 0.5 is a guess, whatever the scale."""
    difference = real[:, None] - fake
    return ((difference > 0).float() + 0.5 * (difference == 0).float()).mean()


def _copied(distances: Tensor) -> Tensor:
    """Which samples are three times nearer to one training image than to any other: [N, 2], ascending, to bool [N].

    Such a sample is a copy, not a relative (Yoon et al. 2023, "Diffusion probabilistic models generalize when they
    fail to memorize"). None is, where there is no other.
    """
    return distances[:, 0] < distances[:, -1] / 3
