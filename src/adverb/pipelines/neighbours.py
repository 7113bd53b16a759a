"""The training images nearest to a generator's: does it draw, or does it copy?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from adverb import recipe as recipes
from adverb.data.image_set import ImageSet
from adverb.errors import UserError
from adverb.metrics.features import FeatureExtractor, extractor_for
from adverb.metrics.neighbours import nearest
from adverb.run import Run
from adverb.schema.base import Recipe

if TYPE_CHECKING:
    from adverb.pipelines.sampler import Sampler

REFERENCES = 500  # training images whose own nearest neighbours say what is near


@dataclass
class Neighbours:
    """The k training images nearest to each of n images, nearest first."""

    images: np.ndarray  # uint8 [n, k, H, W, C], mirrored where that was nearer and training mirrors
    distances: np.ndarray  # float64 [n, k], over the median distance of training images to their nearest other
    names: list[list[str]]  # file names, or row numbers
    features: str  # what the distances were taken in, in words


def find_neighbours(
    images: np.ndarray, data: ImageSet, k: int, *, features: str = "random", mirrored: bool = False
) -> Neighbours:
    """See `Sampler.neighbours`. images: uint8 [n, H, W, C]; mirrored: a mirrored copy is a copy too."""
    if not 1 <= k < len(data):
        raise UserError(f"neighbours={k}: expected from 1 to {len(data) - 1:,}, one less than there are images")
    extractor = extractor_for(features, data.images, data.labels)
    reference = _features(extractor, data)
    once = torch.from_numpy(np.unique(data.hashes, return_index=True)[1])  # an equal image is no other one
    if len(once) < 2:
        raise UserError(f"the {len(data):,} training images are all the same: there are no neighbours to tell apart")
    some = once[torch.linspace(0, len(once) - 1, min(REFERENCES, len(once))).long()]
    typical = float(nearest(reference[some], reference[once], 2)[0][:, 1].median())  # column 0 is the image itself
    distances, rows = (x.numpy() for x in nearest(extractor(images), reference, k))
    turned = np.zeros(rows.shape, dtype=bool)
    if mirrored:
        flipped = [x.numpy() for x in nearest(extractor(np.ascontiguousarray(images[:, :, ::-1])), reference, k)]
        distances, rows, turned = _merged((distances, rows), flipped)
    found = data.batch(rows.ravel()).reshape(*rows.shape, *data.shape)
    found[turned] = found[turned][:, :, ::-1]
    return Neighbours(
        images=found,
        distances=distances / max(typical, 1e-12),
        names=[[data.names[i] for i in row] for row in rows.tolist()],
        features=extractor.name,
    )


def _merged(plain: Sequence[np.ndarray], flipped: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The k nearest of two lists of k: distances, rows, and whether the second list had it, each [n, k].

    An image and its mirror image count once.
    """
    k = plain[0].shape[1]
    distances, rows = (np.concatenate(pair, axis=1) for pair in zip(plain, flipped, strict=True))  # [n, 2k]
    chosen = np.empty((len(rows), k), dtype=np.int64)
    for i, order in enumerate(distances.argsort(axis=1, kind="stable")):
        _, first = np.unique(rows[i, order], return_index=True)
        chosen[i] = order[np.sort(first)[:k]]
    return np.take_along_axis(distances, chosen, 1), np.take_along_axis(rows, chosen, 1), chosen >= k


def _features(extractor: FeatureExtractor, data: ImageSet, step: int = 4096) -> torch.Tensor:
    starts = range(0, len(data), step)
    return torch.cat([extractor(data.batch(np.arange(i, min(i + step, len(data))))) for i in starts])


def real_images(model: Sampler, data: str | Path | None = None) -> tuple[ImageSet, Recipe | None]:
    """The images that a generator was trained on, or `data`, as its training sees them; and its run's recipe.

    Raises UserError where there is neither a run nor `data`, and where the run's data is gone.
    """
    from adverb.data.images import load_images

    run = Run(model.folder.parent) if model.folder is not None else None
    spec = recipes.validate(run.recipe(), {}, source=str(run.path)) if run is not None and run.exists() else None
    if data is None and spec is None:
        where = model.folder or "this generator"
        raise UserError(f"{where} is not in a run folder, so its data is not known: name it by --data")
    height, width = model.config["image_size"]
    label = spec.data.label if spec and data is None else None
    limit = spec.data.limit if spec and data is None else None
    try:
        images = load_images(
            data or spec.data.path, size=(height, width), channels=model.config["channels"], label=label, limit=limit
        )
    except UserError as error:
        if data is not None:
            raise
        raise UserError(f"can't read what {run.path} was trained on: {error}\nWhere is it now? --data") from None
    return images, spec
