"""`adverb evaluate`: a saved model on data whose truth is known, as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adverb.progress import short
from adverb.run import Run, write_atomically

if TYPE_CHECKING:
    from adverb.metrics.details import Details
    from adverb.pipelines.reader import Reader
    from adverb.pipelines.sampler import Sampler

ROWS_SHOWN = 20  # of a table
MISTAKES_SHOWN = 5


def evaluate(
    model: str,
    data: str | None = None,
    *,
    samples: int = 10_000,
    features: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    console: Console,
) -> dict[str, float]:
    """Print and return the metrics of that kind of model.

    data: what to measure against. For a generator, real images; for a reader, a file with texts and their truth, as
    training takes it, or a folder or hub name, of which the test set is taken, else the held-out one. None: what the
    run was judged on. samples, features, seed: of generators. out: a file for all of it as JSON.
    Raises UserError where it is not known what to compare with, or that does not fit the model.
    """
    from adverb.pipelines import load

    found = load(model)
    if hasattr(found, "generate"):
        return evaluate_generator(
            found, model, data, samples=samples, features=features, seed=seed, out=out, console=console
        )
    return evaluate_reader(found, model, data, out=out, console=console)


def evaluate_generator(
    generator: Sampler,
    model: str,
    data: str | None,
    *,
    samples: int,
    features: str | None,
    seed: int,
    out: Path | None,
    console: Console,
) -> dict[str, float]:
    """Distances between what it draws and real images, with the floor beside: other real images."""
    from adverb.metrics.judge import Judge
    from adverb.pipelines.neighbours import real_images

    images, spec = real_images(generator, data)
    judge = Judge(images, features or (spec.evaluate.features if spec else "auto"), samples, seed)
    metrics = judge(generator)
    if spec is not None and spec.objective == "text-to-image" and data is None:
        from adverb.data.captions import captions_of
        from adverb.metrics.matching import match_metrics

        captions = captions_of(images, spec.data.held_out, spec.data.path, spec.seed)
        metrics |= match_metrics(generator, captions, images, judge.extractor)
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
    _write(out, {"model": str(model), "samples": n, "features": judge.name, **metrics})
    return metrics


def evaluate_reader(
    reader: Reader, model: str, data: str | None, *, out: Path | None, console: Console
) -> dict[str, float]:
    """The metrics of the model's task, see `adverb.pipelines.judging`, with their 95 % intervals."""
    from adverb.pipelines.truth import judged

    reader.to("auto")
    run = Run(model)
    metrics, details, said = judged(reader, run.recipe() if run.exists() else None, data, model, console)
    for line in said:
        console.print(f"[dim]{line}[/]", highlight=False, soft_wrap=True)
    _print(metrics, details, console)
    _write(out, {"model": str(model), "data": said[0] if said else data, **metrics, "details": asdict(details)})
    return metrics


def _print(metrics: dict[str, float], details: Details, console: Console) -> None:
    table = Table("metric", "model", "95 % of resamples", box=None, header_style="dim")
    for name, value in metrics.items():
        low, high = details.intervals.get(name, (None, None))
        table.add_row(name.replace("_", " "), short(value), "" if low is None else f"{short(low)} – {short(high)}")
    console.print(table)
    for one in details.tables:
        if not one["rows"]:
            continue
        table = Table(*one["columns"], title=one["title"], title_justify="left", box=None, header_style="dim")
        for row in one["rows"][:ROWS_SHOWN]:
            table.add_row(*(Text(short(x) if isinstance(x, float) else str(x)) for x in row))
        console.print(table)
        if len(one["rows"]) > ROWS_SHOWN:
            console.print(f"[dim]… and {len(one['rows']) - ROWS_SHOWN:,} more[/]", highlight=False)
    for one in details.mistakes[:MISTAKES_SHOWN]:
        where = "" if one["line"] is None else f"line {one['line']:,}  "
        console.print(Text.assemble((where, "dim"), f"{one['truth']} → {one['said']}  ", (one["text"], "dim")))


def _write(out: Path | None, values: dict[str, Any]) -> None:
    if out is not None:
        text = json.dumps(values, indent=2, ensure_ascii=False, default=lambda value: value.tolist())
        write_atomically(out, lambda beside: beside.write_text(text, encoding="utf-8"))
