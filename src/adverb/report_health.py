"""The section of report.html about a GAN's health: what was found when, what was done, the curves of all signals."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

from adverb.gan.health import MEANINGS, THRESHOLDS
from adverb.progress import short
from adverb.report import chart

# caption, signals on the same axes (the second one is dashed), on which side of its threshold the first one alarms
CHARTS = (
    ("gradient at the samples", ("gradient",), "<"),
    ("share of the early gradient", ("gradient_share",), "<"),
    ("undecided, 1 a guess", ("undecided",), "<"),
    ("logit gap, training over samples", ("gap",), ""),
    ("accuracy, dashed: on held-out images", ("accuracy_train", "accuracy_held_out"), ""),
    ("overfitting", ("overfitting",), ">"),
    ("augmented, p", ("p",), ""),
    ("variety, 1 as the data", ("variety",), "<"),
    ("coverage of the data", ("coverage",), ""),
    ("coverage over its best", ("coverage_share",), "<"),
    ("distance, 1 as the data", ("distance",), ""),
    ("missing classes", ("missing",), ">"),
    ("copies of training images", ("copies",), ">"),
    ("pixels out of range", ("overshoot",), ">"),
)
MOST_POINTS = 500  # of a curve


@dataclass
class Episode:
    """Looks in a row that found the same."""

    word: str
    before: int  # the step of the look before
    first: int
    last: int
    remedy: str = ""
    helped: str = ""


def health_section(rows: list[dict]) -> str:
    """HTML, empty where nothing looked. rows: those of metrics.jsonl, in their order."""
    looks = [row for row in rows if "health/word" in row]
    if not looks:
        return ""
    found = episodes(looks)
    spans = [(episode.before, episode.last) for episode in found]
    moments = [episode.last for episode in found if episode.remedy]
    charts = "".join(_chart(looks, *what, spans, moments) for what in CHARTS)
    return (
        f"<h2>Health</h2><p>{_verdict(looks, found)}</p>{_table(found)}"
        f"<p class=dim>{_legend(bool(found), bool(moments))}</p><div class=grid>{charts}</div>"
    )


def episodes(looks: list[dict]) -> list[Episode]:
    """What was found, in the order of time. looks: rows with `health/word`."""
    found: list[Episode] = []
    treated: Episode | None = None
    before, last_word = 0, "healthy"
    for row in looks:
        step, word = row["step"], row["health/word"]
        if treated and "health/helped" in row:
            treated.helped, treated = row["health/helped"], None
        if word != "healthy":
            if word != last_word:
                found.append(Episode(word, before, step, step))
            found[-1].last = step
            if remedy := row.get("health/remedy"):
                found[-1].remedy, found[-1].helped = remedy, "not known yet"
                treated = found[-1]
        # a remedy starts anew: the same finding after it is another one
        before, last_word = step, "healthy" if "health/remedy" in row else word
    return found


def _verdict(looks: list[dict], found: list[Episode]) -> str:
    if not found:
        return f"Healthy at all {len(looks)} looks."
    ill = sum(row["health/word"] != "healthy" for row in looks)
    now = looks[-1]["health/word"]
    return f"{now.capitalize()} at the last look; something was found at {ill} of {len(looks)} looks."


def _legend(found: bool, healed: bool) -> str:
    says = ["Dashed in orange: the threshold of a finding."]
    if found:
        says.append("Shaded: while something was found.")
    if healed:
        says.append("Upright lines: a remedy, from the last healthy checkpoint where there is one.")
    return " ".join(says)


def _table(found: list[Episode]) -> str:
    if not found:
        return ""
    healed = any(episode.remedy for episode in found)
    head = "<th scope=col>finding<th scope=col class=word>which means<th scope=col class=word>steps"
    head += "<th scope=col class=word>remedy<th scope=col class=word>helped" if healed else ""
    body = []
    for episode in found:
        steps = f"{episode.first:,}" + (f" – {episode.last:,}" if episode.last > episode.first else "")
        cells = [MEANINGS[episode.word], steps] + ([episode.remedy, episode.helped] if healed else [])
        row = "".join(f"<td class=word>{html.escape(cell)}" for cell in cells)
        body.append(f"<tr><th scope=row>{episode.word}{row}")
    return (
        "<div class='table data' role=region tabindex=0 aria-label='What was found'>"
        f"<table><thead><tr>{head}<tbody>{''.join(body)}</table></div>"
    )


def _chart(
    looks: list[dict],
    caption: str,
    signals: tuple[str, ...],
    alarm: str,
    spans: list[tuple[int, int]],
    moments: list[int],
) -> str:
    every = -(-len(looks) // MOST_POINTS)
    curves = []
    for style, name in zip(("", "dashed"), signals, strict=False):
        key = f"health/{name}"
        points = [(row["step"], row[key]) for row in looks[::every] if math.isfinite(row.get(key, math.nan))]
        if len(points) > 1:
            curves.append((style, points))
    if not curves:
        return ""
    threshold = None
    if alarm:  # of copies, beyond what is found among the images themselves
        threshold = THRESHOLDS[signals[0]] + 2 * looks[-1].get(f"health/{signals[0]}_floor", 0.0)
    says = f"{caption} · {short(curves[0][1][-1][1])}" + (f", alarm {alarm} {short(threshold)}" if alarm else "")
    says = html.escape(says)
    points = curves[0][1]
    ends = (f"{points[0][0]:,}", f"step {points[-1][0]:,}")
    return chart(says, f"{caption}, over steps", curves, threshold, ends, spans, moments)
