"""Writes what a generator draws: a folder of images with their grid, a grid alone, or a walk as a GIF."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from adverb.data.grid import save_gif, save_grid
from adverb.errors import UserError
from adverb.pipelines.generator import Generator

WALKERS = 16  # cells of a GIF, each on a walk of its own
STOPS = 4  # latents that each visits
FRAMES = 10  # images from one to the next


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

    out: a folder (grid.png and 00000.png …), FILE.png (the grid) or FILE.gif (closed walks between latents).
    Raises UserError for another kind of file.
    """
    if not isinstance(model, Generator):
        raise UserError("this model reads, it does not draw: use adverb predict")
    if out.suffix == ".gif":
        labels = [label] * WALKERS
        if label is None and model.label_names:
            labels = [i % len(model.label_names) for i in range(WALKERS)]
        walks = [model.interpolate(STOPS, FRAMES, seed=seed * WALKERS + i, label=labels[i]) for i in range(WALKERS)]
        save_gif(list(np.stack(walks, axis=1)), out)  # one grid [WALKERS, H, W, C] a frame
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
