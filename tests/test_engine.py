"""The loop, on an objective small enough to know the answer: softmax regression on the embedded digits."""

from __future__ import annotations

import io
import itertools
import json
import math

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors import SafetensorError
from sklearn.datasets import load_digits
from torch.nn import functional as F

from adverb import training
from adverb.context import Clock, Context
from adverb.engine import PATIENCE, Engine
from adverb.errors import UserError
from adverb.objectives.base import Draw, Look, Objective, Phase
from adverb.progress import Progress
from adverb.run import Run
from adverb.schema import Recipe, Train

CPU = Context(torch.device("cpu"))


class Regression(Objective):
    """Two phases on two layers, noise on the inputs, dropout: every kind of state and randomness there is."""

    averaged = ("body",)
    best = ("loss", "min")
    unit = "img"

    def __init__(self, train: Train, bad_steps: tuple[int, ...] = (), dropout: float = 0.1):
        self.recipe = Recipe(name="regression", train=train)
        digits = load_digits()
        self.x, self.y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
        torch.manual_seed(0)
        self.networks = {
            "body": torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Dropout(dropout)),
            "head": torch.nn.Linear(32, 10),
        }
        self.optimizers = {name: torch.optim.Adam(n.parameters(), lr=1e-2) for name, n in self.networks.items()}
        self.phases = [Phase("head", self.loss, repeats=2), Phase("body", self.loss)]
        self.bad_steps, self.now = bad_steps, 0
        self.progress_seen = []

    def batch(self, index, start, stop):
        rows = np.random.default_rng(index).choice(len(self.x), self.recipe.train.batch_size, replace=False)
        return self.x[rows[start:stop]], self.y[rows[start:stop]]

    def loss(self, batch, draw: Draw):
        x, y = batch
        x = x + 0.05 * draw.randn(64)
        loss = F.cross_entropy(self.networks["head"](self.networks["body"](x)), y)
        if self.now in self.bad_steps:
            loss = loss * float("nan")
        return loss, {"loss": loss.detach()}

    def schedule(self, progress, step):
        self.now = step
        self.progress_seen.append(progress)
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] = 1e-2 * (1 - progress)

    def average_decay(self, progress, step):
        return 0.9

    def evaluate(self, networks, folder, step, final):
        torch.randn(7)  # an evaluation that draws must not disturb the training
        return {"loss": F.cross_entropy(networks["head"](networks["body"](self.x)), self.y)}

    def save(self, networks, folder):
        torch.save(networks["body"].state_dict(), folder / "body.pt")


class Looking(Regression):
    """Looks every fifth step. What it finds at step `ill` it answers by going back, at half the learning rate."""

    def __init__(self, train: Train, ill: int = 20, then="go back", **options):
        super().__init__(train, **options)
        self.ill, self.then, self.rate, self.looks, self.sound = ill, then, 1.0, 0, True

    def look(self, progress, step, broken):
        if step % 5 and not broken:
            return None
        self.looks += 1
        if not (broken or step == self.ill):
            return Look("fine", {"word": "fine", "looks": self.looks})
        self.rate, self.sound = self.rate / 2, False
        return Look("ill", {"word": "ill", "looks": self.looks}, "half the learning rate", self.then)

    def schedule(self, progress, step):
        super().schedule(progress, step)
        for optimizer in self.optimizers.values():
            optimizer.param_groups[0]["lr"] *= self.rate

    def state(self):
        return {"rate": self.rate, "looks": self.looks, "sound": self.sound}

    def load_state(self, state):
        vars(self).update(state)


def engine(train: Train, tmp_path=None, name="run", kind=Regression, progress=None, **options) -> Engine:
    run = None if tmp_path is None else Run(tmp_path / name)
    if run is not None and not run.exists():
        run.write_text("recipe.yaml", "name: regression\n")
    return Engine(kind(train, **options), run, CPU, progress)


def trace(e: Engine) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "img_per_second")} for row in e.run.metrics()]


def weights(e: Engine) -> torch.Tensor:
    networks = [*e.objective.networks.values(), *e.averages.values()]
    return torch.cat([p.detach().flatten() for n in networks for p in n.parameters()])


def test_learns_and_keeps_a_complete_run(tmp_path):
    e = engine(Train(steps=60, batch_size=64, evaluations=3), tmp_path)
    assert e.train() == "done"
    rows = e.run.metrics()
    losses = [row["eval/loss"] for row in rows if "eval/loss" in row]
    assert len(losses) == 3 and losses[-1] < 0.5 < math.log(10) < losses[0] * 3
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows) and rows[-1]["step"] == 60
    assert (e.run.model / "body.pt").is_file() and (e.run.path / "best" / "body.pt").is_file()
    assert len(list((e.run.path / "checkpoints").iterdir())) == 2  # older ones are thinned
    assert list((e.run.path / "tensorboard").iterdir())


@pytest.mark.parametrize("stop_at", [1, 13, 29])
def test_resuming_is_exact_to_the_last_bit(tmp_path, stop_at, train_until):
    train = Train(steps=30, batch_size=32, accumulate=2, evaluations=2)
    whole = engine(train, tmp_path, "whole")
    whole.train()

    first = engine(train, tmp_path, "parts")
    train_until(first, stop_at)
    first.run.log({"step": stop_at + 1, "seconds": 0})  # what a killed run logged after its checkpoint is dropped
    second = engine(train, tmp_path, "parts")
    assert second.resume() and second.step == stop_at
    second.train()
    assert torch.equal(weights(whole), weights(second))
    assert trace(whole) == trace(second)


@pytest.mark.parametrize("kill_at", [3, 12, 20, 21, 24, 29])
def test_killed_between_looks_it_ends_where_it_would_have(tmp_path, kill_at):
    train = Train(steps=30, batch_size=32, evaluations=3)
    whole = engine(train, tmp_path, "whole", Looking)
    whole.train()

    first = engine(train, tmp_path, "parts", Looking)
    original = first.one_step

    def kill(progress):
        original(progress)
        if first.step == kill_at:
            raise InterruptedError  # nothing is saved, as after kill -9

    first.one_step = kill
    with pytest.raises(InterruptedError):
        first.train()
    if kill_at in (12, 21):  # and a kill after the checkpoint was written, before it was kept
        (first.run.path / "checkpoints" / "sound.pt").unlink()
    second = engine(train, tmp_path, "parts", Looking)
    assert second.resume() and second.step <= kill_at
    second.train()
    assert torch.equal(weights(whole), weights(second)) and trace(whole) == trace(second)


def test_going_back_restores_weights_and_optimisers_and_keeps_the_step(tmp_path):
    train = Train(steps=30, batch_size=32, evaluations=3)
    e = engine(train, tmp_path, kind=Looking)
    after = {}
    original = e._look

    def look(progress):
        original(progress)
        after[e.step] = (
            weights(e),
            [o.state_dict()["state"][0]["step"].item() for o in e.objective.optimizers.values()],
        )

    e._look = look
    e.train()
    assert torch.equal(after[20][0], after[10][0]) and not torch.equal(after[20][0], after[19][0])
    assert after[20][1] == after[10][1] == [10, 20]  # the head has two updates a step
    assert e.step == 30 and e.objective.rate == 0.5
    rows = [row for row in e.run.metrics() if "health/word" in row]
    assert [row["step"] for row in rows] == [5, 10, 15, 20, 25, 30]
    assert [row["health/word"] for row in rows] == ["fine"] * 3 + ["ill"] + ["fine"] * 2


def test_what_a_look_says_is_told(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    e = engine(Train(steps=30, batch_size=32), tmp_path, kind=Looking, progress=Progress(console))
    e.train()
    assert (
        "step 20  half the learning rate · back to when it was healthy" in console.file.getvalue()
        and e.bar.numbers.startswith("fine · ")
    )


def test_a_look_can_end_the_run_with_everything_written(tmp_path):
    e = engine(Train(steps=60, batch_size=32, evaluations=2), tmp_path, kind=Looking, then="stop")
    assert e.train() == "ill" and e.step == 20
    evaluated = [row["step"] for row in e.run.metrics() if "eval/loss" in row]
    assert evaluated == [20] and (e.run.model / "body.pt").is_file()
    again = engine(Train(steps=60, batch_size=32, evaluations=2), tmp_path, kind=Looking, then="stop")
    assert again.resume() and again.step == 20 and again.train() == "done" and again.step == 60


def test_gradients_that_stay_nan_are_survived_by_going_back(tmp_path):
    train = Train(steps=60, batch_size=32, evaluations=6)
    e = engine(train, tmp_path, kind=Looking, ill=1000, bad_steps=tuple(range(25, 34)))
    assert e.train() == "done"
    rows = [row for row in e.run.metrics() if row.get("health/word") == "ill"]
    assert [row["step"] for row in rows] == [32] and e.objective.rate == 0.5  # 20 updates that failed, 3 a step
    assert e.step == 60 and torch.isfinite(weights(e)).all()


def test_gradients_that_stay_nan_end_a_run_that_stops_with_everything_written(tmp_path):
    train = Train(steps=60, batch_size=32, evaluations=6)
    e = engine(train, tmp_path, kind=Looking, ill=1000, then="stop", bad_steps=tuple(range(25, 60)))
    assert e.train() == "ill" and e.step == 32
    assert [row["step"] for row in e.run.metrics() if "eval/loss" in row][-1] == 32 and e.run.resumable()


def test_where_nothing_healthy_was_kept_it_is_said(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    e = engine(Train(steps=22, batch_size=32), tmp_path, kind=Looking, progress=Progress(console))
    e.run.kept_checkpoint = lambda: None
    e.train()
    assert "half the learning rate · from here, as nothing healthy was kept" in console.file.getvalue()


def test_a_finished_run_is_left_alone_and_a_longer_budget_goes_on(tmp_path):
    engine(Train(steps=10, batch_size=32, evaluations=2), tmp_path).train()
    rows = Run(tmp_path / "run").metrics()
    again = engine(Train(steps=10, batch_size=32, evaluations=2), tmp_path)
    again.resume()
    again.train()
    assert again.run.metrics() == rows and again.step == 10
    longer = engine(Train(steps=20, batch_size=32, evaluations=2), tmp_path)
    longer.resume()
    longer.train()
    steps = [row["step"] for row in longer.run.metrics() if "eval/loss" in row]
    assert longer.step == 20 and steps == [5, 10, 20]


def test_accumulated_batches_equal_whole_ones():
    results = []
    for accumulate in (1, 4):
        e = engine(Train(steps=20, batch_size=64, accumulate=accumulate), dropout=0.0)
        for _ in range(20):
            e.one_step(0.0)
        results.append(weights(e))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_uneven_shares_are_refused():
    with pytest.raises(UserError, match="batch_size=30.*accumulate=4"):
        engine(Train(steps=1, batch_size=30, accumulate=4))


def test_what_would_be_ignored_is_refused_before_there_is_a_folder(tmp_path):
    class Unjudged(Regression):
        best = None

    for asked in ({"compile": True}, {"patience": 2}, {"accumulate": 3}):
        objective = Unjudged(Train(steps=1, batch_size=32, **asked))
        with pytest.raises(UserError, match=f"train.{list(asked)[0]}="):
            training.carry_out(
                objective, CPU, None, out=tmp_path / "run", resume=False, console=Console(file=io.StringIO())
            )
    assert not (tmp_path / "run").exists()
    engine(Train(steps=1, batch_size=32, patience=2))


def test_a_nan_never_reaches_the_weights():
    e = engine(Train(steps=10, batch_size=32), bad_steps=(1,))
    e.one_step(0.0)
    before = torch.cat([p.detach().flatten() for n in e.objective.networks.values() for p in n.parameters()])
    e.one_step(0.0)
    after = torch.cat([p.detach().flatten() for n in e.objective.networks.values() for p in n.parameters()])
    assert torch.equal(before, after) and e.journal.window["skipped"][0] == 3
    e.one_step(0.0)
    assert torch.isfinite(weights(e)).all() and not any(e.bad_updates.values())


def test_one_phase_that_stays_nan_is_enough():
    e = engine(Train(steps=60, batch_size=32))
    for phase in ("a", "b"):
        e.bad_updates[phase] = 0
    for _ in range(PATIENCE - 1):
        e._skip(Phase("a", None))
        e.bad_updates["b"] = 0  # the other one goes well
        assert not e.broken
    e._skip(Phase("a", None))
    assert e.broken


def test_a_run_that_stays_nan_is_given_up_with_its_checkpoints_whole(tmp_path):
    train = Train(steps=100, batch_size=32, evaluations=10)
    e = engine(train, tmp_path, bad_steps=tuple(range(35, 100)))
    with pytest.raises(UserError, match="not finite.*lower optim.lr"):
        e.train()
    again = engine(train, tmp_path)
    assert again.resume() and again.step < 50 and torch.isfinite(weights(again)).all()


def test_the_average_follows_its_formula():
    e = engine(Train(steps=5, batch_size=32))
    expected = e.objective.networks["body"][0].weight.detach().clone()
    for _ in range(5):
        e.one_step(0.0)
        expected = 0.9 * expected + 0.1 * e.objective.networks["body"][0].weight.detach()
    torch.testing.assert_close(e.averages["body"][0].weight, expected, rtol=1e-5, atol=1e-7)


def test_a_phase_trains_only_its_own_network():
    e = engine(Train(steps=5, batch_size=32))
    e.objective.phases = e.objective.phases[:1]
    before = e.objective.networks["body"][0].weight.detach().clone()
    e.one_step(0.0)
    assert torch.equal(before, e.objective.networks["body"][0].weight)
    assert e.objective.networks["body"][0].weight.grad is None


def test_a_budget_of_minutes_is_planned_by_the_clock(tmp_path):
    e = engine(Train(minutes=1.5 / 60, batch_size=32, evaluations=2), tmp_path)
    e.train()
    seen = np.array(e.objective.progress_seen)
    assert (np.diff(seen) >= 0).all() and seen[0] < 0.2 and seen[-1] > 0.8
    assert 1.4 < e.clock.elapsed < 20 and "eval/loss" in e.run.metrics()[-1]


@pytest.mark.parametrize("budget", [{"steps": 40}, {"minutes": 0.2}])
def test_workers_whose_clocks_differ_do_the_same(monkeypatch, budget):
    """All that workers wait for each other in, in its order; the second hears what the first one said."""

    class Worker(Context):
        def agree(self, *values):
            self.said.append(self.heard.pop(0) if self.heard else values)
            return list(self.said[-1])

        def wait(self):
            self.done.append((len(self.said), "wait"))

    class Ticking(Clock):
        elapsed = property(lambda self: next(self.ticks))

    train, heard = Train(**budget, batch_size=32, evaluations=2, checkpoint_minutes=0.02), []
    done = []
    for tick in (0.1, 0.17):
        monkeypatch.setattr(Ticking, "ticks", itertools.count(step=tick), raising=False)
        monkeypatch.setattr("adverb.engine.Clock", Ticking)
        worker = Worker(torch.device("cpu"))
        worker.said, worker.heard, worker.done = [], heard, []
        e = Engine(Regression(train), None, worker)
        e._log = lambda *_, worker=worker: worker.done.append((len(worker.said), "log"))
        e.train()
        heard = list(worker.said)
        done.append(worker.done)
    assert done[0] == done[1] and len(done[0]) > 10


def test_utilisation_is_of_the_peaks_of_all_workers():
    shares = []
    for world in (1, 2):
        e = Engine(Regression(Train(steps=1, batch_size=32)), None, Context(torch.device("cpu"), world=world))
        e.objective.flops_per_step = 1e6
        e._write = lambda row, progress: shares.append(row["mfu"])
        e._log(0.5, steps_per_second=10.0)
    assert shares[1] == shares[0] / 2


def test_a_draw_is_the_same_for_any_number_of_workers():
    device = torch.device("cpu")
    whole = Draw((0, 5, "g", 0), 12, 0, 12, device)
    parts = [Draw((0, 5, "g", 0), 12, i, i + 3, device) for i in range(0, 12, 3)]
    for call in (lambda d: d.randn(4), lambda d: d.rand(), lambda d: d.randint(10, 2)):
        assert torch.equal(call(whole), torch.cat([call(p) for p in parts]))
    assert not torch.equal(whole.randn(4), whole.randn(4))
    assert not torch.equal(Draw((0, 5, "g", 0), 4, 0, 4, device).rand(), Draw((0, 6, "g", 0), 4, 0, 4, device).rand())


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    import errno

    train = Train(steps=10, batch_size=32, evaluations=2)
    e = engine(train, tmp_path)
    e.one_step(0.0)
    e._save()

    def full(state, path):
        path.write_bytes(b"half a checkp")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    e.one_step(0.0)
    with pytest.raises(UserError, match="disk is full"):
        e._save()
    monkeypatch.undo()
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000000001.pt"]
    again = engine(train, tmp_path)
    assert again.resume() and again.step == 1


@pytest.mark.parametrize(
    ("out", "why"), [("/dev/null/run", "Not a directory"), ("/proc/run", "No such file"), ("a-file", "File exists")]
)
def test_a_folder_that_cannot_be_made_is_said_with_the_reason(tmp_path, monkeypatch, out, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").write_text("")
    with pytest.raises(UserError, match=f"can't write {out}/recipe.yaml: {why}"):
        Run.create("name: a\n", "a", out)


def test_a_full_disk_is_said_by_whatever_is_written(tmp_path):
    run = Run(tmp_path)
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match="metrics.jsonl: the disk is full"):
        run.log({"step": 1})

    def fill(folder):
        (folder / "half").write_text("half a mod")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(UserError, match="model: the disk is full"):
        run.replace_folder("model", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("how", ["cut short", "overwritten"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, share, how):
    e = engine(Train(steps=10, batch_size=32), tmp_path)
    for _ in range(2):
        e.one_step(0.0)
        e._save()
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    whole = newest.read_bytes()
    place = int(share * len(whole))
    newest.write_bytes(whole[:place] + (64 * b"\xff" + whole[place + 64 :] if how == "overwritten" else b""))
    again = engine(Train(steps=10, batch_size=32), tmp_path)
    assert again.resume() and again.step == 1
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="all its checkpoints are damaged"):
        engine(Train(steps=10, batch_size=32), tmp_path).resume()


def test_a_torn_line_of_metrics_is_left_out(tmp_path):
    run = Run(tmp_path)
    run.log({"step": 1, "loss": 2.0})
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 2, "loss": 1.0})[:9])
    assert run.metrics() == [{"step": 1, "loss": 2.0}]


def test_an_early_end_keeps_the_best_and_concludes(tmp_path):
    class Stuck(Regression):
        concluded = 0

        def evaluate(self, networks, folder, step, final):
            return {"loss": 1.0 if step < 20 else 2.0}

        def conclude(self, best, folder):
            self.concluded += 1
            return {"loss": float((best / "body.pt").is_file())}

    objective = Stuck(Train(steps=100, batch_size=64, evaluations=10, patience=2))
    run = Run.create("name: stuck\n", "stuck", tmp_path / "stuck")
    Engine(objective, run, CPU).train()
    rows = run.metrics()
    assert [row["step"] for row in rows if "eval/loss" in row][:3] == [10, 20, 30]
    assert rows[-1]["step"] == 30 and rows[-1]["test/loss"] == 1.0
    assert objective.concluded == 1


def test_tensorboard_of_a_resumed_run_has_each_step_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train = Train(steps=8, batch_size=64, evaluations=2)
    first = engine(train, tmp_path)
    first.train()
    first.journal.events.close()
    sorted((tmp_path / "run/checkpoints").glob("*.pt"))[-1].unlink()  # killed after step 4 was saved
    second = engine(train, tmp_path)
    second.resume()
    assert second.step == 4
    second.train()
    second.journal.events.close()
    events = EventAccumulator(str(tmp_path / "run/tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 9))
