"""`adverb evaluate`: a saved model on data whose truth is known, as a table and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adverb.errors import UserError
from adverb.progress import short
from adverb.run import Run, write_atomically

if TYPE_CHECKING:
    from adverb.metrics.details import Details
    from adverb.pipelines.reader import Reader
    from adverb.pipelines.sampler import Sampler
    from adverb.pipelines.writer import Writer

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

    data: what to measure against. For a generator, real images or texts; for a reader, a file with texts and their
    truth, as training takes it, or a folder or hub name, of which the test set is taken, else the held-out one. None:
    what the run was judged on. samples, features, seed: of generators. out: a file for all of it as JSON.
    Raises UserError where it is not known what to compare with, or that does not fit the model.
    """
    from adverb.pipelines import load
    from adverb.pipelines.reader import Reader

    found = load(model)
    if getattr(found, "twin", None) is not None:
        return evaluate_writer(found, model, data, samples=samples, seed=seed, out=out, console=console)
    if not isinstance(found, Reader):
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
    _print_floors(metrics, list(metrics), console)
    n = min(samples, len(images) // 2)
    console.print(f"[dim]{n:,} samples, judged by {judge.name}; floor: {n:,} other real images[/]", highlight=False)
    _write(out, {"model": str(model), "samples": n, "features": judge.name, **metrics})
    return metrics


def evaluate_writer(
    writer: Writer, model: str, data: str | None, *, samples: int, seed: int, out: Path | None, console: Console
) -> dict[str, float]:
    """A text GAN beside its likelihood twin, at temperature 1 and over temperatures."""
    from adverb import recipe as recipes
    from adverb.data.sentences import load_sentence_splits, load_sentences
    from adverb.data.splits import find_splits
    from adverb.metrics.curve import CURVE, points_of, verdict
    from adverb.pipelines.judging.writing import WritingJudge, conclusion
    from adverb.pipelines.reader import Reader

    run = Run(model)
    if not run.exists():
        raise UserError(f"{model} is not a run folder, so the texts it learned from are not known: name the run")
    spec = recipes.validate(run.recipe(), {}, source=str(run.path))
    train, _, test = load_sentence_splits(spec.data)
    if data is not None:
        splits = find_splits(data)
        test = load_sentences(splits.test or splits.valid or splits.train, spec.data.text)
    reader = Reader.load(spec.evaluate.reader).to("auto")
    for one in (writer, writer.twin):
        one.to("auto")
    judge = WritingJudge(reader, writer.respell(train.texts), writer.respell(test.texts), samples, seed)
    metrics = conclusion(judge, writer, spec.evaluate.temperatures, spec.evaluate.repeats)
    shown = [name for name in metrics if not name.startswith((CURVE, "twin_", "gap", "best_"))]
    _print_floors(metrics, shown, console, twin="twin_")
    table = Table("temperature", "", "BLEU", "self-BLEU", "frechet", box=None, header_style="dim")
    for point in points_of(metrics):
        scores = (short(x) for x in (point.bleu, point.self_bleu, point.frechet))
        table.add_row(f"{point.temperature:g}", point.model, *scores)
    console.print(table)
    console.print(verdict(metrics), highlight=False)
    said = f"{judge.samples:,} texts beside as many of {test.name}; floor: as many of {train.name}"
    console.print(f"[dim]{said}[/]", highlight=False, soft_wrap=True)
    _write(out, {"model": str(model), "data": test.name, "verdict": verdict(metrics), **metrics})
    return metrics


def _print_floors(metrics: dict[str, float], names: list[str], console: Console, twin: str | None = None) -> None:
    """A row a metric, with its error and its floor. twin: before the names of another model's metrics."""
    columns = ("metric", "model", *(["twin"] if twin else []), "floor")
    table = Table(*columns, box=None, header_style="dim")
    for name in names:
        if name.endswith(("_floor", "_se")) or name == "samples":
            continue
        error, floor = metrics.get(f"{name}_se"), metrics.get(f"{name}_floor")
        table.add_row(
            name.replace("_", " "),
            short(metrics[name]) + (f" ± {short(error)}" if error is not None else ""),
            *([short(metrics[twin + name])] if twin else []),
            "" if floor is None else short(floor),
        )
    console.print(table)


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
