"""Recipes so small that whatever they train is done in a moment."""

from __future__ import annotations

import pytest

from adverb import recipe as recipes
from adverb.data.images import load_images
from adverb.export.compare import BOUNDS, Bounds
from adverb.schema import OBJECTIVES

SMALL = {  # keys that a command gives itself are its own, but no run is longer than MOST
    "train.evaluations": 1,
    "train.precision": "fp32",
    "train.device": "cpu",
    "train.compile": False,
    "data.sequence_length": 32,
    "model.layers": 2,
    "model.hidden": 32,
    "model.heads": 2,
    "discriminator.layers": 1,
    "discriminator.hidden": 32,
    "discriminator.heads": 2,
    "evaluate.features": "random",
    "evaluate.samples": 60,
    "evaluate.rows": 8,
    "evaluate.resamples": 20,
}
MOST = {"train.steps": 2, "train.batch_size": 8, "train.minutes": 1.0, "model.layers": 2, "model.hidden": 32,
        "model.heads": 2, "data.size": 32}  # fmt: skip


@pytest.fixture
def small_recipes(monkeypatch):
    """Recipes come out small, whoever reads them: the command line, Python, a run that goes on."""
    validate = recipes.validate

    def validate_small(values, overrides, source, lines=None):
        known = recipes.keys(OBJECTIVES.get(values.get("objective"), recipes.Recipe))
        overrides = dict(overrides)
        overrides |= {key: value for key, value in SMALL.items() if key in known and key not in overrides}
        for key, most in MOST.items():
            if key in known and (key in overrides or key in ("train.steps", "train.batch_size")):
                asked = overrides.get(key) or most
                overrides[key] = min(asked, most) if isinstance(asked, int | float) else asked
        return validate(values, overrides, source, lines)

    monkeypatch.setattr(recipes, "validate", validate_small)
    # after two steps on few texts, everything is a near tie
    monkeypatch.setitem(BOUNDS, "int8", Bounds(float("inf"), 0.5, points=20))
    for name in ("SAMPLES", "LOOK"):
        monkeypatch.setattr(f"adverb.bench.stacked.{name}", 60)
    monkeypatch.setattr("adverb.bench.stacked.load_images", lambda path, **more: load_images("digits"))
