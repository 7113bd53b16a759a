import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from adverb.metrics.calibration import TEMPERATURES, ece, fit_temperature, reliability


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def likelihood_loss(logits, targets, kind):
    if kind == "single":
        return -np.log(softmax(logits)[np.arange(len(targets)), targets]).mean()
    return -np.where(targets == 1, np.log(sigmoid(logits)), np.log(sigmoid(-logits))).mean()


def honest(kind, rows=4000, classes=4):
    """Logits whose probabilities are the ones that the targets are drawn from."""
    random = np.random.default_rng(1)
    logits = 2 * random.normal(size=(rows, classes))
    if kind == "single":
        return logits, (softmax(logits).cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1)
    return logits, (random.random((rows, classes)) < sigmoid(logits)).astype(np.float32)


def test_ece_by_hand():
    """Two bins: 0.9 said of three rows of which two are right, 0.6 of two that are both right."""
    high = np.array([0.9, 0.9, 0.9, 0.6, 0.6])
    probabilities, targets = np.stack([high, 1 - high], axis=1), np.array([0, 0, 1, 0, 0])
    assert ece(probabilities, targets) == pytest.approx(3 / 5 * (0.9 - 2 / 3) + 2 / 5 * (1 - 0.6))
    assert [row["count"] for row in reliability(probabilities, targets)] == [2, 3]


@settings(deadline=None)
@given(st.data(), st.integers(1, 40), st.integers(1, 20))
def test_ece_is_the_sum_over_the_bins(data, n, bins):
    high = data.draw(arrays(np.float64, n, elements=st.floats(0.5, 1)))
    targets = data.draw(arrays(np.int64, n, elements=st.integers(0, 1)))
    probabilities = np.stack([high, 1 - high], axis=1)
    expected = 0.0
    for i in range(bins):
        inside = np.array([i < c * bins <= i + 1 for c in probabilities.max(axis=1)])
        if inside.any():
            right = probabilities[inside].argmax(axis=1) == targets[inside]
            expected += inside.mean() * abs(right.mean() - probabilities[inside].max(axis=1).mean())
    assert ece(probabilities, targets, bins) == pytest.approx(expected, abs=1e-12)
    assert sum(row["count"] for row in reliability(probabilities, targets, bins)) == n


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_honest_probabilities_have_no_error(kind):
    logits, targets = honest(kind)
    probabilities = softmax(logits) if kind == "single" else sigmoid(logits)
    assert ece(probabilities, targets) < 0.03
    boasting = softmax(3 * logits) if kind == "single" else sigmoid(3 * logits)
    assert ece(boasting, targets) > 0.08


def test_certainty_and_impossibility_have_a_bin():
    rows = reliability(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]))
    assert [(row["low"], row["high"], row["accuracy"]) for row in rows] == [(0, 1 / 15, 0), (14 / 15, 1, 1)]
    edge = reliability(np.array([[0.5, 0.5], [0.75, 0.25]]), np.array([0, 0]), bins=2)
    assert [row["count"] for row in edge] == [1, 1]  # a bin ends with its upper end
    assert ece(np.zeros((0, 2)), np.zeros(0, dtype=np.int64)) == 0


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_is_the_most_likely_one(kind, scale):
    logits, targets = honest(kind)
    logits = scale * logits
    temperature = fit_temperature(logits, targets, kind)
    assert temperature == pytest.approx(scale, rel=0.08)
    best = min(likelihood_loss(logits / t, targets, kind) for t in scale * np.linspace(0.8, 1.2, 81))
    assert likelihood_loss(logits / temperature, targets, kind) <= best + 1e-4


def test_classes_that_a_row_has_not_do_not_count():
    logits, targets = honest("single")
    fewer = np.concatenate([3 * logits, np.full((len(logits), 9), -np.inf)], axis=1)
    assert fit_temperature(fewer, targets, "single") == pytest.approx(fit_temperature(3 * logits, targets, "single"))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(["single", "multi"]), st.integers(1, 12))
def test_never_less_likely_than_without(data, kind, n):
    logits = data.draw(arrays(np.float64, (n, 3), elements=st.floats(-30, 30)))
    if kind == "single":
        targets = data.draw(arrays(np.int64, n, elements=st.integers(0, 2)))
    else:
        targets = data.draw(arrays(np.float32, (n, 3), elements=st.sampled_from([0.0, 1.0])))
    temperature = fit_temperature(logits, targets, kind)
    assert TEMPERATURES[0] <= temperature <= TEMPERATURES[1]
    assert likelihood_loss(logits / temperature, targets, kind) <= likelihood_loss(logits, targets, kind) + 1e-12


@pytest.mark.parametrize("kind", ["single", "multi"])
@pytest.mark.parametrize("gap", [0.1, 1.0, 5.0])
def test_all_right_does_not_make_it_certain(kind, gap):
    """A thousand right answers allow about one wrong in a thousand, not none in a million."""
    targets = np.arange(1000) % 2
    logits = gap * (2 * np.eye(2)[targets] - 1)
    temperature = fit_temperature(logits, targets if kind == "single" else np.eye(2)[targets], kind)
    probabilities = softmax if kind == "single" else sigmoid
    assert probabilities(logits / temperature).max() <= max(0.9999, probabilities(logits).max())
    assert temperature < 1 or probabilities(logits).max() > 0.9999


def test_what_has_no_temperature():
    nothing = np.zeros((0, 3)), np.zeros(0, dtype=np.int64)
    assert fit_temperature(*nothing, "single") == 1.0
    assert fit_temperature(np.array([[3.0]]), np.array([1.0]), "regression") == 1.0
    assert fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]), "single") == 1.0
    assert fit_temperature(np.zeros((5, 3)), np.zeros(5, dtype=np.int64), "single") == 1.0


def test_float32_logits_are_enough():
    logits, targets = honest("single")
    assert fit_temperature(logits.astype(np.float32), targets, "single") == pytest.approx(
        fit_temperature(logits, targets, "single"), rel=1e-4
    )
