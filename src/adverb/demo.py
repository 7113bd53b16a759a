"""`make demo`: both families, alone and together, on real data that needs no download, in a few minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from adverb import training
from adverb.pipelines import load

QUESTIONS = (
    "The pasta was perfect and the waiter made us laugh.",
    "It broke on the second day and nobody answers my letters.",
    "Wonderful music in a lovely old hall.",
)
# wordings that training does not see: see UNSEEN_DIGIT_WORDINGS in adverb.data.captions
CAPTIONS = ("a seven, written by hand", "please write a three", "the number that comes after four")
SHADES = " ░▒▓█"


def run_demo(console: Console, minutes: float, captions: Sequence[str] = CAPTIONS) -> None:
    if make(console, minutes) and read(console):
        draw_text(console, captions)


def make(console: Console, minutes: float) -> bool:
    """A GAN on the embedded digits, for so many minutes. Returns whether it came to its end."""
    from adverb.pipelines.draw import draw_to

    console.print("[bold]GANs make.[/] A generator learns to draw digits from 1,500 real scans.", highlight=False)
    run, ended = training.start("image-gan", {"train.minutes": minutes}, data="digits", console=console)
    if ended != "done":
        return False
    model = load(run.path)
    grid, *_ = draw_to(model, run.path / "generated", n=100, seed=1)
    walk, *_ = draw_to(model, run.path / "walk.gif", seed=1)
    console.print("\nLook at what it made:")
    for path, what in ((grid, "100 samples"), (walk, "a walk between them"), (run.path / "report.html", "how it went")):
        console.print(f"  [cyan]{Path(path)}[/]  [dim]{what}[/]", highlight=False)
    console.print(
        f"\nDraw sevens:  [bold]adverb generate {run.path} -n 16 --label 7 --out sevens.png[/]\n", highlight=False
    )
    return True


def read(console: Console) -> bool:
    """A classifier of sentiment from the shipped reviews, which then answers QUESTIONS. Returns whether it ended."""
    from adverb.pipelines.predict import predict

    console.print("[bold]BERTs read.[/] A classifier learns what praise is from 236 short reviews.", highlight=False)
    small = {"train.epochs": 10, "train.batch_size": 16, "optim.lr": 5e-5}
    run, ended = training.start("classify", small, data="reviews", console=console)
    if ended != "done":
        return False
    console.print("\nWhat it says of texts that it has never seen:")
    predict(str(run.path), QUESTIONS, console=console)
    console.print(f'\nAsk it yourself:  [bold]adverb predict {run.path} "What a day!"[/]\n', highlight=False)
    return True


def draw_text(console: Console, captions: Sequence[str] = CAPTIONS) -> None:
    """A generator that draws what a BERT reads: the digits again, with captions; then these, in the terminal too."""
    from adverb.pipelines.draw import draw_to

    console.print("[bold]Together:[/] a BERT reads a caption, a generator draws it.", highlight=False)
    short = {"train.steps": 1500, "train.minutes": 2, "train.evaluations": 2}  # whichever is over first
    run, ended = training.start("text-to-image", short, data="digits", console=console)
    if ended != "done":
        return
    model = load(run.path)
    images = model.generate(4, text=captions, seed=1).reshape(len(captions), 4, *model.config["image_size"])
    for caption, row in zip(captions, images, strict=True):
        console.print(f"\n[italic]{escape(caption)}[/]", highlight=False)
        console.print(in_shades(np.concatenate(list(row), axis=1)), markup=False, highlight=False)
    grid, *_ = draw_to(model, run.path / "captions.png", text=captions, seed=1)
    console.print(f"  [cyan]{grid}[/]  [dim]the same, and more of each[/]", highlight=False)
    console.print(
        f'\nYour caption:  [bold]adverb generate {run.path} --text "the number after six"[/]', highlight=False
    )


def in_shades(pixels: np.ndarray) -> str:
    """Grey levels, uint8 [H, W], as H lines of 2 W characters, which are about as wide as high."""
    levels = np.rint(pixels / 255 * (len(SHADES) - 1)).astype(int)
    return "\n".join("".join(2 * SHADES[level] for level in row) for row in levels)
