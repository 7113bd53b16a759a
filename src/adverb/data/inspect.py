"""`adverb data PATH`: a data set as training would see it, and what was left out and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from adverb.data.grid import save_grid
from adverb.data.image_set import ImageSet
from adverb.data.images import load_images
from adverb.data.order import epoch_order
from adverb.data.show import SHOWN, bar, facts, listed, print_notes, print_warnings

SHEET = 100  # images on a contact sheet


def inspect_images(path: str | Path, console: Console, *, out: str | Path | None = None, **settings: Any) -> ImageSet:
    """Print what `load_images(path, **settings)` found, decided and left out; write a contact sheet to `out`.

    out: a PNG file, or a folder (then contact-sheet.png in it). Raises UserError as `load_images` does.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("reading images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("read", total=None)
        images = load_images(
            path, progress=lambda done, total: bar.update(task, completed=done, total=total), **settings
        )
    print_images(images, str(path), console)
    if out is not None:
        file = Path(out)
        file = file if file.suffix.lower() == ".png" else file / "contact-sheet.png"
        contact_sheet(images, file)
        console.print(f"[dim]contact sheet[/]  {escape(str(file))}\n")
    return images


def contact_sheet(images: ImageSet, path: str | Path, columns: int | None = None, count: int = SHEET) -> Path:
    """Write `count` images drawn at random as one PNG: class by class where they are labelled, else with captions."""
    rows = epoch_order(len(images), 0, 0)
    captions = None
    if images.labels is not None:
        labels = images.labels[rows]
        classes = [rows[labels == c] for c in np.unique(labels)]
        each = max(1, count // len(classes))
        columns = columns or min(10, each)
        each = max(1, each // columns) * columns  # whole rows of a class
        rows = np.concatenate([part[:each] for part in classes])[:count]
        captions = [images.label_names[c] for c in images.labels[rows]]
    else:
        rows = rows[:count]
        if images.captions is not None:
            captions = [images.captions[i] for i in rows]
    return save_grid(images.batch(rows), path, columns, captions=captions)


def print_images(images: ImageSet, title: str, console: Console) -> None:
    """The report of a set of images, on a rich console."""
    report, n = images.report, len(images)
    height, width, channels = images.shape
    console.print(f"\n[bold]{escape(title)}[/]  [dim]{escape(report.about)}[/]\n")
    table = facts()
    splits = ", ".join(f"{name} {count:,}" for name, count in report.splits.items()) if len(report.splits) > 1 else ""
    table.add_row("found", f"{report.found:,} images" + (f" in {report.split} (splits: {splits})" if splits else ""))
    if report.left_out:
        table.add_row("left out", f"[yellow]{len(report.left_out):,}[/] (listed below)")
    table.add_row("duplicates", f"{report.duplicates:,}" + (" equal an earlier image" if report.duplicates else ""))
    table.add_row("modes", ", ".join(f"{mode} {count:,}" for mode, count in report.modes.items()))
    if report.ignored:
        table.add_row("other files", escape(listed([f"{count:,} {s}" for s, count in report.ignored.items()], "kinds")))
    kind = {1: "grey", 3: "RGB", 4: "RGBA"}[channels]
    table.add_row(
        "[bold]trained on[/]",
        f"[bold green]{n:,} images of {height}×{width} {kind}[/]  "
        f"[dim]uint8 [{n}, {height}, {width}, {channels}], {images.images.nbytes / 2**20:,.1f} MiB[/]",
    )
    console.print(table)
    print_notes(console, report.notes)
    if len(report.sizes) > 1:
        _bars(console, "sizes (height×width)", {s.replace("x", "×"): c for s, c in report.sizes.items()})
    else:
        console.print(f"\n[bold]sizes[/]  all {next(iter(report.sizes)).replace('x', '×')}")
    if images.labels is not None:
        counts = np.bincount(images.labels, minlength=len(images.label_names))
        by_name = dict(zip(images.label_names, counts.tolist(), strict=True))
        _bars(console, f"labels ({len(by_name):,})", by_name)
    if images.captions is not None:
        _captions(console, images)
    if report.left_out:
        console.print(f"\n[bold]left out[/]  {len(report.left_out):,}")
        reasons = Table.grid(padding=(0, 2))
        for name, reason in report.left_out[:SHOWN]:
            reasons.add_row("  " + escape(name), Text(reason, style="yellow"))
        console.print(reasons)
        if len(report.left_out) > SHOWN:
            console.print(f"  [dim]and {len(report.left_out) - SHOWN:,} more[/]")
    print_warnings(console, report.warnings)
    console.print()


def _bars(console: Console, title: str, counts: dict[str, int]) -> None:
    """A histogram, in the order given; of many entries the most frequent ones."""
    shown = counts
    if len(counts) > 2 * SHOWN:
        shown = dict(sorted(counts.items(), key=lambda pair: -pair[1])[:SHOWN])
    most = max(counts.values())
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    for name, count in shown.items():
        table.add_row("  " + escape(name), f"{count:,}", bar(count, most))
    console.print(f"\n[bold]{escape(title)}[/]")
    console.print(table)
    if len(shown) < len(counts):
        rest = sum(counts.values()) - sum(shown.values())
        console.print(f"  [dim]and {len(counts) - len(shown):,} more, with {rest:,} images[/]")


def _captions(console: Console, images: ImageSet) -> None:
    captions = images.captions
    words = [len(caption.split()) for caption in captions]
    empty = sum(count == 0 for count in words)
    console.print(
        f"\n[bold]captions[/]  {len(set(captions)):,} different, "
        f"{int(np.median(words))} words in the median, {max(words)} at most"
        + (f", [yellow]{empty:,} empty[/]" if empty else "")
    )
    table = Table.grid(padding=(0, 2))
    for i in epoch_order(len(images), 0, 0)[:5]:
        table.add_row("  " + escape(images.names[i]), Text(captions[i][:120], style="italic"))
    console.print(table)
