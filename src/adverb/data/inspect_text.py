"""`adverb data PATH`: a data set as training would see it, whatever it holds; here also plain text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from adverb.data.columns import guess_texts, peek
from adverb.data.recognise import TASKS, recognise
from adverb.data.records import FORMS, Records, suffix_of
from adverb.data.show import facts, heading, print_notes, print_warnings
from adverb.data.text import find_text, find_valid, paragraphs
from adverb.errors import UserError

OBJECTIVES = {"image": "gan"}  # of a recipe, where it is called otherwise than the task
EVERY = 16  # one paragraph in so many has its tokens counted


def inspect_data(
    path: str | Path,
    console: Console,
    *,
    task: str | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
) -> None:
    """Print what training would find in `path`: what is read, left out and why, and what is odd.

    task: one of recognise.TASKS, where it shall not be guessed. overrides: as for training, `data.label=coarse`; the
    section may be left out. out: a contact sheet, for images. Raises UserError as training would.
    """
    if task is not None and task not in TASKS:
        raise UserError(f"--as {task}: expected one of {', '.join(TASKS)}")
    task = task or recognise(path)
    spec = _spec(task, path, overrides)
    if task == "image":
        from adverb.data.inspect import inspect_images

        chosen = spec.data.model_dump(include={"size", "channels", "label", "limit"})
        inspect_images(path, console, out=out, **chosen)
    elif out is not None:
        raise UserError(f"--out is for a contact sheet of images, this is text ({task})")
    elif task == "pretrain":
        inspect_corpus(spec.data, console)
    else:
        from adverb.data.inspect_rows import inspect_rows

        told = any(word.startswith("model.init=") for word in overrides)
        inspect_rows(task, spec.data, console, spec.model.init if told else None)


def _spec(task: str, path: str | Path, overrides: Sequence[str]) -> Any:
    """A recipe for the task, with the data and what was told about it."""
    from adverb import recipe

    objective = OBJECTIVES.get(task, task)
    if objective not in recipe.OBJECTIVES:
        raise UserError(f"{path} holds {task}, which adverb does not read yet")
    told = recipe.parse_overrides([word if "." in word.partition("=")[0] else f"data.{word}" for word in overrides])
    values = {"objective": objective, "name": "data", "train": {"steps": 1}}
    return recipe.validate(values, {"data.path": str(path)} | told, "adverb data")


def inspect_corpus(spec: Any, console: Console) -> None:
    """Print what pre-training would read: documents, tokens, the longest document, what is held out.

    spec: the `data` section of a recipe for pre-training. Raises UserError for text that can't be read.
    """
    from adverb.data.checks import counter
    from adverb.data.corpus import HELD_OUT

    source = find_text(spec.path, spec.column, spec.limit, [spec.valid])
    spec.column = source.column = _column(source)
    held = find_valid(spec.path, spec.column, spec.valid)
    count, unit, _ = counter(spec.tokenizer, None, "pretrain")
    with console.status("reading"):
        train, valid = _read(source, count), _read(held, count) if held is not None else None
    if not train["documents"]:
        raise UserError(f"{source.name} holds no text: {len(source.files)} file(s), all empty")
    heading(console, source.name, "texts without labels" if _is_table(source) else "plain text, to pre-train on")
    console.print()
    table = facts()
    if _is_table(source):
        other = f" by data.column={source.column}" if source.column != "text" else ""
        table.add_row("text", escape(source.column))
        table.add_row("for", escape(f"pre-training{other}; classify and label-next, beside rows with labels, as "
                                    f"data.unlabelled={spec.path}"))  # fmt: skip
    size = sum(file.stat().st_size for file in source.files)
    if source.files:
        table.add_row("files", f"{len(source.files):,}, {size / 2**20:,.1f} MiB")
    table.add_row("documents", f"{train['documents']:,} [dim]({_border(source.files)})[/]")
    lengths = np.array(train["lengths"])
    table.add_row("characters", f"{train['characters']:,}")
    table.add_row(f"[bold]{unit}[/]", f"[bold green]about {_round(train['tokens']):,}[/]")
    rate = train["tokens"] / max(1, train["characters"])
    table.add_row(
        "a document",
        f"{_round(float(np.median(lengths)) * rate):,} {unit} in the median, {_round(lengths.max() * rate):,} at most "
        f"[dim](it begins {escape(repr(train['longest'][:50]))})[/]",
    )
    broken = train["undecodable"]
    table.add_row("undecodable", f"[yellow]{broken:,} characters, now U+FFFD[/]" if broken else "none")
    if valid is not None:
        table.add_row("held out", f"{escape(held.name)}, {valid['documents']:,} documents, "
                      f"about {_round(valid['tokens']):,} {unit}")  # fmt: skip
    else:
        table.add_row("held out", f"the last {100 * HELD_OUT:g}%, as nothing here is called valid")
    console.print(table)
    print_notes(console, source.notes())
    warnings = []
    if broken > train["characters"] / 10_000:
        warnings.append("much of this can't be decoded: save it as UTF-8 first")
    if train["documents"] == 1:
        warnings.append("one document: put an empty line between documents, if there are several")
    print_warnings(console, warnings)
    heading(console, "samples")
    for text in train["samples"]:
        console.print(Text("  ") + Text(text, style="italic"), overflow="ellipsis", no_wrap=True)
    console.print()


def _is_table(source: Any) -> bool:
    return bool(source.files) and FORMS[suffix_of(source.files[0])] != "text"


def _column(source: Any) -> str:
    """The column that is told, or called text, or else looks like one. Raises UserError where none does."""
    if source.column != "text" or not _is_table(source):
        return source.column
    sample, names, _ = peek(Records(source.files[0]))
    return source.column if source.column in names else guess_texts(sample, names, str(source.files[0]))[0]


def _read(source: Any, count: Any) -> dict[str, Any]:
    """Counts of a corpus in one pass; tokens of a paragraph in EVERY, scaled up."""
    lengths, seen, tokens, length, opening = [], 0, 0, 0, ""
    longest, samples, waiting, counted = "", [], [], 0
    for i, paragraph in enumerate(paragraphs(source)):
        if paragraph is None:
            if length > max(lengths, default=0):
                longest = opening
            lengths.append(length)
            length, opening = 0, ""
            continue
        opening = opening or paragraph
        length += len(paragraph)
        if i % EVERY == 0:
            waiting.append((paragraph,))
            counted += len(paragraph)
        if len(waiting) == 1000:
            tokens += sum(count(waiting))
            waiting = []
        seen += 1
        if seen.bit_count() == 1 and seen >= 32:  # the 32nd, 64th, 128th, …: from all over the text
            samples = [*samples[-4:], paragraph[:300]]
    tokens += sum(count(waiting)) if waiting else 0
    scaled = tokens * source.counts["characters"] / max(1, counted)
    samples = samples or ([longest[:300]] if longest else [])
    return {"lengths": lengths, "tokens": scaled, "longest": longest, "samples": samples, **source.counts}


def _border(files: list[Path]) -> str:
    plain = any(FORMS[suffix_of(file)] == "text" for file in files)
    return "an empty line ends one" if plain else "every row is one"


def _round(number: float) -> int:
    """Two or three digits that mean something."""
    digits = max(0, len(str(int(number))) - 3)
    return round(int(number), -digits)
