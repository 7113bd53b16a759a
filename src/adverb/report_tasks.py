"""The sections of report.html about a task: confusions, classes, the worst mistakes, calibration.

Everything is text and inline SVG: tables whose headings a screen reader can tell apart, no scripts, nothing to load.
"""

from __future__ import annotations

import html
from typing import Any

from adverb.metrics.details import Details
from adverb.progress import short
from adverb.report import title

TALL = 16  # rows from which a table scrolls in a box of its own
SHOWN = 8  # mistakes that are not folded away
SMALL = 12  # classes up to which the cells of a confusion matrix are large

# the reliability diagram, in units of its viewBox: a square for accuracy over confidence, a strip of counts below
LEFT, TOP, SIDE, STRIP, GAP = 38, 12, 260, 44, 12


def task_sections(details: Details) -> str:
    """HTML of everything that there is to show."""
    tables = [_table(table) for table in details.tables if table["rows"]]
    return "".join(
        [
            _confusion(**details.confusion) if details.confusion else "",
            *tables,
            f"<h2>Worst mistakes</h2>{mistake_list(details.mistakes)}" if details.mistakes else "",
            _calibration(details.calibration) if details.calibration else "",
        ]
    )


# -- tables


def _table(table: dict[str, Any]) -> str:
    name, columns = table["title"], table["columns"]
    words = [isinstance(value, str) for value in table["rows"][0]]
    head = "".join(
        f"<th scope=col{' class=word' if word else ''}>{title(c)}" for c, word in zip(columns, words, strict=True)
    )
    body = "".join(f"<tr>{_cells(columns, row)}" for row in table["rows"])
    tall = " tall" if len(table["rows"]) > TALL else ""
    return f"<h2>{_text(name)}</h2>" + _box(name, f"<table><thead><tr>{head}<tbody>{body}</table>", f"table data{tall}")


def _cells(columns: list[str], row: list[Any]) -> str:
    cells = []
    for place, (column, value) in enumerate(zip(columns, row, strict=True)):
        if place == 0:
            cells.append(f"<th scope=row>{_value(value)}")
        elif isinstance(value, str):
            cells.append(f"<td class=word>{_value(value)}")
        elif column == "f1" and value is not None:
            cells.append(f"<td class=bar style='--share:{value:.3f}'>{value:.3f}")
        else:
            cells.append(f"<td>{value:.3f}" if isinstance(value, float) and 0 <= value <= 1 else f"<td>{_value(value)}")
    return "".join(cells)


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return short(value) if isinstance(value, float) else _text(value)


def _box(name: str, content: str, classes: str) -> str:
    """A part that scrolls by itself where it is too large, also by keyboard."""
    return f"<div class='{classes}' role=region tabindex=0 aria-label='{_text(name)}'>{content}</div>"


# -- confusion matrix


def _confusion(labels: list[str], counts: list[list[int]]) -> str:
    """Cells are coloured by their share of the row: right answers in one colour, mistakes in another.

    A few mistakes among many right answers should be seen: the colour grows with the root of the share.
    """
    rows = []
    for true, row in enumerate(counts):
        total = max(sum(row), 1)
        cells = [
            f"<td{' class=right' if said == true else ''} style='--heat:{(n / total) ** 0.5:.2f}'>{n}" if n else "<td>"
            for said, n in enumerate(row)
        ]
        rows.append(f"<tr><th scope=row>{_name(labels[true])}{''.join(cells)}")
    head = "".join(f"<th scope=col>{_name(label)}" for label in labels)
    size = "" if len(labels) <= SMALL else " many"
    table = (
        f"<table class='confusion{size}'><thead><tr><td class=corner>true ↓ said →{head}<tbody>{''.join(rows)}</table>"
    )
    return (
        "<h2>Confusion matrix</h2><p class=dim>A row is a true class, a column what was said. Colour is the share of "
        "the row: <span class='key right'>right</span> <span class='key'>wrong</span></p>"
        + _box("Confusion matrix", table, "table matrix")
    )


def _name(label: str) -> str:
    return f"<span title='{_text(label)}'>{_text(label)}</span>"


# -- calibration


def _calibration(calibration: dict[str, Any]) -> str:
    before, after, temperature = calibration["before"], calibration["after"], calibration["temperature"]
    scaled = temperature != 1.0
    curves = [("before", "dashed"), ("after", "solid")] if scaled else [("after", "solid")]
    summary = f"expected calibration error {after:.3f}"
    if scaled:
        summary = f"expected calibration error {before:.3f}, {after:.3f} after dividing logits by {short(temperature)}"
    bins = calibration["bins"]
    drawn = "".join(_curve(bins[name], kind) for name, kind in curves)
    legend = (
        f"<p class=legend><span class='mark dashed'></span>as trained, error {before:.3f}<br>"
        f"<span class='mark solid'></span>at temperature {short(temperature)}, error {after:.3f}</p>"
        if scaled
        else f"<p class=legend><span class='mark solid'></span>as trained, error {after:.3f}</p>"
    )
    width, height = LEFT + SIDE + 14, TOP + SIDE + GAP + STRIP + 34
    return (
        f"<h2>Calibration</h2><figure class=reliability><div><svg viewBox='0 0 {width} {height}' role=img "
        f"aria-label='Reliability diagram: {summary}'>{_frame()}{drawn}{_counts(bins['after'])}</svg></div>"
        f"<figcaption>{legend}<p>How often answers are right, by the probability that the model gives them. On the "
        "diagonal it is right as often as it says; below, it claims too much.</p><p>Dots grow and bars rise with "
        "the number of answers. The error is the mean distance from the diagonal over all of them (ECE).</p>"
        "</figcaption></figure>"
    )


def _frame() -> str:
    bottom = TOP + SIDE
    ticks = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = LEFT + tick * SIDE, bottom - tick * SIDE
        ticks.append(f"<line class=axis x1={LEFT} x2={LEFT + SIDE} y1={y:g} y2={y:g} />"
                     f"<text x={LEFT - 6} y={y + 3.5:g} text-anchor=end>{tick:g}</text>"
                     f"<text x={x:g} y={bottom + GAP + STRIP + 14} text-anchor=middle>{tick:g}</text>")  # fmt: skip
    middle = TOP + SIDE / 2
    return (
        "".join(ticks)
        + f"<line class=diagonal x1={LEFT} y1={bottom} x2={LEFT + SIDE} y2={TOP} />"
        + f"<text x=9 y={middle:g} transform='rotate(-90 9 {middle:g})' text-anchor=middle>accuracy</text>"
        + f"<text x={LEFT + SIDE / 2:g} y={bottom + GAP + STRIP + 30} text-anchor=middle>confidence</text>"
    )


def _curve(bins: list[dict[str, float]], kind: str) -> str:
    """A dot a bin, the larger the more answers it has: a lonely dot far off means little."""
    places = [(LEFT + SIDE * b["confidence"], TOP + SIDE * (1 - b["accuracy"])) for b in bins]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    most = max((b["count"] for b in bins), default=1)
    dots = "".join(
        f"<circle class={kind} cx={x:.1f} cy={y:.1f} r={2 + 4 * (b['count'] / most) ** 0.5:.1f}><title>"
        f"{b['count']:,} answers, confidence {b['confidence']:.3f}, accuracy {b['accuracy']:.3f}</title></circle>"
        for (x, y), b in zip(places, bins, strict=True)
    )
    return f"<polyline class={kind} points='{line}' />{dots}"


def _counts(bins: list[dict[str, float]]) -> str:
    most, bottom = max((b["count"] for b in bins), default=1), TOP + SIDE + GAP + STRIP
    bars = []
    for b in bins:
        height = max(STRIP * b["count"] / most, 1)
        x, width = LEFT + SIDE * b["low"] + 0.5, SIDE * (b["high"] - b["low"]) - 1
        bars.append(f"<rect x={x:.1f} y={bottom - height:.1f} width={width:.1f} height={height:.1f} />")
    return f"<g class=counts>{''.join(bars)}</g>"


# -- mistakes


def mistake_list(mistakes: list[dict[str, Any]]) -> str:
    """HTML of `Details.mistakes`, most of them folded away."""
    items = []
    for m in mistakes:
        sure = f" <b>{m['probability']:.3f}</b>" if m["probability"] is not None else ""
        line = f"<div><dt>line<dd>{m['line']:,}</div>" if m["line"] is not None else ""
        items.append(f"<li><p>{_text(m['text'])}</p><dl><div><dt>true<dd>{_text(m['truth'])}</div>"
                     f"<div class=said><dt>said<dd>{_text(m['said'])}{sure}</div>{line}</dl>")  # fmt: skip
    shown, folded = items[:SHOWN], items[SHOWN:]
    more = (
        f"<details><summary>{len(folded)} more</summary><ol class=mistakes start={SHOWN + 1}>{''.join(folded)}</ol>"
        "</details>" if folded else ""
    )  # fmt: skip
    return f"<ol class=mistakes>{''.join(shown)}</ol>{more}"


def _text(value: Any) -> str:
    return html.escape(str(value))
