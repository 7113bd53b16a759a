"""A folder of images: class folders, split folders, metadata.jsonl or metadata.csv (datasets' ImageFolder layout)."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adverb.data.entries import (
    CAPTION_COLUMNS,
    IMAGE_SUFFIXES,
    LABEL_COLUMNS,
    NO_LABEL,
    SPLITS,
    Entries,
    choose_column,
    choose_split,
    encode_labels,
    first_caption,
)
from adverb.errors import UserError

UNREAD_SUFFIXES = {".heic", ".heif", ".svg", ".psd", ".jxl", ".dng", ".cr2", ".nef"}  # images, but not to Pillow
METADATA = ("metadata.jsonl", "metadata.csv")


def walk(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file below root with its stat, in sorted order; hidden ones left out, links followed but not in circles."""
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        for name in sorted(files):
            if not name.startswith("."):
                path = Path(folder, name)
                try:
                    yield path, path.stat()
                except OSError:  # a dangling link
                    yield path, os.stat_result((0,) * 10)


def folder_entries(root: Path, split: str, label: str | None) -> Entries:
    """The images below `root` as one split of a data set. Raises UserError, see `load_images`."""
    images, ignored, metadata = {}, Counter(), []
    for path, stat in walk(root):
        relative = path.relative_to(root).as_posix()
        if path.suffix.lower() in IMAGE_SUFFIXES:
            images[relative] = stat
        elif path.name in METADATA:
            metadata.append(relative)
        else:
            ignored[path.suffix.lower() or path.name] += 1
    if not images:
        raise UserError(_no_images(root, ignored))
    entries = _from_metadata(root, images, metadata, split, label) if metadata else _from_folders(
        root, images, split, label)  # fmt: skip
    entries.ignored = dict(ignored.most_common())
    unread = {suffix: n for suffix, n in ignored.items() if suffix in UNREAD_SUFFIXES}
    if unread:
        listed = ", ".join(f"{n:,} {suffix}" for suffix, n in unread.items())
        entries.warnings.append(f"{listed} files can't be read: convert them to PNG or JPEG")
    stamp = hashlib.blake2b(digest_size=16)
    for relative, stat in images.items():
        stamp.update(f"{relative}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    for relative in metadata:
        stamp.update((root / relative).read_bytes())
    entries.stamp = stamp.hexdigest()
    return entries


def _split_folders(images: Sequence[str]) -> tuple[dict[str, list[str]], bool]:
    """Split -> its images, and whether the top-level folders are splits; else all images are `train`."""
    tops = {relative.split("/")[0] for relative in images if "/" in relative}
    named = {top: SPLITS[top.lower()] for top in sorted(tops) if top.lower() in SPLITS}
    if not named or ("train" not in named.values() and len(named) < len(tops)):  # a class may be called `test`
        return {"train": list(images)}, False
    splits = {name: [] for name in dict.fromkeys(SPLITS.values()) if name in named.values()}
    for relative in images:
        top, slash, _ = relative.partition("/")
        if slash and top in named:
            splits[named[top]].append(relative)
    return splits, True


def _class_of(images: list[str], skip: int) -> dict[str, str | None]:
    """Image -> the folder that names its class: below `skip` levels, the first with more than one folder."""
    parents = {relative: relative.split("/")[skip:-1] for relative in images}
    depth = 0
    while all(len(p) > depth for p in parents.values()) and len({p[depth] for p in parents.values()}) == 1:
        depth += 1  # all in one folder: `images/cat/…` and `images/dog/…`
    return {relative: p[depth] if len(p) > depth else None for relative, p in parents.items()}


def _from_folders(root: Path, images: dict[str, Any], split: str, label: str | None) -> Entries:
    splits, in_folders = _split_folders(list(images))
    sizes = {name: len(part) for name, part in splits.items()}
    chosen = splits[choose_split(split, sizes, str(root))]
    classes = _class_of([relative for part in splits.values() for relative in part], skip=int(in_folders))
    labels, label_names, about = None, [], "folder of images"
    if label not in (None, NO_LABEL):
        raise UserError(f"data.label={label} names a column of metadata.jsonl or metadata.csv; {root} has neither")
    if label != NO_LABEL and any(classes.values()):
        values = [classes[relative] for relative in chosen]
        if None in values and any(values):
            loose = [relative for relative in chosen if classes[relative] is None]
            raise UserError(
                f"{len(loose):,} of {len(chosen):,} images lie beside the class folders ({loose[0]}, …) and so have no "
                "label. Move them into a class folder, or train without labels: data.label=none"
            )
        labels, label_names = encode_labels(values, list(classes.values()), None, str(root))
        about += ", labels from its sub-folders"
    entries = Entries(chosen, _reader(root, chosen), "", about, sizes, labels, label_names)
    outside = len(images) - sum(sizes.values())
    if outside:
        entries.warnings.append(f"{outside:,} images outside the split folders ({', '.join(sizes)}) are not used")
    return entries


def _from_metadata(root: Path, images: dict, metadata: list[str], split: str, label: str | None) -> Entries:
    rows = [(file, line, row) for file in metadata for line, row in _read_rows(root / file, file)]
    left_out, by_image, columns = [], {}, list(dict.fromkeys(key for _, _, row in rows for key in row))
    for file, line, row in rows:
        name = row.get("file_name")
        if not isinstance(name, str) or not name:
            near = f"it has: {', '.join(columns)}" if columns else "it is empty"
            raise UserError(f"{root / file}, line {line}: no file_name (the column that names the image); {near}")
        relative = os.path.normpath((Path(file).parent / name).as_posix()).replace(os.sep, "/")
        if relative not in images:
            left_out.append((name, f"named in {file}, line {line}, but there is no such image file"))
        elif relative in by_image:
            left_out.append((name, f"named again in {file}, line {line}: the first row is used"))
        else:
            by_image[relative] = row
    left_out += [(relative, f"not named in {metadata[0]}") for relative in images if relative not in by_image]
    if not by_image:
        named = f"it names {rows[0][2]['file_name']}, …" if rows else "it is empty"
        there = f"the {len(images):,} images ({next(iter(images))}, …)"
        raise UserError(f"{root / metadata[0]} names none of {there}: {named}")
    if "split" in columns:
        said = {relative: str(row.get("split")).lower() for relative, row in by_image.items()}
        part_of = {relative: SPLITS.get(name, name) for relative, name in said.items()}
    else:
        part_of = {relative: name for name, part in _split_folders(list(by_image))[0].items() for relative in part}
    sizes = dict(Counter(part_of.values()))
    wanted = choose_split(split, sizes, str(root))
    chosen = [relative for relative in by_image if part_of.get(relative) == wanted]
    where = str(root / metadata[0])
    column = choose_column(label, columns, LABEL_COLUMNS, where)
    caption = next((name for name in CAPTION_COLUMNS if name in columns and name != column), None)
    labels, label_names, captions = None, [], None
    if column:
        values = [by_image[relative].get(column) for relative in chosen]
        labels, label_names = encode_labels(values, [r.get(column) for r in by_image.values()], None, where)
    if caption:
        captions = [first_caption(by_image[relative].get(caption)) for relative in chosen]
    about = f"folder of images with {metadata[0]}"
    about += "".join(f", {what} from '{c}'" for what, c in (("labels", column), ("captions", caption)) if c)
    return Entries(chosen, _reader(root, chosen), "", about, sizes, labels, label_names, captions, left_out)


def _read_rows(path: Path, name: str) -> Iterator[tuple[int, dict]]:
    """(line number, row) of a metadata file. Raises UserError with the line that can't be read."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                reader = csv.DictReader(file)
                for row in reader:
                    yield reader.line_num, {k: v for k, v in row.items() if k is not None}
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise UserError(f'{path}, line {number}: expected {{"file_name": "a.png", …}}')
                    yield number, row
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {number}: not JSON: {error.msg} at column {error.colno}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: can't be read as UTF-8 text: {error}") from None


def _reader(root: Path, names: list[str]):
    def stream(indices: Sequence[int]) -> Iterator[tuple[int, Path]]:
        for i in indices:
            yield int(i), root / names[i]

    return stream


def _no_images(root: Path, ignored: Counter) -> str:
    if not ignored:
        return f"{root} is an empty folder"
    listed = ", ".join(f"{n:,} {suffix}" for suffix, n in ignored.most_common(4))
    hint = ": convert them to PNG or JPEG" if set(ignored) & UNREAD_SUFFIXES else ""
    return f"{root} holds no images (PNG, JPEG, WebP, BMP, GIF, TIFF); found {listed}{hint}"
