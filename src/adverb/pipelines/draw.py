"""Writes what a generator draws: a folder of images with their grid, a grid alone, or a walk as a GIF."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from adverb.data.grid import save_gif, save_grid
from adverb.errors import UserError
from adverb.pipelines.generator import Generator

WALK = 8  # latents that a GIF visits
FRAMES = 12  # images between two of them


def draw_to(
    model: Generator,
    out: Path,
    *,
    n: int,
    seed: int = 0,
    label: str | None = None,
    truncation: float = 1.0,
) -> list[Path]:
    """Draw n images into `out` and return what was written, the grid first.

    out: a folder (grid.png and 00000.png …), FILE.png (the grid) or FILE.gif (a closed walk between latents).
    Raises UserError for another kind of file.
    """
    if not isinstance(model, Generator):
        raise UserError("this model reads, it does not draw: use adverb predict")
    if out.suffix == ".gif":
        save_gif(model.interpolate(WALK, FRAMES, seed=seed, label=label), out)
        return [out]
    if out.suffix not in ("", ".png"):
        raise UserError(f"--out {out}: expected a folder, a .png file or a .gif file")
    images = model.generate(n, seed=seed, label=label, truncation=truncation)
    grid = out if out.suffix else out / "grid.png"
    grid.parent.mkdir(parents=True, exist_ok=True)
    save_grid(images, grid, columns=math.ceil(math.sqrt(n)))
    if out.suffix:
        return [grid]
    width = max(5, len(str(n - 1)))
    files = [out / f"{i:0{width}d}.png" for i in range(n)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(np.squeeze(image, 2) if image.shape[2] == 1 else image).save(file)
    return [grid, out]
