from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from adverb.metrics.modes import agreement, class_shares, mode_metrics


def test_shares_and_missing_classes():
    shares = class_shares(torch.tensor([0, 0, 2, 2]), 4)
    assert shares.tolist() == [0.5, 0, 0.5, 0]
    found = mode_metrics(shares, torch.tensor([0.25, 0.25, 0.5, 0.0]))
    assert (found["modes"], found["modes_floor"], found["share_error"]) == (2, 3, 1.0)
    assert found["reverse_kl"] == pytest.approx(0.5 * math.log(2))


def test_a_class_that_is_not_real():
    found = mode_metrics(torch.tensor([0.9, 0.1]), torch.tensor([1.0, 0.0]))
    assert (found["modes"], found["modes_floor"], found["reverse_kl"]) == (1, 1, math.inf)
    assert found["share_error"] == pytest.approx(0.1)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8), st.integers(0, 99))
def test_reverse_kl_is_the_entropy_of_scipy(counts, seed):
    p = torch.tensor(counts).double() / sum(counts)
    q = torch.from_numpy(np.random.default_rng(seed).dirichlet(np.ones(len(counts))) + 1e-3)
    q = q / q.sum()
    found = mode_metrics(p, q)
    assert found["reverse_kl"] == pytest.approx(entropy(p.numpy(), q.numpy()), abs=1e-12)
    assert mode_metrics(p, p) == {"modes": len(counts), "modes_floor": len(counts), "share_error": 0, "reverse_kl": 0}


def test_a_perfect_generator_on_stacked_mnist_scores_its_counting_noise():
    """1000 classes, 26,000 samples: (1000 - 1) / (2 · 26,000) = 0.0192, not 0."""
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 1000, 26_000))
    found = mode_metrics(class_shares(labels, 1000), torch.full((1000,), 1e-3, dtype=torch.float64))
    assert found["modes"] == 1000
    assert found["reverse_kl"] == pytest.approx(0.0192, abs=0.002)


def test_agreement_with_the_label_asked_for():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    assert agreement(logits, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    with pytest.raises(ValueError):
        agreement(logits, torch.tensor([0]))
    with pytest.raises(ValueError):
        class_shares(torch.tensor([], dtype=torch.int64), 3)
