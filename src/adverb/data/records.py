"""Rows of any table as (line, {column: value}), streaming: CSV, TSV, JSON, JSONL, parquet, plain text, hub sets."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adverb.data import json_rows
from adverb.data.decoding import Lines
from adverb.data.delimited import Delimited
from adverb.errors import UserError

Where = Path | tuple[str, str]  # a file (or a pattern of files), or a hub's (name, split)
Numbered = Iterator[tuple[int, dict[str, Any]]]

FORMS = {
    ".csv": "delimited", ".tsv": "delimited", ".tab": "delimited", ".psv": "delimited",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".parquet": "parquet",
    ".txt": "text", ".text": "text", ".md": "text",
}  # fmt: skip
SEPARATOR_OF = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|"}
LISTED = 8  # line numbers named in a sentence


@dataclass
class Report:
    """What reading one part of a data set found: which columns serve for what, what was left out and why."""

    name: str
    rows: int = 0
    columns: dict[str, str] = field(default_factory=dict)  # role -> column
    encoding: str = "UTF-8"
    skipped: list[tuple[int, str]] = field(default_factory=list)  # (line, reason)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unit: str = "line"  # what the numbers in `skipped` count

    def lines(self) -> list[str]:
        """Sentences to print."""
        quoted = {role: f"column {c}" if c.isdigit() else f"'{c}'" for role, c in self.columns.items()}
        roles = ", ".join(f"{role} from {column}" for role, column in quoted.items())
        said = [f"{self.name}: {self.rows:,} rows" + (f", {roles}" if roles else "")]
        if self.encoding != "UTF-8":
            said.append(f"read as {self.encoding}, not UTF-8")
        if self.skipped:
            said.append(f"{len(self.skipped):,} rows left out: {self.reasons()}")
        return said + self.notes + self.warnings

    def reasons(self) -> str:
        """Why rows were left out: "no label (lines 3, 17), 2 columns instead of 3 (line 9)"."""
        found = self.by_reason()
        said = [f"{reason} ({numbers(lines, self.unit)})" for reason, lines in list(found.items())[:LISTED]]
        return ", ".join(said) + (f" and {len(found) - LISTED:,} other reasons" if len(found) > LISTED else "")

    def by_reason(self) -> dict[str, list[int]]:
        """Reason -> lines, the most frequent first."""
        found: dict[str, list[int]] = {}
        for line, reason in sorted(self.skipped):
            found.setdefault(reason, []).append(line)
        return dict(sorted(found.items(), key=lambda pair: -len(pair[1])))

    def note(self, what: str, lines: list[int]) -> None:
        """A sentence about some lines, where there are any."""
        if lines:
            self.notes.append(f"{what}: {numbers(sorted(set(lines)), self.unit)}")

    def refuse_empty(self, what: str) -> None:
        """Raises UserError: there is nothing to learn from."""
        raise UserError(f"{self.name} has no {what} to learn from" + (f": {self.reasons()}" if self.skipped else ""))


class Records:
    """An iterator over (line, row) of one file or split, in bounded memory.

    line: of the file, from 1, where the row begins; the number of the row in parquet and hub sets. row: strings in
    delimited files and plain text (column "text"), what JSON or Arrow hold elsewhere; class numbers of hub sets come
    as their names. skip(line, reason) is told of rows left out; without it they are collected in report.skipped.
    form: "delimited" reads .txt and the like as tables, too. `columns`: their names, where they are known before the
    first row. `label_names`: {column: names} where declared. `report` is complete when the iterator is at its end.
    Raises UserError for what can't be read.
    """

    def __init__(self, where: str | Where, skip: Callable[[int, str], None] | None = None, form: str | None = None):
        self.report = Report(name_of(where))
        self.columns: list[str] = []
        self.label_names: dict[str, list[str]] = {}
        self.skip = skip or (lambda line, reason: self.report.skipped.append((line, reason)))
        self._rows = self._open(where, form)

    def __iter__(self) -> Numbered:
        return self

    def __next__(self) -> tuple[int, dict[str, Any]]:
        return next(self._rows)

    def _open(self, where: str | Where, form: str | None) -> Numbered:
        from adverb.data import arrow_rows

        if isinstance(where, tuple):
            return arrow_rows.hub_rows(self, *where)
        path = Path(where)
        suffix = suffix_of(path)
        form = form if form and FORMS.get(suffix) == "text" else FORMS.get(suffix)
        if form is None and str(where) != "-":
            what = f"'{suffix}' files are" if suffix else "a file without a suffix is"
            raise UserError(f"{path}: {what} not read, but these: {', '.join(FORMS)}")
        if form == "parquet":
            return arrow_rows.parquet_rows(self, files_of(path))
        lines = Lines(path, in_pieces=form == "json")
        head = lines.peek().removeprefix(b"\xef\xbb\xbf").lstrip()
        if form == "json":
            form = "array" if head[:1] == b"[" else "jsonl" if json_rows.is_jsonl(head, 2) else "member"
            lines = Lines(path) if form == "jsonl" else lines
        elif form is None and json_rows.is_jsonl(head):
            form = "jsonl"
        return self._told(self._of_form(form or "text", lines, SEPARATOR_OF.get(suffix)), lines)

    def _of_form(self, form: str, lines: Lines, separator: str | None) -> Numbered:
        if form == "delimited":
            table = Delimited(lines, self.skip, separator)
            self.columns = table.columns
            self.report.notes += table.notes
            return iter(table)
        if form == "jsonl":
            return json_rows.line_rows(lines, self.skip)
        if form == "array":
            return json_rows.array_rows(lines, self.skip)
        if form == "member":
            member, rows = json_rows.member_rows("".join(line for _, line in lines), self.report.name, self.skip)
            self.report.notes.append(f"the rows are the list '{member}'")
            self.report.unit = "row"
            return rows
        self.columns = ["text"]
        return ((number, {"text": text}) for number, line in lines if (text := line.rstrip("\r\n")).strip())

    def _told(self, rows: Numbered, lines: Lines) -> Numbered:
        yield from rows
        tell_encoding(self.report, lines)


def read_records(where: str | Where, skip: Callable[[int, str], None] | None = None) -> Records:
    """Open a table: `for line, row in read_records("train.csv")`. "-" is standard input, JSONL or a text a line."""
    return Records(where, skip)


def tell_encoding(report: Report, lines: Lines) -> None:
    """What had to be decoded, and how."""
    report.encoding = lines.encoding
    other, odd = lines.odd
    report.note(f"most is {lines.encoding}, but read as {other}", odd)
    report.note("characters that can't be decoded, now U+FFFD", lines.damaged)
    report.note("NUL characters taken out", lines.nul)
    if lines.cut_off:
        report.warnings.append("the compressed file is cut off: its end is missing")


def files_of(path: Path) -> list[Path]:
    """The files a path stands for: itself, or those that match it as a pattern (shards). Raises UserError."""
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(Path(p) for p in glob.glob(str(path)))
    if not found:
        raise UserError(f"no file is called {path}")
    return found


def suffix_of(path: Path) -> str:
    """In lower case, and without .gz."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def name_of(where: str | Where) -> str:
    if isinstance(where, tuple):
        return f"{where[0]} ({where[1]})"
    return "standard input" if str(where) == "-" else str(where)


def find_column(asked: str | int, columns: Sequence[str], where: str, key: str) -> str:
    """The column asked for by name or by number from 0. Raises UserError with the nearest name.

    key: of the recipe, such as data.text.
    """
    asked = str(asked)
    if asked in columns:
        return asked
    if asked.isdecimal() and int(asked) < len(columns):
        return columns[int(asked)]
    folded = {column.lower(): column for column in columns}
    near = difflib.get_close_matches(asked.lower(), folded, n=1, cutoff=0.6)
    hint = f"did you mean {key}={folded[near[0]]}?" if near else f"it has {', '.join(columns)}"
    raise UserError(f"{where} has no column '{asked}' ({key}): {hint}")


def numbers(lines: Sequence[int], unit: str = "line") -> str:
    """ "line 7", "lines 3, 5, 9"; of many, how many and the first of them."""
    if len(lines) == 1:
        return f"{unit} {lines[0]}"
    listed = ", ".join(map(str, lines[:LISTED]))
    return f"{unit}s {listed}" if len(lines) <= LISTED else f"{len(lines):,} {unit}s: {listed} …"
