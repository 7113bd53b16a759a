"""The section of report.html about texts: the verdict, quality over diversity, distance over temperature."""

from __future__ import annotations

import html
import math

from adverb.metrics.curve import GAN, TWIN, points_of, verdict
from adverb.progress import short
from adverb.report import chart

STYLES = {GAN: "c0", TWIN: "c1"}  # classes in report.css
NAMES = {GAN: "GAN", TWIN: "its MLE twin"}


def curve_section(metrics: dict[str, float]) -> str:
    """HTML of what `adverb.pipelines.judging.writing.conclusion` found; empty where there is no curve."""
    points = points_of(metrics)
    if not points:
        return ""
    legend = "".join(f"<li><span class='side {STYLES[name]}'>{NAMES[name]}</span>" for name in (GAN, TWIN))
    of = {name: [p for p in points if p.model == name] for name in (GAN, TWIN)}
    quality = [(STYLES[name], sorted((p.diversity, p.bleu) for p in some)) for name, some in of.items()]
    distance = [(STYLES[name], [(p.temperature, p.frechet) for p in some]) for name, some in of.items()]
    diversities = [x for _, line in quality for x, _ in line]
    temperatures = [p.temperature for p in points]
    bleu, own, frechet = (metrics.get(f"{name}_floor", math.nan) for name in ("bleu", "self_bleu", "frechet"))
    marked = [1 - own] if min(diversities) <= 1 - own <= max(diversities) else []
    charts = [
        chart(
            f"BLEU over diversity (1 − self-BLEU) · real texts: {short(bleu)} at {short(1 - own)}",
            "BLEU over diversity of the GAN and of its MLE twin",
            quality,
            bleu,
            (f"diversity {short(min(diversities))}", short(max(diversities))),
            moments=marked,
            dots=True,
        ),
        chart(
            f"Fréchet distance over temperature · floor {short(frechet)}",
            "Fréchet distance over temperature of the GAN and of its MLE twin",
            distance,
            frechet,
            (f"temperature {short(min(temperatures))}", short(max(temperatures))),
            dots=True,
        ),
    ]
    said = html.escape(verdict(metrics))
    return (
        f"<h2>Quality and diversity</h2><p class=verdict>{said[0].upper()}{said[1:]}.</p>"
        f"<ul class=legend>{legend}</ul><div class='grid wide'>{''.join(charts)}</div>"
        "<p class=dim>A dot is a temperature. Higher is better on the left, lower on the right. Dashed: what real "
        "texts score; upright: how varied they are. The upper curve writes better where both are equally varied.</p>"
    )
