"""Does health see what goes wrong, and keep quiet where nothing does? Failures planted in GANs, and the default recipe.

    python benchmarks/gan_health.py [planted] [healed] [default] [cost] [--data ../shared/data] [--steps 1200]
        [--only WORD] [--out FILE.jsonl]

Every line of the table is a training from scratch. A planted failure is trained until something is found, which must
be one of the words that describe it; the default recipe is trained to its end and must be healthy from first to last.
`healed` trains the planted failures to their end, watched and healed: the word and the coverage of the last looks.
`cost` takes looks and steps in turn, in one process, in CPU time, which other processes on the machine disturb less:
the share of a look in the time from one to the next.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from adverb import recipe as recipes
from adverb import training
from adverb.bench.stacked import StackedGan, stack
from adverb.context import Context
from adverb.data.image_set import ImageSet
from adverb.engine import Engine
from adverb.gan.health import EVERY
from adverb.gan.networks import build
from adverb.objectives.base import Look
from adverb.objectives.gan import Gan
from adverb.run import Run

CPU = Context(torch.device("cpu"))
STACKED = 4000  # images of stacked digits


class WideEpsilon(Gan):
    """A discriminator with batch normalisation whose eps is 0.8, as a well-known collection has it."""

    def make_networks(self):
        generator, discriminator = build(**self.network_config(), discriminator_norm="batch")
        for module in discriminator.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = 0.8
        return {"generator": generator, "discriminator": discriminator}


class Stacked(StackedGan):
    """Few of the thousand kinds of stacked digits, and a discriminator a quarter as wide."""

    def __init__(self, recipe, context, console):
        super().__init__(recipe, context, console, "digits", shrink=4)

    def read(self) -> ImageSet:
        return stack(self.digits, STACKED)


@dataclass
class Case:
    """A training: what is trained how, and the words that would describe it."""

    recipe: str
    overrides: dict[str, Any] = field(default_factory=dict)
    words: tuple[str, ...] = ("healthy",)
    kind: type[Gan] = Gan


PLANTED = {
    "BatchNorm eps 0.8, narrow discriminator": Case(
        "dcgan",
        {"data.size": 32, "model.conditional": False, "model.widths": [8, 8, 8], "optim.lr": 5e-6},
        ("vanishing",),
        WideEpsilon,
    ),
    "minimax, a strong discriminator": Case(
        "mlp-gan",
        {"loss.name": "minimax", "loss.critic_steps": 5, "optim.discriminator_lr_ratio": 10.0},
        ("saturating", "vanishing"),
    ),
    "a quarter-size, slow discriminator, stacked digits": Case(
        "mlp-gan", {"optim.lr": 5e-3, "optim.discriminator_lr_ratio": 0.02}, ("collapsing",), Stacked
    ),
    # without a penalty: the default's keeps the discriminator from knowing even so few by heart in as many steps
    "100 images, no augmentation": Case(
        "dcgan", {"data.limit": 100, "augment.policy": "none"}, ("memorising", "overfitting")
    ),
    "learning rate × 100": Case("image-gan", {"optim.lr": [0.5, 0.05]}, ("diverging",)),
}

DEFAULT = {
    "digits": Case("image-gan"),
    "digits, 500 of them": Case("image-gan", {"data.limit": 500}),
    "MNIST": Case("image-gan", {"data.path": "mnist"}),
    "MNIST, 100 of them": Case("image-gan", {"data.path": "mnist", "data.limit": 100}),
    "emoji, grey, 28×28": Case("image-gan", {"data.path": "emoji", "data.size": 28, "data.channels": 1}),
    "emoji, RGBA, 32×32": Case("image-gan", {"data.path": "emoji", "data.size": 32}),
}


def make(case: Case, data: Path, steps: int, **more: Any) -> Gan:
    overrides = {"train.steps": steps, **case.overrides, **more}
    if "data.path" in overrides:
        overrides["data.path"] = str(data / overrides["data.path"])
    return case.kind(recipes.load(case.recipe, overrides), CPU, Console(quiet=True))


def train(objective: Gan, steps: int, until: Callable[[Look], bool] = lambda look: False) -> list[tuple[int, Look]]:
    """The looks of a training, with their steps; `until` ends it early."""
    engine, looks = Engine(objective, None, CPU), []
    while engine.step < steps:
        engine.one_step(engine.step / steps)
        broken = engine.broken
        if look := objective.look(engine.step / steps, engine.step, broken):
            looks.append((engine.step, look))
            if broken or until(look):
                break
    return looks


def in_short(words: list[str]) -> str:
    """How often each word was said, in the order of their first time."""
    return ", ".join(f"{word} × {words.count(word)}" for word in dict.fromkeys(words))


def table(cases: dict[str, Case], data: Path, steps: int, only: str, out: Path | None) -> None:
    print(f"{'training':50s} {'first finding':24s} {'':6s} looks")
    for name, case in cases.items():
        if only not in name:
            continue
        planted = case.words != ("healthy",)
        looks = train(make(case, data, steps), steps, lambda look, p=planted: p and look.word != "healthy")
        words = [look.word for _, look in looks]
        first = next(((step, look.word) for step, look in looks if look.word != "healthy"), None)
        right = bool(first) and first[1] in case.words if planted else not first
        said = f"{first[1]}, step {first[0]:,}" if first else "-"
        print(f"{name:50s} {said:24s} {'' if right else 'WRONG':6s} {in_short(words)}", flush=True)
        if out:
            with open(out, "a", encoding="utf-8") as file:
                for step, look in looks:
                    file.write(json.dumps({"training": name, "step": step, **look.row}) + "\n")


def healed(data: Path, steps: int, only: str) -> None:
    print(f"{'training':50s} {'mode':6s} {'coverage':8s}   looks; what was done")
    for name, case in PLANTED.items():
        for mode in ("watch", "heal") if only in name else ():
            more = {"health.mode": mode, "train.evaluations": 1, "evaluate.features": "random"}
            objective = make(case, data, steps, **more)
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "run"
                training.carry_out(objective, CPU, None, out=out, resume=False, console=objective.console)
                looks = [row for row in Run(out).metrics() if "health/word" in row]
            last = [row["health/coverage"] for row in looks[-3:] if "health/coverage" in row]
            coverage = f"{statistics.fmean(last):.2f}" if last else "–"  # samples that are not finite have none
            done = "; ".join(f"step {row['step']:,}: {row['health/remedy']}" for row in looks if "health/remedy" in row)
            words = in_short([row["health/word"] for row in looks])
            print(f"{name:50s} {mode:6s} {coverage:>8s}   {words}; {done or '-'}", flush=True)


def cost(data: Path, rounds: int = 5, steps: int = 20) -> None:
    print(f"{'recipe and data':30s} {'step':>10s} {'look':>10s}   share of the time, {rounds} rounds")
    for name, case in {
        "mlp-gan, digits": Case("mlp-gan"),
        "image-gan, digits": Case("image-gan"),
        "image-gan, MNIST": Case("image-gan", {"data.path": "mnist"}),
        "dcgan, MNIST": Case("dcgan", {"data.path": "mnist"}),
        "image-gan, emoji RGBA 32×32": Case("image-gan", {"data.path": "emoji", "data.size": 32}),
    }.items():
        objective = make(case, data, 1000)
        engine = Engine(objective, None, CPU)
        engine.one_step(0.0)
        objective.look(0.0, EVERY, False)
        seconds: dict[str, list[float]] = {"step": [], "look": []}
        for _ in range(rounds):
            start = time.process_time()
            for _ in range(steps):
                engine.one_step(0.0)
            seconds["step"].append((time.process_time() - start) / steps)
            start = time.process_time()
            objective.look(0.0, EVERY, False)
            seconds["look"].append(time.process_time() - start)
        shares = [look / (look + EVERY * step) for step, look in zip(*seconds.values(), strict=True)]
        step, look = (1000 * statistics.median(values) for values in seconds.values())
        spread = f"{min(shares):.1%}–{max(shares):.1%}"
        print(f"{name:30s} {step:7.1f} ms {look:7.1f} ms   {statistics.median(shares):.1%} ({spread})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["planted", "healed", "default", "cost"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--only", default="", help="the trainings whose name has this word in it")
    parser.add_argument("--out", type=Path, help="where every look's signals go, one JSON object a line")
    options = parser.parse_args()
    for part in options.parts:
        if part == "cost":
            cost(options.data)
        elif part == "healed":
            healed(options.data, options.steps, options.only)
        else:
            cases = {"planted": PLANTED, "default": DEFAULT}[part]
            table(cases, options.data, options.steps, options.only, options.out)


if __name__ == "__main__":
    main()
