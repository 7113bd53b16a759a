"""Does a generator draw what its captions say? By a classifier where they stand for labels, by retrieval elsewhere."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from adverb.data.captions import Captions
from adverb.data.image_set import ImageSet
from adverb.metrics.features import FeatureExtractor
from adverb.metrics.modes import agreement
from adverb.metrics.neighbours import squared_distances

IMAGES = 2000  # about, drawn of the unseen captions together
AT = (1, 5, 10)  # how many of the nearest real images are looked at


def match_metrics(
    generator, captions: Captions, data: ImageSet, extractor: FeatureExtractor, seed: int = 2
) -> dict[str, float]:
    """How well images of unseen captions match them. Empty where there are none, or no judge for them.

    generator: a `TextGenerator`. Captions made from labels: `unseen_agreement`, the share of images in which a
    classifier sees the caption's class. Captions of the data: `recall_1`, `recall_5`, `recall_10` of `retrieval`
    among the images kept from training, with what guessing would give as their `_floor`.
    """
    if not captions.unseen or (captions.made and extractor.kind != "classifier"):
        return {}
    each = math.ceil(IMAGES / len(captions.unseen))
    latents = generator.latents(each * len(captions.unseen), seed)
    made = generator.draw(latents, generator.read([text for text in captions.unseen for _ in range(each)]))
    groups = torch.from_numpy(np.repeat(captions.unseen_groups, each))
    if captions.made:
        return {"unseen_agreement": agreement(extractor.classify(made), groups)}
    rows = np.flatnonzero(np.isin(captions.of_image, captions.unseen_groups))
    real = extractor(data.batch(rows))
    found = {}
    for k in AT:
        recall, chance = retrieval(extractor(made), groups, real, torch.from_numpy(captions.of_image[rows]), k)
        found |= {f"recall_{k}": recall, f"recall_{k}_floor": chance}
    return found


def retrieval(made: Tensor, made_groups: Tensor, real: Tensor, real_groups: Tensor, k: int) -> tuple[float, float]:
    """(how often one of the k real images nearest to a made one is of its group, how often k guesses would be).

    Features [N, D] and [M, D], groups int64 [N] and [M]. A group of m images is missed by k guesses without
    repetition with probability C(M - m, k) / C(M, k).
    """
    k = min(k, len(real))
    nearest = squared_distances(made, real).topk(k, dim=1, largest=False).indices  # [N, k]
    recall = (real_groups[nearest] == made_groups[:, None]).any(1).double().mean().item()
    sizes = (real_groups[None] == made_groups[:, None]).sum(1).tolist()
    total = math.comb(len(real), k)
    return recall, float(np.mean([1 - math.comb(len(real) - m, k) / total for m in sizes]))
