"""`adverb train tokenizer`: a WordPiece vocabulary from text, of any size, in bounded memory."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from adverb import recipe as recipes
from adverb.errors import UserError
from adverb.run import Run
from adverb.schema.text import TokenizerRecipe


def train_tokenizer(spec: TokenizerRecipe, out: str | Path | None, console: Console) -> Run:
    """Count the words of the data, choose the pieces, and write a tokenizer's folder, in the files of transformers.

    out: the folder; default: the next free runs/tokenizer-0001. Raises UserError where the data can't be read or is
    empty.
    """
    from adverb.bert.tokenizer import Tokenizer
    from adverb.data.text import find_text, paragraphs

    if spec.data.path is None:
        raise UserError("no text to count words in: name it by --data (a file, a folder, a hub name)")
    source, start = find_text(spec.data.path, spec.data.column, spec.data.limit), time.perf_counter()
    texts = (p for p in paragraphs(source) if p)
    tokenizer = Tokenizer.train(texts, spec.vocab_size, spec.lowercase, spec.max_length)
    run = Run.create(recipes.dump(spec), spec.name, out)
    tokenizer.save_pretrained(run.path)
    path, letters = escape(str(run.path)), source.counts["characters"]
    console.print(
        f"[green]done[/] in {time.perf_counter() - start:.0f}s · {tokenizer.vocab_size:,} pieces from {letters:,} "
        f"characters · [cyan]{path}[/]\nuse it by [bold]data.tokenizer={path}[/]",
        highlight=False,
    )
    if tokenizer.vocab_size < spec.vocab_size:
        console.print(f"[yellow]fewer than the {spec.vocab_size:,} asked for: the text has no more[/]", highlight=False)
    return run
