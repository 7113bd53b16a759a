"""Whether images match their captions, by retrieval."""

from __future__ import annotations

import torch

from adverb.metrics.matching import retrieval


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
