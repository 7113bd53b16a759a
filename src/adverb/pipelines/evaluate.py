"""`adverb evaluate`: a saved generator against real images, as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from adverb.data.images import load_images
from adverb.errors import UserError
from adverb.metrics.judge import Judge
from adverb.pipelines import load
from adverb.pipelines.generator import Generator
from adverb.progress import short
from adverb.run import Run, write_atomically
from adverb.schema import GanRecipe


def evaluate_generator(
    model: str,
    data: str | None,
    *,
    samples: int,
    features: str | None,
    seed: int,
    out: Path | None,
    console: Console,
) -> dict[str, float]:
    """Print and return the metrics; raises UserError where it is not known what to compare with."""
    generator = load(model)
    if not isinstance(generator, Generator):
        raise UserError(f"{model} reads, it does not draw: its metrics are in the run's report.html")
    run = Run(model)
    spec = GanRecipe.model_validate(run.recipe()) if run.exists() else None
    if data is None and spec is None:
        raise UserError(f"{model} is not a run folder, so its data is not known: name it by --data")
    height, width = generator.config["image_size"]
    images = load_images(
        data or spec.data.path,
        size=(height, width),
        channels=generator.config["channels"],
        label=spec.data.label if spec else None,
        limit=spec.data.limit if spec and data is None else None,
    )
    judge = Judge(images, features or (spec.evaluate.features if spec else "auto"), samples, seed)
    metrics = judge(generator)
    table = Table("metric", "model", "floor", box=None, header_style="dim")
    for name, value in metrics.items():
        if name.endswith(("_floor", "_se")) or name == "samples":
            continue
        error, floor = metrics.get(f"{name}_se"), metrics.get(f"{name}_floor")
        table.add_row(
            name.replace("_", " "),
            short(value) + (f" ± {short(error)}" if error is not None else ""),
            "" if floor is None else short(floor),
        )
    console.print(table)
    n = min(samples, len(images) // 2)
    console.print(f"[dim]{n:,} samples, judged by {judge.name}; floor: {n:,} other real images[/]", highlight=False)
    if out is not None:
        text = json.dumps({"model": str(model), "samples": n, "features": judge.name, **metrics}, indent=2)
        write_atomically(out, lambda beside: beside.write_text(text, encoding="utf-8"))
    return metrics
