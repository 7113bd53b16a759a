"""`adverb bench modes`: how many modes a GAN finds where all of them are known, with adverb's losses as shipped.

Every run is an ordinary run folder, trained by the engine on the GAN objective. Started again, the command goes on
where it was; finished runs are only read.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adverb import recipe as recipes
from adverb import training
from adverb.bench.published import PUBLISHED
from adverb.context import Context
from adverb.errors import UserError
from adverb.objectives.base import Objective
from adverb.progress import duration, short
from adverb.run import Run
from adverb.schema.gan import GanRecipe

METRICS = ("modes", "high_quality", "reverse_kl")

# The penalty is weak beside that of images: between a mode and the empty plane beside it, three deviations away, the
# discriminator's slope has to be steep. It learns faster than the generator and the penalty starts twenty times
# higher than that slope wants, else modes that drift apart keep unequal shares.
POINTS = {
    "model": {"network": "mlp", "latent_size": 2, "widths": [128, 128, 128]},
    "loss": {"name": "rpgan", "r1": [3e-3, 5e-5], "r2": [3e-3, 5e-5], "lazy": 4},
    "optim": {"lr": [2e-3, 3e-4], "discriminator_lr_ratio": 1.5, "beta1": 0.0, "beta2": [0.99, 0.999]},
    "average": {"half_life": [0, 100]},
    "train": {"batch_size": 256, "evaluations": 10, "device": "cpu", "precision": "fp32"},
}
BASELINE = {  # the game of 2014 on the same networks, with the optimiser of DCGAN (Radford et al. 2016, §4)
    "loss.name": "minimax", "loss.r1": 0.0, "loss.r2": 0.0,
    "optim.lr": 2e-4, "optim.discriminator_lr_ratio": 1.0, "optim.beta1": 0.5, "optim.beta2": 0.999,
}  # fmt: skip
CONTENDERS: dict[str, dict[str, Any]] = {"rpgan": {}, "minimax": BASELINE}


@dataclass(frozen=True)
class Setting:
    """objective: (recipe, context, console, data) -> the objective. steps or minutes: the budget of one run."""

    title: str
    objective: Callable[..., Objective]
    points: bool = False
    steps: int | None = None
    minutes: float | None = None


def _points(recipe: GanRecipe, context, console, data: str, *, which: str) -> Objective:
    from adverb.bench.points import PointGan, grid, ring

    return PointGan(recipe, context, console, ring() if which == "ring" else grid(int(which)))


def _stacked(recipe: GanRecipe, context, console, data: str, *, digits: bool, shrink: int) -> Objective:
    from adverb.bench.stacked import StackedGan

    return StackedGan(recipe, context, console, "digits" if digits else data, shrink)


SETS: dict[str, Setting] = {
    "ring": Setting("Ring of 8 Gaussians", partial(_points, which="ring"), points=True, steps=40_000),
    "grid": Setting("Grid of 25 Gaussians", partial(_points, which="5"), points=True, steps=70_000),
    "grid100": Setting("Grid of 100 Gaussians", partial(_points, which="10"), points=True, steps=70_000),
    "stacked-digits": Setting("Stacked Digits, 1,000 modes", partial(_stacked, digits=True, shrink=1), minutes=10),
    "stacked-digits-quarter": Setting(
        "Stacked Digits, discriminator a quarter as wide", partial(_stacked, digits=True, shrink=4), minutes=10
    ),
    "stacked-mnist": Setting("Stacked MNIST, 1,000 modes", partial(_stacked, digits=False, shrink=1), minutes=55),
    "stacked-mnist-quarter": Setting(
        "Stacked MNIST, discriminator a quarter as wide", partial(_stacked, digits=False, shrink=4), minutes=55
    ),
}


def bench_modes(
    sets: list[str],
    *,
    seeds: int,
    losses: list[str],
    minutes: float | None,
    steps: int | None,
    data: str,
    out: Path,
    console: Console,
) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Train what is not trained yet and print a table for each set; returns set -> loss -> metrics of every seed.

    minutes, steps: the budget of one run, instead of the set's own. data: MNIST's images. Raises UserError for names
    that are not known, and where `out` holds runs of other settings.
    """
    for given, known in ((sets, SETS), (losses, CONTENDERS)):
        for name in given:
            if name not in known:
                raise UserError(f"bench modes knows no '{name}', but: {', '.join(known)}")
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name in sets:
        results[name] = {}
        for loss in losses:
            found = [_one(name, loss, seed, minutes, steps, data, out, console) for seed in range(seeds)]
            results[name][loss] = found
        console.print(_table(name, results[name]))
    return results


def recipe_of(name: str, loss: str, seed: int, minutes: float | None = None, steps: int | None = None) -> GanRecipe:
    """What a run of this set and loss is trained by."""
    setting = SETS[name]
    if not steps and not minutes:
        steps, minutes = setting.steps, setting.minutes
    budget = {"train.steps": steps} if steps else {"train.minutes": minutes}
    about = {"seed": seed, "data.path": name, **CONTENDERS[loss], **budget}
    if not setting.points:
        spec = recipes.load("image-gan", {**about, "augment.policy": "none", "train.evaluations": 5})
        return spec.model_copy(update={"name": f"{name}-{loss}"})
    values = {
        "objective": "gan",
        "name": f"{name}-{loss}",
        "augment": {"policy": "none"},
        **{k: dict(v) for k, v in POINTS.items()},
    }
    return recipes.validate(values, about, source="bench modes")


def _one(
    name: str, loss: str, seed: int, minutes: float | None, steps: int | None, data: str, out: Path, console: Console
) -> dict[str, float]:
    recipe = recipe_of(name, loss, seed, minutes, steps)
    if name.startswith("stacked-mnist"):
        recipe.data.path = f"{name} of {data}"
    context = Context.create(recipe.train)
    run = Run(out / f"{name}-{loss}-{seed}")
    exists = run.exists()
    objective = SETS[name].objective(recipe, context, console, data)
    if exists and recipes.dump(objective.recipe) != recipes.dump(
        recipes.validate(run.recipe(), {}, source=str(run.path))
    ):
        raise UserError(f"{run.path} was trained by other settings: name another --out")
    _, ended = training.carry_out(
        objective,
        context,
        run if exists else None,
        out=run.path,
        resume=exists,
        console=console,
        go_on="the same command",
    )
    if ended != "done":
        raise KeyboardInterrupt
    last = [row for row in run.metrics() if "eval/modes" in row][-1]
    return {k.removeprefix("eval/"): v for k, v in last.items() if k.startswith("eval/")} | {"seconds": last["seconds"]}


def _table(name: str, results: dict[str, list[dict[str, float]]]) -> Table:
    """Our rows, what real data scores, and what papers report."""
    table = Table("", "modes", "high quality", "reverse KL", "time", "", title=SETS[name].title, box=None,
                  title_justify="left", header_style="dim", title_style="bold")  # fmt: skip
    first = next(iter(results.values()))
    for loss, found in results.items():
        label = "rpgan + R1 + R2" if loss == "rpgan" else loss
        over = f"adverb, {len(found)} seed{'s' * (len(found) > 1)}"
        seconds = duration(statistics.fmean(r["seconds"] for r in found))
        table.add_row(f"[bold]{label}[/]", *(_cell(found, metric) for metric in METRICS), seconds, over)
    n = int(first[0]["samples"])
    floor = [{m: r[f"{m}_floor"] for m in METRICS if f"{m}_floor" in r} for r in first]
    table.add_row(
        "[dim]real data[/]", *(_cell(floor, m) for m in METRICS), "", f"[dim]{n:,} others, the noise floor[/]"
    )
    for row in PUBLISHED.get(name, []):
        table.add_row(row.method, row.modes, row.high_quality or "", row.reverse_kl or "", "", f"[dim]{row.source}[/]")
    return table


def _cell(found: list[dict[str, float]], metric: str) -> str:
    values = [r[metric] for r in found if metric in r]
    if not values:
        return ""
    percent = metric == "high_quality"
    mean, std = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
    say = (lambda x: f"{100 * x:.1f}") if percent else (lambda x: f"{x:.1f}") if metric == "modes" else short
    return say(mean) + (f" ± {say(std)}" if std is not None else "") + (" %" if percent else "")
