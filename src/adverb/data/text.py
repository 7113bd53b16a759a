"""Text to learn from: where it lies, and read as a stream of paragraphs.

A document ends at an empty line of a text file, at the end of a file, and at every row of a table (JSONL, CSV,
parquet) or a hub's data set. Nothing here holds more than a piece of a very long line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adverb.data.columns import as_text
from adverb.data.decoding import Lines
from adverb.data.entries import SPLITS
from adverb.data.folder import walk
from adverb.data.hub import is_hub_name
from adverb.data.records import FORMS, Records, suffix_of
from adverb.errors import UserError

PLAIN = (".txt", ".text", ".md")
SUFFIXES = (*PLAIN, ".jsonl", ".ndjson", ".parquet", *(f"{s}.gz" for s in (*PLAIN, ".jsonl")))
LONGEST_WORD = 1000  # characters: scripts without spaces may be cut anywhere
TABLES = tuple(f"{s}{gz}" for s, form in FORMS.items() if form == "delimited" for gz in ("", ".gz"))
SHARD = re.compile(r"-\d+(-of-\d+)?$")  # of a part in several files
MODEL_FILES = frozenset(("recipe.yaml", "config.json", "tokenizer.json"))  # a folder with one is no corpus
# What tokenizers drop inside words and Python takes for spaces; here they are spaces, whoever looks.
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass
class Source:
    """Text in files, or the name of a data set on a hub.

    column: of JSONL and tables. limit: documents to read at most. left_out: sentences about files that are not read.
    counts, odd (what is to be said of files -> their names): filled while `paragraphs` reads.
    """

    name: str
    files: list[Path] = field(default_factory=list)
    column: str = "text"
    limit: int | None = None
    split: str = "train"  # of a hub's data set
    left_out: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    odd: dict[str, list[str]] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """What the reader should know about the files."""
        return self.left_out + [f"{_names(files)}: {said}" for said, files in self.odd.items()]

    def stamp(self) -> list[Any]:
        """What changes when the text does: names, sizes and times of the files."""
        files = []
        for file in self.files:
            try:
                stat = file.stat()
            except OSError as error:
                raise UserError(f"can't read {file}: {error.strerror}: mend it, or move it away") from None
            files.append((str(file.resolve()), stat.st_size, stat.st_mtime_ns))
        return [files or self.name, self.column, self.limit, self.split]


def find_text(path: str | Path, column: str = "text", limit: int | None = None, held: Iterable[Any] = ()) -> Source:
    """The text at `path` to learn from: a file, a folder, or a hub name; see `text_parts`.

    Raises UserError where there is nothing to read.
    """
    parts = text_parts(path, column, limit, held)
    if "train" not in parts:
        what = ", ".join(file.name for part in parts.values() for file in part.files[:3])
        why = f"only text to measure on ({what})" if what else f"no text: looked for {', '.join(SUFFIXES)}"
        raise UserError(f"{path} holds {why}")
    return parts["train"]


def find_valid(path: str | Path, column: str = "text", told: str | Path | None = None) -> Source | None:
    """The held-out text: what is told, else what is called valid, or else test, at `path`; None where there is none."""
    if told is not None:
        return find_text(told, column)
    parts = text_parts(path, column)
    return parts.get("valid") or parts.get("test")


def text_parts(
    path: str | Path, column: str = "text", limit: int | None = None, held: Iterable[Any] = ()
) -> dict[str, Source]:
    """The text at `path` by part: train, valid, test. Files and folders whose whole name is that of a part belong to
    it (train.txt, valid/, test-00000-of-00001.parquet), also those beside a file that is called train. Others, such as
    "test_of_time.txt", are to be trained on where nothing is called train.

    limit: documents of train. held: paths that data.valid and data.test name, which are in no part, or None.
    Raises UserError where nothing is at `path`, or nothing but what is held.
    """
    where = Path(path).expanduser()
    if not where.exists():
        if is_hub_name(str(path)) and where.suffix.lower() not in SUFFIXES:
            return {"train": Source(str(path), column=column, limit=limit)}
        raise UserError(
            f"no text at {path}: expected a file, a folder of {', '.join(SUFFIXES[:6])} files, or a hub name"
        )
    left_out: list[str] = []
    if where.is_file():
        if not where.name.lower().endswith((*SUFFIXES, *TABLES)):
            raise UserError(f"{where}: '{where.suffix}' files are not read, but these: {', '.join(SUFFIXES + TABLES)}")
        alike = sorted(where.parent.iterdir()) if _part_of(where.name) == "train" else ()
        part_of = {f: p for f in alike if f.suffix == where.suffix and (p := _part_of(f.name)) in ("valid", "test")}
        part_of[where] = "train"
    else:
        files, unread = text_files(where)
        if not files:
            files, unread = text_files(where, TABLES)
        part_of = {file: _part_of(file.relative_to(where).parts[0]) for file in files}
        if "train" not in part_of.values():
            part_of = {file: part or "train" for file, part in part_of.items()}
        if unread:
            left_out.append(f"not read: {', '.join(f'{n:,} {suffix}' for suffix, n in unread.most_common(6))}")
        if beside := [file.name for file, part in part_of.items() if part is None]:
            left_out.append(f"{_names(beside)} not used, as others here are called train")
    apart = {Path(one).expanduser().resolve() for one in held if one is not None}
    parts: dict[str, Source] = {}
    for file, part in part_of.items():
        real = file.resolve()
        if part is not None and apart.isdisjoint((real, *real.parents)):
            source = Source(str(path if part == "train" else file), [], column, limit if part == "train" else None)
            parts.setdefault(part, source).files.append(file)
    if "train" in parts:
        parts["train"].left_out = left_out
    elif "train" in part_of.values():
        raise UserError(f"data.valid or data.test is all of the text at {path}: measure on text not trained on")
    return parts


def _part_of(name: str) -> str | None:
    word = SHARD.sub("", name.lower().partition(".")[0])
    return SPLITS.get(word)


def text_files(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> tuple[list[Path], Counter[str]]:
    """Every text file below, sorted, links followed; and how many others there are, by suffix. Left out: what is
    hidden, runs and models."""
    files = [path for path, _ in walk(folder) if not path.name.startswith(("README", "LICENSE"))]
    models = {path.parent for path in files if path.name in MODEL_FILES} - {folder}
    found, others = [], Counter()
    for path in files:
        if not models.isdisjoint(path.parents):
            continue
        if path.name.lower().endswith(suffixes):
            found.append(path)
        else:
            others[path.suffix.lower() or path.name] += 1
    return sorted(found), others


def _names(names: list[str]) -> str:
    listed = ", ".join(names[:3])
    return f"{len(names):,} files ({listed}, …)" if len(names) > 3 else listed


def paragraphs(source: Source) -> Iterator[str | None]:
    """Every paragraph (a line, or a part of a very long one), and None where a document ends.

    Undecodable bytes become U+FFFD and are counted in source.counts["undecodable"]. Raises UserError for a file
    that can't be read or is not text, a row that is not JSON, and a column that is not there.
    """
    source.counts = {"documents": 0, "undecodable": 0, "characters": 0}
    source.odd = {}
    open_document = False
    for line in _lines(source):
        line = CONTROLS.sub(" ", line).strip() if line is not None else None
        if line:
            source.counts["characters"] += len(line)
            source.counts["undecodable"] += line.count("\ufffd")
            open_document = True
            yield line
        elif open_document:
            source.counts["documents"] += 1
            open_document = False
            yield None
            if source.counts["documents"] == source.limit:
                return


def _lines(source: Source) -> Iterator[str | None]:
    """Lines, "" and None at the ends of documents."""
    if not source.files:
        for row in _hub_rows(source):
            yield from _of_row(row)
    for path in source.files:
        form = FORMS[suffix_of(path)]
        if form == "parquet":
            for row in _parquet_rows(path, source.column):
                yield from _of_row(row)
        elif form != "text":
            for row in _table_rows(path, source):
                yield from _of_row(row)
        else:
            lines = Lines(path, in_pieces=True)
            yield from _between_words(lines)
            _at_the_end(path, source, lines.encoding, lines.cut_off)
        yield None


def _between_words(lines: Lines) -> Iterator[str]:
    """Lines; very long ones in pieces, which don't cut a word in two."""
    piece = ""
    for _, line in lines:
        if piece:
            head, _, tail = piece.rpartition(" ")
            head, tail = (head, tail) if len(tail) < LONGEST_WORD else (piece, "")
            yield head
            line = tail + line
        piece = "" if line.endswith(("\n", "\r")) else line
        if not piece:
            yield line
    yield piece


def _at_the_end(path: Path, source: Source, encoding: str, cut_off: bool) -> None:
    if encoding != "UTF-8":
        source.odd.setdefault(f"read as {encoding}", []).append(path.name)
    if cut_off:
        raise UserError(f"{path} is cut off or damaged: its end can't be unpacked; fetch it again, or move it away")


def _of_row(value: Any) -> Iterator[str | None]:
    for part in value if isinstance(value, list) else [value]:
        text = part.decode(errors="replace") if isinstance(part, bytes) else as_text(part)
        yield from (line for line in text.splitlines() if line.strip())
    yield None


def _table_rows(path: Path, source: Source) -> Iterator[Any]:
    def refuse(line: int, reason: str) -> None:
        raise UserError(f"{path}:{line}: {reason}: correct the line, or take it out")

    rows = Records(path, refuse if FORMS[suffix_of(path)] == "jsonl" else None)
    for line, row in rows:
        if source.column not in row:
            raise UserError(f"{path}:{line}: no column '{source.column}' (it has {', '.join(row)}): set data.column")
        yield row[source.column]
    if rows.report.skipped:
        source.odd[f"{len(rows.report.skipped):,} rows left out: {rows.report.reasons()}"] = [path.name]
    _at_the_end(path, source, rows.report.encoding, bool(rows.report.warnings))


def _parquet_rows(path: Path, column: str) -> Iterator[Any]:
    import pyarrow as pa

    from adverb.data.tables import open_parquet

    table = open_parquet(path)
    if column not in table.schema_arrow.names:
        raise UserError(f"{path}: no column '{column}' (it has {', '.join(table.schema_arrow.names)}): set data.column")
    try:
        for batch in table.iter_batches(1000, columns=[column]):
            yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}: fetch it again, or move it away") from None


def _hub_rows(source: Source) -> Iterator[str]:
    import datasets  # slow, and needed for hub names only

    name, _, config = source.name.partition(":")
    try:
        rows = datasets.load_dataset(name, config or None, split=source.split, streaming=True)
        for row in rows:
            if source.column not in row:
                has = ", ".join(row)
                raise UserError(f"'{source.name}' has no column '{source.column}' (it has {has}): set data.column")
            yield row[source.column]
    except UserError:
        raise
    except Exception as error:  # datasets raises dozens of kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise UserError(
            f"'{source.name}' is not a path here, and as a hub's data set can't be read: {reason}"
        ) from None
