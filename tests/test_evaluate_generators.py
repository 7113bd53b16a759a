"""Measuring generators: by which judge, against which images, of which samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from sklearn.datasets import load_digits

from adverb import recipe
from adverb.gan.networks import build
from adverb.pipelines.evaluate import evaluate
from adverb.pipelines.generator import Generator
from adverb.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run on the digits whose generator has learned nothing, to be judged by random features."""
    path = tmp_path_factory.mktemp("run") / "run"
    told = {"data.path": "digits", "train.steps": 1, "evaluate.features": "random"}
    Run.create(recipe.dump(recipe.load("mlp-gan", told)), "mlp-gan", path)
    torch.manual_seed(0)
    shape = dict(network="mlp", image_size=[8, 8], channels=1, latent_size=8, classes=10, widths=[16])
    labels = {"label_names": [str(i) for i in range(10)]}
    (path / "model").mkdir()
    Generator(build(**shape)[0].eval(), shape | labels, np.full(10, 0.1)).save(path / "model")
    return path


@pytest.fixture
def measure(run, tmp_path):
    def measured(data=None, **options) -> dict:
        """What is returned, which is what is written, and there with the judge's name."""
        out = tmp_path / "found.json"
        found = evaluate(str(run), data, samples=150, out=out, console=Console(quiet=True), **options)
        written = json.loads(out.read_text())
        assert {name: written[name] for name in found} == found and written["samples"] == 150
        return written

    return measured


def test_the_judge_is_the_one_asked_for_or_the_runs(measure):
    random, classifier, own = measure(features="random"), measure(features="classifier"), measure()
    assert own == random and "random" in random["features"]
    assert "classifier" in classifier["features"] and classifier["frechet"] != random["frechet"]
    assert "label_agreement" in classifier and "label_agreement" not in random


def test_the_same_seed_makes_and_compares_the_same(measure):
    first, again, other = measure(seed=1), measure(seed=1), measure(seed=2)
    assert first == again
    assert other["frechet"] != first["frechet"] and other["frechet_floor"] != first["frechet_floor"]


def test_it_is_measured_against_the_images_that_are_named(measure, tmp_path):
    folder = tmp_path / "inverted"
    folder.mkdir()
    for number, image in enumerate(load_digits().images[:400]):
        Image.fromarray(np.uint8(255 - image * 255 / 16)).save(folder / f"{number}.png")
    own, inverted, digits = measure(), measure(str(folder)), measure("digits")
    assert digits == own
    assert abs(inverted["frechet"] / own["frechet"] - 1) > 0.05 and inverted["frechet_floor"] < inverted["frechet"]
