"""`make demo`: the main job on real data that needs no download, in a few minutes."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from adverb import training
from adverb.pipelines import load
from adverb.pipelines.draw import draw_to


def run_demo(console: Console, minutes: float) -> None:
    console.print("[bold]GANs make.[/] A generator learns to draw digits from 1,500 real scans.", highlight=False)
    run, ended = training.start("image-gan", {"train.minutes": minutes}, data="digits", console=console)
    if ended != "done":
        return
    model = load(run.path)
    grid, *_ = draw_to(model, run.path / "generated", n=100, seed=1)
    walk, *_ = draw_to(model, run.path / "walk.gif", n=1, seed=1)
    console.print("\nLook at what it made:")
    for path, what in ((grid, "100 samples"), (walk, "a walk between them"), (run.path / "report.html", "how it went")):
        console.print(f"  [cyan]{Path(path)}[/]  [dim]{what}[/]", highlight=False)
    console.print(
        f"\nDraw sevens:  [bold]adverb generate {run.path} -n 16 --label 7 --out sevens.png[/]", highlight=False
    )
