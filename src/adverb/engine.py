"""The training loop, the same for every objective: workers, precision, accumulation, averages, checkpoints.

The loop knows no algorithm. It asks an `Objective` for batches by index and for phases, each a loss for one
optimiser, and makes every step a pure function of weights, optimiser state and step number. That is why a run
that is killed at any moment and resumed equals, on the CPU to the last bit, the run that was not.
"""

from __future__ import annotations

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

from adverb import machine
from adverb.averages import frozen_copy, move_towards
from adverb.context import Clock, Context
from adverb.errors import UserError
from adverb.journal import Journal
from adverb.objectives.base import Draw, Objective, Phase
from adverb.optim import restore
from adverb.progress import Progress
from adverb.run import Run
from adverb.signals import first_signal

PATIENCE = 20  # updates in a row with a loss or gradient that is not finite, before the run is given up
ROWS_LOGGED = 300  # lines of metrics.jsonl in a whole run, about


class Engine:
    def __init__(self, objective: Objective, run: Run | None, context: Context, progress: Progress | None = None):
        objective.check(context.world)
        self.objective, self.run, self.context = objective, run, context
        self.train_spec, self.seed = objective.recipe.train, objective.recipe.seed
        self.bar = progress or Progress(enabled=False)
        for network in objective.networks.values():
            network.to(context.device).train()
        self.averages = {name: frozen_copy(objective.networks[name]) for name in objective.averaged}
        self.parameters = {
            phase.name: [p for group in objective.optimizers[phase.name].param_groups for p in group["params"]]
            for phase in objective.phases
        }
        self.step, self.evaluated, self.best_value, self.without_improvement = 0, 0, None, 0
        self.bad_updates: Counter[str] = Counter()  # in a row, of each phase
        self.journal = Journal(run, context)
        self.clock, self.spent = Clock(self.train_spec), 0.0  # seconds before this process
        self.stopped_by: str | None = None
        self.feeder = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self.ahead: tuple[tuple, Any] | None = None

        self.batch_size = self.train_spec.batch_size
        self.rows = self.batch_size // (context.world * self.train_spec.accumulate)

    # -- the loop

    def train(self) -> str:
        """Run to the end of the budget. Returns "done", or what stopped it: a signal's name, or a look's word."""
        with first_signal(self._stop):
            self._loop()
        self.feeder.shutdown(wait=False, cancel_futures=True)
        return self.stopped_by or "done"

    def _stop(self, reason: str) -> None:
        """End after the current step, with a checkpoint."""
        self.stopped_by = reason

    def _loop(self) -> None:
        spec, context = self.train_spec, self.context
        self.clock = Clock(spec, elapsed=self.spent)
        _, last_save = self._time()
        last_log, steps_logged = last_save, self.step
        if self.step == 0 and self.objective.sound:
            self._save()  # the weights to go back to, until there are better ones
        log_every = max(1, spec.steps // ROWS_LOGGED) if spec.steps else None
        while True:
            progress, stop = context.agree(
                float(self._out_of_patience) or self.clock.progress(self.step), float(bool(self.stopped_by))
            )
            if progress >= 1.0 or stop:
                break
            self.one_step(progress)
            progress, now = self._time()
            self._look(progress)
            due = self.step % log_every == 0 if log_every else now - last_log > 60 * spec.minutes / ROWS_LOGGED
            if due or progress >= 1.0:
                self._log(progress, (self.step - steps_logged) / max(now - last_log, 1e-9))
                last_log, steps_logged = now, self.step
            self.bar.update(progress, self.clock.elapsed)
            if int(progress * spec.evaluations) > self.evaluated and progress < 1.0:
                self.evaluated = int(progress * spec.evaluations)
                self._evaluate(final=False)
                self._save()
                _, last_save = self._time()
                last_log += last_save - now  # the speed is that of training
            elif now - last_save > 60 * spec.checkpoint_minutes and progress < 1.0:
                self._save()
                _, last_save = self._time()
        if not stop and self.evaluated < spec.evaluations:  # a finished run that is resumed has nothing left to do
            self.evaluated = spec.evaluations
            self._evaluate(final=True)
            self._conclude()
        self._save()

    def _time(self) -> list[float]:
        """Progress and seconds by the first worker's clock: by its own, one would save while another trains on."""
        return self.context.agree(self.clock.progress(self.step), self.clock.elapsed)

    def one_step(self, progress: float) -> None:
        """Every phase once, as often as it repeats, and the averages."""
        self.objective.schedule(progress, self.step)
        repeats = [(phase, repeat) for phase in self.objective.phases for repeat in range(phase.repeats)]
        for i, (phase, repeat) in enumerate(repeats):
            self._phase(phase, repeat, self.step * len(repeats) + i)
        decay = self.objective.average_decay(progress, self.step)
        for name, average in self.averages.items():
            move_towards(average, self.objective.networks[name], 1 - decay)
        self.step += 1

    def _phase(self, phase: Phase, repeat: int, index: int) -> None:
        parameters, optimizer = self.parameters[phase.name], self.objective.optimizers[phase.name]
        for others in self.parameters.values():
            for p in others:
                p.requires_grad_(False)  # what this phase does not train needs no gradient: a third of a GAN's G step
        for p in parameters:
            p.requires_grad_(True)
        optimizer.zero_grad(set_to_none=True)
        accumulate = self.train_spec.accumulate
        for micro in range(accumulate):
            start = (self.context.rank * accumulate + micro) * self.rows
            key = (self.seed, self.step, phase.name, repeat)
            draw = Draw(key, self.batch_size, start, start + self.rows, self.context.device)
            self.context.seed(hash((*key[:2], index, start)))  # for dropout: different for every row block
            batch = self._batch(index, micro)
            with self.context.autocast():
                loss, metrics = phase.loss(batch, draw)
            (loss / accumulate).backward()
            for name, value in metrics.items():
                self.journal.add(name, value)
        self.context.average_gradients(parameters)
        grads = [p.grad for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        if not torch.isfinite(norm):
            self._skip(phase)
            return
        self.bad_updates[phase.name] = 0
        self.journal.add(f"{phase.name}_grad_norm", norm)
        if self.train_spec.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.train_spec.clip, norm)
        optimizer.step()

    def _skip(self, phase: Phase) -> None:
        """A gradient with a NaN never reaches the weights; a run of them ends the training, see `_look`."""
        self.bad_updates[phase.name] += 1
        self.journal.count("skipped")

    @property
    def broken(self) -> bool:
        """Whether gradients were not finite too often in a row; of one phase alone is enough."""
        return sum(self.bad_updates.values()) >= PATIENCE

    def _batch(self, index: int, micro: int) -> Any:
        """This worker's rows of batch `index`; the next rows are fetched in the background meanwhile."""
        from accelerate.utils import send_to_device

        accumulate = self.train_spec.accumulate

        def fetch(index: int, micro: int):
            start = (self.context.rank * accumulate + micro) * self.rows
            return self.objective.batch(index, start, start + self.rows)

        if self.ahead and self.ahead[0] == (index, micro):
            batch = self.ahead[1].result()
        else:
            batch = fetch(index, micro)
        following = (index, micro + 1) if micro + 1 < accumulate else (index + 1, 0)
        self.ahead = (following, self.feeder.submit(fetch, *following))
        return send_to_device(batch, self.context.device, non_blocking=True)

    # -- looking and keeping

    def _look(self, progress: float) -> None:
        """Ask the objective how the training is, and do what it says."""
        broken = self.broken
        look = self.objective.look(progress, self.step, broken)
        if look is not None:
            self._write({f"health/{name}": value for name, value in look.row.items()}, progress)
            self.bar.word = look.word
            went_back = look.then == "go back" and self._go_back()
            line = look.line
            if look.then == "go back":
                line += " · back to when it was healthy" if went_back else " · from here, as nothing healthy was kept"
            if line:
                self.bar.say(self.step, line)
            if went_back:
                return
            if look.then == "stop" and progress < 1.0:
                self.evaluated = int(progress * self.train_spec.evaluations)
                self._evaluate(final=False)
                self._stop(look.word)
                return
        if broken:
            phase = max(self.bad_updates, key=self.bad_updates.get)
            where = f" The last checkpoint in {self.run.path} is whole." if self.run and self.run.resumable() else ""
            raise UserError(
                f"the {phase}'s gradient was not finite {PATIENCE} times in a row, up to step {self.step}: "
                f"lower optim.lr, or set train.precision=fp32.{where}"
            )

    def _go_back(self) -> bool:
        """Load the last sound checkpoint's weights, averages and optimisers; False where there is none."""
        state = self.run.kept_checkpoint() if self.run else None
        if state is not None:
            self._load(state)
            self.bad_updates.clear()
            self.journal.window.clear()  # what it holds was measured of other weights
        return state is not None

    def current(self) -> dict[str, nn.Module]:
        """The networks to judge and to save: the averages where there are any."""
        return {**self.objective.networks, **self.averages}

    def _log(self, progress: float, steps_per_second: float) -> None:
        row = self.journal.means()
        if not self.context.is_main:
            return
        rate = self.objective.units_per_step * steps_per_second
        row |= {f"{self.objective.unit}_per_second": round(rate, 1)}
        if self.objective.flops_per_step:
            peak = self.context.world * getattr(machine.peaks(self.context.device), self.context.precision)
            row["mfu"] = self.objective.flops_per_step * steps_per_second / peak
        self._write(row, progress)
        self.bar.show(row, rate, self.objective.unit, self.objective.headline)

    def _write(self, row: dict[str, float | str], progress: float) -> None:
        self.journal.write(self.step, progress, self.clock.elapsed, row)

    def _evaluate(self, final: bool) -> None:
        if self.context.is_main and self.run is not None:
            self.bar.note("evaluating")
            networks = self.current()
            for network in networks.values():
                network.eval()
            self.run.samples.mkdir(parents=True, exist_ok=True)
            with torch.no_grad(), self.context.eager():
                metrics = self.objective.evaluate(networks, self.run.samples, self.step, final)
            for network in self.objective.networks.values():
                network.train()
            self._write({f"eval/{k}": float(v) for k, v in metrics.items()}, self.clock.progress(self.step))
            self.run.replace_folder("model", lambda folder: self.objective.save(networks, folder))
            if self._is_best(metrics):
                self.run.replace_folder("best", lambda folder: self.objective.save(networks, folder))
            self.bar.evaluated(self.step, metrics)
        self.context.wait()

    @property
    def _out_of_patience(self) -> bool:
        return self.without_improvement >= (self.train_spec.patience or math.inf)

    def _is_best(self, metrics: dict[str, float]) -> bool:
        if self.objective.best is None:
            return False
        name, direction = self.objective.best
        value = float(metrics[name]) * (1 if direction == "min" else -1)
        if math.isfinite(value) and (self.best_value is None or value < self.best_value):
            self.best_value, self.without_improvement = value, 0
            return True
        self.without_improvement += 1
        return False

    def _conclude(self) -> None:
        """What is measured once, of the best model."""
        if self.context.is_main and self.run is not None:
            with torch.no_grad():
                metrics = self.objective.conclude(self.run.best, self.run.samples)
            if metrics:
                self._write({f"test/{k}": float(v) for k, v in metrics.items()}, self.clock.progress(self.step))
        self.context.wait()

    # -- the whole state

    def state(self) -> dict[str, Any]:
        objective = self.objective
        return {
            "step": self.step,
            "elapsed": self.clock.elapsed,
            "evaluated": self.evaluated,
            "best_value": self.best_value,
            "without_improvement": self.without_improvement,
            "window": self.journal.state(),
            "networks": {name: network.state_dict() for name, network in objective.networks.items()},
            "averages": {name: network.state_dict() for name, network in self.averages.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in objective.optimizers.items()},
            "objective": objective.state(),
            "bad_updates": dict(self.bad_updates),
            "sound": objective.sound,
        }

    def _save(self) -> None:
        if self.context.is_main and self.run is not None:
            state = self.state()
            self.run.save_checkpoint(state, self.step)
            if state["sound"]:
                self.run.keep_checkpoint(self.step)
            self.journal.flush()
        self.context.wait()

    def resume(self) -> bool:
        """Load the newest checkpoint, if there is one, and drop what was logged after it."""
        state = self.run.load_checkpoint()
        if state is None:
            if self.context.is_main:
                self.run.rewind_metrics(0)
            self.context.wait()
            return False
        self._load(state)
        self.objective.load_state(state["objective"])
        if self.objective.sound and self.context.is_main:
            self.run.keep_checkpoint(state["step"])  # a kill may have come before, or nothing was kept until now
        self.step, self.best_value = state["step"], state["best_value"]
        self.without_improvement, self.bad_updates = state["without_improvement"], Counter(state["bad_updates"])
        self.journal.load_state(state["window"])
        self.clock, self.spent = Clock(self.train_spec, elapsed=state["elapsed"]), state["elapsed"]
        due = int(self._time()[0] * self.train_spec.evaluations)
        self.evaluated = state["evaluated"]
        if not self._out_of_patience:
            self.evaluated = min(self.evaluated, due)  # a longer budget makes room for more
        if self.context.is_main:
            self.run.rewind_metrics(self.step)
        self.context.wait()
        return True

    def _load(self, state: dict[str, Any]) -> None:
        """Weights, averages and optimisers of a checkpoint."""
        for name, network in self.objective.networks.items():
            try:
                network.load_state_dict(state["networks"][name])
            except RuntimeError as error:
                reason = str(error).splitlines()[-1].strip()
                raise UserError(
                    f"{self.run.path} can't be resumed: its {name} has other shapes than the recipe and data make now "
                    f"({reason})"
                ) from None
        for name, network in self.averages.items():
            network.load_state_dict(state["averages"][name])
        for name, optimizer in self.objective.optimizers.items():
            restore(optimizer, state["optimizers"][name])
