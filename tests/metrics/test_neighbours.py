from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from adverb.metrics import neighbours
from adverb.metrics.neighbours import nearest


@pytest.mark.parametrize("entries", [3000, 1 << 22])
def test_nearest_images_in_pixel_space(entries, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_ENTRIES", entries)
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (70, 6, 5, 3), dtype=np.uint8)
    query = rng.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)
    query[4] = reference[33]
    distances, indices = nearest(query, reference, k=4)
    flat = reference.reshape(70, -1).astype(np.float64), query.reshape(30, -1).astype(np.float64)
    expected = NearestNeighbors(n_neighbors=4, algorithm="brute").fit(flat[0]).kneighbors(flat[1])
    np.testing.assert_allclose(distances.numpy(), expected[0], atol=1e-5)
    np.testing.assert_array_equal(indices.numpy(), expected[1])
    assert distances[4, 0] == 0 and indices[4, 0] == 33


def test_nearest_features_that_are_alike_have_distance_zero():
    """Large features, where |a|² + |b|² - 2ab cancels."""
    features = torch.randn(500, 64, generator=torch.Generator().manual_seed(0)) + 100
    distances, indices = nearest(features, features, k=2)
    assert torch.equal(indices[:, 0], torch.arange(500)) and (distances[:, 0] == 0).all()
    assert (distances[:, 1] > 1).all()


def test_nearest_refuses_what_has_no_answer():
    with pytest.raises(ValueError, match="k = 3 nearest of 2"):
        nearest(torch.zeros(4, 2), torch.zeros(2, 2), k=3)
    with pytest.raises(ValueError, match="unequal shape"):
        nearest(torch.zeros(4, 2), torch.zeros(4, 3))
