"""What is asked of models, in the units of the queue."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from adverb.data.grid import make_grid
from adverb.errors import UserError
from adverb.pipelines.labels import EACH
from adverb.serve.models import Served

IMAGE_TOKENS = 16  # what an image costs, in tokens of a reader


@dataclass(frozen=True)
class OfModel:
    """What all work has: whose it is."""

    served: Served

    @property
    def model(self) -> str:
        return self.served.name


@dataclass(frozen=True)
class Reading(OfModel):
    """Rows to answers, as `adverb predict` gives them. Items: `pipelines.stream.Row`; results: dicts.

    paired: whether they have second texts, which is not for the rows beside them to decide.
    """

    top_k: int = 5
    candidates: tuple[str, ...] | None = None
    paired: bool = False

    def run(self, items: Sequence[Any]) -> Sequence[Any]:
        from adverb.pipelines.predict import answers

        said = answers(self.served.model, items, top_k=self.top_k, candidates=self.candidates)
        return [UserError(one["error"]) if "error" in one else one for one in said]


@dataclass(frozen=True)
class Samples:
    """Which images: the arguments of `Generator.generate`. format: png, or json for each image of its own.

    label: a class, or what a caption says. strength: of captions, 1 of a generator without.
    """

    n: int
    seed: int
    label: str | None
    truncation: float
    strength: float
    format: str = "json"
    walk: tuple[int, int, int] | None = None  # first, second, frames: the way from one of them to another


@dataclass(frozen=True)
class Drawing(OfModel):
    """Items: `Samples`; results: a PNG file, or (PNG files in base64, what each is to show)."""

    def run(self, items: Sequence[Samples]) -> Sequence[Any]:
        return [self._draw(item) for item in items]

    def _draw(self, item: Samples) -> bytes | tuple[list[str], list[str] | None] | UserError:
        model = self.served.model
        same = dict(seed=item.seed, label=item.label, truncation=item.truncation)
        try:
            model = model if item.strength == 1 else model.with_strength(item.strength)
            if item.walk is not None:
                images = model.walk(*item.walk, n=item.n, **same)
            else:
                images = model.generate(item.n, **same)
        except UserError as error:
            return error
        if item.format == "png":
            columns = len(model.label_names) if item.label == EACH else 0
            return png(make_grid(images, columns=columns or math.ceil(math.sqrt(item.n))))
        titles = model.titles(item.n, item.seed, item.label)
        if titles and item.walk is not None:  # halfway there it is the other
            first, second, frames = item.walk
            titles = [titles[first if frame < frames / 2 else second] for frame in range(frames)]
        return [base64.b64encode(png(picture(image))).decode() for image in images], titles


@dataclass(frozen=True)
class Draft:
    """Which texts: the arguments of `Writer.generate`."""

    n: int
    seed: int
    temperature: float


@dataclass(frozen=True)
class Writing(OfModel):
    """Items: `Draft`; results: the texts of each."""

    def run(self, items: Sequence[Draft]) -> Sequence[list[str]]:
        write = self.served.model.generate
        return [write(item.n, seed=item.seed, temperature=item.temperature) for item in items]


def picture(image: np.ndarray) -> Image.Image:
    """uint8 [H, W, C] as it is, transparent where it has a fourth channel."""
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()
