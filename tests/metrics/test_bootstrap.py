import math

import numpy as np
import pytest

from adverb.metrics.bootstrap import interval


def test_covers_the_truth_as_often_as_it_says():
    """400 samples of 100 coin flips with p = 0.7: about 80 % of their 80 % intervals hold 0.7."""
    random = np.random.default_rng(0)
    samples = random.random((400, 100)) < 0.7
    inside = 0
    for number, sample in enumerate(samples):
        low, high = interval(lambda rows, sample=sample: sample[rows].mean(), 100, 200, seed=number, level=0.8)
        inside += low <= 0.7 <= high
    assert 0.74 < inside / len(samples) < 0.87


def test_width_of_a_mean():
    values = np.random.default_rng(1).normal(size=2000)
    low, high = interval(lambda rows: values[rows].mean(), 2000, 2000, seed=0)
    error = values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_a_seed_says_it_all():
    values = np.random.default_rng(2).random(50)

    def score(rows):
        return values[rows].mean()

    assert interval(score, 50, 100, seed=3) == interval(score, 50, 100, seed=3)
    assert interval(score, 50, 100, seed=3) != interval(score, 50, 100, seed=4)


def test_rows_are_drawn_with_replacement():
    drawn = []
    interval(lambda rows: drawn.append(rows) or 0.0, 20, 50, seed=0)
    assert all(len(rows) == 20 and set(rows) <= set(range(20)) for rows in drawn)
    assert any(len(set(rows)) < 20 for rows in drawn)
    assert set(np.concatenate(drawn)) == set(range(20))


def test_undefined_scores_are_left_out():
    def sometimes(rows):
        return 1.0 if 0 in rows else math.nan

    assert interval(sometimes, 2, 50, seed=0) == (1.0, 1.0)
    assert all(map(math.isnan, interval(lambda rows: math.nan, 2, 5, seed=0)))


@pytest.mark.parametrize(("n", "resamples", "level"), [(0, 10, 0.95), (5, 0, 0.95), (5, 10, 1.0)])
def test_refusals(n, resamples, level):
    with pytest.raises(ValueError):
        interval(lambda rows: 0.0, n, resamples, 0, level)
