"""report.html: one self-contained page of a run. Metrics with their floors, curves, pictures, recipe.

`write_report` reads only what is in the run folder, so that it can be written again for a run in progress.
"""

from __future__ import annotations

import base64
import html
import math
from pathlib import Path

import yaml

from adverb.progress import duration, short
from adverb.run import Run

WIDTH, HEIGHT = 340, 150

STYLE = """
:root { --ink: #1d2125; --dim: #6b7280; --line: #e5e7eb; --page: #ffffff; --card: #f8f9fb; --accent: #3b5bdb; --floor: #d9480f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --dim: #9aa3ae; --line: #2c3138; --page: #14171a; --card: #1b1f24; --accent: #91a7ff; --floor: #ffa94d } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1120px;
       margin: 0 auto; padding: 32px 20px 64px }
h1 { font-size: 26px; margin: 0 } h2 { font-size: 17px; margin: 40px 0 12px }
p { margin: 4px 0 } .dim { color: var(--dim) }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 12px; margin-top: 20px }
.card { background: var(--card); border-radius: 10px; padding: 12px 14px }
.card b { display: block; font-size: 22px; font-variant-numeric: tabular-nums } .card span { color: var(--dim); font-size: 13px }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 16px }
figure { margin: 0; background: var(--card); border-radius: 10px; padding: 12px } figcaption { font-size: 13px; color: var(--dim) }
figure img { width: 100%; image-rendering: pixelated; border-radius: 6px; display: block; margin-top: 8px }
svg { width: 100%; height: auto; display: block; margin-top: 6px; overflow: visible } svg text { fill: var(--dim); font-size: 10px }
polyline { fill: none; stroke: var(--accent); stroke-width: 1.6; vector-effect: non-scaling-stroke }
.floor { stroke: var(--floor); stroke-dasharray: 4 3; stroke-width: 1.2 } .axis { stroke: var(--line) }
pre { background: var(--card); border-radius: 10px; padding: 16px; overflow-x: auto; font-size: 13px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { text-align: right; padding: 4px 14px 4px 0; border-bottom: 1px solid var(--line) }
td:first-child, th:first-child { text-align: left } th { color: var(--dim); font-weight: 500 }
.table { overflow-x: auto }
"""


def write_report(run: Run, objective=None) -> Path:
    """Write report.html and README.md (the model card) into the run folder; returns the report's path."""
    recipe, rows = run.recipe(), run.metrics()
    evaluations = [row for row in rows if any(k.startswith("eval/") for k in row)]
    training = [row for row in rows if row not in evaluations]
    last = {k.removeprefix("eval/"): v for k, v in (evaluations[-1] if evaluations else {}).items() if k.startswith("eval/")}
    facts = dict(objective.plan()) if objective else {}
    if rows:
        facts["trained for"] = f"{rows[-1]['step']:,} steps, {duration(rows[-1]['seconds'])}"
    judge = getattr(objective, "judged_by", None)
    body = [
        f"<h1>{html.escape(recipe['name'])}</h1>",
        f"<p class=dim>{html.escape(recipe.get('description', ''))}</p>",
        *(f"<p><span class=dim>{html.escape(k)}</span> {html.escape(v)}</p>" for k, v in facts.items()),
        _cards(last),
        f"<p class=dim>Judged by {html.escape(judge)}. The floor is what a second sample of real data scores.</p>" if judge else "",
        _pictures(run.samples),
        _curves("Evaluations", evaluations, "eval/"),
        _curves("Training", training, ""),
        _evaluation_table(evaluations),
        f"<h2>Recipe</h2><pre>{html.escape(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))}</pre>",
    ]
    page = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(recipe['name'])} · adverb</title><style>{STYLE}</style><body>{''.join(body)}</body></html>"
    )
    run.write_text("report.html", page)
    run.write_text("README.md", _card(recipe, facts, last, judge))
    return run.path / "report.html"


def _cards(metrics: dict[str, float]) -> str:
    cards = []
    for name, value in metrics.items():
        if name.endswith(("_floor", "_se")):
            continue
        error, floor = metrics.get(f"{name}_se"), metrics.get(f"{name}_floor")
        note = " · ".join(([f"± {short(error)}"] if error is not None else [])
                          + ([f"floor {short(floor)}"] if floor is not None else []))  # fmt: skip
        cards.append(f"<div class=card><span>{_title(name)}</span><b>{short(value)}</b><span>{note or '&nbsp;'}</span></div>")
    return f"<div class=cards>{''.join(cards)}</div>" if cards else ""


def _pictures(folder: Path) -> str:
    """The newest sample grid large, up to five earlier ones to see how it came about."""
    grids = sorted(folder.glob("step-*.png"))
    if not grids:
        return ""
    chosen = sorted({round(i * (len(grids) - 1) / 5) for i in range(6)})
    figures = []
    for path in reversed([grids[i] for i in chosen]):
        data = base64.b64encode(path.read_bytes()).decode()
        step = int(path.stem.removeprefix("step-"))
        figures.append(f"<figure><figcaption>step {step:,}</figcaption>"
                       f"<img alt='samples at step {step}' src='data:image/png;base64,{data}'></figure>")  # fmt: skip
    return f"<h2>Samples</h2><div class=grid>{''.join(figures)}</div>"


def _curves(title: str, rows: list[dict], prefix: str) -> str:
    skip = {"step", "progress", "seconds"}
    names = list(dict.fromkeys(k for row in rows for k in row if k.startswith(prefix) and k not in skip))
    charts = []
    for name in names:
        if name.endswith(("_floor", "_se")):
            continue
        points = [(row["step"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
        floors = [row[f"{name}_floor"] for row in rows if f"{name}_floor" in row]
        if len(points) > 1:
            charts.append(_chart(name.removeprefix(prefix), points, floors[-1] if floors else None))
    return f"<h2>{title}</h2><div class=grid>{''.join(charts)}</div>" if charts else ""


def _chart(name: str, points: list[tuple[float, float]], floor: float | None) -> str:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low, high = min(ys + ([floor] if floor is not None else [])), max(ys)
    spread = (high - low) or abs(high) or 1.0
    left, span = xs[0], (xs[-1] - xs[0]) or 1

    def place(x: float, y: float) -> str:
        return f"{WIDTH * (x - left) / span:.1f},{HEIGHT - HEIGHT * (y - low) / spread:.1f}"

    line = " ".join(place(x, y) for x, y in points)
    floor_line = ""
    if floor is not None:
        y = HEIGHT - HEIGHT * (floor - low) / spread
        floor_line = f"<line class=floor x1=0 x2={WIDTH} y1={y:.1f} y2={y:.1f} />"
    last = f"{short(ys[-1])}" + (f", floor {short(floor)}" if floor is not None else "")
    return (
        f"<figure><figcaption>{_title(name)} · {last}</figcaption>"
        f"<svg viewBox='0 -12 {WIDTH} {HEIGHT + 28}' role=img aria-label='{_title(name)} over steps'>"
        f"<line class=axis x1=0 x2={WIDTH} y1={HEIGHT} y2={HEIGHT} />{floor_line}<polyline points='{line}' />"
        f"<text x=0 y=-3>{short(high)}</text><text x=0 y={HEIGHT - 4}>{short(low)}</text>"
        f"<text x=0 y={HEIGHT + 13}>{xs[0]:,}</text>"
        f"<text x={WIDTH} y={HEIGHT + 13} text-anchor=end>step {xs[-1]:,}</text></svg></figure>"
    )


def _evaluation_table(rows: list[dict]) -> str:
    names = [k for k in (rows[-1] if rows else {}) if k.startswith("eval/") and not k.endswith(("_floor", "_se"))]
    if not names:
        return ""
    head = "".join(f"<th>{_title(n.removeprefix('eval/'))}</th>" for n in names)
    lines = [
        f"<tr><td>{row['step']:,}</td><td>{duration(row['seconds'])}</td>"
        + "".join(f"<td>{short(row[n]) if n in row else ''}</td>" for n in names) + "</tr>"
        for row in rows
    ]  # fmt: skip
    return f"<h2>All evaluations</h2><div class=table><table><tr><th>step</th><th>time</th>{head}</tr>{''.join(lines)}</table></div>"


def _title(name: str) -> str:
    return html.escape(name.replace("_", " "))


def _card(recipe: dict, facts: dict[str, str], metrics: dict[str, float], judge: str | None) -> str:
    """A model card in the layout of model hubs."""
    lines = ["---", "library_name: adverb", f"tags: [adverb, {recipe['objective']}]", "---", "", f"# {recipe['name']}", ""]
    lines += [recipe.get("description", ""), ""] + [f"- {k}: {v}" for k, v in facts.items()]
    if metrics:
        lines += ["", f"Judged by {judge}." if judge else "", "", "| metric | value | floor |", "|---|---|---|"]
        for name, value in metrics.items():
            if not name.endswith(("_floor", "_se")):
                floor = metrics.get(f"{name}_floor")
                lines.append(f"| {name.replace('_', ' ')} | {short(value)} | {'' if floor is None else short(floor)} |")
    return "\n".join(lines) + "\n\n```python\nimport adverb\n\nmodel = adverb.load(\"PATH OF THIS FOLDER\")\n```\n"
