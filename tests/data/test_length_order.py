"""Batches of like lengths: every row once an epoch, little padding, the same for the same position."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.data.length_order import LengthOrder


def stream(order: LengthOrder, batches: int) -> np.ndarray:
    return np.concatenate([order.batch(i) for i in range(batches)])


@settings(max_examples=150, deadline=None)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=200), size=st.integers(1, 40), seed=st.integers(0, 99))
def test_every_row_comes_exactly_once_an_epoch_in_full_batches(lengths, size, seed):
    n, epochs = len(lengths), 3
    order = LengthOrder(np.array(lengths), size, seed)
    batches = [order.batch(i) for i in range(-(-epochs * n // size))]
    assert all(len(batch) == size for batch in batches)
    read = np.concatenate(batches)
    for epoch in range(epochs):
        assert sorted(read[epoch * n : (epoch + 1) * n]) == list(range(n))


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 300), size=st.integers(1, 40), index=st.integers(0, 30))
def test_a_batch_depends_on_its_index_only(n, size, index):
    lengths = np.arange(n) % 17
    used = LengthOrder(lengths, size, 3)
    stream(used, 5)
    assert np.array_equal(used.batch(index), LengthOrder(lengths, size, 3).batch(index))


def test_rows_of_a_batch_are_of_like_lengths_and_batches_come_in_no_order():
    lengths = np.random.default_rng(0).normal(24, 11, 6_920).clip(3, 60).astype(int)
    order = LengthOrder(lengths, 32, 0)
    batches = [lengths[order.batch(i)] for i in range(216)]  # an epoch, whole batches
    padded, tokens = sum(len(b) * b.max() for b in batches), sum(b.sum() for b in batches)
    assert padded < 1.03 * tokens  # in random batches it is 1.9 times as much
    widths = np.array([b.max() for b in batches])
    assert abs(np.corrcoef(widths[1:], widths[:-1])[0, 1]) < 0.2


def test_epochs_and_seeds_differ_and_mates_change():
    lengths = np.full(640, 7)
    order, other = LengthOrder(lengths, 32, 0), LengthOrder(lengths, 32, 1)
    first, second = stream(order, 20), np.concatenate([order.batch(i) for i in range(20, 40)])
    assert not np.array_equal(first, second) and not np.array_equal(first, stream(other, 20))
    mates = [set(batch) for batch in first.reshape(20, 32)]
    again = [set(batch) for batch in second.reshape(20, 32)]
    assert max(len(a & b) for a in mates for b in again) < 16


@pytest.mark.parametrize("n, size, seed", [(0, 8, 0), (8, 0, 0), (8, 8, -1)])
def test_what_makes_no_order_is_refused(n, size, seed):
    with pytest.raises(ValueError):
        LengthOrder(np.ones(n), size, seed)
    with pytest.raises(ValueError):
        LengthOrder(np.ones(8), 2, 0).batch(-1)
