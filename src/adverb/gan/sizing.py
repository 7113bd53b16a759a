"""What a recipe leaves open, decided from the data and the machine, and recorded with the run."""

from __future__ import annotations

import torch

from adverb.errors import UserError
from adverb.gan.networks import default_widths
from adverb.schema.gan import ImageRecipe

FEWEST = 16  # images; with fewer there is nothing to learn but them


def resolve(recipe: ImageRecipe, images, device: torch.device, precision: str) -> ImageRecipe:
    """The recipe with batch size, widths, conditioning and precision filled in.

    images: an `adverb.data.images.ImageSet`. precision: what the machine was found to do best.
    Raises UserError for too few images, or labels that are asked for and missing.
    """
    height, width, _ = images.shape
    if len(images) < FEWEST:
        raise UserError(f"{recipe.data.path}: {len(images)} images are too few to train on; give at least {FEWEST}")
    model, train = recipe.model, recipe.train
    if model.conditional and images.labels is None:
        raise UserError(
            f"model.conditional=true, but {recipe.data.path} has no labels: put the images in class folders"
        )
    patch = _patch(model.network, model.patch, (height, width), device)
    model = model.model_copy(
        update={
            "conditional": bool(images.labels is not None if model.conditional is None else model.conditional),
            "patch": patch,
            "widths": model.widths or _widths(model.network, (height, width), patch, device),
        }
    )
    batch_size = train.batch_size or _batch_size(len(images), device)
    train = train.model_copy(update={"batch_size": batch_size, "precision": precision})
    return recipe.model_copy(update={"model": model, "train": train})


def _patch(network: str, asked: int | None, image_size: tuple[int, int], device: torch.device) -> int:
    """On a CPU the finest grid has a cell for 2×2 pixels, where that leaves 14 cells a side: a quarter of the work."""
    if network != "residual":
        return 1  # the others have none
    return asked or (2 if device.type == "cpu" and min(image_size) >= 28 else 1)


def _widths(network: str, image_size: tuple[int, int], patch: int, device: torch.device) -> list[int]:
    """The networks' own widths on a CPU; four times that where there is a GPU to fill."""
    widths = default_widths(network, image_size, patch)
    return [4 * w for w in widths] if device.type == "cuda" and network != "mlp" else widths


def _batch_size(images: int, device: torch.device) -> int:
    """32, or 256 on a GPU; never more than the data has, rounded to a multiple of 8.

    On a CPU a small batch is the better bargain: at equal minutes on MNIST, 32 gave half the Fréchet distance of 64.
    """
    return max(8, min(256 if device.type == "cuda" else 32, images // 8 * 8))
