"""From what the user calls a data set to where it is: what kind of data, and the entries of one split."""

from __future__ import annotations

import difflib
from collections import Counter
from pathlib import Path

from adverb.data.entries import IMAGE_SUFFIXES, Entries
from adverb.errors import UserError

EMBEDDED = {"digits": "image"}  # data sets that come with the installed packages -> their kind
SHIPPED = {"reviews": Path(__file__).parent / "reviews"}  # those that come as files
KINDS = {
    "image": IMAGE_SUFFIXES,
    "text": (".txt", ".csv", ".tsv", ".json", ".jsonl", ".conll", ".md"),
    "audio": (".wav", ".flac", ".mp3", ".ogg"),
    "music": (".mid", ".midi"),
}
_KIND_OF_SUFFIX = {suffix: kind for kind, suffixes in KINDS.items() for suffix in suffixes}
_DESCRIBING = ("metadata.jsonl", "metadata.csv", "README.md", "readme.md", "LICENSE.txt", "README.txt")


def kind_of(path: str | Path) -> str:
    """What a data set holds: `image`, `text`, `audio` or `music`.

    path: an embedded name, a file, a folder (what most of its files are) or a hub name.
    Raises UserError where it does not exist or holds nothing known.
    """
    if str(path) in EMBEDDED and not Path(path).exists():
        return EMBEDDED[str(path)]
    where = existing(path)
    if where is None:
        from adverb.data.hub import load_hub
        from adverb.data.tables import image_column

        splits = load_hub(str(path))
        return "image" if image_column(next(iter(splits.values())).features.arrow_schema) else "text"
    files = [where] if where.is_file() else _files(where)
    kinds = Counter(_KIND_OF_SUFFIX.get(file.suffix.lower()) for file in files if file.name not in _DESCRIBING)
    tables = [file for file in files if file.suffix == ".parquet"]
    if tables and (where.is_file() or not kinds["image"] or _has_images(tables[0])):
        return "image" if _has_images(tables[0]) else "text"
    del kinds[None]
    if kinds:
        return kinds.most_common(1)[0][0]
    if where.is_file():
        known = ", ".join((*_KIND_OF_SUFFIX, ".parquet"))
        raise UserError(f"{where}: '{where.suffix}' files are not read, but these: {known}")
    raise UserError(f"{where} is an empty folder" if not files else f"{where} holds no images, text, audio or music")


def image_entries(path: str | Path, split: str, label: str | None) -> Entries:
    """The images of one split of a folder, parquet file or hub data set, not decoded yet. Raises UserError."""
    from adverb.data.folder import folder_entries
    from adverb.data.tables import parquet_entries

    where = existing(path)
    if where is None:
        from adverb.data.hub import hub_entries

        return hub_entries(str(path), split, label)
    if where.is_file():
        if where.suffix == ".parquet":
            return parquet_entries(where, split, label)
        if _KIND_OF_SUFFIX.get(where.suffix.lower()) == "image":
            raise UserError(f"{where} is a single image: give the folder it lies in")
        hint = " (unpack it first)" if where.suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") else ""
        raise UserError(f"{where} is not image data{hint}: give a folder of images or a parquet file")
    files = _files(where)
    tables = [file for file in files if file.suffix == ".parquet"]
    images = any(_KIND_OF_SUFFIX.get(file.suffix.lower()) == "image" for file in files)
    if tables and (not images or _has_images(tables[0])):
        return parquet_entries(where, split, label)
    return folder_entries(where, split, label)


def existing(path: str | Path) -> Path | None:
    """The path where it exists, None where it may be a hub name. Raises UserError with the nearest name."""
    where = Path(path).expanduser()
    if where.exists():
        return where
    if str(path) in SHIPPED:
        return SHIPPED[str(path)]
    folder = where.parent if where.parent.is_dir() else None
    beside = {str(where.parent / p.name): p.name for p in folder.iterdir()} if folder else {}
    names = [*beside.values(), *((*EMBEDDED, *SHIPPED) if str(folder) == "." else ())]
    near = difflib.get_close_matches(where.name, names, n=1, cutoff=0.7)
    text = str(path)
    if not near and not text.startswith((".", "/", "~")) and where.suffix.lower() not in (*_KIND_OF_SUFFIX, ".parquet"):
        from adverb.data.hub import is_hub_name

        if is_hub_name(text):
            return None
    missing = where
    while not missing.parent.exists():
        missing = missing.parent  # the first part of the path that isn't there
    if near:
        hint = f"did you mean {near[0] if near[0] in (*EMBEDDED, *SHIPPED) else where.parent / near[0]}?"
    elif missing != where:
        hint = f"there is no folder {missing}"
    else:
        hint = f"{missing.parent.resolve()} holds " + (", ".join(sorted(names)[:5]) or "nothing")
    raise UserError(f"no data at {path}: {hint}")


def _files(folder: Path) -> list[Path]:
    from adverb.data.folder import walk

    return [path for path, _ in walk(folder)]


def _has_images(parquet: Path) -> bool:
    from adverb.data.tables import image_column, open_parquet

    return image_column(open_parquet(parquet).schema_arrow) is not None
