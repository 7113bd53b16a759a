"""Answers as a person reads them on a terminal: bars of classes, coloured entities, marked answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adverb.pipelines.stream import Row

if TYPE_CHECKING:
    from adverb.pipelines.search import Hit

BAR = 16  # cells of the longest bar
COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
AROUND = 120  # characters of a context shown on each side of an answer
NUMBERS = 6  # of a vector


def show(row: Row, said: dict[str, Any], top_k: int) -> RenderableType:
    """One row with what `predict.answers` says of it; of many classes the `top_k` most probable."""
    if "error" in said:
        return Text.assemble((f"line {row.line}: ", "dim"), (said["error"], "red"))
    if "entities" in said:
        return _entities(row, said["entities"])
    title = Text(row.text if row.pair is None or "answers" in said else f"{row.text}  ·  {row.pair}", "bold")
    if "answers" in said:
        return Group(title, *(_answer(row.pair or "", answer) for answer in said["answers"]), "")
    return Group(title, _table(said, top_k), "")


def show_hits(query: str, hits: Sequence[Hit]) -> RenderableType:
    """The texts most similar to a query, with their cosines."""
    table = Table(box=None, show_header=False)
    for hit in hits:
        where = "" if hit.line is None else f"line {hit.line:,}"
        table.add_row(Text(f"{hit.score:.3f}", "cyan"), Text(where, "dim"), Text(hit.text))
    return Group(Text(query, "bold"), table, "")


def _table(said: dict[str, Any], top_k: int) -> Table | Text:
    if "fills" in said:
        return _bars([(" ".join(f["tokens"]), f["probability"], f["text"]) for f in said["fills"]])
    if "probabilities" in said:
        chosen = said.get("labels")
        rows = [(k, p, "✓" if chosen and k in chosen else "") for k, p in said["probabilities"].items()]
        return _bars(rows[: max(top_k, len(chosen or ()))])
    if "value" in said or "values" in said:
        values = said.get("values") or {"": said["value"]}
        return Text("\n".join(f"{name}  {value:g}".strip() for name, value in values.items()), "cyan")
    vector = said["embedding"]
    return Text(f"[{', '.join(f'{x:g}' for x in vector[:NUMBERS])}, …]  {len(vector)} numbers", "cyan")


def _bars(rows: list[tuple[str, float, str]]) -> Table:
    table = Table(box=None, show_header=False)
    most = max((p for _, p, _ in rows), default=1.0) or 1.0
    for name, p, note in rows:
        bar = "█" * max(1, round(BAR * p / most))
        table.add_row(Text(name), f"{100 * p:.1f}%", Text(bar, "cyan"), Text(note, "dim"))
    return table


def _entities(row: Row, entities: list[dict[str, Any]]) -> Text:
    """The text itself, each entity in the colour of its type and followed by it."""
    types = sorted({e["type"] for e in entities})
    text, at = Text(), 0
    for entity in sorted(entities, key=lambda e: e["start"]):
        if entity["start"] < at:  # windows may overlap in what they say
            continue
        colour = COLOURS[types.index(entity["type"]) % len(COLOURS)]
        text.append(row.text[at : entity["start"]])
        text.append(row.text[entity["start"] : entity["end"]], f"bold {colour}")
        text.append(f" {entity['type']} {100 * entity['probability']:.0f}%", f"dim {colour}")
        at = entity["end"]
    text.append(row.text[at:])
    return text


def _answer(context: str, answer: dict[str, Any]) -> Text:
    """The answer marked in its surroundings."""
    share = f"{100 * answer['probability']:5.1f}%  "
    if not answer["text"]:
        return Text.assemble(share, ("no answer in this text", "dim"))
    start, end = answer["start"], answer["end"]
    before, after = context[max(0, start - AROUND) : start], context[end : end + AROUND]
    return Text.assemble(
        share,
        ("…" if start > AROUND else "", "dim"),
        (before, "dim"),
        (context[start:end], "bold cyan"),
        (after, "dim"),
        ("…" if end + AROUND < len(context) else "", "dim"),
    )
