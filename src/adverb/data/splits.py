"""Which file is for training, which is held out, which is for the end: by their names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from adverb.data.entries import SPLITS, split_name
from adverb.data.records import FORMS, Where, name_of
from adverb.data.sources import existing
from adverb.errors import UserError

TAGGED = (".conll", ".conllu", ".iob", ".iob2", ".bio", ".bioes")
SUFFIXES = (*FORMS, *TAGGED)
ASIDE = ("readme", "license", "licence", "dataset_info", "metadata")  # beginnings of names of files that aren't data
SHARD = re.compile(r"-?\d{5}-of-(\d{5})")


@dataclass(frozen=True)
class Splits:
    """Where each part is: a file (or a pattern of shards), a hub's (name, split), or None where there is none."""

    train: Where
    valid: Where | None = None
    test: Where | None = None


def find_splits(path: str | Path | None, valid: str | Path | None = None, test: str | Path | None = None) -> Splits:
    """The parts of what lies at `path`: a folder, a file (and its siblings, where it is called train), a hub name.

    valid, test: a file, or a split of the hub's set, told by the user. Raises UserError.
    """
    if path is None:
        raise UserError("what to learn from is missing: name it by --data")
    where = existing(path)
    if where is None:
        found = _of_hub(str(path))
    elif where.is_dir():
        found = _of_folder(where)
    else:
        found = _of_file(where)
    told = {"valid": valid, "test": test}
    for part, asked in told.items():
        if asked is not None:
            found[part] = _told(asked, str(path) if where is None else None)
    train = found["train"]
    for part in told:
        if found.get(part) == train:
            raise UserError(f"data.{part} and data.path are both {name_of(train)}: measure on rows not trained on")
    return Splits(train, found.get("valid"), found.get("test"))


def is_data(file: Path) -> bool:
    name = file.name.lower()
    return Path(name.removesuffix(".gz")).suffix in SUFFIXES and not name.startswith((".", "_", *ASIDE))


def _told(asked: str | Path, hub: str | None) -> Where:
    if hub is not None and not Path(asked).exists():
        from adverb.data.hub import load_hub

        if str(asked) in (splits := load_hub(hub)):
            return hub, str(asked)
        raise UserError(f"{asked} is neither a file nor a split of {hub}, which has: {', '.join(map(str, splits))}")
    where = existing(asked)
    if where is None:
        return _of_hub(str(asked))["train"]
    if where.is_dir():
        return _of_folder(where)["train"]
    return where


def _of_hub(name: str) -> dict[str, Where]:
    from adverb.data.hub import load_hub

    names = list(load_hub(name))
    found = {SPLITS[split]: (name, split) for split in reversed(names) if split in SPLITS}
    if "train" not in found:
        if len(names) > 1:
            raise UserError(f"{name} has no split 'train', but: {', '.join(map(str, names))}")
        found["train"] = (name, names[0])
    return found


def _of_file(file: Path) -> dict[str, Where]:
    """The file, and siblings whose names differ from its own in the word for the split only."""
    found: dict[str, Where] = {"train": file}
    if split_name(_stem(file)) != "train":
        return found
    pattern = _without_split(file)
    for other in sorted(file.parent.iterdir()):
        part = split_name(_stem(other)) if other.is_file() and is_data(other) else None
        if part not in (None, "train") and _without_split(other) == pattern:
            found.setdefault(part, other)
    return found


def _of_folder(folder: Path) -> dict[str, Where]:
    files = sorted(f for f in folder.iterdir() if f.is_file() and is_data(f))
    if not files:  # one level down: data/train.csv, train/part.csv
        files = sorted(f for f in folder.glob("*/*") if f.is_file() and is_data(f))
    by_part: dict[str, list[Path]] = {}
    for file in files:
        inside = split_name(file.parent.name) if file.parent != folder else None
        by_part.setdefault(split_name(_stem(file)) or inside or "", []).append(file)
    if not files:
        raise UserError(f"{folder} holds no table: looked for {', '.join(SUFFIXES)}")
    if "train" not in by_part:
        if "" not in by_part:
            raise UserError(f"{folder} holds {', '.join(f.name for f in files)}, but nothing called train")
        by_part["train"] = by_part[""]
    by_part.pop("", None)
    return {part: _one(part, folder, files) for part, files in by_part.items()}


def _one(part: str, folder: Path, files: list[Path]) -> Path:
    patterns = {SHARD.sub("*", str(file)) for file in files}
    shard = SHARD.search(files[0].name)
    if shard and len(patterns) == 1 and files[0].suffix == ".parquet":
        if len(files) < int(shard[1]):
            raise UserError(f"{folder} holds {len(files)} of the {int(shard[1])} files of '{part}'")
        return Path(patterns.pop())
    if len(files) == 1:
        return files[0]
    listed = ", ".join(file.name for file in files[:6]) + (" …" if len(files) > 6 else "")
    key = "data.path" if part == "train" else f"data.{part}"
    raise UserError(f"{folder} holds several files that could be for '{part}' ({listed}): name one as {key}")


def _stem(file: Path) -> str:
    return file.name.lower().removesuffix(".gz").rpartition(".")[0]


def _without_split(file: Path) -> str:
    """The name with the word for the split taken out: what siblings have in common."""
    words = re.split(r"([^a-z]+)", _stem(file))
    return "".join(word for word in words if word not in SPLITS)
