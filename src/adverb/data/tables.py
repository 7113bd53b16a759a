"""Images in the rows of a table: parquet files in the layout of the hub, and data sets of the hub itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from adverb.data.entries import (
    CAPTION_COLUMNS,
    LABEL_COLUMNS,
    SPLITS,
    Entries,
    choose_column,
    choose_split,
    encode_labels,
    first_caption,
    split_name,
)
from adverb.data.folder import walk
from adverb.errors import UserError

IMAGE_COLUMNS = ("image", "img", "picture", "photo", "pixel_values")
ROWS = 512  # read at a time


@dataclass
class Table:
    """One split: how many rows, which columns, and their batches (`batches(columns)` in order)."""

    rows: int
    schema: pa.Schema
    batches: Callable[[list[str]], Iterator[pa.RecordBatch | pa.Table]]
    folder: Path | None = None  # where image paths without bytes are looked for


def image_column(schema: pa.Schema) -> str | None:
    """The column that holds encoded images: struct{bytes, path}, or raw bytes; None where there is none."""
    features = hub_features(schema)
    candidates = []
    for field in schema:
        is_struct = pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        declared = features.get(field.name, {})
        kind = declared.get("_type") if isinstance(declared, dict) else None
        if kind == "Image" or (kind is None and (is_struct or _is_binary(field.type))):
            candidates.append(field.name)
    return next((name for name in (*IMAGE_COLUMNS, *candidates) if name in candidates), None)


def hub_features(schema: pa.Schema) -> dict[str, Any]:
    """What `datasets` wrote about the columns into the schema's metadata."""
    try:
        return json.loads(schema.metadata[b"huggingface"])["info"]["features"] or {}
    except (TypeError, KeyError, ValueError):
        return {}


def parquet_entries(path: Path, split: str, label: str | None) -> Entries:
    """One split of a parquet file, or of the parquet files below a folder. Raises UserError, see `load_images`."""
    files = [path] if path.is_file() else [p for p, _ in walk(path) if p.suffix == ".parquet"]
    if not files:
        raise UserError(f"{path} holds no parquet files")
    by_split: dict[str, list[Path]] = {}  # in the order train, valid, test
    for file in files:
        inside = "" if file.parent == path or file == path else file.parent.name
        by_split.setdefault(split_name(file.stem) or split_name(inside) or "train", []).append(file)
    order = [name for name in dict.fromkeys(SPLITS.values()) if name in by_split]
    tables = {name: _parquet_table(by_split[name]) for name in order}
    wanted = choose_split(split, {name: t.rows for name, t in tables.items()}, str(path))
    entries = table_entries(tables, wanted, label, str(path), "parquet")
    entries.warnings += _missing_shards(files)
    stamp = hashlib.blake2b(digest_size=16)
    for file in files:
        stat = file.stat()
        stamp.update(f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    entries.stamp = stamp.hexdigest()
    return entries


def table_entries(tables: dict[str, Table], split: str, label: str | None, where: str, about: str) -> Entries:
    """The rows of one split as entries; the labels of the other splits are read to number the classes alike."""
    table = tables[split]
    columns = table.schema.names
    image = image_column(table.schema)
    if image is None:
        raise UserError(f"{where} has no column of encoded images, but: {', '.join(columns)}")
    labels, label_names = None, []
    column = choose_column(label, columns, LABEL_COLUMNS, where)
    if column:
        declared = hub_features(table.schema).get(column, {})
        names = declared.get("names") if isinstance(declared, dict) else None
        if isinstance(names, dict):  # older files: {"0": "cat", "1": "dog"}
            names = [names[key] for key in sorted(names, key=int)]
        values = {name: _column(t, column) for name, t in tables.items() if column in t.schema.names}
        universe = [v for part in values.values() for v in part]
        labels, label_names = encode_labels(values[split], universe, names, where)
    caption = next((name for name in CAPTION_COLUMNS if name in columns and name != column), None)
    captions = [first_caption(v) for v in _column(table, caption)] if caption else None
    about += f", images from '{image}'"
    about += "".join(f", {what} from '{c}'" for what, c in (("labels", column), ("captions", caption)) if c)
    return Entries(
        names=[f"row {i}" for i in range(table.rows)],
        stream=_row_reader(table, image),
        stamp="",
        about=about,
        splits={name: t.rows for name, t in tables.items()},
        labels=labels,
        label_names=label_names,
        captions=captions,
    )


def open_parquet(file: Path) -> pq.ParquetFile:
    """Raises UserError where the file is not parquet, or cut off."""
    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} can't be read as parquet: {str(error).splitlines()[0]}") from None


def _parquet_table(files: list[Path]) -> Table:
    opened = [open_parquet(file) for file in files]
    schema = opened[0].schema_arrow
    for file, other in zip(files, opened, strict=True):
        if other.schema_arrow.names != schema.names:
            raise UserError(
                f"{file} has other columns ({', '.join(other.schema_arrow.names)}) than {files[0].name} "
                f"({', '.join(schema.names)}): give one of the files, or a folder with files of one kind"
            )

    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        for file in files:
            try:
                with pq.ParquetFile(file) as parquet:
                    yield from parquet.iter_batches(batch_size=ROWS, columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{file} is damaged: {str(error).splitlines()[0]}") from None

    return Table(sum(o.metadata.num_rows for o in opened), schema, batches, files[0].parent)


def _column(table: Table, name: str) -> list[Any]:
    return [value for batch in table.batches([name]) for value in batch.column(name).to_pylist()]


def _row_reader(table: Table, column: str):
    def stream(indices: Sequence[int]) -> Iterator[tuple[int, bytes | Path | None]]:
        wanted, first = np.asarray(indices, dtype=np.int64), 0
        for batch in table.batches([column]):
            here = wanted[(wanted >= first) & (wanted < first + batch.num_rows)]
            values = batch.column(column)
            for i in here:
                yield int(i), _encoded(values[int(i) - first].as_py(), table.folder)
            first += batch.num_rows
            if len(wanted) and first > wanted[-1]:
                return

    return stream


def _encoded(value: Any, folder: Path | None) -> bytes | Path | None:
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path") and folder is not None:
            return folder / value["path"]
        return value.get("bytes")
    return value


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _missing_shards(files: list[Path]) -> list[str]:
    """One warning per split whose file names say `of-00005` while fewer are there."""
    matches = [m for f in files if (m := re.fullmatch(r"(.*?)-?\d{5}-of-(\d{5})(-\w+)?", f.stem))]
    here = Counter((m[1], int(m[2])) for m in matches)
    return [f"only {n} of the {total} files of '{name}' are here" for (name, total), n in here.items() if n < total]
