"""Rows of texts as a person reads them: a label beside its text, spans in colour, a question and its answer."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from adverb.data.checks import View, said_of
from adverb.data.labelled import Labelled
from adverb.data.order import epoch_order
from adverb.data.pairs import TextPairs
from adverb.data.squad import Questions
from adverb.data.tagged import Tagged

SAMPLES = 5
TYPE_STYLES = ("cyan", "magenta", "green", "yellow", "bright_blue", "red")


def sample_table(part: Any) -> Table:
    """Some rows at random, the same ones each time; of tagged texts, such as have a span."""
    rows = epoch_order(len(part), 0, 0).tolist()
    if isinstance(part, Tagged) and part.scheme == "spans":
        rows = [row for row in rows if any(tag != "O" for tag in part.tags[row])]
    cells = [_cells(part, row) for row in rows[:SAMPLES]]
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    for i in range(len(cells[0])):
        short = isinstance(cells[0][i], str)  # a label, a number
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=30 if short else None, ratio=None if short else 1)
    for first, *others in cells:
        first = f"  {first}" if isinstance(first, str) else Text.assemble("  ", first)
        table.add_row(*(Text(cell, style="green") if isinstance(cell, str) else cell for cell in (first, *others)))
    return table


def _cells(part: Any, row: int) -> tuple[str | Text, ...]:
    if isinstance(part, Labelled):
        text = part.texts[row] if part.pairs is None else f"{part.texts[row]} ⟷ {part.pairs[row]}"
        return said_of(part, row), one_line(text)
    if isinstance(part, TextPairs):
        score = [] if part.scores is None else [f"{part.scores[row]:g}"]
        return *score, one_line(part.first[row]), one_line(part.second[row])
    if isinstance(part, Questions):
        said = Text(part.answers[row][0][0], style="green") if part.answers[row] else Text("no answer", style="yellow")
        return one_line(part.questions[row]), said
    return (_tagged(part, row),)


def one_line(text: str, most: int = 300) -> Text:
    return Text(" ".join(text[:most].split()), style="italic")


def _tagged(part: Tagged, row: int) -> Text:
    """The text, with the type behind each span, or the tag behind each word."""
    text, found, end = part.texts[row], Text(), 0
    tags = part.tags[row]
    for i, ((start, stop), tag) in enumerate(zip(part.words[row], tags, strict=True)):
        found += Text(text[end:start]) + Text(text[start:stop], style=_style(part, tag))
        if part.scheme == "words" or (tag != "O" and (i + 1 == len(tags) or tags[i + 1] != f"I-{tag[2:]}")):
            found += Text(f"/{tag if part.scheme == 'words' else tag[2:]}", style="dim")
        end = stop
    return found + Text(text[end:])


def _style(part: Tagged, tag: str) -> str:
    if part.scheme == "words" or tag == "O":
        return ""
    return f"bold {TYPE_STYLES[part.types.index(tag[2:]) % len(TYPE_STYLES)]}"


def difference(here: View, row: int, there: View, other: int) -> str:
    """What is said of two equal texts, in short; "" where it is the same."""
    if here.said[row] == there.said[other]:
        return ""
    if isinstance(here.part, Tagged):
        for place, a, b in zip(here.part.words[row], here.part.tags[row], there.part.tags[other], strict=False):
            if a != b:
                return f"{here.part.texts[row][slice(*place)]}: {a} / {b}"
    return f"{here.said[row][:40]} / {there.said[other][:40]}"
