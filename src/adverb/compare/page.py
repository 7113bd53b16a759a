"""The comparison as one self-contained page, of the pieces that report.html is made of."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path

import yaml

from adverb.compare import words
from adverb.compare.scores import Row, Score, at_equal_cost, both_hidden, curve, scores
from adverb.compare.sides import HEAD, Record, Side, differences
from adverb.progress import duration
from adverb.report import chart, page, picture
from adverb.report_tasks import mistake_list
from adverb.run import write_atomically

COLOURS = 8  # that report.css has
Axis = tuple[str, str, Callable[[float], str]]  # name in `curve`, what the switch says, how a place on it is said
AXES: tuple[Axis, ...] = (
    ("seconds", "time", duration),
    ("step", "steps", lambda x: f"{x:,.0f}"),
    ("flops", "FLOPs", "{:.1e}".format),
)


def write_page(sides: list[Side], out: Path) -> None:
    """Raises UserError where it can't be written."""
    colours = {id(side): f"c{i % COLOURS}" for i, side in enumerate(sides)}
    runs = sum(len(side.records) for side in sides)
    body = [f"<h1>{runs} runs side by side</h1>", _legend(sides, colours), _list("notes", words.warnings(sides))]
    kinds = words.by_kind(sides)
    for kind, some in kinds.items():
        if len(kinds) > 1:
            body.append(f"<h1 class=kind>{words.KIND_NAMES[kind]}</h1>")
        found = scores(some)
        body += [
            _differences(some, colours),
            _metrics(some, found.rows, colours),
            _list("notes", [f"Not comparable: {note}" for note in found.notes]),
            _curves(kind, some, colours),
            _samples(some),
            _mistakes(some),
            _costs(some, colours),
        ]
    body.append(_recipes(sides))
    text = page(" / ".join(side.label for side in sides), body)
    write_atomically(out, lambda beside: beside.write_text(text, encoding="utf-8"))


def _legend(sides: list[Side], colours: dict[int, str]) -> str:
    items = []
    for side in sides:
        seeds = f"seed{'s' * (len(side.records) > 1)} {', '.join(map(str, side.seeds))}"
        where = ", ".join(str(record.run.path) for record in side.records)
        about = " · ".join(filter(None, (side.first.recipe.get("description", ""), seeds, where)))
        items.append(f"<li>{_name(side, colours)} <span class=dim>{_text(about)}</span>")
    return f"<ul class=legend>{''.join(items)}</ul>"


def _name(side: Side, colours: dict[int, str]) -> str:
    return f"<span class='side {colours[id(side)]}'>{_text(side.label)}</span>"


def _table(name: str, sides: list[Side], colours: dict[int, str], rows: list[tuple[str, list[str]]]) -> str:
    """rows: what a row is called, and its cells, all of it HTML; a row without cells is a heading."""
    head = "".join(f"<th scope=col>{_name(side, colours)}" for side in sides)
    lines = []
    for title, cells in rows:
        if cells:
            lines.append(f"<tr><th scope=row>{title}{''.join(f'<td>{cell}' for cell in cells)}")
        else:
            lines.append(f"<tr><th scope=colgroup class=group colspan={len(sides) + 1}>{title}")
    table = f"<table><thead><tr><td>{head}<tbody>{''.join(lines)}</table>"
    return f"<h2>{name}</h2><div class='table data sides' role=region tabindex=0 aria-label='{name}'>{table}</div>"


def _differences(sides: list[Side], colours: dict[int, str]) -> str:
    found = differences(sides)
    if not found:
        return ""
    rows = [(_text(name), [_text(words.value(v)) for v in values]) for name, values in found.items()]
    return _table("What differs", sides, colours, rows)


def _metrics(sides: list[Side], found: list[Row], colours: dict[int, str]) -> str:
    rows: list[tuple[str, list[str]]] = []
    for when, heading in words.WHEN.items():
        some = [row for row in found if row.when == when]
        rows += [(heading, [])] * bool(some) + [(_text(words.metric_name(row.metric)), _cells(row)) for row in some]
    equal = [(said, at_equal_cost(sides, cost)) for cost, _, said in AXES if cost != "step"]
    for said, at in equal:
        if at:
            least, row = at
            unit = " FLOPs" if row.when == "flops" else ""
            rows += [(f"after {said(least)}{unit}, the most that all spent", [])]
            rows.append((_text(words.metric_name(row.metric)), _cells(row)))
    if not rows:
        return ""
    several = any(len(side.records) > 1 for side in sides)
    about = "± is the standard deviation over seeds. " if several else ""
    if any(any(row.marks) for row in found):
        about += "Only numbers with the same letter compare. "
    if any(at for _, at in equal):
        about += (
            "What a longer run had reached after a shorter one's time is read off between its evaluations, and it was "
            "not at the end of its schedule there."
        )
    return _table("Metrics", sides, colours, rows) + (f"<p class=dim>{about}</p>" if about else "")


def _cells(row: Row) -> list[str]:
    return [_cell(row, i, score) for i, score in enumerate(row.scores)]


def _cell(row: Row, i: int, score: Score | None) -> str:
    if score is None:
        return "<span class=dim>–</span>"
    text = words.number(score)
    text = f"<b class=best>{text}</b>" if row.winner == i else text
    small = words.beside(score) if row.when != "best" else ""
    mark = f"<sup>{row.marks[i]}</sup>" if row.marks[i] else ""
    return text + mark + (f"<small>{small}</small>" if small else "")


def _curves(kind: str, sides: list[Side], colours: dict[int, str]) -> str:
    """Every number that changes, over time, steps and, where they are counted, FLOPs: a switch without a script."""
    judged = dict.fromkeys(row.metric for row in scores(sides).rows if row.when == "last")
    logged = dict.fromkeys(
        n for side in sides for r in side.records for row in r.training for n in row if n not in HEAD
    )
    switch, grids = [], []
    for axis in AXES:
        charts = [_chart(name, axis, sides, colours, training=False) for name in judged]
        more = "".join(_chart(name, axis, sides, colours, training=True) for name in logged)
        if not any(charts) and not more:
            continue
        across, said, _ = axis
        place = f"{kind}-{across}"
        switch.append(f"<input type=radio name=axis-{kind} id={place} class={across}{'' if grids else ' checked'}>"
                      f"<label for={place}>{said}</label>")  # fmt: skip
        folded = f"<details><summary>Training</summary><div class=grid>{more}</div></details>" if more else ""
        grids.append(f"<div class='axis {across}'><div class=grid>{''.join(charts)}</div>{folded}</div>")
    if not grids:
        return ""
    return f"<h2>Curves over</h2><div class=axes>{''.join(switch)}{''.join(grids)}</div>"


def _chart(name: str, axis: Axis, sides: list[Side], colours: dict[int, str], training: bool) -> str:
    across, _, said = axis
    hidden, curves = both_hidden(sides), []
    for side in sides:
        for record in side.records:
            points = curve(record, name, across, hidden, training)
            if len(points) > 1:
                curves.append((colours[id(side)], points))
    if len({y for _, points in curves for _, y in points}) < 2:
        return ""
    xs = [x for _, points in curves for x, _ in points]
    floors = {row.get(f"eval/{name}_floor") for side in sides for r in side.records for row in r.evaluations[-1:]}
    floor = next(iter(floors)) if len(floors) == 1 and not training else None  # one for all, or none that all share
    title = _text(words.metric_name(name))
    return chart(title, f"{title} over {across}", curves, floor, (said(min(xs)), said(max(xs))))


def _samples(sides: list[Side]) -> str:
    figures, texts = [], []
    for side in sides:
        folder = side.first.run.samples
        if grids := sorted(folder.glob("step-*.png")):
            step = int(grids[-1].stem.removeprefix("step-"))
            caption = f"{_text(side.label)} · step {step:,}" + _of_seed(side)
            figures.append(picture(grids[-1], caption, f"samples of {_text(side.label)}"))
        if pages := sorted(folder.glob("step-*.txt")):
            shown = html.escape(pages[-1].read_text(encoding="utf-8"))
            texts.append(f"<details><summary>{_text(side.label)}{_of_seed(side)}</summary><pre>{shown}</pre></details>")
    if not figures and not texts:
        return ""
    return f"<h2>Samples</h2><div class=grid>{''.join(figures)}</div>{''.join(texts)}"


def _of_seed(side: Side) -> str:
    return f" · seed {side.first.seed}" if len(side.records) > 1 else ""


def _mistakes(sides: list[Side]) -> str:
    found = []
    for side in sides:
        details = side.first.details
        if details and details.mistakes:
            title = f"{_text(side.label)}{_of_seed(side)}, {details.split} set"
            found.append(f"<details><summary>{title}</summary>{mistake_list(details.mistakes)}</details>")
    return f"<h2>Worst mistakes</h2>{''.join(found)}" if found else ""


def _costs(sides: list[Side], colours: dict[int, str]) -> str:
    rows = [(_text(name), [_text(v) for v in values]) for name, values in words.costs(sides).items()]
    return _table("Cost", sides, colours, rows)


def _recipes(sides: list[Side]) -> str:
    def one(record: Record) -> str:
        return html.escape(yaml.safe_dump(record.recipe, sort_keys=False, allow_unicode=True))

    found = [f"<details><summary>{_text(s.label)}</summary><pre>{one(s.first)}</pre></details>" for s in sides]
    return f"<h2>Recipes</h2>{''.join(found)}"


def _list(name: str, lines: list[str]) -> str:
    return f"<ul class={name}>{''.join(f'<li>{_text(line)}' for line in lines)}</ul>" if lines else ""


def _text(value: str) -> str:
    return html.escape(value)
