"""What a training says of itself: means of its metrics, line by line in metrics.jsonl and as TensorBoard's events."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from adverb.context import Context
from adverb.run import Run, writing


class Journal:
    """run: where rows go; None, or a worker that is not the first: nowhere, while means are taken all the same."""

    def __init__(self, run: Run | None, context: Context):
        self.run, self.context = run if context.is_main else None, context
        self.window: dict[str, list] = defaultdict(lambda: [0.0, 0])  # metric -> [sum, count] since the last `means`
        self.events = None  # TensorBoard's writer

    @property
    def folder(self) -> Path:
        """Of TensorBoard's events."""
        return self.run.path / "tensorboard"

    def add(self, name: str, value: Tensor | float) -> None:
        """One more value of a metric; tensors are not waited for."""
        entry = self.window[name]
        entry[0] = entry[0] + (value.detach() if isinstance(value, Tensor) else value)
        entry[1] += 1

    def count(self, name: str) -> None:
        """One more of what is counted, not averaged."""
        self.window[name][0] += 1.0
        self.window[name][1] = 1

    def means(self) -> dict[str, float]:
        """Of every metric since the last time, over all workers."""
        means = {name: total / count for name, (total, count) in sorted(self.window.items()) if count}
        self.window.clear()
        return {name: float(self._over_workers(value)) for name, value in means.items()}

    def _over_workers(self, value: Tensor | float) -> Tensor | float:
        if self.context.world == 1:
            return value
        value = torch.as_tensor(value, dtype=torch.float32, device=self.context.device).clone()
        torch.distributed.all_reduce(value)
        return value / self.context.world

    def write(self, step: int, progress: float, seconds: float, row: dict[str, float | str]) -> None:
        """A line of metrics.jsonl; its numbers are events, too."""
        if self.run is None:
            return
        self.run.log({"step": step, "progress": round(progress, 5), "seconds": round(seconds, 2)} | row)
        with writing(self.folder):
            if self.events is None:
                self.events = self._open(step)
            for name, value in row.items():
                if self.events and not isinstance(value, str):
                    self.events.add_scalar(name, value, step)

    def _open(self, step: int):
        """False where there is no TensorBoard. Events after a checkpoint that is resumed are purged."""
        with contextlib.suppress(ImportError):
            from torch.utils.tensorboard import SummaryWriter

            return SummaryWriter(str(self.folder), purge_step=step)
        return False

    def flush(self) -> None:
        if self.events:
            with writing(self.folder):
                self.events.flush()

    def state(self) -> dict[str, list]:
        return {name: [float(total), count] for name, (total, count) in self.window.items()}

    def load_state(self, state: dict[str, list]) -> None:
        self.window.update(state)
