"""Health as part of a GAN's training: what the discriminator sees, what looks steer, and planted failures."""

from __future__ import annotations

import re

import pytest
import torch
from rich.console import Console

from adverb import recipe
from adverb.bench.stacked import StackedGan, stack
from adverb.context import Context
from adverb.data.images import load_images
from adverb.engine import Engine
from adverb.gan.augment import NUMBERS, STEP, augment
from adverb.gan.networks import build
from adverb.metrics.judge import Judge
from adverb.objectives import gan as gan_module
from adverb.objectives.base import Draw, Look
from adverb.objectives.gan import Gan
from adverb.run import Run

CPU = Context(torch.device("cpu"))
STRONG = {"loss.name": "minimax", "loss.critic_steps": 5, "optim.discriminator_lr_ratio": 20.0}


def gan(name="image-gan", kind=Gan, **overrides) -> Gan:
    overrides = {"train.steps": 100, "train.batch_size": 16, "evaluate.features": "random", **overrides}
    return kind(recipe.load(name, overrides), CPU, Console(quiet=True))


def draw(rows=16, step=0) -> Draw:
    return Draw((0, step, "test", 0), rows, 0, rows, CPU.device)


@pytest.fixture
def often(monkeypatch):
    """A look every fifth step: seconds show what else takes minutes."""
    monkeypatch.setattr(gan_module, "EVERY", 5)


def test_held_out_images_are_never_trained_on():
    objective = gan(**{"data.limit": 200})
    held_out = {image.tobytes() for image in objective.held_out.images}
    seen = {image.numpy().tobytes() for index in range(40) for image in objective.batch(index, 0, 16)[0]}
    assert len(objective.held_out) == 10 and len(seen) > 180 and not seen & held_out
    assert len(objective.images) == 200  # it is judged by all


def test_the_discriminator_sees_augmented_images_and_is_smoothed_at_the_real_ones():
    objective = gan(**{"augment.policy": "diff"})
    objective.schedule(0.0, 0)
    batch = objective.batch(0, 0, 16)
    loss, _ = objective.discriminator_loss(batch, draw())
    replay = draw()
    real, label = objective.real_images(batch, replay)
    fake = objective.networks["generator"](replay.randn(64), label).detach()
    discriminator, expected, logits = objective.networks["discriminator"], 0.0, []
    for images in (real, fake):
        images = images.clone().requires_grad_()
        logits.append(discriminator(augment(images, replay.rand(NUMBERS), 1.0), label))
        (slope,) = torch.autograd.grad(logits[-1].sum(), images, retain_graph=True)
        expected = expected + objective.r1 / 2 * slope.square().sum((1, 2, 3)).mean()
    expected = expected + torch.nn.functional.softplus(logits[1] - logits[0]).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    plain, _ = gan(**{"augment.policy": "none"}).discriminator_loss(batch, draw())
    assert not torch.isclose(loss, plain)


def test_nothing_is_augmented_while_nothing_overfits():
    objective = gan()
    assert objective.recipe.augment.policy == "ada" and objective.p == 0.0
    images = torch.zeros(4, 1, 8, 8)
    assert objective.seen(images, draw()) is images


@pytest.mark.parametrize(("memory", "expected"), [(1.8, 2 * STEP), (0.2, 0.0)])
def test_augmentation_follows_overfitting(often, memory, expected):
    objective = gan("mlp-gan")
    objective._measure = lambda step: {"memory": memory, "memory_se": 0.05, "gap": 2.0, "gradient": 1.0}
    looks = [objective.look(step / 100, step, False) for step in range(1, 11)]
    assert [look is not None for look in looks] == [step % 5 == 0 for step in range(1, 11)]
    assert looks[4].row["p"] == 0.0 and objective.p == pytest.approx(expected)
    assert looks[-1].row["overfitting"] == pytest.approx(memory / 2) and looks[-1].word == "healthy"


def test_so_few_images_that_none_is_held_out_are_augmented_more_and_more(often):
    objective = gan("mlp-gan", **{"data.limit": 40})
    assert objective.held_out is None
    for step in (5, 10):
        objective.look(0.0, step, False)
    assert objective.p == pytest.approx(2 * STEP)


def test_looks_leave_the_training_as_it_was(often):
    """With nothing to steer, weights are the same to the last bit."""
    weights = []
    for looking in (True, False):
        objective = gan("dcgan", **{"augment.policy": "none", "data.label": "none"})
        engine = Engine(objective, None, CPU)
        for step in range(6):
            engine.one_step(step / 100)
            if looking:
                objective.look(0.0, engine.step, False)
        weights.append([v for n in objective.networks.values() for v in n.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


def trained(folder, steps=80, kill_at=None, **overrides) -> Engine:
    objective = gan("mlp-gan", **{"train.steps": steps, "train.evaluations": 8, **STRONG, **overrides})
    objective.prepare()
    run = Run(folder)
    if not run.exists():
        run.write_text("recipe.yaml", recipe.dump(objective.recipe))
    engine = Engine(objective, run, CPU)
    engine.resume()
    original = engine.one_step

    def step(progress):
        original(progress)
        if engine.step == kill_at:
            raise InterruptedError

    engine.one_step = step
    if kill_at is None:
        engine.train()
    else:
        with pytest.raises(InterruptedError):
            engine.train()
    return engine


def trace(engine: Engine) -> str:
    """What was logged, but for times; as a string, in which NaN equals itself."""
    return repr([{k: v for k, v in row.items() if "second" not in k} for row in engine.run.metrics()])


def test_a_run_that_heals_is_killed_and_ends_where_it_would_have(often, tmp_path):
    whole = trained(tmp_path / "whole", **{"health.mode": "heal"})
    remedies = [(row["step"], row["health/remedy"]) for row in whole.run.metrics() if "health/remedy" in row]
    assert remedies and remedies[0][1] == "loss.name minimax → non-saturating"
    first = remedies[0][0]
    for kill_at in (first - 1, first + 1, first + 14):
        folder = tmp_path / str(kill_at)
        trained(folder, kill_at=kill_at, **{"health.mode": "heal"})
        parts = trained(folder, **{"health.mode": "heal"})
        assert parts.objective.recipe == whole.objective.recipe
        assert parts.objective.state() == whole.objective.state()
        for name, network in whole.objective.networks.items():
            for a, b in zip(network.parameters(), parts.objective.networks[name].parameters(), strict=True):
                assert torch.equal(a, b)
        rows = [
            [{k: v for k, v in row.items() if "second" not in k} for row in e.run.metrics()] for e in (whole, parts)
        ]
        assert repr(rows[0]) == repr(rows[1])  # in which NaN equals itself


def watched(objective: Gan, steps: int) -> tuple[Engine, list[Look]]:
    """A training that is not interrupted, whatever its looks find, and they."""
    engine, looks = Engine(objective, None, CPU), []
    while engine.step < steps:
        engine.one_step(engine.step / steps)
        if look := objective.look(engine.step / steps, engine.step, False):
            looks.append(look)
    return engine, looks


@pytest.mark.parametrize(("lr", "expected"), [([0.5, 0.05], "diverging"), ([5e-3, 5e-4], "healthy")])
def test_a_learning_rate_a_hundred_times_too_high_diverges(monkeypatch, lr, expected):
    monkeypatch.setattr(gan_module, "EVERY", 20)
    objective = gan(**{"optim.lr": lr})
    words = [look.word for look in watched(objective, 100)[1]]
    assert words[:2] == ["healthy"] * 2 and words[-1] == expected, words


class NormalisedJudge(Gan):
    """Batch normalisation in the discriminator, with an eps that swallows the variance, or not."""

    eps = 0.8

    def make_networks(self):
        generator, discriminator = build(**self.network_config(), discriminator_norm="batch")
        for module in discriminator.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = self.eps
        return {"generator": generator, "discriminator": discriminator}


@pytest.mark.parametrize(("eps", "vanishes"), [(0.8, True), (1e-5, False)])
def test_batch_normalisation_with_an_eps_of_0_8_makes_the_generators_gradient_vanish(monkeypatch, eps, vanishes):
    monkeypatch.setattr(gan_module, "EVERY", 20)
    monkeypatch.setattr(NormalisedJudge, "eps", eps)
    narrow = {"data.size": 32, "model.conditional": False, "model.widths": [8, 8, 8], "optim.lr": 2e-5}
    last = watched(gan("dcgan", NormalisedJudge, **narrow), 60)[1][-1]
    assert (last.word == "vanishing") is vanishes
    assert (last.row["gradient"] < 0.01) is vanishes


class Stacked(StackedGan):
    """A thousand kinds of stacked digits, and a discriminator a quarter as wide."""

    def __init__(self, spec, context, console):
        super().__init__(spec, context, console, "digits", shrink=4)

    def read(self):
        return stack(self.digits, 1000)


@pytest.mark.parametrize(("rates", "collapses"), [
    ({"optim.lr": 5e-3, "optim.discriminator_lr_ratio": 0.02}, True),  # the generator runs to what is liked best
    ({"optim.lr": 5e-3}, False),
])  # fmt: skip
def test_a_generator_that_runs_ahead_of_a_quarter_size_discriminator_collapses(rates, collapses):
    objective = gan("mlp-gan", Stacked, **{"train.batch_size": 32, "train.steps": 600}, **rates)
    words = [look.word for look in watched(objective, 600)[1]]
    assert (words[-1] == "collapsing") is collapses, words
    assert collapses or set(words) == {"healthy"}


@pytest.mark.parametrize(("images", "overfits"), [(100, True), (None, False)])
def test_a_hundred_images_without_augmentation_are_learnt_by_heart(images, overfits):
    """Without a penalty; all 1,500 digits are not, in as many steps."""
    told = {"data.limit": images, "augment.policy": "none", "optim.lr": 5e-4, "optim.discriminator_lr_ratio": 4.0}
    _, looks = watched(gan("mlp-gan", **told, **{"train.batch_size": 64, "train.steps": 1000}), 1000)
    words = [look.word for look in looks]
    assert ("overfitting" in words) is overfits, words
    assert overfits or max(look.row["overfitting"] for look in looks) < 0.3


def test_augmentation_is_worth_a_quarter_of_the_distance_on_a_hundred_images():
    """Where the discriminator knows 100 digits by heart; judged by all of them."""
    judge, steps, found = Judge(load_images("digits"), "classifier", 700), 2000, {}
    for policy in ("none", "ada", "diff"):
        told = {"data.limit": 100, "augment.policy": policy, "optim.lr": 5e-4, "optim.discriminator_lr_ratio": 4.0}
        objective = gan("mlp-gan", **told, **{"train.batch_size": 64, "train.steps": steps})
        engine, _ = watched(objective, steps)
        generator = objective._pipeline(engine.current())
        generator.network.eval()
        found[policy] = judge(generator)["frechet"]
    assert found["ada"] < 0.75 * found["none"] and found["diff"] < 0.75 * found["none"], found


def test_healing_starts_from_weights_that_were_well(often, tmp_path):
    engine = trained(tmp_path / "run", **{"health.mode": "heal"})
    assert (engine.run.path / "checkpoints" / "sound.pt").is_file()
    rows = [row for row in engine.run.metrics() if "health/word" in row]
    ill = next(row for row in rows if "health/remedy" in row)
    well = next(row for row in rows if row["step"] > ill["step"])
    assert ill["health/word"] in ("saturating", "vanishing") and well["health/undecided"] > ill["health/undecided"]


def test_only_healing_keeps_a_checkpoint_to_go_back_to(often, tmp_path):
    engine = trained(tmp_path / "run")
    assert not (engine.run.path / "checkpoints" / "sound.pt").exists()
    assert engine.objective.recipe.loss.name == "minimax"


def test_on_the_command_line_a_finding_is_said_written_and_reported(adverb, tmp_path):
    strong = [f"{key}={value}" for key, value in STRONG.items()]
    done = adverb(
        "train",
        "mlp-gan",
        *strong,
        "train.steps=400",
        "train.evaluations=1",
        "evaluate.features=random",
        "--out",
        "watched",
        timeout=900,
        COLUMNS="300",
    )
    assert done.returncode == 0, done.stderr
    said = re.search(r"step (\d+)  (saturating|vanishing): .*health\.mode=heal would try loss\.name", done.stdout)
    assert said and said[1] == "300", done.stdout
    rows = [row for row in Run(tmp_path / "watched").metrics() if "health/word" in row]
    assert [row["step"] for row in rows] == [100, 200, 300, 400] and rows[2]["health/word"] == said[2]
    page = (tmp_path / "watched" / "report.html").read_text(encoding="utf-8")
    assert "<h2>Health</h2>" in page and said[2].capitalize() + " at the last look" in page

    stopped = adverb("train", "mlp-gan", *strong, "train.steps=900", "train.evaluations=1", "health.mode=stop",
                     "evaluate.features=random", "--out", "stopped", timeout=900, COLUMNS="300")  # fmt: skip
    assert stopped.returncode == 1 and f"stopped: {said[2]}" in stopped.stdout
    assert Run(tmp_path / "stopped").metrics()[-1]["step"] == 300 and (tmp_path / "stopped" / "model").is_dir()
