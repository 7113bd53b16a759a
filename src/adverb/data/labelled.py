"""Texts with a label, several, or a number: columns guessed, or told by name; rows that can't be used left out."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from adverb.data.columns import Columns, as_text, choose_columns, peek
from adverb.data.label_kinds import as_flag, guess_kind, plain, split_label
from adverb.data.parts import Part, held_out_rows
from adverb.data.records import Records, Report, Where, find_column, name_of
from adverb.errors import UserError

if TYPE_CHECKING:
    from adverb.schema.tasks import ClassifyData

MISSING = frozenset(("", "nan", "null", "n/a", "<na>"))


@dataclass
class Labelled(Part):
    """Texts and what is to be said of them.

    texts, pairs: N strings; pairs None where a row is one text. kind: "single", "multi" or "regression".
    targets: int64 [N], an index of label_names; float32 [N, C] of 0 and 1; float32 [N].
    lines: int64 [N], of the file, from 1.
    """

    per_row: ClassVar = ("texts", "pairs", "targets", "lines")
    texts: list[str]
    pairs: list[str] | None
    kind: str
    label_names: list[str]
    targets: np.ndarray
    lines: np.ndarray

    def counts(self) -> np.ndarray:
        """How many rows have each label, int64 [C]."""
        if self.kind == "multi":
            return self.targets.sum(0).astype(np.int64)
        return np.bincount(self.targets, minlength=len(self.label_names))

    def strata(self) -> np.ndarray:
        """Groups of rows to be represented alike when some are held out, int64 [N]."""
        if self.kind == "single":
            return self.targets
        if self.kind == "multi":  # by the rarest label of a row
            rarest = np.where(self.targets > 0, self.counts(), np.inf).argmin(1)
            return np.where(self.targets.any(1), rarest, -1)
        ranks = np.argsort(np.argsort(self.targets, kind="stable"), kind="stable")
        return ranks * min(10, len(ranks)) // len(ranks)


def load_labelled(
    where: str | Where,
    *,
    text: str | int | None = None,
    pair: str | int | None = None,
    label: str | int | None = None,
    kind: str | None = None,
    label_names: list[str] | None = None,
    limit: int | None = None,
    more: str | None = None,
) -> Labelled:
    """One file or split.

    text, pair, label: columns by name, or by number from 0; several columns of flags (0/1, False/True) as
    label="a,b,c". kind: where it shall not be guessed. label_names: of the training set; a label not among them is an
    error. limit: rows to draw at random (the same ones each time). more: a file with the same columns, whose rows come
    after the others; `lines` are those of either file. Raises UserError.
    """
    records = Records(where, form="delimited")
    report = records.report
    sample, present, rows = peek(records)
    try:
        columns = choose_columns(sample, present, report.name, text=text, pair=pair, label=label)
    except UserError as error:
        if label_names is None or any(one in present for one in str(label).split(",")):
            raise
        raise NoLabels(str(error)) from None
    report.columns = columns.roles()
    texts, pairs, values, lines = _collect(rows, columns, report)
    if more is not None:
        for all_rows, added in zip((texts, pairs, values, lines), _read_more(more, columns, report), strict=True):
            if all_rows is not None:
                all_rows += added
    if not texts:
        report.refuse_empty("rows")
    kind, parts, names = _as_labels(values, columns, kind, label_names, records, lines)
    targets = _targets(kind, parts, names, lines, report)
    report.rows = len(texts)
    found = Labelled(report.name, texts, pairs, kind, names, targets, np.array(lines, np.int64), report=report)
    if label_names is None and kind != "regression":
        _refuse_no_classes(found, told=label is not None)
    return found.draw(limit)


def load_labelled_splits(spec: ClassifyData) -> tuple[Labelled, Labelled, Labelled | None]:
    """(train, valid, test or None) of a recipe's data; valid is a tenth of train, drawn with the classes in their
    proportions, where there is none. Raises UserError."""
    train, valid, test = load_labelled_parts(spec)
    if valid is not None:
        return train, valid, test
    texts = [train.texts] if train.pairs is None else [train.texts, train.pairs]
    return *train.split(held_out_rows(train.strata(), train.name, *texts)), test


def load_labelled_parts(spec: ClassifyData) -> tuple[Labelled, Labelled | None, Labelled | None]:
    """(train, valid, test) as they are named or lie beside each other; None for those that don't. Raises UserError."""
    from adverb.data.splits import find_splits

    splits = find_splits(spec.path, spec.valid, spec.test)
    told = dict(text=spec.text, pair=spec.pair, label=spec.label)
    train = load_labelled(splits.train, kind=spec.kind, limit=spec.limit, more=spec.more, **told)
    same = dict(train.report.columns)
    same = dict(text=same.get("text"), pair=same.get("pair"), label=same.get("label"), kind=train.kind)

    def other(where: Where) -> Labelled:
        return load_labelled(where, label_names=train.label_names, **same)

    test = None
    if splits.test is not None:
        try:
            test = other(splits.test)
        except NoLabels:
            if spec.test is not None:
                raise
            train.report.notes.append(f"{name_of(splits.test)} has no labels and is not used")
    return train, other(splits.valid) if splits.valid is not None else None, test


class NoLabels(UserError):
    """Not one row has a label, or there is no column for one."""


def _collect(rows, columns: Columns, report: Report):
    """Texts, pairs, raw labels and lines of the rows that have all of them; the others go to report.skipped."""
    texts: list[str] = []
    pairs: list[str] | None = [] if columns.pair else None
    values: list[Any] = []
    lines: list[int] = []
    unlabelled = total = 0
    for line, row in rows:
        total += 1
        first = as_text(row.get(columns.text))
        second = as_text(row.get(columns.pair)) if columns.pair else ""
        if not first.strip() or (columns.pair and not second.strip()):
            report.skipped.append((line, "no text"))
            continue
        if len(columns.labels) > 1:
            value = [row.get(column) for column in columns.labels]
            missing = all(map(_is_missing, value))
        else:
            value = row.get(columns.labels[0])
            missing = _is_missing(value)
        if missing:
            report.skipped.append((line, "no label"))
            unlabelled += 1
            continue
        texts.append(first)
        if pairs is not None:
            pairs.append(second)
        values.append(value)
        lines.append(line)
    if total and unlabelled == total:
        raise NoLabels(f"{report.name}: not one of {total:,} rows has a label in column '{columns.labels[0]}'")
    return texts, pairs, values, lines


def _read_more(more: str, columns: Columns, report: Report):
    """What `_collect` finds in a second file. Raises UserError where it has other columns, or not one label yet.

    Of a file without a header, whose columns are numbers, a second one may have named them: text, pair, label.
    """
    records = Records(more, form="delimited")
    _, names, rows = peek(records)
    if columns.text.isdigit() and {"text", "label"} <= set(names):
        columns = Columns("text", "pair" if columns.pair else None, ["label"])
    for role, column in columns.roles().items():
        for one in column.split(","):
            find_column(one, names, f"{more} (data.more)", f"the {role} in {report.name}")
    try:
        found = _collect(rows, columns, records.report)
    except NoLabels:
        raise UserError(f"{more} (data.more) has no label yet: fill in its column '{columns.labels[0]}'") from None
    empty = len(records.report.skipped)
    waiting = f", {empty:,} without a label or text left out" if empty else ""
    report.notes.append(f"{len(found[0]):,} of them from {more}{waiting}")
    return found


def _is_missing(value: Any) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in MISSING


def _as_labels(values, columns: Columns, kind: str | None, label_names: list[str] | None, records: Records, lines):
    """(kind, what each row says: a name, a list of names or a number; the names of the labels)"""
    report = records.report
    if len(columns.labels) > 1:
        if kind not in (None, "multi"):
            raise UserError(f"several label columns are several labels: leave data.kind={kind} out, or name one column")
        names = list(columns.labels)
        parts = [_set_flags(names, row, line, report) for row, line in zip(values, lines, strict=True)]
        return "multi", parts, label_names or names
    guess = guess_kind(values)
    if kind is None:
        kind = guess.kind
        report.notes += guess.notes
    if kind == "regression":
        return kind, values, []
    if kind == "multi":
        parts = [split_label(value, guess.separator) for value in values]
        used = {name for row in parts for name in row}
    else:
        parts = [plain(value) for value in values]
        used = set(parts)
    if label_names is not None:
        return kind, parts, label_names
    declared = records.label_names.get(columns.labels[0])
    names = [n for n in map(plain, declared or ()) if n in used]
    names += _ordered(used - set(names))  # where none are declared, all of them; else those of data.more
    folded = Counter(name.lower() for name in names)
    for twice in [name for name, count in folded.items() if count > 1]:
        alike = ", ".join(f"'{name}'" for name in names if name.lower() == twice)
        report.warnings.append(f"labels that differ in upper and lower case only: {alike}")
    return kind, parts, names


def _set_flags(names: list[str], row: list[Any], line: int, report: Report) -> list[str]:
    """The columns whose flag is set in a row; an empty cell beside others is none."""
    for name, value in zip(names, row, strict=True):
        if not _is_missing(value) and as_flag(value) is None:
            raise UserError(f"{report.name}:{line}: {value!r} in column '{name}' is neither 0 nor 1: correct it")
    return [plain(name) for name, value in zip(names, row, strict=True) if as_flag(value)]


def _ordered(names: set[str]) -> list[str]:
    try:
        return sorted(names, key=lambda name: (float(name), name))  # 2 before 10
    except ValueError:
        return sorted(names)


def _targets(kind: str, parts, names: list[str], lines: list[int], report: Report) -> np.ndarray:
    index = {plain(name): i for i, name in enumerate(names)}

    def find(name: str, line: int) -> int:
        try:
            return index[name]
        except KeyError:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            raise UserError(
                f"{report.name}:{line}: label '{name}' is none of the {len(names)} of the training set "
                f"(the nearest is '{near[0]}'): correct it, or take the row out"
            ) from None

    if kind == "single":
        return np.array([find(name, line) for name, line in zip(parts, lines, strict=True)], np.int64)
    if kind == "multi":
        targets = np.zeros((len(parts), len(names)), np.float32)
        for i, (row, line) in enumerate(zip(parts, lines, strict=True)):
            targets[i, [find(name, line) for name in row]] = 1
        return targets
    targets = np.empty(len(parts), np.float32)
    for i, (value, line) in enumerate(zip(parts, lines, strict=True)):
        try:
            targets[i] = number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise UserError(f"{report.name}:{line}: {value!r} is not a number, as data.kind=regression needs")
    return targets


def _refuse_no_classes(data: Labelled, told: bool) -> None:
    column, names = data.report.columns["label"], data.label_names
    if not names:
        raise UserError(f"{data.name}: no row has a label in column '{column}'")
    if data.kind == "single" and len(names) < 2:
        raise UserError(
            f"{data.name}: every row has the label '{names[0]}' (column '{column}'): there is nothing to tell apart. "
            "Name another column: data.label=…"
        )
    # few rows of many classes look like no classes: then it counts that the user named the column
    if data.kind == "single" and len(data) >= 20 and len(names) > len(data) * (0.9 if told else 0.5):
        raise UserError(
            f"{data.name}: column '{column}' has {len(names):,} different values in {len(data):,} rows, "
            "which are no classes. Name another column: data.label=…"
        )
    rare = [name for name, count in zip(names, data.counts().tolist(), strict=True) if count < 2]
    if rare:
        few = ", ".join(rare[:5]) + (" …" if len(rare) > 5 else "")
        data.report.warnings.append(f"too seldom to be learnt, in one row each: {few}")
