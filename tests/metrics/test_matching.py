"""Whether images match their captions, by retrieval."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adverb.data.captions import captions_of
from adverb.data.image_set import ImageSet, Report
from adverb.metrics.features import extractor_for
from adverb.metrics.matching import AT, match_metrics, retrieval


def test_recall_counts_a_hit_among_the_k_nearest():
    real, groups = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 1, 2, 3])
    made, wanted = torch.tensor([[0.1], [0.4], [2.9]]), torch.tensor([0, 1, 0])
    assert retrieval(made, wanted, real, groups, 1) == (1 / 3, 1 / 4)
    recall, chance = retrieval(made, wanted, real, groups, 2)
    assert recall == 2 / 3 and chance == 1 / 2


def test_chance_is_what_random_images_reach():
    generator = torch.Generator().manual_seed(0)
    real, groups = torch.randn(40, 8, generator=generator), torch.arange(40) % 25  # groups of one and of two
    made, wanted = torch.randn(4000, 8, generator=generator), torch.arange(4000) % 25
    for k in (1, 5):
        recall, chance = retrieval(made, wanted, real, groups, k)
        assert abs(recall - chance) < 0.02


class Painter:
    """A generator that draws the image of a caption, or without looking at captions: any one of the images."""

    def __init__(self, data: ImageSet, looks: bool):
        self.data, self.looks = data, looks

    def latents(self, n: int, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).random((n, 1))

    def read(self, captions: list[str]) -> np.ndarray:
        return np.array([self.data.captions.index(caption) for caption in captions])

    def draw(self, latents: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return self.data.batch(wanted if self.looks else (latents[:, 0] * len(self.data)).astype(int))


@pytest.fixture
def captioned() -> ImageSet:
    """200 images, each with a caption of its own."""
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    captions = [f"picture {(7 * i) % 200:03d}" for i in range(200)]  # in another order than their texts
    report = Report("images", "train", {"train": 200}, 200)
    return ImageSet(images, None, [], captions, captions, report, np.arange(200, dtype=np.uint64))


def test_images_of_the_datas_own_captions_are_found_by_them_or_by_chance(captioned):
    captions, extractor = captions_of(captioned, 0.1, "here"), extractor_for("random", captioned.images)
    assert len(captions.unseen) == 20 and not captions.made
    found = match_metrics(Painter(captioned, True), captions, captioned, extractor)
    assert set(found) == {f"recall_{k}{end}" for k in AT for end in ("", "_floor")}
    assert [found[f"recall_{k}"] for k in AT] == [1, 1, 1]
    assert [found[f"recall_{k}_floor"] for k in AT] == pytest.approx([k / 20 for k in AT])
    guessed = match_metrics(Painter(captioned, False), captions, captioned, extractor)
    for k in AT:
        assert guessed[f"recall_{k}"] == pytest.approx(k / 20, abs=0.05)  # of 2,000 images: 4 deviations and more


def test_nothing_is_said_where_no_caption_was_kept(captioned):
    none = captions_of(captioned, 0.05, "here")  # 10 of them would say little
    extractor = extractor_for("random", captioned.images)
    assert not none.unseen and match_metrics(Painter(captioned, True), none, captioned, extractor) == {}
