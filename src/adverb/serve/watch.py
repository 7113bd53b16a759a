"""A run folder as it is now, whether or not it is still training."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from adverb.serve.limits import Refused

POINTS = 300  # of a curve
Point = tuple[float, float | None]  # step, value; None: not finite
HEAD = ("step", "progress", "seconds")


def look(name: str, folder: Path) -> dict[str, Any]:
    """As `bodies.RunFacts`. Reads files that training replaces or appends to, so that it may look at any time."""
    from adverb.run import Run

    run = Run(folder)
    recipe, rows = run.recipe(), run.metrics()
    last = rows[-1] if rows else {"step": 0, "progress": 0.0, "seconds": 0.0}
    judged, floors = curves_of([row for row in rows if any(key.startswith("eval/") for key in row)], "eval/")
    others, _ = curves_of(
        [row for row in rows if not any(key.startswith(("eval/", "test/")) for key in row)], "health/"
    )
    metrics = folder / "metrics.jsonl"
    pages = sorted(run.samples.glob("step-*.txt"))
    return {
        "name": name,
        "recipe": recipe["name"],
        "description": recipe.get("description", ""),
        "step": last["step"],
        "progress": last["progress"],
        "seconds": last["seconds"],
        "quiet": round(max(0.0, time.time() - metrics.stat().st_mtime), 1) if metrics.exists() else None,
        "word": next((row["health/word"] for row in reversed(rows) if "health/word" in row), None),
        "samples": [_step(path) for path in sorted(run.samples.glob("step-*.png"))],
        "text": pages[-1].read_text(encoding="utf-8") if pages else None,
        # what is judged comes first, and keeps its name where training has one of the same name
        "curves": judged | {f"{title}, training" if title in judged else title: c for title, c in others.items()},
        "floors": floors,
    }


def curves_of(rows: list[dict[str, Any]], prefix: str) -> tuple[dict[str, list[Point]], dict[str, float]]:
    """(points of each metric that changes, floors), by what a report calls them; prefix: what no name shows."""
    from adverb.report import TITLES, shown

    curves: dict[str, list[Point]] = {}
    floors: dict[str, float] = {}
    for row in rows:
        for key, value in row.items():
            metric = key.removeprefix(prefix)
            name = metric.removesuffix("_floor")
            title = TITLES.get(name, name.replace("_", " "))
            if key in HEAD or isinstance(value, str) or metric == "samples":
                continue
            if name != metric:
                if math.isfinite(value):
                    floors[title] = value
            elif shown(metric):
                curves.setdefault(title, []).append((row["step"], value if math.isfinite(value) else None))
    changing = {title: points for title, points in curves.items() if len(points) > 1 and not _constant(points)}
    return {title: thin(points) for title, points in changing.items()}, floors


def picture(folder: Path, step: int) -> bytes:
    """The PNG of samples at a step. Raises Refused (404)."""
    try:
        return (folder / "samples" / f"step-{step:07d}.png").read_bytes()
    except OSError:
        raise Refused(404, f"there is no picture of step {step}") from None


def thin(points: list, most: int = POINTS) -> list:
    """Evenly chosen points, the first and the last among them."""
    if len(points) <= most:
        return points
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _constant(points: list[Point]) -> bool:
    values = {value for _, value in points}
    return len(values) == 1 and None not in values
