"""`adverb compare`: runs side by side, as a table and as one page."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from adverb.compare.scores import scores
from adverb.compare.sides import Side, read_sides
from adverb.errors import UserError


def compare(paths: list[str], out: str | Path | None, console: Console) -> Path | None:
    """Print the table of the runs and write the page to `out`; returns where it is.

    Runs of equal recipes but for the seed are one column, mean ± standard deviation. Raises UserError for what is no
    run folder, and for fewer than two.
    """
    from adverb.compare.page import write_page
    from adverb.compare.show import print_tables

    if out is not None and Path(out).suffix not in (".html", ".htm"):
        raise UserError(f"--out {out}: expected a file name that ends in .html")
    sides = read_sides(paths)
    print_tables(sides, console)
    if out is None:
        return None
    write_page(sides, Path(out))
    console.print(f"[cyan]{escape(str(out))}[/]", highlight=False)
    return Path(out)


__all__ = ["Side", "compare", "read_sides", "scores"]
