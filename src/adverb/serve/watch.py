"""A run folder as it is now, whether or not it is still training."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from adverb.serve.limits import Refused

POINTS = 300  # of a curve
HEAD = ("step", "progress", "seconds")


def look(name: str, folder: Path) -> dict[str, Any]:
    """As `bodies.RunFacts`. Reads files that training replaces or appends to, so that it may look at any time."""
    from adverb.report import TITLES, UNSHOWN
    from adverb.run import Run

    run = Run(folder)
    recipe, rows = run.recipe(), run.metrics()
    last = rows[-1] if rows else {"step": 0, "progress": 0.0, "seconds": 0.0}
    curves: dict[str, list[tuple[float, float | None]]] = {}
    floors: dict[str, float] = {}
    for row in rows:
        for key, value in row.items():
            metric = key.removeprefix("eval/").removeprefix("health/")
            if key in HEAD or isinstance(value, str) or key.startswith("test/"):
                continue
            if key.endswith("_floor"):
                floors[_title(metric.removesuffix("_floor"), TITLES)] = value
            elif not metric.endswith(UNSHOWN) and metric != "samples":
                point = (row["step"], value if math.isfinite(value) else None)
                curves.setdefault(_title(metric, TITLES), []).append(point)
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
        "curves": {title: thin(points) for title, points in curves.items() if len(points) > 1},
        "floors": floors,
    }


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


def _title(metric: str, titles: dict[str, str]) -> str:
    return titles.get(metric, metric.replace("_", " "))
