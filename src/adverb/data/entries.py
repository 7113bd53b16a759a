"""What every source of images hands on: names, encoded images one by one, labels and captions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adverb.errors import UserError

SPLITS = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif"
)  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "category", "target", "fine_label")
CAPTION_COLUMNS = ("text", "caption", "captions", "prompt", "description")
NO_LABEL = "none"  # `data.label=none`: train without the labels


@dataclass
class Entries:
    """The images of one split before they are decoded.

    stream: (ascending indices into `names`) -> (index, encoded bytes or path or None where nothing is there).
    labels: int64 [N] or None. captions: N strings or None.
    stamp: changes when the files behind the images change (names, sizes, times of modification).
    """

    names: list[str]
    stream: Callable[[Sequence[int]], Iterator[tuple[int, bytes | Path | None]]]
    stamp: str
    about: str
    splits: dict[str, int]
    labels: np.ndarray | None = None
    label_names: list[str] = field(default_factory=list)
    captions: list[str] | None = None
    left_out: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)  # suffix -> files that are no images


def split_name(text: str) -> str | None:
    """`train`, `valid` or `test` where a folder or file name says so: `val`, `test-00000-of-00001`, `mnist_train`."""
    words = re.split(r"[^a-z]+", text.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def choose_split(split: str, splits: dict[str, int], path: str) -> str:
    """The split asked for, in the spelling of `splits`. Raises UserError naming those that are there."""
    wanted = SPLITS.get(split, split)
    if wanted in splits:
        return wanted
    raise UserError(f"{path} has no split '{split}'; it has: {', '.join(splits)}")


def choose_column(asked: str | None, columns: Sequence[str], candidates: Sequence[str], where: str) -> str | None:
    """The column asked for, else the first candidate that is there, else None. `none` asks for none."""
    if asked == NO_LABEL:
        return None
    if asked is not None and asked not in columns:
        raise UserError(f"{where} has no column '{asked}' (data.label); it has: {', '.join(columns)}")
    return asked or next((name for name in candidates if name in columns), None)


def encode_labels(
    values: list[Any], universe: list[Any], names: list[str] | None, where: str
) -> tuple[np.ndarray | None, list[str]]:
    """Labels as int64 [N] and their names.

    values: of this split. universe: of all splits, so that a class has one number in all of them.
    names: where the source knows them, values are then indices into them.
    Returns (None, []) where no image has a label. Raises UserError where only some have one.
    """
    values, universe = [_plain(v, where) for v in values], [_plain(v, where) for v in universe]
    missing = sum(v is None for v in values)
    if missing == len(values):
        return None, []
    if missing:
        raise UserError(
            f"{where}: {missing:,} of {len(values):,} images have no label. "
            "Label them all, take the others out, or train without labels: data.label=none"
        )
    if names is not None and all(isinstance(v, int) for v in values):
        if max(values) >= len(names):
            raise UserError(f"{where}: label {max(values)} has no name, there are {len(names)} names")
        return np.array(values, dtype=np.int64), list(names)
    known = {v for v in universe if v is not None}
    if all(isinstance(v, int) or re.fullmatch(r"\d+", v) for v in known):
        ordered = sorted(known, key=int)  # 2 before 10
    else:
        ordered = sorted(known, key=str)
    number = {v: i for i, v in enumerate(ordered)}
    return np.array([number[v] for v in values], dtype=np.int64), [str(v) for v in ordered]


def first_caption(value: Any) -> str:
    """A caption as a string; of several captions, the first."""
    if isinstance(value, list):
        value = value[0] if value else None
    return "" if value is None else str(value)


def _plain(value: Any, where: str) -> int | str | None:
    """A label as int or str, None where it is missing: null, empty, NaN, or the hub's -1."""
    if value is None or value == "" or value == -1 or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool | int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    if isinstance(value, str):
        return value
    raise UserError(
        f"{where}: {value!r} is not a label (an integer or a word). "
        "Name another column: data.label=…, or train without labels: data.label=none"
    )
