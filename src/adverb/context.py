"""Where a run computes (device, precision, compilation, workers) and how far it is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from adverb import machine
from adverb.schema.base import Train

COMPILE_MINUTES = 30  # budget from which train.compile=auto compiles


@dataclass
class Context:
    """Where a run computes: device, precision, and which of how many workers this is."""

    device: torch.device
    bf16: bool = False
    compiled: bool = False
    rank: int = 0
    world: int = 1

    @classmethod
    def create(cls, train: Train) -> Context:
        from accelerate import PartialState  # slow to import, and not needed to validate a recipe

        state = PartialState(cpu=train.device == "cpu")
        device = machine.pick_device(train.device)
        if state.num_processes > 1:
            device = state.device
        if train.precision == "auto":
            bf16 = machine.peaks(device).bf16_profits
        else:
            bf16 = train.precision == "bf16"
        # Compiling takes about a minute; on a CPU it wins up to a fifth, so it pays in runs of half an hour and more.
        wanted = (train.minutes or 0) >= COMPILE_MINUTES if train.compile == "auto" else train.compile
        return cls(device, bf16, wanted, state.process_index, state.num_processes)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def precision(self) -> str:
        return "bf16" if self.bf16 else "fp32"

    def autocast(self) -> contextlib.AbstractContextManager:
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def compile(self, module: nn.Module, say: Callable[[str], None]) -> None:
        """Compile a network in place where that is wanted and can be done; else it stays as it is, and we say so."""
        if not self.compiled:
            return
        if not machine.has_compiler(self.device):
            say(f"not compiled: there is no compiler for {self.device.type} here (a C++ compiler, or Triton on CUDA)")
            self.compiled = False
            return
        torch._dynamo.config.suppress_errors = True  # what fails to compile runs uncompiled
        module.compile()

    def seed(self, seed: int) -> None:
        """Of what torch draws next, here and on the device."""
        if self.device.type == "cpu":
            # torch.manual_seed notes a traceback for accelerators, present or not: a tenth of a small network's step
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def average_gradients(self, parameters: list[nn.Parameter]) -> None:
        """Replace every worker's gradients by their mean: one flat all-reduce, safe with double backward."""
        if self.world == 1:
            return
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([g.flatten() for g in grads])
        torch.distributed.all_reduce(flat)
        flat /= self.world
        for p, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            p.grad = piece.view_as(p)

    def eager(self) -> contextlib.AbstractContextManager:
        """While entered, compiled networks run uncompiled: other shapes than in training are not worth compiling."""
        return torch.compiler.set_stance("force_eager") if self.compiled else contextlib.nullcontext()

    def share(self, value: Any) -> Any:
        """The first worker's object, on all of them."""
        if self.world == 1:
            return value
        shared = [value]
        torch.distributed.broadcast_object_list(shared, src=0, device=self.device)
        return shared[0]

    def agree(self, *values: float) -> list[float]:
        """The first worker's values, on all of them."""
        if self.world == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64)
        if self.device.type == "cuda":
            shared = shared.to(self.device)
        torch.distributed.broadcast(shared, src=0)
        return shared.tolist()

    def wait(self) -> None:
        if self.world > 1:
            torch.distributed.barrier()


class Clock:
    """How far the run is, by steps, by minutes, or by whichever budget runs out first."""

    def __init__(self, train: Train, elapsed: float = 0.0):
        self.steps, self.minutes = train.steps, train.minutes
        self.started = time.perf_counter() - elapsed

    @property
    def elapsed(self) -> float:
        """Seconds of training, over all resumptions."""
        return time.perf_counter() - self.started

    def progress(self, step: int) -> float:
        by_steps = step / self.steps if self.steps else 0.0
        by_time = self.elapsed / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))
