"""Reads a data set of images: finds it, decides size and channels, decodes, and keeps large sets in the cache."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from adverb.data import cache
from adverb.data.decode import Unreadable, decode
from adverb.data.digits import load_digits
from adverb.data.entries import NO_LABEL, Entries, choose_split
from adverb.data.image_set import ImageSet, Report
from adverb.data.order import epoch_order
from adverb.data.plan import Plan, make_plan, pooled
from adverb.data.sources import EMBEDDED, image_entries
from adverb.errors import UserError

IN_MEMORY = 256 * 2**20  # bytes of pixels; a larger set is memory-mapped from the cache
SLOW = 2.0  # seconds of decoding after which a smaller set is cached too
FEW = 100
Progress = Callable[[int, int], None]  # (done, total)


def load_images(
    path: str | Path,
    *,
    split: str = "train",
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    label: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> ImageSet:
    """Read a data set of images.

    path: `digits` (embedded); a folder of images, where sub-folders give labels, top-level folders called train,
        valid or test are splits, and a metadata.jsonl or metadata.csv gives labels and captions by file_name;
        a parquet file or a folder of them; or a data set of the hub.
    size: N or (H, W) pixels; None: as the images are, else chosen (see `plan.py`) and noted in the report.
    channels: 1 grey, 3 RGB, 4 RGBA; None: as most images are.
    label: the column of the label; `none`: without labels; None: found by its usual names.
    limit: use so many images, drawn at random (always the same ones).
    progress: called with (images decoded, images in all).

    Images that can't be read are left out and named in the report. A set of more than 256 MB, or one that took
    long to decode, is kept decoded in $ADVERB_CACHE (or ~/.cache/adverb) and read from there the next time.
    Raises UserError for a missing path, a split or column that isn't there, labels for some of the images only,
    fewer than two readable images, an impossible size or number of channels, and a full disk.
    """
    size = _checked_size(size)
    if channels not in (None, 1, 3, 4):
        raise UserError(f"data.channels={channels}: 1 is grey, 3 is RGB, 4 is RGBA")
    if limit is not None and limit < 2:
        raise UserError(f"data.limit={limit}: at least 2 images are needed")
    entries = _embedded(str(path), split, label) if _is_embedded(path) else image_entries(path, split, label)
    chosen = np.arange(len(entries.names))
    if limit is not None and limit < len(chosen):
        chosen = np.sort(epoch_order(len(chosen), 0, 0)[:limit])
    settings = (cache.FORMAT, str(Path(path).resolve()), entries.stamp, split, size, channels, label, limit)
    key = hashlib.blake2b(repr(settings).encode(errors="surrogateescape"), digest_size=16).hexdigest()
    if entries.stamp and (stored := cache.open_cached(key)):
        return _from_cache(*stored)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about odd metadata and large images, handled in decode.py
        return _decode_all(entries, chosen, make_plan(entries, chosen, size, channels), split, key, progress)


def _decode_all(
    entries: Entries, chosen: np.ndarray, plan: Plan, split: str, key: str, progress: Progress | None
) -> ImageSet:
    shape = (*plan.size, plan.channels)
    chosen = np.array([i for i in chosen if i not in plan.unreadable], dtype=np.int64)
    total, width = len(chosen), int(np.prod(shape))
    writer = cache.CacheWriter(key, total * width) if total * width > IN_MEMORY else None
    images = None if writer else np.empty((total, *shape), dtype=np.uint8)
    hashes, kept, failed, started = np.empty(total, dtype=np.uint64), [], dict(plan.unreadable), time.monotonic()

    def one(data) -> tuple[np.ndarray, int] | str:
        try:
            pixels = decode(data, plan.size, plan.channels)
        except Unreadable as error:
            return str(error)
        return pixels, int.from_bytes(hashlib.blake2b(pixels, digest_size=8).digest(), "little")

    try:
        for done, (index, result) in enumerate(pooled(one, entries.stream(chosen)), 1):
            if isinstance(result, str):
                failed[index] = result
            else:
                hashes[len(kept)] = result[1]
                if writer:
                    writer.append(result[0])
                else:
                    images[len(kept)] = result[0]
                kept.append(index)
            if progress and (done % 256 == 0 or done == total):
                progress(done, total)
        hashes, n = hashes[: len(kept)], len(kept)
        images_set = _image_set(entries, np.array(kept, dtype=np.int64), failed, plan, split, hashes)
        if writer is None and entries.stamp and time.monotonic() - started > SLOW:
            try:
                writer = cache.CacheWriter(key, n * width)
                writer.append(images[:n])
            except UserError:  # it fits into memory: a cache would only have saved time
                writer = None
        if writer:
            writer.commit(_to_json(images_set, [n, *shape]))
            images = cache.open_cached(key)[0] if images is None else images
        images_set.images = images[:n]
    finally:
        if writer:
            writer.close()
    _look_at_pixels(images_set)
    return images_set


def _image_set(
    entries: Entries, kept: np.ndarray, failed: dict[int, str], plan: Plan, split: str, hashes: np.ndarray
) -> ImageSet:
    """The set without its pixels. Raises UserError where too few images are left."""
    left_out = entries.left_out + [(entries.names[i], reason) for i, reason in sorted(failed.items())]
    if len(kept) < 2:
        why = "".join(f"\n  {name}: {reason}" for name, reason in left_out[:3])
        raise UserError(f"{len(kept)} readable image{'s' * (len(kept) != 1)} found, at least 2 are needed{why}")
    report = Report(
        about=entries.about,
        split=split,
        splits=entries.splits,
        found=len(kept) + len(left_out),
        left_out=left_out,
        ignored=entries.ignored,
        sizes=plan.sizes,
        modes=plan.modes,
        duplicates=len(hashes) - len(np.unique(hashes)),
        notes=list(plan.notes),
        warnings=entries.warnings + plan.warnings,
    )
    if len(kept) < FEW:
        report.warnings.append(f"{len(kept)} images are few: a GAN will learn them by heart")
    if report.duplicates > len(kept) // 10:
        report.warnings.append(f"{report.duplicates:,} of {len(kept):,} images are copies of others: remove them")
    labels = None if entries.labels is None else entries.labels[kept]
    if labels is not None:
        report.warnings += _label_warnings(labels, entries.label_names)
    return ImageSet(
        images=np.empty(0, dtype=np.uint8),
        labels=labels,
        label_names=entries.label_names,
        captions=None if entries.captions is None else [entries.captions[i] for i in kept],
        names=[entries.names[i] for i in kept],
        report=report,
        hashes=hashes,
    )


def _label_warnings(labels: np.ndarray, names: list[str]) -> list[str]:
    present, counts = np.unique(labels, return_counts=True)
    if len(present) > max(20, len(labels) // 2):
        return [f"{len(present):,} labels on {len(labels):,} images: are they captions or ids? data.label=none"]
    if counts.max() > 20 * counts.min():
        common, rare = names[present[counts.argmax()]], names[present[counts.argmin()]]
        return [f"label '{common}' has over 20 times as many images as '{rare}'; without labels: data.label=none"]
    return []


def _look_at_pixels(images: ImageSet) -> None:
    """Warn about what only the pixels show."""
    sample = images.batch(np.linspace(0, len(images) - 1, min(256, len(images))).astype(np.int64))
    colour = sample[..., :3]
    if images.shape[2] == 3 and (colour == colour[..., :1]).all():
        images.report.warnings.append("all colours are greys: data.channels=1 trains faster on the same images")
    if (sample == sample[:1]).all():
        images.report.warnings.append("all images that were looked at are identical")


def _to_json(images: ImageSet, shape: list[int]) -> dict[str, Any]:
    return {
        "shape": shape,
        "labels": None if images.labels is None else images.labels.tolist(),
        "label_names": images.label_names,
        "captions": images.captions,
        "names": images.names,
        "hashes": images.hashes.tolist(),
        "report": asdict(images.report),
    }


def _from_cache(pixels: np.ndarray, about: dict[str, Any]) -> ImageSet:
    report = Report(**about["report"])
    report.left_out = [tuple(pair) for pair in report.left_out]
    images = ImageSet(
        images=pixels if pixels.nbytes > IN_MEMORY else np.array(pixels),
        labels=None if about["labels"] is None else np.array(about["labels"], dtype=np.int64),
        label_names=about["label_names"],
        captions=about["captions"],
        names=about["names"],
        report=report,
        hashes=np.array(about["hashes"], dtype=np.uint64),
    )
    _look_at_pixels(images)
    return images


def _is_embedded(path: str | Path) -> bool:
    return str(path) in EMBEDDED and not Path(path).exists()


def _embedded(name: str, split: str, label: str | None) -> Entries:
    splits = {"train": 1500, "test": 297}
    pixels, labels = load_digits(choose_split(split, splits, name))
    return Entries(
        names=[f"row {i}" for i in range(len(pixels))],
        stream=lambda indices: ((int(i), b"P5 8 8 255\n" + pixels[i].tobytes()) for i in indices),  # as a PGM file
        stamp="",
        about="embedded digits of scikit-learn",
        splits=splits,
        labels=None if label == NO_LABEL else labels,
        label_names=[] if label == NO_LABEL else [str(d) for d in range(10)],
    )


def _checked_size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or any(not isinstance(s, int) or not 4 <= s <= 4096 for s in pair):
        raise UserError(f"data.size={size}: expected N or [height, width], each from 4 to 4096 pixels")
    return pair
