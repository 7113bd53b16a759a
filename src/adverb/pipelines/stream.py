"""Files of any size through a model: rows read ahead, answered in chunks, written in order, resumed after a kill."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from adverb.data.columns import SAMPLE, as_text, guess_texts
from adverb.data.records import Records, files_of, find_column
from adverb.errors import UserError
from adverb.pipelines.batching import ahead

ROWS = 4096  # of a chunk at most: enough to find others of like length
CHARACTERS = 200_000  # of a chunk, about: long documents come in smaller chunks, so that memory is bounded
FORMAT = 1  # raise when answers are written differently, so that older parts aren't gone on with


@dataclass(frozen=True)
class Row:
    """A row to answer for. line: of the file, None for a text that was typed. error: why it can't be answered."""

    text: str = ""
    pair: str | None = None
    line: int | None = None
    id: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Columns:
    """How to find the texts of a table.

    text, pair: columns as told by the user, or None. likely: {"text": …, "pair": …} to take where they are there.
    pairs: whether a row must have two texts (True), must not (False), or may where the columns' names say so (None).
    """

    text: str | None = None
    pair: str | None = None
    likely: dict[str, str] | None = None
    pairs: bool | None = False


def read_rows(file: str | Path, columns: Columns) -> Iterator[Row]:
    """Every row of a table, or line of a text that is not blank ("-": standard input), in order.

    Rows that are broken, or without text, come with their `error`. Raises UserError for a file that can't be read
    and for columns that are not there.
    """
    broken: list[tuple[int, str]] = []
    records = Records(file, lambda line, reason: broken.append((line, reason)))
    first = list(islice(records, SAMPLE))
    name = "standard input" if str(file) == "-" else str(file)
    if not first and not broken:
        raise UserError(f"{name} has no rows")
    sample = [row for _, row in first]
    names = list(dict.fromkeys(column for row in sample for column in row))  # JSON rows may each have their own
    text, pair = _choose(columns, sample, names, name) if names else ("", None)
    label = next((name for name in names if name.lower() == "id"), None)
    for line, row in chain(first, records):
        while broken and broken[0][0] < line:
            at, reason = broken.pop(0)
            yield Row(line=at, error=reason)
        yield _row(row, line, text, pair, None if label is None else row.get(label))
    yield from (Row(line=line, error=reason) for line, reason in broken)


def _choose(columns: Columns, sample: list[dict[str, Any]], names: list[str], where: str) -> tuple[str, str | None]:
    likely = columns.likely or {}
    text = columns.text or (likely.get("text") if likely.get("text") in names else None)
    pair = columns.pair or (likely.get("pair") if likely.get("pair") in names else None)
    if text is None and names == ["text"]:
        text = "text"
    if text is None:
        try:
            text, guessed = guess_texts(sample, [name for name in names if name != pair], where)
        except UserError as error:
            raise UserError(str(error).replace("data.text=…", "--text COLUMN")) from None
        pair = pair or (guessed if columns.pairs is not False else None)
    if columns.pairs and pair is None:
        raise UserError(f"{where}: this model reads pairs of texts: name the column of the second one by --pair")
    text = find_column(text, names, where, "--text")
    return text, None if pair is None else find_column(pair, names, where, "--pair")


def _row(row: dict[str, Any], line: int, text: str, pair: str | None, name: Any) -> Row:
    found = [as_text(row.get(column)) for column in (text, pair) if column is not None]
    empty = next((c for c, value in zip((text, pair), found, strict=False) if not value.strip()), None)
    error = None if empty is None else f"no text in column '{empty}'"
    return Row(found[0], found[1] if pair is not None else None, line, name, error)


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Consecutive rows, by number and length; where they are cut depends on the rows only."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.text) + len(row.pair or "")
        if len(chunk) >= ROWS or size >= CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


Answer = Callable[[Sequence[Row]], list[dict[str, Any]]]


def answered(
    rows: Iterable[Row], answer: Answer, done: int = 0
) -> Iterator[tuple[int, list[tuple[Row, dict[str, Any]]]]]:
    """(number of the first row, rows with what is said of each) in order; rows are read while the model works.

    answer: makes a dict for each of the rows it is given, which have no error.
    done: rows answered before. Chunks that lie wholly among them are left out; one that does in part is answered
    again, so that its batches, and with them all digits, are those of a run in one go.
    """
    start = 0
    for chunk in ahead(chunks(rows)):
        if start + len(chunk) > done:
            said = iter(answer([row for row in chunk if row.error is None]))
            yield start, [(row, {"error": row.error} if row.error is not None else next(said)) for row in chunk]
        start += len(chunk)


def count_lines(file: str | Path) -> int | None:
    """Lines of a file, or rows of parquet, for the progress bar; None where it can't be told without reading it all."""
    path = Path(file)
    if not path.is_file() or path.suffix == ".gz":
        return None
    if path.suffix == ".parquet":
        from pyarrow import ArrowInvalid, parquet

        with contextlib.suppress(ArrowInvalid, OSError):
            return parquet.read_metadata(path).num_rows
        return None
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) or None


def stamp(*parts: Any) -> str:
    """A short name of what decides the answers: 12 hexadecimal digits of files (name, size, time) and values."""
    known = [_files(part) if isinstance(part, Path) else part for part in parts]
    return hashlib.sha256(json.dumps([FORMAT, known], default=str).encode()).hexdigest()[:12]


def _files(path: Path) -> list[Any]:
    """A file, the files that match a pattern, or those right in a folder."""
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else files_of(path)
    found = [(str(p.resolve()), p.stat()) for p in files if p.exists()]
    return [(name, status.st_size, status.st_mtime_ns) for name, status in found]


class Part:
    """The beginning of an output file, OUT.KEY.part beside it: whole lines, one a row, in order.

    key: what decides the answers, see `stamp`. Another input, model or option makes another key, and so another
    part: nothing is ever gone on with that belongs to something else. Lines end up in OUT only when all are there.
    """

    def __init__(self, out: Path, key: str):
        self.out, self.path = out, out.with_name(f"{out.name}.{key}.part")
        mine = re.compile(rf"{re.escape(out.name)}\.[0-9a-f]{{12}}\.part")
        beside = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
        self.others = [p for p in beside if mine.fullmatch(p.name) and p != self.path]
        with self._telling():
            out.parent.mkdir(parents=True, exist_ok=True)
            self.file = open(self.path, "a+b")
        self._lock()
        self.rows = self._whole_lines()

    def _whole_lines(self) -> int:
        """How many there are; a last one that was torn is cut off, and so is what a crash of the system left."""
        self.file.seek(0)
        rows = end = 0
        for line in self.file:
            if not (line.startswith(b"{") and line.endswith(b"}\n")):
                break
            rows, end = rows + 1, end + len(line)
        self.file.truncate(end)
        return rows

    def keep(self, rows: int) -> None:
        """Cut off what comes after so many rows."""
        self.file.seek(0)
        for _ in range(rows):
            self.file.readline()
        self.file.truncate()
        self.rows = rows

    def write(self, answers: Sequence[dict[str, Any]]) -> None:
        """Raises UserError when the disk is full; what was written before is kept."""
        text = "".join(as_line(answer) + "\n" for answer in answers)
        with self._telling():
            self.file.write(text.encode())
            self.file.flush()
            os.fsync(self.file.fileno())
        self.rows += len(answers)

    def finish(self) -> None:
        """Rename to OUT; parts of other inputs and models are no longer needed."""
        with self._telling():
            self.file.close()
            os.replace(self.path, self.out)
        for other in self.others:
            other.unlink(missing_ok=True)

    def leave(self) -> None:
        """End before all is done: rows are kept for the next time, a file without any is not."""
        with contextlib.suppress(OSError):  # of a full disk, which was told
            self.file.close()
        if not self.rows:
            self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _telling(self):
        try:
            yield
        except OSError as error:
            raise UserError(
                f"can't write {self.out}: {error.strerror}. The rows done are kept in {self.path}: "
                "the same command goes on from there"
            ) from None

    def _lock(self) -> None:
        try:
            lock(self.file, wait=False)
        except BlockingIOError:
            raise UserError(f"{self.path}: another process writes it. Wait for it, or name another --out") from None


def lock(file: IO, wait: bool = True) -> None:
    """Keep other processes out of a file until it is closed. Raises BlockingIOError where one is in it, or waits."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def as_line(answer: dict[str, Any]) -> str:
    return as_text(json.dumps(answer, ensure_ascii=False, default=str))  # an id may hold what no encoding can


def errors(out: Path) -> Iterator[tuple[int, str]]:
    """(line of the input, reason) of the rows that were not answered."""
    with open(out, encoding="utf-8") as file:
        for text in file:
            if '"error": ' in text and "error" in (answer := json.loads(text)):  # parsing all would take its time
                yield answer["line"], answer["error"]
