"""What the table on the terminal and the page both say."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from adverb.compare.scores import Score
from adverb.compare.sides import Record, Side
from adverb.progress import duration, short
from adverb.report import TITLES

WHEN = {"last": "last evaluation", "best": "best evaluation", "test": "test set"}
KIND_NAMES = {
    "images": "Generators of images",
    "text": "Language models",
    "classify": "Classifiers",
    "tag": "Taggers",
    "answer": "Question answerers",
    "embed": "Embedders",
    "text-gan": "Generators of text",
}
UNITS = {"img": "images", "tok": "tokens"}


def by_kind(sides: list[Side]) -> dict[str, list[Side]]:
    """The sides that have metrics in common, together."""
    found: dict[str, list[Side]] = {}
    for side in sides:
        found.setdefault(side.first.kind, []).append(side)
    return found


def metric_name(name: str) -> str:
    return TITLES.get(name, name.replace("_", " "))


def number(score: Score) -> str:
    return short(score.mean) + (f" ± {short(score.std)}" if score.std is not None else "")


def beside(score: Score) -> str:
    """The floor and the interval, in small letters."""
    parts = [f"floor {short(score.floor)}"] if score.floor is not None else []
    if score.interval is not None:
        parts.append(f"{short(score.interval[0])} – {short(score.interval[1])}")
    return ", ".join(parts)


def value(x: Any) -> str:
    """A value of a recipe."""
    if x is None:
        return "–"
    if isinstance(x, list | tuple):
        return f"[{', '.join(value(v) for v in x)}]"
    return f"{x:g}" if isinstance(x, float) else str(x)


def costs(sides: list[Side]) -> dict[str, list[str]]:
    """Name -> what it is of each side; "–" where it was not recorded."""
    rows = {
        "seed": [", ".join(map(str, side.seeds)) for side in sides],
        "time": [_mean(side, lambda r: r.seconds, duration) for side in sides],
        "steps": [_mean(side, lambda r: r.steps, "{:,.0f}".format) for side in sides],
        "seen": [_mean(side, _seen, "{:,.0f} ".format, _unit(side.first)) for side in sides],
        "per second": [_mean(side, _rate, "{:,.0f} ".format, _unit(side.first)) for side in sides],
        "FLOPs": [_mean(side, lambda r: r.flops, "{:.2e}".format) for side in sides],
        "parameters": [_parameters(side.first) for side in sides],
        "device": [side.first.facts.get("device", "–") for side in sides],
        "precision": [side.first.facts.get("precision", "–") for side in sides],
        "health": [side.first.looks[-1].get("health/word", "–") if side.first.looks else "–" for side in sides],
        "workers": [str(side.first.facts.get("workers", "–")) for side in sides],
    }
    if set(rows["workers"]) <= {"1", "–"}:
        del rows["workers"]
    return {name: row for name, row in rows.items() if set(row) != {"–"}}


def warnings(sides: list[Side]) -> list[str]:
    """What makes a run less than it seems."""
    found = []
    for side in sides:
        for record in side.records:
            if not record.evaluations:
                found.append(f"{record.run.path}: has no evaluation yet")
            elif not record.finished:
                found.append(f"{record.run.path}: is not finished, {100 * record.rows[-1]['progress']:.0f} % of it")
        if len(set(side.seeds)) < len(side.seeds):
            found.append(f"{side.label}: runs of the same seed stand for less spread than there is")
        found += [f"{side.label}: ± is the deviation of only two runs"] if len(side.records) == 2 else []
    devices = {side.first.facts["device"] for side in sides if "device" in side.first.facts}
    if len(devices) > 1:
        found.append("not all on the same device: times do not compare")
    if len(by_kind(sides)) > 1:
        kinds = ", ".join(KIND_NAMES[kind].lower() for kind in by_kind(sides))
        found.append(f"runs of different kinds ({kinds}) have no metric in common: each kind has a table of its own")
    return found


def _mean(side: Side, of: Callable[[Record], float | None], said: Callable[[float], str], unit: str = "") -> str:
    known = [value for record in side.records if (value := of(record)) is not None]
    return said(statistics.fmean(known)) + unit if known else "–"


def _unit(record: Record) -> str:
    unit = record.facts.get("unit") or next(
        (name.removesuffix("_per_second") for row in record.training for name in row if name.endswith("_per_second")),
        "",
    )
    return UNITS.get(unit, unit)


def _seen(record: Record) -> float | None:
    each = record.facts.get("units_per_step")
    return each * record.steps if each else None


def _rate(record: Record) -> float | None:
    """The median over the training, which what else the machine did for a while does not move."""
    values = [v for row in record.training for name, v in row.items() if name.endswith("_per_second")]
    return statistics.median(values) if values else None


def _parameters(record: Record) -> str:
    found = record.facts.get("parameters", {})
    parts = [f"{name} {n:,}" for name, n in found.items()]
    return parts[0].split()[-1] if len(parts) == 1 else ", ".join(parts) or "–"
