"""Images as training wants them: one size, one number of channels, uint8, with labels, captions and a report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from adverb.data.digits import held_out
from adverb.errors import UserError


@dataclass
class Report:
    """What was found, what was left out and why, and what was decided."""

    about: str  # what kind of source, in words
    split: str
    splits: dict[str, int]  # split -> images
    found: int
    left_out: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)
    ignored: dict[str, int] = field(default_factory=dict)  # suffix -> files that are no images
    sizes: dict[str, int] = field(default_factory=dict)  # "HxW" -> images, most frequent first
    modes: dict[str, int] = field(default_factory=dict)  # Pillow's mode -> images, most frequent first
    duplicates: int = 0  # images that equal an earlier one, pixel by pixel, at the training size
    notes: list[str] = field(default_factory=list)  # what was decided and why
    warnings: list[str] = field(default_factory=list)  # what may hurt, with the option that mends it


@dataclass
class Rows:
    """Some rows of a memory-mapped array, read when they are asked for. Converts to an array by `np.asarray`."""

    base: np.ndarray  # uint8 [M, H, W, C]
    rows: np.ndarray  # int64 [N]

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.base.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.base.dtype

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self.base[self.rows[index]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.base[self.rows], dtype=dtype)


@dataclass
class ImageSet:
    """Images of one shape. images: uint8 [N, H, W, C], in memory, memory-mapped, or rows of a memory map."""

    images: np.ndarray | Rows
    labels: np.ndarray | None  # int64 [N]
    label_names: list[str]
    captions: list[str] | None
    names: list[str]  # file names, or row numbers
    report: Report
    hashes: np.ndarray  # uint64 [N], of the pixels

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return tuple(self.images.shape[1:])

    def batch(self, indices: np.ndarray | Sequence[int]) -> np.ndarray:
        """A copy of some images, uint8 [len(indices), H, W, C]."""
        return np.asarray(self.images[np.asarray(indices, dtype=np.int64)])

    def split(self, fraction: float, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """(the rest, `fraction` of the images), at random for a seed, with the labels in equal proportions.

        An image that is held out has no equal in the rest: its copies are in neither. Images that occur more often than
        most stay in the rest. Raises UserError where either part would be empty.
        """
        _, first, times = np.unique(self.hashes, return_index=True, return_counts=True)
        seldom = np.sort(first[times <= np.median(times)])
        count = min(round(len(self) * fraction), len(seldom))
        strata = self.labels if self.labels is not None else np.zeros(len(self), dtype=np.int64)
        held = seldom[held_out(strata[seldom], count, seed)]
        rest = np.flatnonzero(~np.isin(self.hashes, self.hashes[held]))
        if not 0 < len(rest) < len(self):
            raise UserError(f"can't hold out {fraction:g} of {len(self)} images: a part would be empty")
        return self.take(rest), self.take(held)

    def take(self, rows: np.ndarray) -> ImageSet:
        """The images of some rows, int64 [n], as a set (still on disk, where this one is)."""
        if isinstance(self.images, Rows):
            images = Rows(self.images.base, self.images.rows[rows])
        else:
            images = Rows(self.images, rows) if isinstance(self.images, np.memmap) else self.images[rows]
        return replace(
            self,
            images=images,
            labels=None if self.labels is None else self.labels[rows],
            captions=None if self.captions is None else [self.captions[i] for i in rows],
            names=[self.names[i] for i in rows],
            hashes=self.hashes[rows],
        )

    def fingerprint(self) -> str:
        """32 hex digits that change when pixels, their order, labels or captions change; wherever the files lie."""
        digest = hashlib.blake2b(repr(self.images.shape).encode(), digest_size=16)
        digest.update(self.hashes.astype("<u8").tobytes())
        digest.update(b"" if self.labels is None else self.labels.astype("<i8").tobytes())
        digest.update("\0".join([*self.label_names, *(self.captions or [])]).encode(errors="surrogatepass"))
        return digest.hexdigest()
