"""What a report shows of a task beyond its metrics: intervals, tables, confusions, calibration, the worst mistakes.

An objective writes them beside its samples, `adverb.report_tasks` draws them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from adverb.metrics import labels
from adverb.metrics.bootstrap import intervals
from adverb.metrics.calibration import ece, reliability
from adverb.run import write_atomically

NAME = "details.json"
CONFUSION_CLASSES = 150  # a matrix of more can't be looked at
FEW_CLASSES = 12  # a matrix of more is not seen at a glance: the pairs most often confused say it
CONFUSED_PAIRS = 12
MISTAKES = 20
MISTAKE_CHARACTERS = 800


@dataclass
class Details:
    """All of it may be left out. Numbers may be NumPy's; they are written as JSON's.

    split: which rows it is about, "test" or "valid"; rows: how many.
    intervals: metric -> (low, high), of the metrics logged as test/… or eval/…; 95 % unless the report says otherwise.
    tables: as `table` makes them.
    confusion: {"labels": [C names], "counts": [C][C]}, rows true, columns said.
    calibration: {"temperature", "before": ECE, "after": ECE, "bins": {"before": […], "after": […]}}, the bins as
        `adverb.metrics.calibration.reliability` makes them.
    mistakes: the worst first, {"text", "truth", "said", "probability": of what was said or None, "line": or None}.
    """

    split: str = "test"
    rows: int = 0
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    tables: list[dict[str, Any]] = field(default_factory=list)
    confusion: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    mistakes: list[dict[str, Any]] = field(default_factory=list)

    def write(self, folder: str | Path) -> None:
        """Into FOLDER/details.json, atomically; raises UserError when the disk is full."""
        text = json.dumps(asdict(self), ensure_ascii=False, default=lambda value: value.tolist())
        write_atomically(Path(folder) / NAME, lambda beside: beside.write_text(text, encoding="utf-8"))

    @classmethod
    def read(cls, folder: str | Path) -> Details | None:
        """What was written into the folder; None if nothing was."""
        try:
            return cls(**json.loads((Path(folder) / NAME).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


def table(title: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A table of rows that have the same keys in the same order, which are its columns."""
    return {"title": title, "columns": list(rows[0]) if rows else [], "rows": [list(row.values()) for row in rows]}


def mistake(text: str, truth: str, said: str, probability: float | None = None, line: int | None = None) -> dict:
    """One mistake to show; a long text is cut."""
    if len(text) > MISTAKE_CHARACTERS:
        text = text[:MISTAKE_CHARACTERS].rstrip() + " …"
    return {"text": text, "truth": truth, "said": said, "probability": probability, "line": line}


def classification_details(
    targets: np.ndarray,
    probabilities: np.ndarray,
    kind: str,
    label_names: Sequence[str],
    *,
    texts: Sequence[str],
    lines: Sequence[int] | None = None,
    split: str = "test",
    resamples: int = 1000,
    uncalibrated: np.ndarray | None = None,
    temperature: float = 1.0,
) -> Details:
    """Everything a report shows of a classifier.

    targets, probabilities (for regression: predictions) and kind as in `labels.classification_metrics`, the
    probabilities as users get them; `uncalibrated` those without the temperature. texts and lines of the rows.
    """

    def metrics(rows: np.ndarray) -> dict[str, float]:
        return labels.classification_metrics(targets[rows], probabilities[rows], kind)

    details = Details(split, len(targets), intervals(metrics, len(targets), resamples))
    if kind == "single":
        counts = labels.confusion(targets, labels.said(probabilities, kind), len(label_names))
        if len(label_names) <= CONFUSION_CLASSES:
            details.confusion = {"labels": list(label_names), "counts": counts}
        if len(label_names) > FEW_CLASSES:
            details.tables.append(_confused_pairs(counts, label_names))
    if kind != "regression":
        classes = labels.per_class(targets, probabilities, kind, label_names)
        for row in classes:
            if row["rows"] == row["said"] == 0:  # nothing to judge it by
                row |= {"precision": None, "recall": None, "f1": None}
        details.tables.insert(0, table("Classes", classes))
        details.calibration = _calibration(targets, probabilities, uncalibrated, temperature)
    lines = [None] * len(targets) if lines is None else lines
    for row, truth, said, probability in _mistakes(targets, probabilities, kind, label_names):
        details.mistakes.append(mistake(texts[row], truth, said, probability, lines[row]))
    return details


def _confused_pairs(counts: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    wrong = counts - np.diag(counts.diagonal())
    pairs = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSED_PAIRS]
    of_class = counts.sum(axis=1)
    rows = []
    for true, said in zip(*np.unravel_index(pairs, counts.shape), strict=True):
        if wrong[true, said] > 0:
            times = int(wrong[true, said])
            rows.append({"truth": names[true], "said": names[said], "times": times,
                         "share of the class": times / of_class[true]})  # fmt: skip
    return table("Most often confused", rows)


def _calibration(targets, probabilities, uncalibrated, temperature) -> dict[str, Any]:
    before = probabilities if uncalibrated is None else uncalibrated
    return {
        "temperature": temperature,
        "before": ece(before, targets),
        "after": ece(probabilities, targets),
        "bins": {"before": reliability(before, targets), "after": reliability(probabilities, targets)},
    }


def _mistakes(targets, probabilities, kind, names):
    """(row, truth, said, probability of what was said) of the worst rows: the surest errors, the largest deviations."""
    said = labels.said(probabilities, kind)
    if kind == "regression":
        off = np.abs(said - targets.reshape(len(targets)))
        for row in np.argsort(-off, kind="stable")[:MISTAKES]:
            if off[row] > 0:
                yield row, f"{targets.reshape(-1)[row]:.3g}", f"{said[row]:.3g}", None
        return
    if kind == "single":
        wrong = said != targets
        sure = probabilities.max(axis=1)
    else:
        wrong_classes = said != targets.astype(bool)
        wrong = wrong_classes.any(axis=1)
        sure = (np.maximum(probabilities, 1 - probabilities) * wrong_classes).max(axis=1)
    rows = np.flatnonzero(wrong)
    for row in rows[np.argsort(-sure[rows], kind="stable")][:MISTAKES]:
        if kind == "single":
            yield row, names[targets[row]], names[said[row]], sure[row]
        else:
            yield row, _listed(targets[row], names), _listed(said[row], names), sure[row]


def _listed(chosen: np.ndarray, names: Sequence[str]) -> str:
    return ", ".join(names[i] for i in np.flatnonzero(chosen)) or "none"
