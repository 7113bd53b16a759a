"""`adverb predict`: what a model says about texts, as a table on a terminal, else as JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adverb.errors import UserError
from adverb.pipelines import load
from adverb.pipelines.reader import Reader
from adverb.run import write_atomically


def predict(
    model: str,
    texts: Sequence[str],
    *,
    file: Path | None = None,
    out: Path | None = None,
    top_k: int = 5,
    candidates: Sequence[str] | None = None,
    console: Console,
) -> None:
    """Answer for every text, and every line of `file` ("-": standard input); to `out`, or to the console.

    A masked language model fills masks, any other reader embeds. Raises UserError, naming the text it stopped at.
    """
    reader = load(model)
    if not isinstance(reader, Reader):
        raise UserError("this model draws, it does not read: use adverb generate")
    lines = [*texts, *(_lines(file) if file else ())]
    if not lines:
        raise UserError('nothing to read: give a text, such as "The sky is [MASK].", or --file')
    rows = list(_answers(reader, lines, top_k, candidates))
    if out is not None:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(out, lambda beside: beside.write_text(text, encoding="utf-8"))
        console.print(f"[cyan]{out}[/]  {len(rows):,} answers", highlight=False)
    elif console.is_terminal and reader.fills_masks:
        for row in rows:
            console.print(_table(row))
    else:
        for row in rows:
            console.out(json.dumps(row, ensure_ascii=False), highlight=False)


def _lines(file: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"can't read {file}: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}") from None
    return [line for line in text.splitlines() if line.strip()]


def _answers(reader: Reader, texts: list[str], top_k: int, candidates) -> Iterator[dict[str, Any]]:
    if not reader.fills_masks:
        if candidates:
            reader.fill_mask("")  # says why not
        for text, vector in zip(texts, reader.embed(texts), strict=True):
            yield {"text": text, "embedding": [round(float(x), 6) for x in vector]}
        return
    for text in texts:
        fills = [
            {"tokens": list(f.tokens), "probability": round(f.probability, 6), "text": f.text}
            for f in reader.fill_mask(text, top_k, candidates)
        ]
        yield {"text": text, "fills": fills}


def _table(row: dict[str, Any]) -> Table:
    table = Table(title=escape(row["text"]), title_justify="left", title_style="bold", box=None, show_header=False)
    most = max(fill["probability"] for fill in row["fills"])
    for fill in row["fills"]:
        bar = "█" * max(1, round(16 * fill["probability"] / most))
        table.add_row(escape(" ".join(fill["tokens"])), f"{100 * fill['probability']:.1f}%", f"[cyan]{bar}[/]",
                      f"[dim]{escape(fill['text'])}[/]")  # fmt: skip
    return table
