"""Whether a GAN's training is healthy: what is measured now and then (`Probe`), and what it means (`Health`).

A look costs a few batches' forward passes and one backward pass to the images, every EVERY steps. It reads the
networks as they stand, changes nothing, and takes its noise from (seed, step), so that the training is the same
with it as without, but for what it steers: adaptive augmentation and the remedies. docs/health.md says what every
signal and threshold means, and where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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

EVERY = 100  # steps between two looks
SAMPLES = 256  # generated images of a look, and real ones beside them
JUDGED = 128  # of either, those that the discriminator judges
REFERENCE = 2048  # training images among which copies are looked for
FEWEST = 64  # images from which on some are held out
SIDE = 8  # pixels a side of the thumbnails in which images are compared
NEIGHBOURS = 5  # of coverage (Naeem et al. 2020)
EXPECTED = 8  # samples of a class that a look expects, for its absence to mean something

WORDS = ("healthy", "diverging", "vanishing", "saturating", "collapsing", "memorising", "overfitting")
IN_A_ROW = 3  # looks that must agree before a finding counts
AVERAGED = 0.75  # what an average over looks keeps of itself


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

    train, held_out: what `set_aside` returned. conditional: whether the networks take labels.
    """

    def __init__(self, train: ImageSet, held_out: ImageSet | None, conditional: bool, device: torch.device):
        order = epoch_order(len(train), 0, 0)
        rows = np.sort(order[:REFERENCE])
        _, unique = np.unique(train.hashes[rows], return_index=True)
        rows = rows[np.sort(unique)]  # an image that occurs twice can't be nearer to a copy than the next one is
        self.reference = thumbnails(train.batch(rows))
        self.reference_labels = None if train.labels is None else torch.from_numpy(train.labels[rows])
        self.shares = (
            None if train.labels is None else class_shares(torch.from_numpy(train.labels), len(train.label_names))
        )
        self.real, self.label = _some(train, order[:SAMPLES], conditional, device)
        self.held_out = None
        if held_out is not None:
            self.held_out = _some(held_out, np.arange(len(held_out))[:SAMPLES], conditional, device)

        own = thumbnails(train.batch(order[:SAMPLES]))
        self.own = own
        near = nearest(own, own, min(NEIGHBOURS, len(own) - 1) + 1)[0]  # column 0 is the image itself
        self.spacing, self.radius = near[:, 1].median(), near[:, -1]
        others = nearest(own, self.reference, min(3, len(self.reference)))[0]
        self.distance = others[:, 1].median()
        self.copies_floor = _copies(others[:, 1:])

    @torch.no_grad()
    def samples(self, generator: nn.Module, latent: Tensor) -> tuple[Tensor, Tensor | None]:
        """As many images as there are latents [N, Z], of the real images' labels: float32 [N, C, H, W], int64 [N]."""
        label = None
        if self.label is not None:
            label = self.label[torch.arange(len(latent), device=latent.device) % len(self.label)]
        return generator(latent, label).float(), label

    def logits(
        self,
        discriminator: nn.Module,
        loss: GanLoss,
        augment: Callable[[Tensor], Tensor],
        fake: Tensor,
        label: Tensor | None,
    ) -> dict[str, float]:
        """How the discriminator tells apart what it trains on, what it has never seen, and what is generated.

        augment: what the discriminator's images go through in training. fake [N, C, H, W], label [N] or None.
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
        chance = loss.discriminator(torch.zeros_like(real_logits), torch.zeros_like(fake_logits)).item()
        gap = real_logits.mean() - fake_logits.mean()
        signals = {
            "gradient": slope.flatten(1).float().norm(dim=1).mean(),
            "gap": gap,
            "accuracy_train": _above(real_logits, fake_logits),
        }
        if chance > 0:  # a Wasserstein critic has no value at which it is undecided
            signals["undecided"] = loss.discriminator(real_logits, fake_logits) / chance
        if self.held_out is not None:
            images, unseen = (None if x is None else x[:JUDGED] for x in self.held_out)
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
        to_train, where = nearest(made, self.reference, 2)
        signals |= {
            "variety": nearest(made, made, 2)[0][:, 1].median() / self.spacing,
            "distance": to_train[:, 0].median() / self.distance,
            "coverage": (nearest(self.own, made)[0][:, 0] <= self.radius).double().mean(),
            "copies": _copies(to_train),
        }
        if self.shares is not None:
            made_shares = class_shares(self.reference_labels[where[:, 0]], len(self.shares))
            expected = self.shares * len(fake) >= EXPECTED
            signals["missing"] = self.shares[expected & (made_shares == 0)].sum()
        return {name: float(value) for name, value in signals.items()}


@dataclass
class Health:
    """What the looks so far amount to. All of it is in `state`."""

    word: str = "healthy"
    early_gradient: float = 0.0  # the largest of the first looks
    looks: int = 0  # since the start, or since a remedy
    memory: float = 0.0  # averages over looks, of the logits' difference between training and held-out images,
    noise: float = 0.0  # of its standard error,
    gap: float = 0.0  # and of their difference between training and generated images
    in_a_row: dict[str, int] = field(default_factory=dict)  # finding -> looks in a row that show it

    @property
    def overfitting(self) -> float:
        """(E D(train) - E D(held out)) / (E D(train) - E D(generated)), from 0, none, to 1 (Karras et al. 2020, eq. 1).

        Averaged over some looks, and 0 while it is not told from noise: a discriminator that can't tell generated
        from real has a denominator near 0.
        """
        if self.memory <= 2 * self.noise or self.gap <= 0:
            return 0.0
        return min(self.memory / self.gap, 1.0)

    @property
    def suspicion(self) -> bool:
        """Whether the last look showed anything, though perhaps not yet often enough to say so."""
        return any(self.in_a_row.values())

    def judge(self, signals: dict[str, float], broken: bool = False) -> str:
        """Take in one look's signals, to which it adds what is known from several; returns the word for the run now.

        broken: the training's gradients have not been finite for some time.
        """
        self.looks += 1
        gradient = signals.get("gradient", math.nan)
        if self.looks <= IN_A_ROW and math.isfinite(gradient):
            self.early_gradient = max(self.early_gradient, gradient)
        if "memory" in signals:
            self._average(signals)
            signals["overfitting"] = self.overfitting
        signals["gradient_share"] = gradient / self.early_gradient if self.early_gradient else math.nan
        shown = findings(signals, broken)
        self.in_a_row = {name: self.in_a_row.get(name, 0) + 1 for name in shown}
        long_enough = [name for name, looks in self.in_a_row.items() if looks >= (1 if broken else IN_A_ROW)]
        self.word = min(long_enough, key=WORDS.index, default="healthy")
        return self.word

    def _average(self, signals: dict[str, float]) -> None:
        """Of Adam's kind: the first looks count in full, and old ones fade."""
        new = max(1 - AVERAGED, 1 / self.looks)
        self.memory += new * (signals["memory"] - self.memory)
        self.gap += new * (signals["gap"] - self.gap)
        self.noise += new * (signals["memory_se"] - self.noise)

    def forget(self) -> None:
        """Start anew, after a remedy: what was measured before was measured of another game."""
        self.__init__()

    def state(self) -> dict[str, Any]:
        return vars(self) | {"in_a_row": dict(self.in_a_row)}

    def load_state(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def findings(signals: dict[str, float], broken: bool = False) -> list[str]:
    """What one look's signals show, worst first; each must show IN_A_ROW times before it counts."""

    def at(name: str) -> float:
        return signals.get(name, math.nan)  # every comparison with NaN is false: what is not measured shows nothing

    unlike = at("distance") > 1.25  # samples are still further from the data than the data from itself
    # fmt: off
    shows = {
        "diverging": broken or at("overshoot") > 2 or not all(math.isfinite(v) for v in (at("gradient"), at("gap"))),
        "vanishing": unlike and (at("gradient") < 0.01 or at("gradient_share") < 0.01),
        "saturating": at("undecided") < 0.01,
        "collapsing": at("variety") < 0.3 or at("missing") > 0.25,
        "memorising": at("copies") > 0.1 + 2 * at("copies_floor"),
        "overfitting": at("overfitting") > 0.7,
    }
    # fmt: on
    return [name for name, shown in shows.items() if shown]


def _some(data: ImageSet, rows: np.ndarray, labelled: bool, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """uint8 [N, C, H, W] and int64 [N]: a quarter of the memory that floats would keep for the whole run."""
    label = torch.from_numpy(data.labels[rows]).to(device) if labelled else None
    return torch.from_numpy(data.batch(rows)).permute(0, 3, 1, 2).to(device), label


def _floats(images: Tensor) -> Tensor:
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _above(real: Tensor, fake: Tensor) -> Tensor:
    """The share of all pairs in which the real image scores higher, ties half: 0.5 is a guess, whatever the scale."""
    difference = real[:, None] - fake
    return ((difference > 0).float() + 0.5 * (difference == 0).float()).mean()


def _copies(distances: Tensor) -> float:
    """The share of samples three times nearer to one training image than to any other: [N, 2], ascending, to [0, 1].

    Such a sample is a copy, not a relative (Yoon et al. 2023, "Diffusion probabilistic models generalize when they
    fail to memorize").
    """
    return (distances[:, 0] < distances[:, 1] / 3).double().mean().item() if distances.shape[1] == 2 else 0.0
