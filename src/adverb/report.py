"""report.html: one self-contained page of a run. Metrics with their floors, curves, pictures, recipe.

`write_report` reads only what is in the run folder, so that it can be written again for a run in progress.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path

import yaml

from adverb.metrics.curve import CURVE
from adverb.metrics.details import Details
from adverb.progress import duration, short
from adverb.run import Run

WIDTH, HEIGHT = 340, 150
TITLES = {
    "frechet": "Fréchet distance",
    "kernel": "kernel distance",
    "share_error": "largest share error",
    "reverse_kl": "reverse KL",
    "elbo": "ELBO, nats an image",
    "kl_to_prior": "KL to the prior",
    "deviation": "deviation of a pixel",
    "d_loss": "discriminator loss",
    "g_loss": "generator loss",
    "r1": "R1, slope² at reals",
    "r2": "R2, slope² at fakes",
    "f1": "F1",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "mcc": "Matthews correlation",
    "subset_accuracy": "all classes right",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "rmse": "RMSE",
    "bleu": "BLEU",
    "self_bleu": "self-BLEU, less is more varied",
    "copied_4grams": "copied 4-grams, share",
    "copied_texts": "copied texts, share",
    "gap": "BLEU over the twin's, equal diversity",
    "best_frechet": "lowest Fréchet distance",
    "best_temperature": "… at temperature",
    "ece": "calibration error",
    "ece_uncalibrated": "calibration error, as trained",
    "exact": "exact match",
    "HasAns_exact": "exact match, answerable",
    "HasAns_f1": "F1, answerable",
    "NoAns_exact": "exact match, no answer",
    "NoAns_f1": "F1, no answer",
    "best_exact_thresh": "threshold of best exact",
    "best_f1": "best F1",
    "best_f1_thresh": "threshold of best F1",
    "tok_per_second": "tokens per second",
    "img_per_second": "images per second",
    "mfu": "share of the peak FLOPs",
}
UNSHOWN = ("_floor", "_se", "_each", "total")  # what stands beside another number, or counts rows


def write_report(run: Run, objective=None) -> Path:
    """Write report.html and README.md (the model card) into the run folder; returns the report's path."""
    from adverb.report_health import health_section  # which take charts and titles from here
    from adverb.report_tasks import task_sections
    from adverb.report_text import curve_section

    recipe, rows = run.recipe(), run.metrics()
    evaluations = [row for row in rows if any(k.startswith("eval/") for k in row)]
    tests = [row for row in rows if any(k.startswith("test/") for k in row)]
    training = [row for row in rows if not any(k.startswith(("eval/", "test/", "health/")) for k in row)]
    details = Details.read(run.samples)
    chosen = None
    if details and details.split == "valid" and objective and objective.best:
        chosen = _best(evaluations, *objective.best)  # which the details are of, and every verb takes
    headline = _last(tests, "test/") or _last([chosen] if chosen else evaluations, "eval/")
    intervals = details.intervals if details and (details.split == "test") == bool(tests) else {}
    facts = dict(objective.plan()) if objective else {}
    if rows:
        facts["trained for"] = f"{rows[-1]['step']:,} steps, {duration(rows[-1]['seconds'])}"
    judge = getattr(objective, "judged_by", None)
    count = f"on {headline.pop('samples'):,.0f} samples " if "samples" in headline else ""
    floor_note = "The floor is what a second sample of real data scores."
    body = [
        f"<h1>{html.escape(recipe['name'])}</h1>",
        f"<p class=dim>{html.escape(recipe.get('description', ''))}</p>",
        *(f"<p><span class=dim>{html.escape(k)}</span> {html.escape(v)}</p>" for k, v in facts.items()),
        _cards(headline, intervals),
        f"<p class=dim>{_measured_on(details, tests, chosen, intervals)}</p>" if tests or details else "",
        f"<p class=dim>Judged {count}by {html.escape(judge)}. {floor_note}</p>" if judge else "",
        curve_section(headline),
        _pictures(run.samples),
        task_sections(details) if details else "",
        _curves("Evaluations", evaluations, "eval/"),
        health_section(rows),
        _curves("Training", training, ""),
        _evaluation_table(evaluations),
        f"<h2>Recipe</h2><pre>{html.escape(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))}</pre>",
    ]
    run.write_text("report.html", page(recipe["name"], body))
    run.write_text("README.md", _card(recipe, facts, headline, intervals, judge))
    return run.path / "report.html"


def page(name: str, body: list[str]) -> str:
    """A whole page, which needs nothing but itself. name: its title, not yet HTML. body: HTML."""
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(name)} · adverb</title><style>{style}</style>"
        f"<body>{''.join(body)}</body></html>"
    )


def _last(rows: list[dict], prefix: str) -> dict[str, float]:
    """The newest of these metrics, by their names without the prefix."""
    return {k.removeprefix(prefix): v for k, v in (rows[-1] if rows else {}).items() if k.startswith(prefix)}


def _best(evaluations: list[dict], name: str, direction: str) -> dict | None:
    """The evaluation that the engine took for the best: the first of several equals."""
    found = [row for row in evaluations if math.isfinite(row[f"eval/{name}"])]
    return (min if direction == "min" else max)(found, key=lambda row: row[f"eval/{name}"], default=None)


def _measured_on(details: Details | None, test: list[dict], chosen: dict | None, intervals: dict) -> str:
    count = f"{details.rows:,} rows of the " if details and details.rows and intervals else "the "
    which = f"{count}test set, once, with the best model" if test else f"{count}validation set"
    which += ", by which this evaluation of the model was chosen" if chosen else ""
    return f"Measured on {which}." + (" Below a number, its 95 % interval (bootstrap over rows)." if intervals else "")


def _cards(metrics: dict[str, float], intervals: dict[str, tuple[float, float]]) -> str:
    cards = []
    for name, value in metrics.items():
        if not shown(name):
            continue
        error, floor = metrics.get(f"{name}_se"), metrics.get(f"{name}_floor")
        note = " · ".join(([f"± {short(error)}"] if error is not None else [])
                          + ([f"floor {short(floor)}"] if floor is not None else [])
                          + ([_interval(intervals[name])] if name in intervals else []))  # fmt: skip
        cards.append(
            f"<div class=card><span>{title(name)}</span><b>{_even(value) if name in intervals else short(value)}</b>"
            f"<span>{note or '&nbsp;'}</span></div>"
        )
    return f"<div class=cards>{''.join(cards)}</div>" if cards else ""


def _pictures(folder: Path) -> str:
    """The newest sample grid large, up to five earlier ones to see how it came about; or the newest page of text."""
    grids = sorted(folder.glob("step-*.png"))
    if pages := sorted(folder.glob("step-*.txt")):
        return f"<h2>Samples</h2><pre>{html.escape(pages[-1].read_text(encoding='utf-8'))}</pre>"
    if not grids:
        return ""
    chosen = sorted({round(i * (len(grids) - 1) / 5) for i in range(6)})
    figures = []
    for path in reversed([grids[i] for i in chosen]):
        step = int(path.stem.removeprefix("step-"))
        figures.append(picture(path, f"step {step:,}", f"samples at step {step}"))
    return f"<h2>Samples</h2><div class=grid>{''.join(figures)}</div>"


def picture(path: Path, caption: str, described: str) -> str:
    """A figure with a PNG inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f"<figure><figcaption>{caption}</figcaption><img alt='{described}' src='data:image/png;base64,{data}'></figure>"
    )


def _curves(title: str, rows: list[dict], prefix: str) -> str:
    skip = {"step", "progress", "seconds"}
    names = list(dict.fromkeys(k for row in rows for k in row if k.startswith(prefix) and k not in skip))
    charts = []
    for name in names:
        if name.endswith(UNSHOWN):
            continue
        points = [(row["step"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
        floors = [row[f"{name}_floor"] for row in rows if f"{name}_floor" in row]
        if len({y for _, y in points}) > 1:
            charts.append(_chart(name.removeprefix(prefix), points, floors[-1] if floors else None))
    return f"<h2>{title}</h2><div class=grid>{''.join(charts)}</div>" if charts else ""


def _chart(name: str, points: list[tuple[float, float]], floor: float | None) -> str:
    last = f"{short(points[-1][1])}" + (f", floor {short(floor)}" if floor is not None else "")
    ends = (f"{points[0][0]:,}", f"step {points[-1][0]:,}")
    return chart(f"{title(name)} · {last}", f"{title(name)} over steps", [("", points)], floor, ends)


def chart(
    caption: str,
    described: str,
    curves: list[tuple[str, list[tuple[float, float]]]],
    floor: float | None,
    ends: tuple[str, str],
    spans: Sequence[tuple[float, float]] = (),
    moments: Sequence[float] = (),
    dots: bool = False,
) -> str:
    """A figure of curves on the same axes, as HTML.

    curves: (class in report.css, points (x, y) from left to right). floor: where a dashed line is drawn. ends: what
    stands below the left and the right end of the axis. spans, moments: stretches of x that are shaded, and points of
    x that are marked. dots: mark the points, which were measured, on the lines, which were not.
    """
    xs, ys = ([point[i] for _, points in curves for point in points] for i in (0, 1))
    shown = ys if floor is None else [*ys, floor]
    low, high = min(shown), max(shown)
    spread = (high - low) or abs(high) or 1.0
    left, span = min(xs), (max(xs) - min(xs)) or 1

    def place(x: float, y: float) -> str:
        return f"{WIDTH * (x - left) / span:.1f},{HEIGHT - HEIGHT * (y - low) / spread:.1f}"

    lines = "".join(
        f"<polyline{f' class={style}' if style else ''} points='{' '.join(place(x, y) for x, y in points)}' />"
        for style, points in curves
    )
    if dots:
        lines += "".join(
            f"<circle{f' class={style}' if style else ''} cx={x} cy={y} r=3 />"
            for style, points in curves
            for x, y in (place(*point).split(",") for point in points)
        )

    def across(x: float) -> float:
        return WIDTH * min(max((x - left) / span, 0.0), 1.0)

    marks = "".join(
        f"<rect class=span x={across(a):.1f} y=0 width={max(across(b) - across(a), 2):.1f} height={HEIGHT} />"
        for a, b in spans
    ) + "".join(f"<line class=moment x1={x:.1f} x2={x:.1f} y1=0 y2={HEIGHT} />" for x in map(across, moments))
    floor_line = ""
    if floor is not None:
        y = HEIGHT - HEIGHT * (floor - low) / spread
        floor_line = f"<line class=floor x1=0 x2={WIDTH} y1={y:.1f} y2={y:.1f} />"
    return (
        f"<figure><figcaption>{caption}</figcaption>"
        f"<svg viewBox='0 -12 {WIDTH} {HEIGHT + 28}' role=img aria-label='{described}'>"
        f"<line class=axis x1=0 x2={WIDTH} y1={HEIGHT} y2={HEIGHT} />{marks}{floor_line}{lines}"
        f"<text x=0 y=-3>{short(high)}</text><text x=0 y={HEIGHT - 4}>{short(low)}</text>"
        f"<text x=0 y={HEIGHT + 13}>{ends[0]}</text>"
        f"<text x={WIDTH} y={HEIGHT + 13} text-anchor=end>{ends[1]}</text></svg></figure>"
    )


def _evaluation_table(rows: list[dict]) -> str:
    names = [k for k in (rows[-1] if rows else {}) if k.startswith("eval/") and not k.endswith(UNSHOWN)]
    if not names:
        return ""
    head = "".join(f"<th>{title(n.removeprefix('eval/'))}</th>" for n in names)
    lines = [
        f"<tr><td>{row['step']:,}</td><td>{duration(row['seconds'])}</td>"
        + "".join(f"<td>{short(row[n]) if n in row else ''}</td>" for n in names) + "</tr>"
        for row in rows
    ]  # fmt: skip
    table = f"<table><tr><th>step</th><th>time</th>{head}</tr>{''.join(lines)}</table>"
    return f"<h2>All evaluations</h2><div class=table>{table}</div>"


def _interval(ends: tuple[float, float]) -> str:
    return f"{_even(ends[0])} – {_even(ends[1])}"


def _even(value: float) -> str:
    """Numbers that are compared show the same places, shares three, per cent one."""
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:.1f}" if abs(value) <= 100 else short(value)


def shown(name: str) -> bool:
    """Whether a metric is a number of its own."""
    return not name.endswith(UNSHOWN) and not name.startswith(CURVE)


def title(name: str) -> str:
    """How a metric is called in a report, as HTML."""
    twin, of = "its MLE twin: " * name.startswith("twin_"), name.removeprefix("twin_")
    return html.escape(twin + TITLES.get(of, of.replace("_", " ")))


def _card(
    recipe: dict,
    facts: dict[str, str],
    metrics: dict[str, float],
    intervals: dict[str, tuple[float, float]],
    judge: str | None,
) -> str:
    """A model card in the layout of model hubs."""
    lines = [
        "---",
        "library_name: adverb",
        f"tags: [adverb, {recipe['objective']}]",
        "---",
        "",
        f"# {recipe['name']}",
        "",
    ]
    lines += [recipe.get("description", ""), ""] + [f"- {k}: {v}" for k, v in facts.items()]
    if metrics:
        beside = "95 % interval" if intervals else "floor"
        lines += ["", f"Judged by {judge}." if judge else "", "", f"| metric | value | {beside} |", "|---|---|---|"]
        notes = {name: _interval(ends) for name, ends in intervals.items()}
        notes |= {name.removesuffix("_floor"): short(v) for name, v in metrics.items() if name.endswith("_floor")}
        for name, value in metrics.items():
            if shown(name):
                lines.append(f"| {name.replace('_', ' ')} | {short(value)} | {notes.get(name, '')} |")
    return "\n".join(lines) + '\n\n```python\nimport adverb\n\nmodel = adverb.load("PATH OF THIS FOLDER")\n```\n'
