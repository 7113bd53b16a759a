"""Judges a generator against real images, always beside the floor: what a second sample of reals scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adverb.errors import UserError
from adverb.metrics.distances import judge
from adverb.metrics.features import extractor_for
from adverb.metrics.modes import agreement, class_shares, mode_metrics

LEAST = 6  # samples: a ball of coverage reaches to the fifth neighbour


class Judge:
    """Measures against one data set; the features of its real images are computed once.

    data: an `adverb.data.images.ImageSet`.
    features: as `adverb.metrics.features.extractor_for` takes them.
    samples: images judged, at most half of the data, so that the floor's two halves are disjoint.
    Raises UserError for fewer than LEAST of them.
    """

    def __init__(self, data, features: str, samples: int, seed: int = 0):
        self.data, self.samples, self.seed = data, samples, seed
        if self.count() < LEAST:
            raise UserError(
                f"{self.count()} samples against as many of {len(data):,} images say nothing: {LEAST} are needed, and "
                f"{2 * LEAST} images"
            )
        self.extractor = extractor_for(features, data.images, data.labels)
        self.real: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def name(self) -> str:
        return self.extractor.name

    def count(self, scale: int = 1) -> int:
        """How many samples are judged: `samples` times `scale`, at most half of the data."""
        return min(self.samples * scale, len(self.data) // 2)

    def __call__(self, generator, scale: int = 1) -> dict[str, float]:
        """The metrics of `adverb.metrics.distances.judge`, and of labels where the features come from a classifier.

        generator: an object with `generate(n, seed=…, with_labels=True)` and `label_names`.
        scale: how many times `samples` to draw.
        """
        n = self.count(scale)
        if n not in self.real:
            order = np.random.Generator(np.random.PCG64(self.seed)).permutation(len(self.data))
            halves = [np.sort(order[k * n : (k + 1) * n]) for k in (0, 1)]
            self.real[n] = tuple(self.extractor(self.data.batch(rows)) for rows in halves)
        images, labels = generator.generate(n, seed=self.seed + 1, with_labels=True)
        metrics = judge(*self.real[n], self.extractor(images), seed=self.seed)
        if self.extractor.kind == "classifier":
            logits, classes = self.extractor.classify(images), len(self.data.label_names)
            real_shares = class_shares(torch.from_numpy(self.data.labels), classes)
            metrics |= mode_metrics(class_shares(logits.argmax(1), classes), real_shares)
            asked = None if labels is None else self.own_labels(labels, generator.label_names)
            if asked is not None:
                metrics["label_agreement"] = agreement(logits, torch.from_numpy(asked))
        return metrics

    def own_labels(self, labels: np.ndarray, names: list[str]) -> np.ndarray | None:
        """Labels int64 [N] of `names` as the data set counts its own; None where it lacks one of them.

        names: of the generator's classes, none where labels already are the data's.
        """
        own = self.data.label_names
        if not names or names == own:
            return labels
        if not set(names) <= set(own):
            return None
        return np.array([own.index(name) for name in names])[labels]
