"""The advice on screen, and as CSV to fill in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from adverb.run import write_atomically

if TYPE_CHECKING:
    from adverb.data.labelled import Labelled
    from adverb.data.unlabelled import Unlabelled
    from adverb.labelling import Advice
    from adverb.labelling.doubts import Doubt
    from adverb.labelling.next import Next

SHOWN = 8
WIDTH = 70  # characters of a text
FAR = 0.5  # cosine below which a text is like none that has a label


def show(advice: Advice, labelled: Labelled, unlabelled: Unlabelled | None, console: Console) -> None:
    for line in labelled.report.lines() + (unlabelled.report.lines() if unlabelled else []):
        console.print(f"[dim]{escape(line)}[/]", highlight=False, soft_wrap=True)
    if advice.curve is not None:
        _curve(advice, console)
    _doubts(advice.doubts, labelled, console)
    if advice.texts:
        table = Table("text", "why", title="label next", title_justify="left", box=None, header_style="dim")
        for one in advice.texts[:SHOWN]:
            table.add_row(Text(_short(unlabelled.texts[one.row])), Text(why(one, labelled), "dim"))
        _print(table, len(advice.texts), console)


def _curve(advice: Advice, console: Console) -> None:
    table = Table("labels", "right", "95 %", title="more labels", title_justify="left", box=None, header_style="dim")
    for place, (labels, right, low, high) in enumerate(advice.curve.expected):
        table.add_row(f"{labels:,}" + (" (now)" if place == 0 else ""), f"{right:.0%}", f"{low:.0%} – {high:.0%}")
    console.print(table)
    console.print("[dim]by a linear classifier on sentence embeddings; a trained model does better, by a like curve[/]")


def _doubts(doubts: list[Doubt], labelled: Labelled, console: Console) -> None:
    if not doubts:
        console.print("no label looks wrong", highlight=False)
        return
    table = Table("line", "label", "rather", "text", title="labels to look at", title_justify="left", box=None,
                  header_style="dim")  # fmt: skip
    names = labelled.label_names
    for one in doubts[:SHOWN]:
        rather = f"{names[one.suggested]} {one.probability:.0%}"
        line, text = str(labelled.lines[one.row]), _short(labelled.texts[one.row])
        table.add_row(line, Text(names[one.label]), Text(rather), Text(text, "dim"))
    _print(table, len(doubts), console)


def _print(table: Table, rows: int, console: Console) -> None:
    console.print(table)
    if rows > SHOWN:
        console.print(f"[dim]… and {rows - SHOWN:,} more[/]", highlight=False)


def why(one: Next, labelled: Labelled) -> str:
    """ "a 41 % or b 35 %", and whether it is like anything that has a label."""
    names = labelled.label_names
    said = f"{names[one.first[0]]} {one.first[1]:.0%} or {names[one.second[0]]} {one.second[1]:.0%}"
    return said + ("; like none labelled so far" if one.nearest[1] < FAR else "")


def write_next(path: Path, texts: list[Next], labelled: Labelled, unlabelled: Unlabelled) -> None:
    """The columns of the labelled rows, the label empty, and `why`. Where they have no names, they are given some."""
    roles = {role: role if column.isdigit() else column for role, column in labelled.report.columns.items()}
    pair = [roles["pair"]] if unlabelled.pairs is not None else []
    rows = (
        [unlabelled.texts[one.row], *([unlabelled.pairs[one.row]] if pair else []), "", why(one, labelled)]
        for one in texts
    )
    _write(path, [roles["text"], *pair, roles["label"], "why"], rows)


def write_wrong(path: Path, doubts: list[Doubt], labelled: Labelled) -> None:
    names = labelled.label_names
    rows = (
        [labelled.lines[d.row], labelled.texts[d.row], names[d.label], f"{d.given:.3f}", names[d.suggested],
         f"{d.probability:.3f}"]
        for d in doubts
    )  # fmt: skip
    _write(path, ["line", "text", "label", "probability", "suggested", "suggested_probability"], rows)


def _write(path: Path, columns: list[str], rows: Iterable[list]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    write_atomically(path, lambda beside: beside.write_text(text.getvalue(), encoding="utf-8"))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
