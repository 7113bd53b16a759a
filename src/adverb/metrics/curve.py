"""Quality over diversity as the temperature changes, of a GAN and of its likelihood twin, and what that says.

Caccia et al. 2020, "Language GANs falling short": at one temperature a GAN of text looks better than a language model
because it varies less; what compares is the quality of both where they are equally varied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GAN, TWIN = "gan", "twin"
CURVE = "curve/"  # before the names of its numbers among the metrics
GRID = 41  # diversities at which two curves are compared
SURE = 2.0  # standard errors


@dataclass(frozen=True)
class Point:
    """What a model scores at a temperature. frechet: NaN where it was not measured."""

    model: str
    temperature: float
    bleu: float
    self_bleu: float
    frechet: float

    @property
    def diversity(self) -> float:
        return 1 - self.self_bleu


def quality_gap(a: Sequence[Point], b: Sequence[Point]) -> float:
    """How much higher a's BLEU is than b's at equal diversity, on average over the diversities that both reach.

    Between the points of a curve it is a straight line. NaN where there is no such diversity.
    """
    (xa, ya), (xb, yb) = _line(a), _line(b)
    low, high = max(xa[0], xb[0]), min(xa[-1], xb[-1])
    if low > high:
        return math.nan
    places = np.linspace(low, high, GRID)
    return float((np.interp(places, xa, ya) - np.interp(places, xb, yb)).mean())


def _line(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    ordered = sorted((point.diversity, point.bleu) for point in points)
    x, y = np.array(ordered).T
    return x, y


def summary(repeats: Sequence[Sequence[Point]]) -> dict[str, float]:
    """`gap` of the GAN's BLEU over its twin's with its standard error, and the lowest Fréchet distance of both.

    repeats: at least two, each the points of both models at all temperatures, of texts of its own.
    """
    gaps = [quality_gap(*([p for p in points if p.model == name] for name in (GAN, TWIN))) for points in repeats]
    found = {"gap": float(np.mean(gaps)), "gap_se": float(np.std(gaps, ddof=1) / math.sqrt(len(gaps)))}
    for name, prefix in ((GAN, ""), (TWIN, "twin_")):
        measured = [p for points in repeats for p in points if p.model == name and math.isfinite(p.frechet)]
        best = min(measured, key=lambda point: point.frechet)
        found |= {f"{prefix}best_frechet": best.frechet, f"{prefix}best_temperature": best.temperature}
    return found


def means(repeats: Sequence[Sequence[Point]]) -> list[Point]:
    """The points of one curve a model: means over the repeats, in their order."""
    together = zip(*repeats, strict=True)
    return [
        Point(
            some[0].model, some[0].temperature, *(float(np.mean([getattr(p, key) for p in some]))
            for key in ("bleu", "self_bleu")), float(np.nanmean([p.frechet for p in some])),
        )
        for some in together
    ]  # fmt: skip


def points_of(metrics: dict[str, float]) -> list[Point]:
    """The points among metrics, which are called curve/MODEL/TEMPERATURE/METRIC."""
    found: dict[tuple[str, float], dict[str, float]] = {}
    for name, value in metrics.items():
        if name.startswith(CURVE):
            _, model, temperature, metric = name.split("/")
            found.setdefault((model, float(temperature)), {})[metric] = value
    return [Point(*at, **values) for at, values in found.items()]


def verdict(metrics: dict[str, float]) -> str:
    """What `summary` says, in one line."""
    gap, error = metrics["gap"], metrics["gap_se"]
    if not math.isfinite(gap):
        said = "the GAN and its MLE twin are at no temperature equally varied"
    else:
        sure = abs(gap) > SURE * error
        place = ("above" if gap > 0 else "below") if sure else "not told apart from"
        said = f"at equal diversity the GAN's BLEU is {place} its MLE twin's ({gap:+.4f} ± {error:.4f})"
    ours, theirs = metrics["best_frechet"], metrics["twin_best_frechet"]
    at, at_theirs = metrics["best_temperature"], metrics["twin_best_temperature"]
    return (
        f"{said}; lowest Fréchet distance {ours:.3f} (temperature {at:g}), the twin's {theirs:.3f} "
        f"(temperature {at_theirs:g})"
    )
