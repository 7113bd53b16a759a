"""`adverb data PATH` for fine-tuning: what it would read, what it leaves out and why, and what spoils a measurement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from adverb.data import labelled, pairs, squad, tagged
from adverb.data.checks import COUNTED, View, counter, view
from adverb.data.columns import peek
from adverb.data.pairs import TextPairs
from adverb.data.records import Records
from adverb.data.samples import difference, one_line, sample_table
from adverb.data.show import SHOWN, bar, facts, heading, listed, print_notes, print_warnings
from adverb.data.splits import find_splits
from adverb.data.squad import Questions
from adverb.data.tagged import Tagged
from adverb.errors import UserError

READ = {
    "classify": labelled.load_labelled_splits,
    "tag": tagged.load_tagged_splits,
    "answer": squad.load_question_splits,
    "embed": pairs.load_pair_splits,
}
PARTS = ("train", "valid", "test")
EXAMPLES = 3  # of each thing that is wrong
WRONG = {
    "conflicts": "the same text, but another label",
    "in train": "rows to measure on that are also in train",
    "repeated": "rows equal to an earlier one",
}

Views = dict[str, View]


def inspect_rows(task: str, spec: Any, console: Console, init: str | None = None) -> None:
    """Print what training for `task` (classify, tag, answer, embed) would find in the data of `spec`.

    spec: the `data` section of such a recipe. init: the model whose tokens are counted; None: MiniLM, where it is
    installed, else words. Raises UserError as the loaders do, after a look at the columns of the table.
    """
    try:
        with console.status("reading"):
            found = READ[task](spec)
    except UserError:
        _print_columns(spec.path, console)
        raise
    views = {name: view(part) for name, part in zip(PARTS, found, strict=True) if part is not None}
    parts = {name: v.part for name, v in views.items()}
    train = parts["train"]
    heading(console, str(spec.path), _what(train))
    console.print()
    table = facts()
    for role, column in train.report.columns.items():
        table.add_row(role, escape(f"column {column}" if column.isdigit() else column))
    if train.report.encoding != "UTF-8":
        table.add_row("encoding", f"[yellow]{train.report.encoding}[/], not UTF-8")
    console.print(table)
    print_notes(console, _different(part.report.notes for part in parts.values()))
    count, unit, limit = counter(init, spec.max_length, task)
    lengths = {name: v.lengths(count) for name, v in views.items()}
    _print_overview(console, views, lengths, unit, limit)
    _print_said(console, parts)
    _print_lengths(console, lengths["train"], unit, limit)
    _print_left_out(console, parts)
    _print_wrong(console, views)
    heading(console, "samples of train")
    console.print(sample_table(train))
    print_warnings(console, _different(part.report.warnings for part in parts.values()))
    console.print()


def _different(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(item for items in lists for item in items))


def _what(part: Any) -> str:
    if isinstance(part, Tagged):
        return f"texts with spans of {len(part.types)} types" if part.scheme == "spans" else "texts with a tag a word"
    if isinstance(part, Questions):
        return "questions about contexts"
    if isinstance(part, TextPairs):
        return "pairs of texts" + (" with a score" if part.scores is not None else "")
    texts, labels = "texts" if part.pairs is None else "pairs of texts", len(part.label_names)
    kinds = {"single": f"one of {labels} classes", "multi": f"any of {labels} labels", "regression": "a number"}
    return f"{texts} with {kinds[part.kind]}"


def _print_overview(console: Console, views: Views, lengths: dict[str, np.ndarray], unit: str, limit: int) -> None:
    """A row for each part: how many, what is wrong with them, how long they are (the median, and the longest)."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    names = ["rows", "left out", *reversed(WRONG), unit, "longest"]
    for name in names + ([f"> {limit}"] if limit else []):
        table.add_column(name, justify="right", no_wrap=True)

    def worry(count: int) -> Text:
        return Text(f"{count:,}", style="yellow") if count else Text("–", style="dim")

    for name, v in views.items():
        of = lengths[name]
        row = [Text(f"{len(v.part):,}", style="bold green" if name == "train" else "")]
        row += [worry(len(v.part.report.skipped)), worry(len(v.repeated()))]
        row += [Text("") if name == "train" else worry(len(v.leaked(views["train"]))), worry(len(v.conflicts()))]
        row += [Text(f"{int(np.median(of)):,}"), Text(f"{of.max():,}")]
        table.add_row(f"[bold]{name}[/]", *row, *([worry(int((of > limit).sum()))] if limit else []))
    console.print()
    console.print(table)


def _print_said(console: Console, parts: dict[str, Any]) -> None:
    """What the rows say, as bars: classes, numbers, types of spans, answers, scores."""
    train = parts["train"]
    if isinstance(train, Tagged):
        counts = {name: _tags(part) for name, part in parts.items()}
        what = "spans" if train.scheme == "spans" else "tags"
        totals = {name: (found, max(1, int(found.sum()))) for name, found in counts.items()}
        _print_shares(console, f"{what} ({len(train.types):,} types)", train.types, totals)
        if train.scheme == "spans":
            tags = [tag for row in train.tags for tag in row]
            told = f"{len(tags):,} words in train, {100 * tags.count('O') / len(tags):.1f}% outside"
            console.print(f"  [dim]{told}[/]", highlight=False)
    elif isinstance(train, Questions):
        _print_answers(console, parts)
    elif isinstance(train, TextPairs):
        if train.scores is not None:
            _print_histogram(console, f"scores in '{train.report.columns['score']}'", train.scores)
    elif train.kind == "regression":
        _print_histogram(console, f"numbers in '{train.report.columns['label']}'", train.targets)
    else:
        totals = {name: (part.counts(), len(part)) for name, part in parts.items()}
        _print_shares(console, f"labels ({len(train.label_names):,})", train.label_names, totals)
        if train.kind == "multi":
            each = np.bincount(train.targets.sum(1).astype(np.int64)).tolist()
            told = listed([f"{n} on {count:,} rows" for n, count in enumerate(each) if count])
            console.print(f"  [dim]labels a row: {told}[/]", highlight=False)


def _tags(part: Tagged) -> np.ndarray:
    """How many spans, or words, have each type."""
    index = {kind: i for i, kind in enumerate(part.types)}
    if part.scheme == "spans":
        found = [index[tag[2:]] for row in part.tags for tag in row if tag[0] == "B"]
    else:
        found = [index[tag] for row in part.tags for tag in row]
    return np.bincount(np.array(found, np.int64), minlength=len(index))


def _print_answers(console: Console, parts: dict[str, Questions]) -> None:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("", "contexts", "answered", "without", "words", "longest"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, part in parts.items():
        words = [len(text.split()) for answers in part.answers for text, _ in answers[:1]] or [0]
        numbers = len(part.contexts), sum(map(bool, part.answers)), sum(not answers for answers in part.answers)
        table.add_row(f"  {name}", *(f"{n:,}" for n in (*numbers, int(np.median(words)), max(words))))
    heading(console, "answers")
    console.print(table)


def _print_shares(console: Console, title: str, names: list[str], totals: dict[str, tuple[np.ndarray, int]]) -> None:
    """A bar for each name with its count and share in train, and its share in the other parts.

    totals: part -> (counts, int64 [C], and what they are shares of).
    """
    (counts, total), *others = totals.values()
    order = list(range(len(names)))
    if len(names) > 2 * SHOWN:
        order = np.argsort(-counts, kind="stable")[: 2 * SHOWN].tolist()
    table = Table(box=None, header_style="dim", padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=30)
    for part in ("train", "", ""):
        table.add_column(part, justify="right" if part or len(table.columns) == 2 else "left", no_wrap=True)
    for part in list(totals)[1:]:
        table.add_column(part, justify="right", no_wrap=True)
    for i in order:
        shares = [f"{100 * of[i] / n:.1f}%" if of[i] else "[dim]–[/]" for of, n in others]
        share = f"[dim]{100 * counts[i] / total:.1f}%[/]"
        table.add_row("  " + escape(names[i]), f"{counts[i]:,}", share, bar(counts[i], counts.max()), *shares)
    heading(console, title)
    console.print(table)
    if len(order) < len(names):
        rest = int(counts.sum() - counts[order].sum())
        console.print(f"  [dim]and {len(names) - len(order):,} more, {rest:,} in train[/]", highlight=False)


def _print_histogram(console: Console, title: str, values: np.ndarray) -> None:
    counts, edges = np.histogram(values, bins=10)
    names = [f"{low:.3g} … {high:.3g}" for low, high in zip(edges[:-1], edges[1:], strict=True)]
    heading(console, title, f"mean {values.mean():.3g}, deviation {values.std():.3g}")
    console.print(_bars(names, counts.tolist()))


def _print_lengths(console: Console, lengths: np.ndarray, unit: str, limit: int) -> None:
    edges = [8]
    while edges[-1] < lengths.max():
        edges.append(2 * edges[-1])
    counts = np.histogram(lengths, bins=[0, *(edge + 1 for edge in edges)])[0]
    first = int(np.argmax(counts > 0))
    drawn = f", of {COUNTED:,} rows drawn at random" if len(lengths) == COUNTED else ""
    about = f"{unit}; the model reads {limit}" if limit else f"{unit}; in tokens with pip install 'adverb[offline]'"
    heading(console, "lengths of train", about + drawn)
    names = [f"up to {edge:,}" for edge in edges]
    styles = ["yellow" if limit and edge > limit else "cyan" for edge in edges]
    console.print(_bars(names[first:], counts[first:].tolist(), styles[first:]))


def _bars(names: list[str], counts: list[int], styles: list[str] | None = None) -> Table:
    table = Table.grid(padding=(0, 1))
    for justify in ("right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    for name, count, style in zip(names, counts, styles or ["cyan"] * len(names), strict=True):
        table.add_row(f"  {name}", f"{count:,}", bar(count, max(counts), style=style))
    return table


def _print_left_out(console: Console, parts: dict[str, Any]) -> None:
    """Rows that can't be used, reason by reason with their lines."""
    total = sum(len(part.report.skipped) for part in parts.values())
    if not total:
        return
    heading(console, "left out", f"{total:,} rows that can't be used")
    table = Table.grid(padding=(0, 2))
    for style in ("", "", "yellow", "dim"):
        table.add_column(style=style, no_wrap=style != "dim", justify="left" if style or not table.columns else "right")
    for name, part in parts.items():
        reasons = part.report.by_reason()
        for reason, lines in list(reasons.items())[:SHOWN]:
            places = f"{part.report.unit}{'s' if len(lines) > 1 else ''} {listed(list(map(str, lines)))}"
            table.add_row(f"  {name}", f"{len(lines):,}", reason, places)
        if len(reasons) > SHOWN:
            rest = sum(len(lines) for lines in list(reasons.values())[SHOWN:])
            table.add_row(f"  {name}", f"{rest:,}", f"for {len(reasons) - SHOWN:,} other reasons", "")
    console.print(table)


def _print_wrong(console: Console, views: Views) -> None:
    """A few of the rows that contradict each other, are in train, too, or are repeated."""
    train = views["train"]
    for kind, meaning in WRONG.items():
        found = []
        for name, v in views.items():
            if kind == "in train":
                equal = [] if name == "train" else v.leaked(train)
            else:
                equal = v.conflicts() if kind == "conflicts" else v.repeated()
            other = ("train", train) if kind == "in train" else (name, v)
            found += [(name, v, row, *other, first) for row, first in equal[:EXAMPLES]]
        if found:
            heading(console, kind, meaning)
        for name, v, row, other_name, other, first in found:
            here, there = _place(name, v, row), _place("" if name == other_name else other_name, other, first)
            said = difference(v, row, other, first)
            line = Text.assemble((f"  {here} = {there}  ", "dim"), (f"{said}  " if said else "", "yellow"))
            console.print(line + one_line(v.texts[row][0]), overflow="ellipsis", no_wrap=True)


def _place(name: str, v: View, row: int) -> str:
    place = f"{v.part.report.unit} {v.lines[row]}" if v.lines else v.part.ids[row]
    return f"{name} {place}".strip()


def _print_columns(path: str, console: Console) -> None:
    """The columns of a table that training can't make out by itself."""
    try:
        sample, names, _ = peek(Records(find_splits(path).train, form="delimited"))
    except UserError:
        return
    heading(console, str(path), f"{len(names)} columns")
    console.print()
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False, expand=True)
    table.add_column("column", overflow="fold")
    table.add_column("different", justify="right", no_wrap=True)
    table.add_column("for example", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in names:
        values = [str(row[name]) for row in sample if row.get(name) not in (None, "")]
        examples = one_line(", ".join(list(dict.fromkeys(values))[:5]))
        table.add_row(f"[bold]{escape(name)}[/]", f"{len(set(values)):,} of {len(values):,}", examples)
    console.print(table)
    console.print()
