"""What the reports of `adverb data` are drawn with."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

SHOWN = 10  # entries of a list before it is cut
BAR = 32  # characters


def bar(count: float, most: float, width: int = BAR, style: str = "cyan") -> Text:
    """A bar `width` characters long for `most`, in eighths of a character; what is not 0 is never nothing."""
    eighths = round(8 * width * count / most) if most else 0
    drawn = "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return Text(drawn or ("▏" if count else ""), style=style)


def facts() -> Table:
    """A grid of names and what is to be said of each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def listed(items: list[str], what: str = "") -> str:
    more = f" and {len(items) - SHOWN:,} more {what}".rstrip() if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more


def heading(console: Console, title: str, about: str = "") -> None:
    """title and about are no markup."""
    about = f"  [dim]{escape(about)}[/]" if about else ""
    console.print(f"\n[bold]{escape(title)}[/]{about}", highlight=False)


def print_notes(console: Console, notes: list[str]) -> None:
    for note in notes:
        console.print(Text.assemble(("• ", "cyan"), note), highlight=False)


def print_warnings(console: Console, warnings: list[str]) -> None:
    if warnings:
        console.print()
    for warning in warnings:
        console.print(Text.assemble(("! ", "bold yellow"), warning))
