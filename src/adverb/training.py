"""From a recipe to a run: builds the objective, hands it to the engine, writes the report."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from adverb import recipe as recipes
from adverb.errors import UserError
from adverb.progress import Progress, duration
from adverb.run import Run
from adverb.schema.base import Recipe


def train(
    recipe: str,
    data: str | Path | dict[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = True,
    **overrides: Any,
) -> Run:
    """Train and return the run.

    recipe: a shipped recipe's name, a YAML file, or (with resume) a run folder.
    data: what to train on, the recipe's `data.path`; or the whole section, `data={"path": "a.csv", "label": "kind"}`.
    overrides: sections as mappings, `train={"steps": 1000}, optim={"lr": 3e-4}`, or dotted keys.
    Raises UserError for anything the caller can mend. Where Ctrl-C or SIGTERM ended the run early, which then has a
    checkpoint, KeyboardInterrupt.
    """
    if isinstance(data, dict):
        overrides["data"], data = data, None
    console = Console(quiet=quiet)
    run, ended = start(recipe, _flat(overrides), data=data, out=out, resume=resume, console=console)
    if ended in ("SIGINT", "SIGTERM"):
        raise KeyboardInterrupt(f"{ended}: {run.path} is not done")
    return run


def start(
    name: str,
    overrides: dict[str, Any] | list[str],
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    console: Console,
) -> tuple[Run, str]:
    """What `train` and the command line share. Returns the run and "done", or what stopped it (see `Engine.train`)."""
    overrides = recipes.parse_overrides(overrides)
    if data is not None:
        overrides["data.path"] = str(data)
    spec, run = _open(str(name), overrides, out, resume)
    if spec.objective == "tokenizer":
        from adverb.tokenizer_training import train_tokenizer

        return train_tokenizer(spec, out, console), "done"

    from adverb.context import Context  # torch is imported here, after the recipe has proved valid
    from adverb.objectives import build

    context = Context.create(spec.train)
    if not context.is_main:
        console = Console(quiet=True)
    asked = recipes.dump(spec)
    if run is not None and _made_its_tokenizer(spec) and (run.model / "tokenizer.json").is_file():
        spec.data.tokenizer = str(run.model)  # text that has changed since would count to another vocabulary
    objective = build(spec, context, console)
    told = asked if run is not None and overrides else None
    return carry_out(objective, context, run, out=out, resume=resume, console=console, told=told)


def carry_out(
    objective,
    context,
    run: Run | None,
    *,
    out: str | Path | None,
    resume: bool,
    console: Console,
    told: str | None = None,
    go_on: str | None = None,
) -> tuple[Run, str]:
    """Train an objective in `run`, or a new run in `out`; returns as `start` does.

    told: a recipe.yaml that a resumed run goes on by from now on. That of a new run, as well, is written once all of it
        has proved possible.
    go_on: the command that resumes it, where that is not `adverb train RUN --resume`.
    """
    from adverb.engine import Engine

    with Progress(console) as bar:
        if run is None:
            folder = Run.free(objective.recipe.name, out).path if context.is_main else None
            run, told = Run(context.share(folder)), recipes.dump(objective.recipe)
        engine = Engine(objective, run, context, bar)
        resumed = engine.resume() if resume else False
        if told is not None and context.is_main:
            run.write_text("recipe.yaml", told)
        _say_what(console, objective, context, run, engine.step if resumed else 0)
        if context.is_main:
            bar.note("preparing the judge")
            objective.prepare()
            facts = facts_of(objective, context)
            _note(run, facts)
        context.wait()
        ended = engine.train()
    if context.is_main:
        _note(run, facts | {"ended": ended})
        _finish(run, objective, ended, engine.clock.elapsed, console, go_on or f"adverb train {run.path} --resume")
    context.wait()
    return run, ended


def dry_run(name: str, overrides: list[str], *, data: str | None, console: Console) -> None:
    """Print the plan; time a few real steps in memory; write nothing."""
    from rich.table import Table

    overrides = recipes.parse_overrides(overrides)
    if data is not None:
        overrides["data.path"] = str(data)
    spec = recipes.load(name, overrides)
    if spec.objective == "tokenizer":
        raise UserError("a tokenizer has no dry run: it is made in seconds")

    from adverb.context import Context
    from adverb.engine import Engine
    from adverb.objectives import build

    context = Context.create(spec.train)
    objective = build(spec, context, console, trial=True)
    engine = Engine(objective, None, context)
    engine.one_step(0.0)  # the first step sets things up and is not typical
    seconds = []
    while len(seconds) < 3 or (sum(seconds) < 3 and len(seconds) < 20):
        start = time.perf_counter()
        engine.one_step(0.0)
        _synchronise(context.device)
        seconds.append(time.perf_counter() - start)
    per_step = sorted(seconds)[len(seconds) // 2]
    by_count, by_clock = spec.train.steps or math.inf, 60 * (spec.train.minutes or math.inf) / per_step
    steps = int(min(by_count, by_clock))
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for key, value in objective.plan().items():
        table.add_row(f"[dim]{key}[/]", escape(value))
    for network, module in objective.networks.items():
        table.add_row(f"[dim]{network}[/]", f"{sum(p.numel() for p in module.parameters()):,} parameters")
    batch = objective.recipe.train.batch_size
    table.add_row("[dim]where[/]", f"{context.device}, {context.precision}, {context.world} worker(s)")
    table.add_row(
        "[dim]memory[/]", f"{_peak_memory(context.device) / 2**30:.1f} GiB at the peak of {len(seconds)} steps"
    )
    table.add_row("[dim]speed[/]", f"{per_step * 1000:.0f} ms a step, {objective.units_per_step / per_step:,.0f} "
                  f"{objective.unit}/s")  # fmt: skip
    table.add_row("[dim]steps[/]", f"{steps:,} of {batch} rows" + (f" in {spec.train.minutes:g} minutes"
                  if by_clock < by_count else ""))  # fmt: skip
    time_of_all = duration(steps * per_step * objective.trainings)
    table.add_row("[dim]time[/]", f"about {time_of_all}, and {spec.train.evaluations} evaluations")
    console.print(table)
    console.print("[dim]a dry run: nothing was written[/]")


def _open(name: str, overrides: dict[str, Any], out: str | Path | None, resume: bool) -> tuple[Recipe, Run | None]:
    """The recipe to train, and the run to go on with where there is one."""
    run = Run(name) if resume and Run(name).exists() else None
    if run is not None and out is not None and Path(out).resolve() != run.path.resolve():
        raise UserError(f"{name} goes on in its own folder: leave --out={out} out")
    spec = recipes.load(name if run is None else str(run.path / "recipe.yaml"), overrides)
    if spec.objective == "tokenizer" and (resume or (out is not None and Run(out).exists())):
        raise UserError("a tokenizer is made anew, in seconds: leave --resume out, and let --out name a new folder")
    if run is not None:
        return spec, run
    if not resume:
        Run.free(spec.name, out)
        return spec, None
    run = Run(out) if out is not None else Run.newest(spec.name)
    if run is None:
        raise UserError(f"nothing to resume: no run of '{spec.name}' in runs/, name its folder by --out")
    if not run.exists():
        return spec, None
    own = recipes.load(str(run.path / "recipe.yaml"))
    if (own.name, own.objective) != (spec.name, spec.objective):
        raise UserError(
            f"{run.path} is a run of '{own.name}', not of '{spec.name}': name another --out, "
            f"or go on with it by adverb train {run.path} --resume"
        )
    return _open(str(run.path), overrides, None, resume)


def _made_its_tokenizer(spec: Recipe) -> bool:
    return getattr(spec.data, "tokenizer", "none of its own") is None


def _note(run: Run, facts: dict[str, Any]) -> None:
    run.write_text("facts.json", json.dumps(facts, indent=1, ensure_ascii=False))


def facts_of(objective, context) -> dict[str, Any]:
    """What a run is made of and where it computes, for those who compare it with others: JSON's types."""
    from adverb.machine import device_name

    return {
        "device": device_name(context.device),
        "workers": context.world,
        "precision": context.precision,
        "parameters": {name: sum(p.numel() for p in m.parameters()) for name, m in objective.networks.items()},
        "unit": objective.unit,
        "units_per_step": objective.units_per_step,
        "flops_per_step": objective.flops_per_step,
        "judge": getattr(objective, "judged_by", None),
    }


def _say_what(console: Console, objective, context, run: Run, step: int) -> None:
    sizes = ", ".join(f"{n} {sum(p.numel() for p in m.parameters()) / 1e6:.2f}M" for n, m in objective.networks.items())
    where = f"{context.device}, {context.precision}" + (f", {context.world} workers" if context.world > 1 else "")
    name, path = escape(objective.recipe.name), escape(str(run.path))
    console.print(f"[bold]{name}[/] · {sizes} · {where} · [cyan]{path}[/]", highlight=False)
    for key, value in objective.plan().items():
        console.print(f"  [dim]{key}[/] {escape(value)}", highlight=False)
    if step:
        console.print(f"  [dim]resumed[/] at step {step:,}", highlight=False)


def _finish(run: Run, objective, ended: str, elapsed: float, console: Console, go_on: str) -> None:
    from adverb.report import write_report

    write_report(run, objective)
    if ended != "done":
        console.print(f"stopped: {ended}; go on with [bold]{escape(go_on)}[/]", highlight=False)
        return
    page = escape(f"{run.path}/report.html")
    console.print(f"[green]done[/] in {duration(elapsed)} · [cyan]{page}[/]", highlight=False)


def _peak_memory(device) -> float:
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _synchronise(device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
