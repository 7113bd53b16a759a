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
    """How well images of unseen captions, IMAGES of them at most, match them. Empty where there is none, or no judge.

    generator: a `TextGenerator`. Captions made from labels: `unseen_agreement`, the share of images in which a
    classifier sees the caption's class. Captions of the data: `recall_1`, `recall_5`, `recall_10` of `retrieval`
    among the images kept from training, with what guessing would give as their `_floor`.
    """
    if not captions.unseen or (captions.made and extractor.kind != "classifier"):
        return {}
    chosen = np.arange(len(captions.unseen))
    if len(chosen) > IMAGES:
        chosen = np.linspace(0, len(chosen) - 1, IMAGES).astype(np.int64)
    chosen = np.repeat(chosen, math.ceil(IMAGES / len(chosen)))
    latents = generator.latents(len(chosen), seed)
    made = generator.draw(latents, generator.read([captions.unseen[i] for i in chosen]))
    groups = torch.from_numpy(captions.unseen_groups[chosen])
    if captions.made:
        return {"unseen_agreement": agreement(extractor.classify(made), groups)}
    rows = np.flatnonzero(np.isin(captions.of_image, np.unique(groups)))
    drawn, real, real_groups = extractor(made), extractor(data.batch(rows)), torch.from_numpy(captions.of_image[rows])
    found = {}
    for k in AT:
        recall, chance = retrieval(drawn, groups, real, real_groups, k)
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
