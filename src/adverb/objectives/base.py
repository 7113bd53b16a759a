"""What the engine asks of an algorithm.

An objective owns its networks, its optimisers and its data; the engine owns the loop. A training step is a list
of phases (one for a BERT; discriminator, then generator, for a GAN), and each phase is one optimiser step on a
loss. Everything random in a phase comes from its `Draw` and every batch from its index, so a step is a pure
function of (weights, optimiser state, step number): resuming is exact without replaying or saving any
random-number state, and several workers see the same numbers as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from adverb.errors import UserError
from adverb.schema.base import Recipe


@dataclass(frozen=True)
class Draw:
    """The randomness of one micro-batch: rows [start, stop) of what is drawn for the whole batch.

    Drawing for the whole batch and keeping our rows makes one process with a batch of 64, four accumulated
    micro-batches of 16, and four workers with 16 each see the same random numbers, row for row.
    Successive calls give independent numbers.
    """

    key: tuple  # what identifies the draw: (seed, step, phase, repeat)
    batch_size: int  # rows of the whole batch, over all workers and micro-batches
    start: int
    stop: int
    device: torch.device
    _generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self):
        digest = hashlib.blake2b(repr(self.key).encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=False) >> 1)
        object.__setattr__(self, "_generator", generator)

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def randn(self, *shape: int) -> Tensor:
        """Standard normal, float32 [rows, *shape]."""
        return self._mine(torch.randn(self.batch_size, *shape, generator=self._generator))

    def rand(self, *shape: int) -> Tensor:
        """Uniform on [0, 1), float32 [rows, *shape]."""
        return self._mine(torch.rand(self.batch_size, *shape, generator=self._generator))

    def randint(self, high: int, *shape: int) -> Tensor:
        """Uniform on {0, …, high - 1}, int64 [rows, *shape]."""
        return self._mine(torch.randint(high, (self.batch_size, *shape), generator=self._generator))

    def _mine(self, whole: Tensor) -> Tensor:
        return whole[self.start : self.stop].to(self.device, non_blocking=True)


@dataclass(frozen=True)
class Phase:
    """One optimiser step inside a training step.

    name: the key of its optimiser in `Objective.optimizers`. While the phase runs, only the parameters of that
        optimiser require gradients.
    loss: (batch, draw) -> (scalar loss, the mean over the rows; metrics, 0-dim tensors, detached).
    repeats: how many times it runs per training step, each with a fresh batch (WGAN's n_critic).
    """

    name: str
    loss: Callable[[Any, Draw], tuple[Tensor, dict[str, Tensor]]]
    repeats: int = 1


@dataclass(frozen=True)
class Look:
    """What an objective saw when it looked at its own training, between two steps.

    word: how the run is, shown beside the progress.
    row: what was measured and decided, for metrics.jsonl, under `health/`: numbers, and words too.
    line: what has changed, for a person; it stays on the screen.
    then: "stop" ends the run, with a checkpoint. "go back" puts weights and optimisers back to the last checkpoint
        that was `Objective.sound`, and goes on from there in the present step.
    """

    word: str
    row: dict[str, float | str]
    line: str = ""
    then: Literal["go on", "stop", "go back"] = "go on"


class Objective:
    """Base of every algorithm. Subclasses fill the attributes in `__init__` and define the methods."""

    recipe: Recipe  # with everything that was left open resolved; recorded with the run
    networks: dict[str, nn.Module]  # everything that is trained and checkpointed
    averaged: tuple[str, ...] = ()  # the networks of which the engine keeps an exponential moving average
    optimizers: dict[str, torch.optim.Optimizer]
    phases: list[Phase]
    headline: tuple[str, ...] = ()  # the metrics the progress bar shows
    best: tuple[str, str] | None = None  # (metric of evaluate(), "min" | "max") that picks best/
    unit: str = "rows"  # what the progress bar counts per second
    units_per_step: int = 0
    trainings: int = 1  # about as long as this one that a run makes, those that it measures and chooses by included
    flops_per_step: float | None = None  # for utilisation, where it is known
    compiles: bool = False  # whether it gives a network to `Context.compile`
    sound: bool = False  # whether the checkpoint being written is one to go back to (see `Look`)

    @property
    def chooses(self) -> bool:
        """Whether there is a `best`, or will be in the course of the training."""
        return self.best is not None

    def check(self, workers: int) -> None:
        """Raises UserError where `train` asks for what this objective can't do, rather than ignore it."""
        train = self.recipe.train
        if train.batch_size % (workers * train.accumulate):
            raise UserError(
                f"train.batch_size={train.batch_size} can't be shared evenly: "
                f"{workers} workers × train.accumulate={train.accumulate}"
            )
        if train.compile is True and not self.compiles:
            raise UserError("train.compile=true: nothing is compiled in this training. Leave it out, or at auto")
        if train.patience and not self.chooses:
            raise UserError(
                f"train.patience={train.patience}: no metric says which model of this training is best. Leave it out"
            )

    def batch(self, index: int, start: int, stop: int) -> Any:
        """Rows [start, stop) of the index-th whole batch: a pure function, on the CPU (the engine moves it)."""
        raise NotImplementedError

    def prepare(self) -> None:
        """What evaluations need and the training's clock should not pay for; called once, on the first worker."""

    def schedule(self, progress: float, step: int) -> None:
        """Set what changes over the run (learning rates, penalties) for progress in [0, 1]."""

    def average_decay(self, progress: float, step: int) -> float:
        """The EMA's decay per step, in [0, 1)."""
        return 0.999

    def look(self, progress: float, step: int, broken: bool) -> Look | None:
        """Called between any two steps, on every worker; most of the time there is nothing to see: None.

        broken: the gradients were not finite too often in a row. The run ends, unless the look says "go back".
        A function of weights, optimiser state and step number, as the step itself.
        """
        return None

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        """Measure `networks` (averaged where an average is kept), in eval mode, without gradients.

        folder: the run's samples/, to write what is worth looking at. final: the last one, worth more samples.
        Runs on the first worker only; must not change any state of the training.
        """
        raise NotImplementedError

    def conclude(self, best: Path, folder: Path) -> dict[str, float]:
        """What is measured once, when the training is over, such as the test set on the best model.

        best: the folder of the best model (see `save`). folder: the run's samples/. On the first worker only.
        """
        return {}

    def save(self, networks: dict[str, nn.Module], folder: Path) -> None:
        """Write a complete model that `adverb.load` opens: weights, config, tokenizer."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """What else a checkpoint needs (tensors, numbers, strings), for `load_state`."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        pass

    def plan(self) -> dict[str, str]:
        """Lines for `--dry-run`: what it would train on what, in words."""
        return {}
