"""Which size and how many channels to train on: decided from the headers of all images before any is decoded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from adverb.data.decode import Header, Unreadable, is_transparent, read_header
from adverb.data.entries import Entries
from adverb.errors import UserError

KEPT_SIDE = 256  # images of one size up to this are used as they are
CHOSEN_SIDE = 64  # the longer side that is chosen otherwise
ASPECTS = (1 / 2, 9 / 16, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 16 / 9, 2)  # width over height
CHUNK = 512  # images read before they are decoded
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    size: tuple[int, int]  # (H, W)
    channels: int
    sizes: dict[str, int]  # "HxW" -> images
    modes: dict[str, int]  # Pillow's mode -> images
    unreadable: dict[int, str]  # index -> reason
    notes: list[str]
    warnings: list[str]


def make_plan(entries: Entries, chosen: np.ndarray, size: tuple[int, int] | None, channels: int | None) -> Plan:
    """Look at the header of every chosen image and decide. Raises UserError where none can be read."""

    def look(data) -> Header | str:
        try:
            return read_header(data)
        except Unreadable as error:
            return str(error)

    headers, unreadable = {}, {}
    for index, result in pooled(look, entries.stream(chosen)):
        (unreadable if isinstance(result, str) else headers)[index] = result
    if not headers:
        listed = "".join(f"\n  {entries.names[i]}: {reason}" for i, reason in list(unreadable.items())[:3])
        raise UserError(f"none of the {len(chosen):,} images can be read{listed}")
    notes, warnings = [], []
    if size is None:
        size = _choose_size(list(headers.values()), notes)
    else:
        _note_resizing(list(headers.values()), size, notes, warnings)
    if channels is None:
        channels = _choose_channels(headers, entries, notes, warnings)
    sizes = Counter(f"{h.height}x{h.width}" for h in headers.values())
    modes = Counter(h.mode for h in headers.values())
    return Plan(size, channels, dict(sizes.most_common()), dict(modes.most_common()), unreadable, notes, warnings)


def pooled(function: Callable[[Any], T], stream: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, T]]:
    """`function` of each item on a few threads, in order, holding only CHUNK items of the stream in memory."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(min(8, workers)) as pool:

        def run(items: list[tuple[int, Any]]) -> list[tuple[int, T]]:
            return [(index, function(data)) for index, data in items]

        while items := list(islice(stream, CHUNK)):
            part = -(-len(items) // min(8, workers))  # one task a worker: tasks cost more than small images
            for results in pool.map(run, [items[i : i + part] for i in range(0, len(items), part)]):
                yield from results


def _choose_size(headers: list[Header], notes: list[str]) -> tuple[int, int]:
    heights = np.array([h.height for h in headers])
    widths = np.array([h.width for h in headers])
    if len({(h.height, h.width) for h in headers}) == 1:
        height, width = int(heights[0]), int(widths[0])
        if 4 <= min(height, width) and max(height, width) <= KEPT_SIDE:
            return height, width
        why = f"all images have {height}×{width}, much to train on"
        if min(height, width) < 4:
            why = f"all images have {height}×{width}, too narrow"
    else:
        why = "the images differ in size"
    aspect = float(np.exp(np.median(np.log(widths / heights))))
    aspect = min(ASPECTS, key=lambda a: abs(np.log(a / aspect)))
    longer = min(CHOSEN_SIDE, float(np.median(np.maximum(heights, widths))))
    height, width = (longer / aspect, longer) if aspect >= 1 else (longer, longer * aspect)
    size = max(8, 8 * round(height / 8)), max(8, 8 * round(width / 8))
    cropped = _count_cropped(headers, size)
    crop = f", {cropped:,} of them cropped around the centre to that shape" if cropped else ""
    notes.append(f"{why}: trained at {size[0]}×{size[1]}{crop}; another size: data.size=N or data.size=[H,W]")
    return size


def _note_resizing(headers: list[Header], size: tuple[int, int], notes: list[str], warnings: list[str]) -> None:
    cropped = _count_cropped(headers, size)
    if cropped:
        notes.append(f"{cropped:,} of {len(headers):,} images are cropped around the centre to {size[0]}×{size[1]}")
    enlarged = sum(h.height < size[0] and h.width < size[1] for h in headers)
    if enlarged:
        warnings.append(f"{enlarged:,} of {len(headers):,} images are smaller than data.size: enlarging adds no detail")


def _count_cropped(headers: list[Header], size: tuple[int, int]) -> int:
    """Images that lose over 2 percent of a side."""
    aspect = size[1] / size[0]
    return sum(abs(np.log(h.width / h.height / aspect)) > 0.02 for h in headers)


def _choose_channels(headers: dict[int, Header], entries: Entries, notes: list[str], warnings: list[str]) -> int:
    total = len(headers)
    with_alpha = np.array(sorted(i for i, h in headers.items() if h.alpha), dtype=np.int64)
    if 2 * len(with_alpha) > total and _any_transparent(entries, with_alpha):
        notes.append("the images are transparent: trained as RGBA; on white instead: data.channels=3")
        return 4
    if 0 < 2 * len(with_alpha) <= total:
        notes.append(f"{len(with_alpha):,} of {total:,} images have transparency and are put on white")
    grey = sum(h.grey for h in headers.values())
    if grey == total:
        return 1
    if 2 * grey <= total:
        if grey:
            notes.append(f"{grey:,} of {total:,} images are grey and become RGB like the others")
        return 3
    warnings.append(
        f"{total - grey:,} of {total:,} images have colour and lose it, the others are grey: data.channels=3 keeps it"
    )
    return 1


def _any_transparent(entries: Entries, indices: np.ndarray) -> bool:
    """Whether any of these images is really transparent; most often the first one tells."""

    def look(data) -> bool:
        try:
            return is_transparent(data)
        except Unreadable:
            return False

    few = pooled(look, entries.stream(indices[:16]))
    return any([found for _, found in few]) or any(found for _, found in pooled(look, entries.stream(indices[16:])))
