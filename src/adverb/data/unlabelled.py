"""Texts whose labels are not known: what they are to learn from beside the few that have one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from adverb.data.columns import as_text, guess_texts, peek
from adverb.data.parts import Part, key_of
from adverb.data.records import Records, find_column
from adverb.data.splits import find_splits
from adverb.errors import UserError

if TYPE_CHECKING:
    from adverb.data.labelled import Labelled
    from adverb.schema.tasks import ClassifyData


@dataclass
class Unlabelled(Part):
    """texts, pairs: N strings; pairs None where a row is one text. lines: int64 [N], of the file, from 1."""

    per_row: ClassVar = ("texts", "pairs", "lines")
    texts: list[str]
    pairs: list[str] | None
    lines: np.ndarray


def load_unlabelled(spec: ClassifyData, known: list[Labelled], limit: int | None = None) -> Unlabelled:
    """The different texts of `spec.unlabelled` that are not among the rows `known`; labels there are not read.

    known: the training set first: its columns are looked for, and where they are missing, the text is guessed. Rows to
    be measured on belong there, too, so that nothing is learnt from them. limit: rows to draw at random.
    Raises UserError where there is nothing to read, and for the file of the labels itself.
    """
    labelled = known[0]
    where = _where(spec)
    records = Records(where)
    report = records.report
    sample, names, rows = peek(records)
    text, pair = _columns(spec, labelled, sample, names, report.name)
    report.columns = {"text": text} | ({"pair": pair} if pair else {})
    seen = {key for part in known for key in _keys(part.texts, part.pairs)}
    texts: list[str] = []
    pairs: list[str] = []
    lines: list[int] = []
    twice = 0
    for line, row in rows:
        first, second = as_text(row.get(text)), as_text(row.get(pair)) if pair else ""
        if not first.strip() or (pair and not second.strip()):
            report.skipped.append((line, "no text"))
            continue
        key = key_of(first, second)
        if key in seen:
            twice += 1
            continue
        seen.add(key)
        texts.append(first)
        pairs.append(second)
        lines.append(line)
    if not texts:
        why = f": all {twice:,} are among the labelled ones, or one over and over" if twice else ""
        raise UserError(f"{report.name} (data.unlabelled) has no texts to learn from{why}")
    if twice:
        report.notes.append(f"{twice:,} rows not used: labelled, held out, or read before")
    report.rows = len(texts)
    found = Unlabelled(report.name, texts, pairs if pair else None, np.array(lines, np.int64), report=report)
    return found.draw(limit)


def _where(spec: ClassifyData):
    try:
        where = find_splits(spec.unlabelled).train
    except UserError as error:
        raise UserError(f"data.unlabelled: {str(error).replace('data.path', 'data.unlabelled')}") from None
    labelled = find_splits(spec.path, spec.valid, spec.test)
    for key, path in (("path", labelled.train), ("valid", labelled.valid), ("test", labelled.test)):
        if path == where:
            raise UserError(
                f"data.unlabelled and data.{key} are both {where}: put rows without a label into a file of their own"
            )
    return where


def _columns(spec: ClassifyData, labelled: Labelled, sample, names: list[str], where: str) -> tuple[str, str | None]:
    """The columns of the labelled rows where they are there, else guessed; where they have no names, as told."""
    roles = labelled.report.columns
    paired = labelled.pairs is not None
    same = spec.text is not None or not roles["text"].isdigit()
    if same and roles["text"] in names and (not paired or roles["pair"] in names):
        return roles["text"], roles["pair"] if paired else None
    if spec.text is not None and names != ["text"]:
        find_column(spec.text, names, where, "data.text")  # raises with the nearest name
    try:
        text, pair = guess_texts(sample, names, where)
    except UserError as error:
        said = str(error).replace("name it, data.text=…", f"call it '{roles['text']}', as in {labelled.name}")
        raise UserError(f"data.unlabelled: {said}") from None
    if paired and pair is None:
        raise UserError(f"{where} (data.unlabelled) has no column '{roles['pair']}' for the second text")
    return text, pair if paired else None


def _keys(texts: list[str], pairs: list[str] | None) -> list[int]:
    return [key_of(a, b) for a, b in zip(texts, pairs or [""] * len(texts), strict=True)]
