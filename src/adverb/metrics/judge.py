"""Judges a generator against real images, always beside the floor: what a second sample of reals scores."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adverb.metrics.distances import judge
from adverb.metrics.features import extractor_for
from adverb.metrics.modes import agreement, class_shares, mode_metrics


class Judge:
    """Measures against one data set; the features of its real images are computed once.

    data: an `adverb.data.images.ImageSet`.
    features: as `adverb.metrics.features.extractor_for` takes them.
    samples: images judged, at most half of the data, so that the floor's two halves are disjoint.
    """

    def __init__(self, data, features: str, samples: int, seed: int = 0):
        self.data, self.samples, self.seed = data, samples, seed
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

        generator: an object with `generate(n, seed=…, with_labels=True)`.
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
            if labels is not None:
                metrics["label_agreement"] = agreement(logits, torch.from_numpy(labels))
        return metrics
