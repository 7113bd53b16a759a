"""What can be asked of a generator, whatever computes its images: arrays in, arrays out, and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adverb.data.grid import as_pixels
from adverb.errors import UserError
from adverb.pipelines.labels import EACH, labels_for
from adverb.pipelines.latents import closed_walk, normal, slerp

if TYPE_CHECKING:
    from adverb.pipelines.neighbours import Neighbours
    from adverb.pipelines.projection import Projection

STEPS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # along a direction, in standard deviations


class Sampler:
    """What `Generator`, a network of torch, and `OnnxGenerator`, an export, have in common.

    config: the arguments of `adverb.gan.networks.build`, and `label_names`.
    class_shares: float [classes], how often each label occurs in the training data; None when unconditional.
    folder: where it was loaded from, if it was.
    """

    at_once = 256  # images that the network draws together
    config: dict[str, Any]
    class_shares: np.ndarray | None
    folder: Path | None

    def images(self, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """As the network draws them, float32 [N, C, H, W] in about [-1, 1], of what `draw` takes."""
        raise NotImplementedError

    @property
    def all_directions(self) -> np.ndarray:
        """As many as the latent has dimensions, see `directions`: float32 [Z, Z]."""
        raise NotImplementedError

    @property
    def label_names(self) -> list[str]:
        return self.config["label_names"]

    # -- samples

    def latents(self, n: int, seed: int | Sequence[int] = 0, truncation: float = 1.0) -> np.ndarray:
        """Float32 [n, Z], see `adverb.pipelines.latents`; of several seeds one each, whatever n."""
        return normal(n, self.config["latent_size"], seed, truncation)

    def generate(
        self,
        n: int = 1,
        *,
        seed: int | Sequence[int] = 0,
        label: str | int | np.ndarray | None = None,
        truncation: float = 1.0,
        with_labels: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray | None]:
        """n images, uint8 [n, H, W, C], the same for the same seed; of several seeds the first image of each.

        label: a class name or index, or one index per image; None draws labels as often as the training data has
            them; "each" takes all classes in turn, and one latent for all of them before the next.
        truncation: in (0, 1]; below 1, images are more typical and less varied.
        with_labels: also return int64 [n], None when unconditional.
        Raises UserError for a label the model does not know, n below 1, and a seed below 0.
        """
        latents, labels = self._samples(n, seed, label, truncation)
        images = self.draw(latents, labels)
        return (images, labels) if with_labels else images

    def _samples(self, n, seed, label, truncation) -> tuple[np.ndarray, np.ndarray | None]:
        """Latents [n, Z] and labels int64 [n] of what `generate` draws."""
        n = n if isinstance(seed, Integral) else len(seed)
        latents = self.latents(n, seed, truncation)
        labels = self.labels_for(n, seed, label)
        if isinstance(label, str) and label == EACH and self.label_names:
            latents = np.repeat(latents, len(self.label_names), axis=0)[:n]
        return latents, labels

    def labels_for(self, n: int, seed: int | Sequence[int], label: str | int | np.ndarray | None) -> np.ndarray | None:
        """Labels of n images as `generate` takes them, int64 [n]; None when unconditional."""
        return labels_for(self.label_names, self.class_shares, n, seed, label)

    def titles(self, n: int, seed: int, label: str | int | None) -> list[str] | None:
        """What the images of `generate` are to show, in words; None when unconditional."""
        labels = self.labels_for(n, seed, label)
        return None if labels is None else [self.label_names[one] for one in labels.tolist()]

    def draw(self, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """Images of the given latents [N, Z] and labels int64 [N]: uint8 [N, H, W, C]."""
        parts = (slice(i, i + self.at_once) for i in range(0, len(latents), self.at_once))
        return np.concatenate(
            [as_pixels(self.images(latents[p], None if labels is None else labels[p])) for p in parts]
        )

    # -- ways between them

    def interpolate(
        self,
        n: int = 4,
        frames: int = 10,
        *,
        seed: int | Sequence[int] = 0,
        label: str | int | None = None,
        truncation: float = 1.0,
    ) -> np.ndarray:
        """A closed walk through n latents on the sphere, or the images of several seeds: uint8 [n * frames, H, W, C].

        frames: from one latent to the next. label: None is what each of the seeds draws, or of one seed the most
        frequent class.
        """
        if frames < 1:
            raise UserError(f"frames={frames}: expected at least 1 from a latent to the next")
        walk = closed_walk(self.latents(n, seed, truncation), frames)
        if label is None and not isinstance(seed, Integral):
            labels = self.labels_for(len(seed), seed, None)
        else:
            labels = self.labels_for(len(walk) // frames, 0, self._one_label(label))
        if labels is not None:
            legs = zip(labels, np.roll(labels, -1, axis=0), strict=True)
            labels = np.concatenate([self._between(first, second, frames) for first, second in legs])
        return self.draw(walk, labels)

    def walk(
        self,
        first: int,
        second: int,
        frames: int,
        *,
        n: int,
        seed: int | Sequence[int] = 0,
        label: str | int | np.ndarray | None = None,
        truncation: float = 1.0,
    ) -> np.ndarray:
        """The way from one of the images `generate(n, seed=…, …)` to another, both included: uint8 [frames, H, W, C].

        On the sphere of latents. frames: at least 2.
        """
        latents, labels = self._samples(n, seed, label, truncation)
        points = np.concatenate([slerp(latents[first], latents[second], frames - 1), latents[[second]]])  # [frames, Z]
        return self.draw(points, None if labels is None else self._between(labels[first], labels[second], frames))

    def _between(self, first: np.ndarray, second: np.ndarray, frames: int) -> np.ndarray:
        """Labels on the way from one to another, [frames]: they change halfway."""
        return np.where(np.arange(frames) < frames / 2, first, second)

    def directions(self, n: int = 5) -> np.ndarray:
        """The n directions of the latent that change images most, unit vectors, float32 [n, Z], the strongest first.

        Found without labels by closed-form factorisation (SeFa), see `adverb.pipelines.directions`. Raises UserError
        for more than there are dimensions.
        """
        size = self.config["latent_size"]
        if not 1 <= n <= size:
            raise UserError(f"directions={n}: a latent of {size} dimensions has from 1 to {size}")
        return self.all_directions[:n]

    def traverse(
        self,
        directions: np.ndarray,
        steps: Sequence[float] = STEPS,
        *,
        seed: int = 0,
        label: str | int | None = None,
        truncation: float = 1.0,
        start: Projection | None = None,
    ) -> np.ndarray:
        """The first image of a seed, or a projected image, moved along directions: uint8 [n, steps, H, W, C].

        directions: [n, Z]. steps: how far, in standard deviations of the latent; 0 is the image itself. label: None is
        what the seed draws. start: what `Generator.project` found.
        """
        origin = self.latents(1, seed, truncation) if start is None else start.latents[:1]
        steps = np.asarray(steps, dtype=np.float32)
        moved = (origin + steps[None, :, None] * directions[:, None]).reshape(-1, origin.shape[1])  # [n · steps, Z]
        if start is not None and start.classes is not None:
            from adverb.pipelines.projection import draw_blended

            images = draw_blended(self, moved, np.repeat(start.classes[:1], len(moved), axis=0))
        else:
            labels = self.labels_for(1, seed, None if label is None else self._one_label(label))
            images = self.draw(moved, None if labels is None else np.repeat(labels, len(moved), axis=0))
        return images.reshape(len(directions), len(steps), *images.shape[1:])

    def _one_label(self, label: str | int | None) -> str | int | None:
        """The label of an image that is looked at from several sides: by default the most frequent one."""
        if label == EACH:
            raise UserError(f"the label '{EACH}' is for samples: name one class here")
        return label if label is not None or not self.label_names else int(np.argmax(self.class_shares))

    # -- copies

    def neighbours(self, images: np.ndarray, k: int = 5, *, data: str | Path | None = None) -> Neighbours:
        """The k training images nearest to each of `images`, uint8 [n, H, W, C].

        data: where the training images are; None: where the run says. In the run's own features where those are of
        a trained network, else in an untrained one's; a class is not told from another, but a copy from an original.
        Both are networks of torch, of an export as well. Raises UserError where the data isn't known, or is gone.
        """
        from adverb.pipelines.neighbours import find_neighbours, real_images

        found, spec = real_images(self, data)
        features = spec.evaluate.features if spec is not None else "random"
        if not features.startswith(("inception:", "dinov2:")):
            features = "random"
        return find_neighbours(images, found, k, features=features, mirrored=spec is not None and spec.data.flip)
