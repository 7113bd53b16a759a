"""`make demo`: both families on real data that needs no download, in a few minutes."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from adverb import training
from adverb.pipelines import load

QUESTIONS = (
    "The pasta was perfect and the waiter made us laugh.",
    "It broke on the second day and nobody answers my letters.",
    "I expected little and could not put it down.",
)


def run_demo(console: Console, minutes: float) -> None:
    if make(console, minutes):
        read(console)


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


def read(console: Console) -> None:
    """A classifier of sentiment from the shipped reviews, which then answers QUESTIONS."""
    from adverb.pipelines.predict import predict

    console.print("[bold]BERTs read.[/] A classifier learns what praise is from 236 short reviews.", highlight=False)
    small = {"train.epochs": 10, "train.batch_size": 16, "optim.lr": 5e-5}
    run, ended = training.start("classify", small, data="reviews", console=console)
    if ended != "done":
        return
    console.print("\nWhat it says of texts that it has never seen:")
    predict(str(run.path), QUESTIONS, console=console)
    console.print(f'\nAsk it yourself:  [bold]adverb predict {run.path} "What a day!"[/]', highlight=False)
