"""A generator against real images: classes are compared by their names, and too few images are refused."""

from __future__ import annotations

import numpy as np
import pytest

import adverb
from adverb.data.images import load_images
from adverb.errors import UserError
from adverb.metrics.judge import Judge

DIGITS = load_images("digits")


class Perfect:
    """Real images of each class in turn, and the numbers that these have among `label_names`."""

    def __init__(self, label_names: list[str]):
        self.label_names = label_names

    def generate(self, n, seed, with_labels):
        names = np.array(DIGITS.label_names)[DIGITS.labels[:n]]
        return DIGITS.images[:n], np.array([self.label_names.index(name) for name in names])


def test_classes_are_compared_by_name():
    judge, names = Judge(DIGITS, "classifier", 400), DIGITS.label_names
    for order in (names, names[::-1]):
        assert judge(Perfect(order))["label_agreement"] > 0.97
    assert "label_agreement" not in judge(Perfect([*names, "ten"]))


def test_too_few_images_are_refused_before_any_work(tmp_path):
    with pytest.raises(UserError, match="5 samples against as many of 11 images say nothing: 6 are needed"):
        Judge(DIGITS.take(np.arange(11)), "random", 1000)
    small = {"train.steps": 4, "evaluate.samples": 5, "evaluate.features": "random"}
    with pytest.raises(UserError, match="5 samples"):
        adverb.train("mlp-gan", out=tmp_path / "run", **small)


def test_one_image_over_and_over_is_refused(tmp_path):
    from PIL import Image

    (tmp_path / "same").mkdir()
    for i in range(20):
        Image.fromarray(DIGITS.images[0, ..., 0]).save(tmp_path / "same" / f"{i}.png")
    with pytest.raises(UserError, match="one image, 20 times over"):
        adverb.train("mlp-gan", tmp_path / "same", out=tmp_path / "run", **{"train.steps": 4})
