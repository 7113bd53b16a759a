"""The metrics of a comparison, a row each, and on what ground each number stands: only equal grounds compare."""

from __future__ import annotations

import math
import os
import statistics
from dataclasses import dataclass, field
from typing import Any

from adverb.compare.sides import GAMES, Record, Side
from adverb.report import TITLES, shown

LOWER = ("loss", "frechet", "kernel", "error", "kl", "rmse", "ece", "perplexity", "mse")  # parts of names
# not better for being more or less
NEITHER = ("samples", "density", "thresh", "deviation", "prior", "self", "copied", "temperature")
LIKELIHOOD = ("elbo", "kl_to_prior", "deviation")  # no features of images and no samples stand behind these
OF_CAPTIONS = ("recall_1", "recall_5", "recall_10", "unseen_agreement")  # on what was kept from training
WHENS = ("last", "best", "test")
Ground = dict[str, str]


@dataclass
class Score:
    """A number of one side: the mean over its runs, with their deviation where they are several."""

    values: list[float]
    floor: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass
class Row:
    """One metric at one time, of every side that has it.

    when: "last" or "best" of the evaluations, or "test". marks: of each side a letter, the same where the numbers
    stand on the same ground; "" where all do. winner: the index of the best side, None where it can't be said.
    """

    metric: str
    when: str
    scores: list[Score | None]
    marks: list[str] = field(default_factory=list)
    winner: int | None = None


@dataclass
class Scores:
    rows: list[Row]
    notes: list[str]  # what can't be compared, and why


def direction(metric: str) -> str | None:
    """ "min" or "max": which is better; None where that can't be said."""
    if any(word in metric for word in NEITHER):
        return None
    return "min" if any(part in LOWER or part.endswith("loss") for part in metric.split("_")) else "max"


def scores(sides: list[Side]) -> Scores:
    """Rows of all metrics of sides of one kind."""
    hidden = both_hidden(sides)
    rows, broken = [], {}
    for when in WHENS:
        names = dict.fromkeys(n for side in sides for r in side.records for n in _numbers(r, when, hidden))
        for name in names:
            row = Row(name, when, [_score(side, name, when, hidden) for side in sides])
            if when == "best" and all(_best_is_last(side, name, hidden) for side in sides):
                continue
            there = [i for i, score in enumerate(row.scores) if score is not None]
            grounds = [ground(sides[i].first, when, name) for i in there]
            apart = sorted({key for g in grounds for key in g if g[key] != grounds[0].get(key)})
            row.marks = [""] * len(sides)
            if apart:
                letters: dict[str, str] = {}
                for i, g in zip(there, grounds, strict=True):
                    row.marks[i] = letters.setdefault(
                        repr(sorted(g.items())), "abcdefghijklmnopqrstuvwxyz"[len(letters) % 26]
                    )
                broken.setdefault((tuple(apart), tuple(there)), []).append(row)
            else:
                row.winner = _winner(row)
            rows.append(row)
    notes = [_why(sides, there, keys, broken[keys, there]) for keys, there in broken]
    return Scores(rows, notes + _other_tasks(sides, hidden))


def both_hidden(sides: list[Side]) -> bool:
    """Whether masked and one-sided language models meet: then their guesses of the same tokens share a row."""
    text = [side.first for side in sides if side.first.objective == "pretrain"]
    return len({record.one_sided for record in text}) == 2


def ground(record: Record, when: str, metric: str = "") -> Ground:
    """On what an evaluation stands: numbers of one name compare where all of this is equal."""
    keys = record.keys
    path = _path(keys.get("data.path"))
    if record.kind == "images":
        of = record.evaluations[0 if when == "best" else -1] if record.evaluations else {}
        names = {"size": "size", "channels": "channels", "labels": "label", "limit": "limit"}
        found = {"images": path} | {name: _said(keys.get(f"data.{key}")) for name, key in names.items()}
        if metric in OF_CAPTIONS:
            found["held-out captions"] = _said(keys.get("data.held_out"))
        if metric not in LIKELIHOOD:
            found["features"] = record.facts.get("judge") or str(keys.get("evaluate.features"))
            found["samples"] = f"{of.get('eval/samples', 0):,.0f}"
        return found
    if record.kind == "text":
        return {
            "held-out text": _path(keys.get("data.valid")) or f"of {path}",
            "column": _said(keys.get("data.column")),
            "limit": _said(keys.get("data.limit") if keys.get("data.valid") is None else None),
            "vocabulary": record.vocabulary or str(keys.get("data.tokenizer")),
            "row length": str(keys.get("data.sequence_length")),
            "judged rows": str(keys.get("evaluate.rows")),
        }
    split = "test" if when == "test" else "valid"
    found = {"data": path, f"{split} set": _path(keys.get(f"data.{split}")) or f"of {path}"}
    columns = ("text", "pair", "label", "kind", "word", "tag", "score")
    found |= {name: _said(keys[f"data.{name}"]) for name in columns if f"data.{name}" in keys}
    if split == "valid" and keys.get("data.valid") is None:
        found["limit"] = _said(keys.get("data.limit"))  # the held-out rows may be a tenth of what is used
    if judge := record.facts.get("judge"):  # of what is generated
        found |= {"judge": judge, "samples": str(record.keys.get("evaluate.samples"))}
    if record.details and record.details.split == split and record.details.rows:
        found["rows"] = f"{record.details.rows:,}"
    return found


def at_equal_cost(sides: list[Side], cost: str, metric: str | None = None) -> tuple[float, Row] | None:
    """(the most of `cost` that every side spent, the main metric then).

    cost: "seconds" or "flops". Read off between the two evaluations around it, in a straight line. None where a side
    has no cost, or was judged on other ground, or all spent about the same: then the last evaluations compare.
    """
    hidden = both_hidden(sides)
    if any(len({repr(ground(side.first, when)) for side in sides}) > 1 for when in ("last", "best")):
        return None
    metric = metric or main_metric(sides)
    spent = [_cost(record, cost) for side in sides for record in side.records]
    if metric is None or any(not s for s in spent) or max(spent) < 1.1 * min(spent):
        return None
    least, found = min(spent), []
    for side in sides:
        values = [_read_off(curve(r, metric, cost, hidden), least) for r in side.records]
        known = [value for value in values if value is not None]
        found.append(Score(known) if known else None)
    row = Row(metric, cost, found, [""] * len(sides))
    row.winner = _winner(row)
    return least, row


def main_metric(sides: list[Side]) -> str | None:
    """The first metric of the evaluations that every side has and of which it is known what is better."""
    hidden = both_hidden(sides)
    shared = [_numbers(side.first, "last", hidden) for side in sides]
    return next((n for n in shared[0] if all(n in other for other in shared) and direction(n)), None)


def curve(
    record: Record, metric: str, across: str, hidden: bool = False, training: bool = False
) -> list[tuple[float, float]]:
    """(x, value) at every evaluation, or logged row of the training, that has a finite one.

    Of numbers that depend on how many samples are judged, those of as many as at the first evaluation: the last one
    judges more. across: "seconds", "step" or "flops".
    """
    each = record.facts.get("flops_per_step")
    if across == "flops" and not each:
        return []
    usual = record.evaluations[0].get("eval/samples") if record.evaluations else None
    points = []
    for row in record.training if training else record.evaluations:
        value = row.get(metric) if training else _renamed(row, "eval/", hidden).get(metric)
        if not training and metric not in LIKELIHOOD and row.get("eval/samples") != usual:
            value = row.get(f"eval/{metric}_each")
        if value is not None and math.isfinite(value):
            points.append((row["step"] * each if across == "flops" else row[across], value))
    return points


def _cost(record: Record, cost: str) -> float | None:
    """Of the training up to its last evaluation."""
    if not record.evaluations or (cost == "flops" and record.flops is None):
        return None
    last = record.evaluations[-1]
    return last["seconds"] if cost == "seconds" else last["step"] * record.facts["flops_per_step"]


def _read_off(points: list[tuple[float, float]], x: float) -> float | None:
    for (x0, y0), (x1, y1) in zip(points[:-1], points[1:], strict=True):
        if x0 <= x <= x1:
            return y0 + (y1 - y0) * ((x - x0) / (x1 - x0) if x1 > x0 else 0.0)
    return points[-1][1] if points and x >= points[-1][0] else None


def _best_is_last(side: Side, name: str, hidden: bool) -> bool:
    """Whether the last evaluation was the best one in all runs."""
    curves = [[y for _, y in curve(record, name, "step", hidden)] for record in side.records]
    best = min if direction(name) == "min" else max
    return all(best(values) == values[-1] for values in curves if values)


def _numbers(record: Record, when: str, hidden: bool) -> dict[str, float]:
    """The metrics of a record that can be shown, by name."""
    if when == "test":
        return _shown(_renamed(record.tests[-1], "test/", hidden)) if record.tests else {}
    if not record.evaluations:
        return {}
    found = _shown(_renamed(record.evaluations[-1], "eval/", hidden))
    if when == "last":
        return found
    best = {}
    for name in found:
        values = [y for _, y in curve(record, name, "step", hidden)]
        if direction(name) and values:
            best[name] = min(values) if direction(name) == "min" else max(values)
    return best


def _renamed(row: dict[str, Any], prefix: str, hidden: bool) -> dict[str, float]:
    """The numbers with this prefix, without it. hidden: those of masked tokens and of blanks get one name."""
    found = {}
    for name, value in row.items():
        if name.startswith(prefix) and isinstance(value, int | float):
            name = name.removeprefix(prefix)
            first, _, rest = name.partition("_")
            found[f"hidden_{rest}" if hidden and first in ("masked", "blank") else name] = value
    return found


def _shown(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if shown(name) and name != "samples"}


def _score(side: Side, metric: str, when: str, hidden: bool) -> Score | None:
    found = [_numbers(record, when, hidden).get(metric) for record in side.records]
    values = [value for value in found if value is not None]
    if not values:
        return None
    floor = interval = None
    if when == "last":
        rows = [_renamed(row, "eval/", hidden) for record in side.records for row in record.evaluations[-1:]]
        floor = next((row[f"{metric}_floor"] for row in rows if f"{metric}_floor" in row), None)
    details = side.first.details
    if len(values) == 1 and details and when == ("test" if details.split == "test" else "last"):
        interval = details.intervals.get(metric)
    return Score(values, floor, tuple(interval) if interval else None)


def _winner(row: Row) -> int | None:
    means = {i: s.mean for i, s in enumerate(row.scores) if s is not None and math.isfinite(s.mean)}
    if direction(row.metric) is None or len(means) < 2:
        return None
    best = (min if direction(row.metric) == "min" else max)(means.values())
    first, *others = [i for i, mean in means.items() if mean == best]
    return first if not others else None


def _why(sides: list[Side], there: tuple[int, ...], keys: tuple[str, ...], rows: list[Row]) -> str:
    """One sentence: which metrics do not compare, and what is not the same."""
    names = ", ".join(dict.fromkeys(TITLES.get(row.metric, row.metric.replace("_", " ")) for row in rows))
    found = []
    for key in keys:
        values = [ground(sides[i].first, rows[0].when, rows[0].metric).get(key, "–") for i in there]
        found.append(f"{key} ({', '.join(f'{sides[i].label}: {v}' for i, v in zip(there, values, strict=True))})")
    return f"{names}: not measured on the same ground, which differs in {'; '.join(found)}"


def _other_tasks(sides: list[Side], hidden: bool) -> list[str]:
    """What has different names because it is a different task."""
    notes = []
    text = [side for side in sides if side.first.kind == "text"]
    if hidden:
        notes.append(
            "token loss and masked loss are different tasks: the next token from one side, all of it seen; a hidden "
            "token from both sides. What compares is what every model expects at the same hidden tokens of the same "
            "rows (the rows named hidden): masked models read both sides with 15 % of the tokens hidden, gpt reads "
            "only what is left of the token, lstm either side by itself, and these see all tokens but the one"
        )
    if text and len({side.first.objective for side in text}) > 1:
        notes.append(
            "electra's generator loss is a masked loss with every chosen token replaced by [MASK], its replaced loss "
            "is about real and replaced tokens: neither compares with the masked loss of another recipe"
        )
    losses = {side.first.keys.get("loss.name") for side in sides if side.first.objective in GAMES}
    if len(losses) > 1:
        notes.append(
            f"d_loss and g_loss of {', '.join(sorted(map(str, losses)))} are different functions of the logits: a "
            "lower loss is not a better generator, compare the distances"
        )
    objectives = {side.first.objective for side in sides}
    if "vae" in objectives and objectives & set(GAMES):
        notes.append("a VAE's ELBO has no counterpart in a GAN, which has no likelihood: compare the distances")
    return notes


def _said(value: Any) -> str:
    return "–" if value is None else str(value)


def _path(path: Any) -> str:
    return os.path.normpath(str(path)) if path else ""
