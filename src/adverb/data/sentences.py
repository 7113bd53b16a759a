"""Texts to write more of: rows of a table, or sentences of plain text, in three parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from adverb.data.columns import as_text, guess_texts, peek
from adverb.data.parts import Part, held_out_rows
from adverb.data.records import FORMS, Records, Report, Where, find_column, suffix_of
from adverb.data.sentence_ends import sentences
from adverb.data.sources import existing
from adverb.data.splits import find_splits, is_data
from adverb.data.text import Source, find_text, paragraphs, text_parts
from adverb.errors import UserError

if TYPE_CHECKING:
    from adverb.schema.text_gan import SentenceData


@dataclass
class Sentences(Part):
    """texts: N strings, none of them empty."""

    per_row: ClassVar = ("texts",)
    texts: list[str]


def load_sentences(where: str | Where, text: str | int | None = None) -> Sentences:
    """One file, folder of plain text, or split. Plain text is cut into sentences; a row of a table is one text.

    text: the column of a table, by name or by number from 0; None: guessed. Raises UserError.
    """
    if not isinstance(where, tuple) and _is_plain(Path(where)):
        return _of_source(find_text(where))
    records = Records(where, form="delimited")
    report = records.report
    sample, present, rows = peek(records)
    if text is None:
        column, _ = guess_texts(sample, present, report.name)
    else:
        column = find_column(text, present, report.name, "data.text")
    report.columns = {"text": column}
    texts = []
    for line, row in rows:
        if found := " ".join(as_text(row.get(column)).split()):
            texts.append(found)
        else:
            report.skipped.append((line, "no text"))
    if not texts:
        report.refuse_empty("texts")
    report.rows = len(texts)
    return Sentences(report.name, texts, report=report)


def load_sentence_splits(spec: SentenceData) -> tuple[Sentences, Sentences, Sentences]:
    """(train, valid, test) of a recipe's data. What is missing of valid and test is a tenth of train each, and no text
    is in two of them. Raises UserError."""
    path = None if spec.path is None else existing(spec.path)
    if path is not None and _is_plain(path):
        told = {"valid": spec.valid, "test": spec.test}
        train = _of_source(find_text(path, held=told.values()))
        found = {part: _of_source(one) for part, one in text_parts(path, held=told.values()).items() if part in told}
        found |= {part: load_sentences(one, spec.text) for part, one in told.items() if one is not None}
        valid, test = found.get("valid"), found.get("test")
    else:
        splits = find_splits(spec.path, spec.valid, spec.test)
        train = load_sentences(splits.train, spec.text)
        column = train.report.columns["text"]
        valid, test = (None if part is None else load_sentences(part, column) for part in (splits.valid, splits.test))
    train = train.draw(spec.limit)
    if valid is None:
        train, valid = _hold_out(train)
    if test is None:
        train, test = _hold_out(train)
    return train, valid, test


def _hold_out(train: Sentences) -> tuple[Sentences, Sentences]:
    return train.split(held_out_rows(np.zeros(len(train), np.int64), train.name, train.texts), "texts")


def _is_plain(path: Path) -> bool:
    files = [file for file in path.rglob("*") if file.is_file() and is_data(file)] if path.is_dir() else [path]
    return bool(files) and all(FORMS.get(suffix_of(file)) == "text" for file in files)


def _of_source(source: Source) -> Sentences:
    texts = [sentence for paragraph in paragraphs(source) if paragraph for sentence in sentences(paragraph)]
    if not texts:
        raise UserError(f"{source.name} has no text to learn from")
    report = Report(source.name, len(texts), unit="sentence", notes=source.notes())
    return Sentences(source.name, texts, report=report)
