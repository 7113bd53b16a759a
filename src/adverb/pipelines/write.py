"""`adverb generate` of a model that writes: its texts, printed or in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from adverb.errors import UserError
from adverb.run import write_atomically

if TYPE_CHECKING:
    from adverb.pipelines.writer import Writer

TEXTS = 20
SUFFIXES = (".txt", ".jsonl")


def write(
    model: Writer,
    out: Path | None,
    *,
    n: int | None,
    seed: int | Sequence[int],
    temperature: float | None,
    console: Console,
    truncation: float = 1.0,
    strength: float = 1.0,
    **of_images: Any,
) -> None:
    """Print n texts, a line each, or write them into `out`, a .txt or a .jsonl file ({"text": …} a line).

    of_images: what else `adverb generate` takes, none of which goes with texts. Raises UserError where it is given, and
    for another kind of file.
    """
    given = [name for name, value in of_images.items() if value]
    given += ["truncation"] * (truncation != 1) + ["strength"] * (strength != 1)
    if given:
        raise UserError(f"--{given[0]} is for generators of images, this model writes: see --temperature")
    if not isinstance(seed, int):
        raise UserError("several seeds are for generators of images: texts have one")
    if out is not None and out.suffix not in SUFFIXES:
        raise UserError(f"--out {out}: this model writes, so expected a {' or a '.join(SUFFIXES)} file")
    texts = model.generate(n or TEXTS, seed=seed, temperature=1.0 if temperature is None else temperature)
    if out is None:
        for text in texts:
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    as_line = str if out.suffix == ".txt" else lambda text: json.dumps({"text": text}, ensure_ascii=False)
    content = "".join(as_line(text) + "\n" for text in texts)
    write_atomically(out, lambda beside: beside.write_text(content, encoding="utf-8"))
    console.print(f"[cyan]{out}[/]", highlight=False)
