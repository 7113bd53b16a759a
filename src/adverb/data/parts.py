"""What all kinds of read data have in common: rows to draw from, to hold out, and a report."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from adverb.data.digits import held_out
from adverb.data.order import epoch_order
from adverb.data.records import Report
from adverb.errors import UserError

VALID_SHARE = 0.1


@dataclass
class Part:
    """A part of a data set. per_row: the fields that have one entry a row."""

    per_row: ClassVar[tuple[str, ...]]
    name: str
    report: Report = field(kw_only=True)

    def __len__(self) -> int:
        return len(getattr(self, self.per_row[0]))

    def take(self, rows: np.ndarray, name: str | None = None) -> Self:
        """These rows, int64 [M]. The report is one of its own."""
        picked = {}
        for key in self.per_row:
            values = getattr(self, key)
            if values is not None:
                picked[key] = values[rows] if isinstance(values, np.ndarray) else [values[i] for i in rows]
        name = name or self.name
        report = replace(self.report, name=name, rows=len(rows), notes=[*self.report.notes])
        return replace(self, name=name, report=report, **picked)

    def draw(self, limit: int | None, what: str = "rows") -> Self:
        """`limit` rows at random, the same ones each time, in their order; all of them where there are no more."""
        if limit is None or limit >= len(self):
            return self
        drawn = self.take(np.sort(epoch_order(len(self), 0, 0)[:limit]))
        drawn.report.notes.append(f"{limit:,} of {len(self):,} {what}, drawn at random")
        return drawn

    def split(self, held: np.ndarray, what: str = "rows") -> tuple[Self, Self]:
        """(the rest, the rows held out). held: int64 [M], ascending."""
        rest = self.take(np.setdiff1d(np.arange(len(self)), held))
        valid = self.take(held, f"{self.name} (held out)")
        rest.report.notes.append(f"{len(valid):,} {what} held out to measure on while training")
        valid.report.skipped, valid.report.notes, valid.report.warnings = [], [], []
        return rest, valid


def key_of(*texts: str) -> int:
    """Equal for texts that differ in case and white space only."""
    return hash(tuple(" ".join(text.casefold().split()) for text in texts))


def held_out_rows(strata: np.ndarray, name: str, *texts: list[str]) -> np.ndarray:
    """A tenth of the rows, int64, ascending, with the strata in their proportions; the same ones each time.

    strata: int64 [N]. texts: lists of N strings; rows with equal ones are held out together or not at all, so that
    nothing is measured on that was trained on. Raises UserError where there are not two different rows.
    """
    members = _alike(len(strata), texts)
    if len(members) < 2:
        raise UserError(f"{name} has one row, or one over and over: nothing is left to measure on")
    _, of_groups = np.unique(strata[[rows[0] for rows in members]], return_inverse=True)
    count = min(len(members) - 1, max(1, round(len(members) * VALID_SHARE)))
    chosen = held_out(of_groups.astype(np.int64), count, seed=0)
    return np.sort(np.array([row for group in chosen for row in members[group]], np.int64))


def folds_of(strata: np.ndarray, count: int, *texts: list[str], seed: int = 0) -> np.ndarray:
    """The fold of each row, int64 [N] in {0, …, count - 1}: of like size, with the strata in their proportions.

    strata, texts: as for `held_out_rows`. Folds may be empty where there are fewer different rows than `count`.
    """
    members = _alike(len(strata), texts)
    order = epoch_order(len(members), seed, 0)
    order = order[np.argsort(strata[[members[i][0] for i in order]], kind="stable")]
    folds = np.empty(len(strata), np.int64)
    for place, group in enumerate(order):
        folds[members[group]] = place % count
    return folds


def different_rows(n: int, *texts: list[str]) -> np.ndarray:
    """The first of each of the rows 0 … n - 1 with equal texts, int64, ascending."""
    return np.array([rows[0] for rows in _alike(n, texts)], np.int64)


def _alike(n: int, texts: tuple[list[str], ...]) -> list[list[int]]:
    """The rows 0 … n - 1, those with equal texts together."""
    keys = [key_of(*row) for row in zip(*texts, strict=True)] if texts else range(n)
    groups: dict[int, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return list(groups.values())
