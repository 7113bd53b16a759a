"""The mode benchmarks: data as published, counting that can be trusted, and training that is adverb's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from adverb.bench.modes import SETS, bench_modes, recipe_of
from adverb.bench.points import SAMPLES, Mixture, PointGan, grid, ring
from adverb.bench.published import PUBLISHED
from adverb.bench.stacked import MODES, StackedGan, stack
from adverb.context import Context
from adverb.data.images import load_images
from adverb.engine import Engine
from adverb.errors import UserError

CPU = Context(torch.device("cpu"))
QUIET = Console(quiet=True)


# -- mixtures


def test_mixtures_are_those_of_the_papers():
    assert np.allclose(np.linalg.norm(ring().centres, axis=1), 1) and ring().deviation == 0.01
    assert sorted(np.unique(grid(5).centres.round(9))) == [-4, -2, 0, 2, 4] and grid(5).deviation == 0.05
    assert [len(m.centres) for m in (ring(), grid(5), grid(10))] == [8, 25, 100]


@pytest.mark.parametrize("mixture", [ring(), grid(5)], ids=lambda m: m.name)
def test_the_mixture_itself_scores_the_floor(mixture):
    points = mixture.sample(200_000, (0,))
    found = mixture.measure(points)
    assert found["modes"] == len(mixture.centres) and found["reverse_kl"] < 1e-3
    assert found["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=1e-3)  # of a Gaussian in the plane
    assert np.allclose(points.mean(axis=0), 0, atol=0.02)


def test_a_collapsed_generator_is_seen():
    centres = ring().centres
    one = ring().measure(np.repeat(centres[:1], 100, axis=0))
    assert one == {"modes": 1.0, "high_quality": 1.0, "reverse_kl": pytest.approx(math.log(8))}
    beside = ring().measure(centres + 0.05)  # five deviations off along both axes
    assert beside["modes"] == 0 and beside["high_quality"] == 0 and beside["reverse_kl"] == 0
    half = ring().measure(np.concatenate([centres[:4], centres[:4] + 0.05]))
    assert (half["modes"], half["high_quality"]) == (4, 0.5) and half["reverse_kl"] == pytest.approx(math.log(2))


def test_points_are_a_function_of_seed_and_step():
    objective = PointGan(recipe_of("grid", "rpgan", 3), CPU, QUIET, grid(5))
    (whole, label), (part, _) = objective.batch(7, 0, 256), objective.batch(7, 64, 96)
    assert label is None and whole.shape == (256, 2, 1, 1) and torch.equal(whole[64:96], part)
    assert not torch.equal(whole, objective.batch(8, 0, 256)[0])
    back = whole[:, :, 0, 0].double().numpy() / grid(5).scale
    assert grid(5).measure(back)["high_quality"] > 0.95 and whole.abs().max() < 1


def test_what_is_benchmarked_is_what_is_shipped():
    for name in SETS:
        default, baseline = recipe_of(name, "rpgan", 1), recipe_of(name, "minimax", 1)
        assert default.loss.name == "rpgan" and min(default.loss.r1 + default.loss.r2) > 0
        assert baseline.loss.name == "minimax" and baseline.loss.r1 == baseline.loss.r2 == 0
        assert default.model == baseline.model and default.train == baseline.train and default.seed == 1
    assert {name.split("-quarter")[0] for name in PUBLISHED} <= SETS.keys()


@pytest.mark.parametrize("name", SETS)
def test_a_budget_that_is_asked_for_stands_instead_of_the_sets_own(name):
    own, steps, minutes = (recipe_of(name, "rpgan", 0, **b).train for b in ({}, {"steps": 7}, {"minutes": 2}))
    assert (own.steps is None) != (own.minutes is None)
    assert (steps.steps, minutes.steps, minutes.minutes) == (7, None, 2)


def test_two_modes_are_learned_in_seconds():
    """The objective, the losses and the perceptrons find two separate modes, and share the samples between them."""
    mixture = Mixture("two", np.array([[-1.0, 0.0], [1.0, 0.0]]), 0.1)
    spec = recipe_of("ring", "rpgan", 0, steps=600)
    spec.model.widths, spec.train.batch_size = [64, 64], 128
    objective = PointGan(spec, CPU, QUIET, mixture)
    engine = Engine(objective, None, CPU)
    start = mixture.measure(objective.generate(objective.networks["generator"], SAMPLES, 1))
    for step in range(600):
        engine.one_step(step / 600)
    end = mixture.measure(objective.generate(engine.current()["generator"], SAMPLES, 1))
    assert end["modes"] == 2 and end["reverse_kl"] < 0.05, end
    assert end["high_quality"] > 0.5 > start["high_quality"], (start, end)


# -- stacks


def test_stacks_are_three_digits_each():
    digits = load_images("digits")
    stacks = stack(digits, 5_000)
    assert stacks.shape == (8, 8, 3) and stacks.labels is None and len(stacks) == 5_000
    rows = stacks.images.base.rows
    picture = stacks.batch([42, 7])
    for c in range(3):
        assert np.array_equal(picture[..., c], np.asarray(digits.images)[rows[[42, 7], c], ..., 0])
    assert np.array_equal(stack(digits, 5_000).batch([3]), stacks.batch([3]))
    kept = stacks.take(np.array([7, 9]))
    assert np.array_equal(kept.batch([0]), stacks.batch([7]))
    made = np.bincount((digits.labels[rows] * [100, 10, 1]).sum(1), minlength=MODES)
    assert (made > 0).sum() > 980  # all modes, as often as chance has it


def test_the_discriminator_of_a_quarter_and_the_reader():
    whole, quarter = (StackedGan(recipe_of("stacked-digits", "rpgan", 0), CPU, QUIET, "digits", k) for k in (1, 4))
    count = [sum(p.numel() for p in o.networks["discriminator"].parameters()) for o in (whole, quarter)]
    assert count[1] < count[0] / 5
    generators = [o.networks["generator"] for o in (whole, quarter)]
    assert all(torch.equal(a, b) for a, b in zip(*(g.parameters() for g in generators), strict=True))
    quarter.prepare()
    stacks = stack(quarter.digits, 1_000)
    truth = (quarter.digits.labels[stacks.images.base.rows] * [100, 10, 1]).sum(1)
    read = quarter.reader(stacks.batch(np.arange(1_000)))
    assert (read.numpy() == truth).mean() > 0.9
    one = quarter.reader.measure(np.repeat(stacks.batch([0]), 50, axis=0))
    assert one == {"modes": 1.0, "reverse_kl": pytest.approx(math.log(1000))}


def test_stacks_are_made_of_grey_digits_with_labels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), dtype=np.uint8)
    for i, picture in enumerate(pixels):
        folder = tmp_path / str(i % 10)
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{i}.png")
    spec = recipe_of("stacked-mnist", "rpgan", 0)
    assert StackedGan(spec, CPU, QUIET, tmp_path).images.shape == (8, 8, 3)  # of digits in colour, grey ones
    with pytest.raises(UserError, match="has no classes: stacks are made of digits, with ten"):
        StackedGan(spec, CPU, QUIET, tmp_path / "3")


# -- the command


def test_the_table_stands_beside_what_papers_report(tmp_path):
    console = Console(width=200, record=True, file=open(tmp_path / "out.txt", "w"))
    options = dict(seeds=2, losses=["rpgan", "minimax"], minutes=None, data="", out=tmp_path, console=console)
    found = bench_modes(["ring"], steps=8, **options)
    assert {loss: len(runs) for loss, runs in found["ring"].items()} == {"rpgan": 2, "minimax": 2}
    said = console.export_text()
    for word in ("rpgan + R1 + R2", "minimax", "2 seeds", " ± ", "noise floor", "VEEGAN", "52.9 %", "table 1"):
        assert word in said, word
    again = bench_modes(["ring"], steps=8, **options)  # finished runs are read, not trained again
    assert again == found
    with pytest.raises(UserError, match="other settings"):
        bench_modes(["ring"], steps=9, **options)


def test_through_the_command_line(adverb, tmp_path):
    done = adverb("bench", "modes", "ring", "--steps", "5", "--loss", "rpgan", "--out", "b", COLUMNS="160")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PacGAN4" in done.stdout and (tmp_path / "b/ring-rpgan-0/report.html").is_file()
    wrong = adverb("bench", "modes", "rings")
    assert wrong.returncode == 2 and "grid100" in wrong.stderr and "Traceback" not in wrong.stderr
