"""`adverb generate`: what a generator draws, as a folder of images, a grid, or an animation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adverb.data.grid import save_gif, save_grid, save_images, save_mp4
from adverb.errors import UserError
from adverb.pipelines.caption_sampler import CaptionSampler
from adverb.pipelines.labels import EACH
from adverb.pipelines.sampler import STEPS, Sampler

if TYPE_CHECKING:
    from adverb.pipelines.generator import Generator
    from adverb.pipelines.projection import Projection

SAMPLES = 64
OF_A_TEXT = 8  # samples, where there are several texts
WALKS = 16  # cells of an animation, each on a walk of its own
STOPS = 4  # latents that each visits
RESTARTS = 4  # of the search for an image
WITH_NEIGHBOURS = 8  # samples that have their neighbours beside them
RATES = {".gif": 10, ".mp4": 30}  # frames a second, and frames from one latent to the next
EXCLUSIVE = {
    "--neighbours": ("--directions", "--like", "an animation"),
    "--directions": ("-n", "several seeds", "--label each"),
    "--like": ("several seeds", "--label each", "--truncation"),
    "an animation": ("--label each",),
    "--label each": ("several seeds",),
    "-n": ("several seeds",),
    "several texts": ("--directions", "--neighbours", "an animation"),
}


def draw_to(
    model: Sampler,
    out: Path,
    *,
    n: int | None = None,
    seed: int | Sequence[int] = 0,
    label: str | None = None,
    text: Sequence[str] = (),
    truncation: float = 1.0,
    strength: float = 1.0,
    directions: int | None = None,
    like: Path | None = None,
    neighbours: int | None = None,
    data: str | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> list[Path]:
    """Draw into `out` and return what was written, the grid first.

    out: a folder (grid.png and 00000.png …), FILE.png (the grid alone), FILE.gif or FILE.mp4.
    n: how many samples (of each text), walks of an animation, or searches for an image; each has its default.
    text: captions to draw, a row each where there are several. strength: theirs.
    directions: one image, of a seed or found for `like`, moved along so many directions.
    like: a file, whose nearest images are searched for.
    neighbours: how many training images (in `data`, or where the run says) to show beside each sample.
    say: is told what was measured.
    Raises UserError for another kind of file, and for wishes that exclude each other.
    """
    if not isinstance(model, Sampler):
        raise UserError("this model reads, it does not draw: use adverb predict")
    if model.config["channels"] not in (1, 3, 4):
        raise UserError(f"this generator makes points of {model.config['channels']} numbers, not images")
    if out.suffix not in ("", ".png", *RATES):
        raise UserError(f"--out {out}: expected a folder, a .png, a .gif or a .mp4 file")
    several, moving = not isinstance(seed, int), out.suffix in RATES
    asked = {"--directions": directions, "--like": like, "--neighbours": neighbours, "an animation": moving, "-n": n,
             "several seeds": several, "--label each": label == EACH, "--truncation": truncation != 1,
             "several texts": len(text) > 1}  # fmt: skip
    for one, others in EXCLUSIVE.items():
        for other in others:
            if asked[one] and asked[other]:
                raise UserError(f"{one} and {other} exclude each other")
    if data is not None and not neighbours:
        raise UserError("--data says where the training images are, for --neighbours")
    if moving and like is not None and directions is None:
        raise UserError(f"--like writes a folder or a .png; with --directions it can move in {out}")
    if like is not None and not hasattr(model, "project"):
        raise UserError("--like searches by gradients, which an export lacks: use the model that it was made from")

    if isinstance(model, CaptionSampler):
        if like is not None:
            raise UserError("--like is for generators without captions")
        if label is not None:
            raise UserError("this generator draws captions, not labels: say what to draw by --text")
        model = model if strength == 1 else model.with_strength(strength)
        if len(text) > 1:
            images = model.generate(n or OF_A_TEXT, text=text, seed=seed, truncation=truncation)
            return _save(images, out, columns=len(images) // len(text), captions=text)
        label = text[0] if text else None  # a caption stands where a label stands elsewhere
    elif text or strength != 1:
        raise UserError(f"this generator was trained without captions: leave {'--text' if text else '--strength'} out")
    elif label is not None and not model.label_names:
        raise UserError("this generator was trained without labels: leave --label out")
    options: dict[str, Any] = dict(label=label, truncation=truncation)
    if like is not None:
        found = model.project(like, restarts=n or RESTARTS, seed=seed, label=label)
        say(_projected(model, found))
        if directions is None:
            images = np.concatenate([found.target[None], found.images])
            captions = [like.name, *(f"{distance:.3f}" for distance in found.distances)]
            return _save(images, out, columns=len(images), captions=captions)
        options = dict(start=found)
    if directions is not None:
        return _draw_directions(model, out, directions, seed=seed, **options)
    if moving:
        return [_animate(_walks(model, 1 if several else n or WALKS, RATES[out.suffix], seed, **options), out)]
    if neighbours is not None:
        samples = model.generate(n or WITH_NEIGHBOURS, seed=seed, **options)
        return _draw_neighbours(model, out, samples, neighbours, data, say)
    classes = len(model.label_names)
    if label == EACH:
        return _save(model.generate(n or 8 * classes, seed=seed, **options), out, columns=classes)
    images = model.generate(n or SAMPLES, seed=seed, **options)
    return _save(images, out, columns=math.ceil(math.sqrt(len(images))))


def _save(images: np.ndarray, out: Path, columns: int, captions: Sequence[str] | None = None) -> list[Path]:
    """The grid as a file; or into a folder, with the images beside it."""
    if out.suffix:
        return [save_grid(images, out, columns, captions=captions)]
    again = (out / "grid.png").is_file()
    return [save_grid(images, out / "grid.png", columns, captions=captions), save_images(images, out, again)]


def _animate(frames: Iterator[np.ndarray], out: Path, columns: int | None = None) -> Path:
    """frames: uint8 [cells, H, W, C] each, the last of which leads back to the first."""
    rate = RATES[out.suffix]
    if out.suffix == ".mp4":
        return save_mp4(frames, out, columns, rate=rate)
    return save_gif(frames, out, columns, seconds=1 / rate, hold=0)


def _walks(
    model: Sampler, n: int, frames: int, seed: int | Sequence[int], label: str | None, truncation: float
) -> Iterator[np.ndarray]:
    """Closed walks side by side, a cell each: uint8 [n, H, W, C] a frame. By default every walk keeps to a class."""
    labels = [label] * n
    if label is None and model.label_names and n > 1:
        labels = [i % len(model.label_names) for i in range(n)]
    seeds = [seed * WALKS + i for i in range(n)] if isinstance(seed, int) else [seed]
    walks = [model.interpolate(STOPS, frames, seed=seeds[i], label=labels[i], truncation=truncation) for i in range(n)]
    return iter(np.stack(walks, axis=1))  # [frames, n, H, W, C]


def _draw_directions(model: Sampler, out: Path, n: int, **options: Any) -> list[Path]:
    """A row a direction; or an animation with a cell for each, to and fro."""
    vectors = model.directions(n)
    if out.suffix not in RATES:
        images = model.traverse(vectors, STEPS, **options)  # [n, steps, H, W, C]
        return _save(images.reshape(-1, *images.shape[2:]), out, columns=len(STEPS))
    frames = 4 * RATES[out.suffix]
    steps = max(STEPS) * np.sin(np.linspace(0, 2 * np.pi, frames, endpoint=False))
    return [_animate(iter(model.traverse(vectors, steps.tolist(), **options).swapaxes(0, 1)), out)]


def _draw_neighbours(
    model: Sampler, out: Path, samples: np.ndarray, k: int, data: str | None, say: Callable[[str], None]
) -> list[Path]:
    """A row a sample: itself, then the training images nearest to it, with their distances below."""
    near = model.neighbours(samples, k, data=data)
    rows = np.concatenate([samples[:, None], near.images], axis=1)  # [n, 1 + k, H, W, C]
    captions = [words for row in near.distances for words in ("sample", *(f"{distance:.2f}" for distance in row))]
    say(
        f"nearest training image: {np.median(near.distances[:, 0]):.2f} in the median, {near.distances.min():.2f} at "
        f"least (1: as far as training images are from each other; well below: copies)\nfeatures: {near.features}"
    )
    again = (out / "grid.png").is_file()
    grid = _save(rows.reshape(-1, *samples.shape[1:]), out if out.suffix else out / "grid.png", k + 1, captions)
    return grid if out.suffix else [*grid, save_images(samples, out, again)]


def _projected(model: Generator, found: Projection) -> str:
    words = (
        f"nearest: distance {found.distances[0]:.3f} (0: the same; 1: a random sample), "
        f"{found.errors[0]:.1f} of 255 levels off (root mean square)"
    )
    if found.classes is None:
        return words
    most = int(found.classes[0].argmax())
    return f"{words}, drawn as {found.classes[0, most]:.0%} '{model.label_names[most]}'"
