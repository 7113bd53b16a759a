"""Texts in pairs that belong together: columns of a table, or two files whose lines correspond."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from adverb.data.columns import PAIRS, as_text, guess_texts, peek, text_length
from adverb.data.decoding import Lines
from adverb.data.entries import SPLITS
from adverb.data.parts import Part, held_out_rows
from adverb.data.records import Records, Report, Where, find_column, name_of, tell_encoding
from adverb.data.splits import SUFFIXES, Splits, find_splits
from adverb.errors import UserError

if TYPE_CHECKING:
    from adverb.schema.tasks import EmbedData

PARTNERS = (
    *PAIRS, ("anchor", "positive"), ("query", "positive"), ("source", "target"), ("question", "answer"),
    ("title", "body"), ("text", "summary"), ("text", "paraphrase"),
)  # fmt: skip
SCORES = ("score", "similarity", "similarity_score", "relatedness", "relatedness_score", "label")


@dataclass
class TextPairs(Part):
    """first, second: N strings each. scores: float32 [N], how alike, as it stands in the file; None where all are
    pairs that belong together. lines: int64 [N], of the file, from 1."""

    per_row: ClassVar = ("first", "second", "scores", "lines")
    first: list[str]
    second: list[str]
    scores: np.ndarray | None
    lines: np.ndarray


def load_pairs(
    where: str | Where,
    *,
    text: str | int | None = None,
    pair: str | int | None = None,
    score: str | int | None = None,
    limit: int | None = None,
) -> TextPairs:
    """One file, split, or pair of parallel files: `multi30k/train` stands for train.en and train.de in that folder.

    text, pair, score: columns by name, or by number from 0. limit: pairs to draw at random. Raises UserError.
    """
    files = [] if isinstance(where, tuple) else parallel_files(Path(where))
    first, second, scores, lines, report = (
        _read_parallel(files, Report(name_of(where)))
        if files
        else _read_table(Records(where, form="delimited"), text, pair, score)
    )
    if not first:
        report.refuse_empty("pairs")
    report.rows = len(first)
    values = np.array(scores, np.float32) if scores is not None else None
    found = TextPairs(report.name, first, second, values, np.array(lines, np.int64), report=report)
    return found.draw(limit, "pairs")


def load_pair_splits(spec: EmbedData) -> tuple[TextPairs, TextPairs, TextPairs | None]:
    """(train, valid, test or None) of a recipe's data; valid is a tenth of train where there is none. Raises
    UserError."""
    splits = find_pair_splits(spec.path, spec.valid, spec.test)
    told = dict(text=spec.text, pair=spec.pair, score=spec.score)
    train = load_pairs(splits.train, limit=spec.limit, **told)
    test = load_pairs(splits.test, **told) if splits.test is not None else None
    if splits.valid is not None:
        return train, load_pairs(splits.valid, **told), test
    held = held_out_rows(np.zeros(len(train), np.int64), train.name, train.first, train.second)
    return *train.split(held, "pairs"), test


def find_pair_splits(
    path: str | Path | None, valid: str | Path | None = None, test: str | Path | None = None
) -> Splits:
    """As `splits.find_splits`; and parallel files: in a folder, or named as folder/train for train.en and train.de."""
    where = Path(path or "").expanduser()
    if path is None or where.is_file():
        return find_splits(path, valid, test)
    named = bool(parallel_files(where))
    folder = where.parent if named else where
    stems = {file.name.partition(".")[0] for file in folder.iterdir() if file.is_file()} if folder.is_dir() else set()
    found = {SPLITS.get(s.lower(), "train"): folder / s for s in sorted(stems) if parallel_files(folder / s)}
    if named:
        found = (found if SPLITS.get(where.name.lower()) == "train" else {}) | {"train": where}
    if "train" not in found:
        return find_splits(path, valid, test)
    found |= {part: Path(told) for part, told in (("valid", valid), ("test", test)) if told is not None}
    return Splits(found["train"], found.get("valid"), found.get("test"))


def parallel_files(stem: Path) -> list[Path]:
    """The two files called stem.LANGUAGE, English first, else by name; none where there aren't two."""
    if not stem.parent.is_dir() or stem.exists():
        return []
    beside = sorted(stem.parent.glob(f"{stem.name}.*"), key=lambda file: (file.suffix != ".en", file.name))
    files = [f for f in beside if f.name.count(".") == stem.name.count(".") + 1]
    files = [f for f in files if f.is_file() and 3 <= len(f.suffix) <= 6 and f.suffix.lower() not in SUFFIXES]
    return files if len(files) == 2 else []


def _read_parallel(files: list[Path], report: Report):
    sides = [Lines(file) for file in files]
    texts = [[line.rstrip("\r\n") for _, line in side] for side in sides]
    if len(texts[0]) != len(texts[1]):
        raise UserError(
            f"{files[0]} has {len(texts[0]):,} lines, {files[1].name} has {len(texts[1]):,}: line by line they must "
            "say the same"
        )
    report.columns = {"text": files[0].name, "pair": files[1].name}
    for side in sides:
        tell_encoding(report, side)
    first, second, lines = [], [], []
    for number, (a, b) in enumerate(zip(*texts, strict=True), 1):
        if a.strip() and b.strip():
            first.append(a)
            second.append(b)
            lines.append(number)
        elif a.strip() or b.strip():
            report.skipped.append((number, "empty in one of the files"))
    return first, second, None, lines, report


def _read_table(records: Records, text: str | int | None, pair: str | int | None, score: str | int | None):
    report = records.report
    sample, names, rows = peek(records)
    score = find_column(score, names, report.name, "data.score") if score is not None else _scores(sample, names)
    text, pair = _choose(sample, [n for n in names if n != score], report.name, text, pair)
    report.columns = {"text": text, "pair": pair} | ({"score": score} if score else {})
    first, second, values, lines = [], [], [], []
    for line, row in rows:
        a, b = as_text(row.get(text)), as_text(row.get(pair))
        if not a.strip() or not b.strip():
            report.skipped.append((line, "no text"))
            continue
        if score:
            value = _number(row.get(score))
            if value is None:
                report.skipped.append((line, "no score"))
                continue
            values.append(value)
        first.append(a)
        second.append(b)
        lines.append(line)
    return first, second, values if score else None, lines, report


def _choose(sample, names: list[str], where: str, text: str | None, pair: str | None) -> tuple[str, str]:
    by_lower = {name.lower().replace(" ", "_"): name for name in names}
    if text is None and pair is None:
        for a, b in PARTNERS:
            if a in by_lower and b in by_lower:
                return by_lower[a], by_lower[b]
    text = find_column(text, names, where, "data.text") if text is not None else None
    pair = find_column(pair, names, where, "data.pair") if pair is not None else None
    rest = [n for n in names if n not in (text, pair) and text_length(sample, n)]
    if text is None and pair is None and len(rest) == 2:
        return rest[0], rest[1]
    if text is None and pair is not None and rest:
        return guess_texts(sample, rest, where)[0], pair
    if pair is None and text is not None and len(rest) == 1:
        return text, rest[0]
    if text is None or pair is None:
        listed = ", ".join(names)
        raise UserError(f"{where}: which columns belong together? It has {listed}. Say data.text=… data.pair=…")
    return text, pair


def _scores(sample, names: list[str]) -> str | None:
    by_lower = {name.lower(): name for name in names}
    known = [by_lower[name] for name in SCORES if name in by_lower]
    return next((n for n in known if all(_number(row.get(n)) is not None for row in sample if row.get(n))), None)


def _number(value) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None
