"""Rows of parquet files and of hub sets, with class numbers as their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adverb.errors import UserError

if TYPE_CHECKING:
    from adverb.data.records import Records

ROWS = 1000  # of a batch


def parquet_rows(records: Records, files: list[Path]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the row from 1, row) over all files. Raises UserError for a damaged file."""
    import pyarrow as pa

    from adverb.data.tables import hub_features, open_parquet

    opened = [open_parquet(file) for file in files]
    schema = opened[0].schema_arrow
    records.columns = schema.names
    records.report.unit = "row"
    decode = _decoder(records, hub_features(schema))

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        for file, table in zip(files, opened, strict=True):
            if table.schema_arrow.names != schema.names:
                raise UserError(f"{file} has other columns than {files[0].name}: {', '.join(table.schema_arrow.names)}")
            try:
                for batch in table.iter_batches(batch_size=ROWS):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, decode(row)
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{file} is damaged: {str(error).splitlines()[0]}") from None

    return rows()


def hub_rows(records: Records, name: str, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the row from 1, row) of a split of a hub's data set. Raises UserError."""
    from adverb.data.hub import load_hub

    found = load_hub(name)
    if split not in found:
        raise UserError(f"{name} has no split '{split}'; it has: {', '.join(map(str, found))}")
    part = found[split]
    records.columns = list(part.column_names)
    records.report.unit = "row"
    decode = _decoder(records, part.features.to_dict())
    return ((number, decode(row)) for number, row in enumerate(part, 1))


def _decoder(records: Records, features: dict[str, Any]):
    """A function that puts the declared names in the place of class numbers, None in that of -1."""
    names = {column: found for column, declared in features.items() if (found := _names(declared))}
    records.label_names = names
    if not names:
        return lambda row: row

    def decode(row: dict[str, Any]) -> dict[str, Any]:
        for column, known in names.items():
            row[column] = _named(row[column], known)
        return row

    return decode


def _names(declared: Any) -> list[str] | None:
    """The class names of a ClassLabel, or of a list of them."""
    while isinstance(declared, dict) and declared.get("_type") in ("Sequence", "List", "LargeList"):
        declared = declared.get("feature")
    if isinstance(declared, list):
        declared = declared[0] if declared else None
    names = declared.get("names") if isinstance(declared, dict) else None
    if isinstance(names, dict):  # older files: {"0": "cat", "1": "dog"}
        names = [names[key] for key in sorted(names, key=int)]
    return names


def _named(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(v, names) for v in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
