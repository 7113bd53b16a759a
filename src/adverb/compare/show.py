"""The comparison on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adverb.compare import words
from adverb.compare.scores import Row, Score, at_equal_cost, scores
from adverb.compare.sides import Side, differences
from adverb.progress import duration


def print_tables(sides: list[Side], console: Console) -> None:
    kinds = words.by_kind(sides)
    for kind, some in kinds.items():
        if len(kinds) > 1:
            console.print(f"\n[bold]{words.KIND_NAMES[kind]}[/]")
        found = scores(some)
        table = Table("", box=None, header_style="")
        for side in some:
            table.add_column(Text(side.label, "bold"))
        for name, values in differences(some).items():
            table.add_row(Text(name, "dim"), *(Text(words.value(v)) for v in values))
        for when in words.WHEN:
            rows = [row for row in found.rows if row.when == when]
            if rows:
                table.add_row("")
                table.add_row(Text(words.WHEN[when], "dim italic"))
            for row in rows:
                table.add_row(Text(words.metric_name(row.metric), "dim"), *_cells(row))
        for cost, said in (("seconds", duration), ("flops", "{:.2e} FLOPs".format)):
            if equal := at_equal_cost(some, cost):
                least, row = equal
                name = f"{words.metric_name(row.metric)} after {said(least)}"
                table.add_row("")
                table.add_row(Text(name, "dim"), *_cells(row))
        table.add_row("")
        for name, values in words.costs(some).items():
            table.add_row(Text(name, "dim"), *map(Text, values))
        console.print(table)
        _listed("not comparable", found.notes, console)
    _listed("note", words.warnings(sides), console)


def _cells(row: Row) -> list[Text]:
    return [_cell(row, i, score) for i, score in enumerate(row.scores)]


def _cell(row: Row, i: int, score: Score | None) -> Text:
    if score is None:
        return Text("–", "dim")
    mark, small = row.marks[i], words.beside(score) if row.when != "best" else ""
    return Text.assemble(
        (words.number(score), "bold green" if row.winner == i else ""),
        (f" {mark}" if mark else "", "yellow"),
        (f"  {small}" if small else "", "dim"),
    )


def _listed(title: str, lines: list[str], console: Console) -> None:
    for line in lines:
        console.print(Text.assemble((f"{title}: ", "yellow"), line))
