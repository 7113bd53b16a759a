import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as reference

from adverb.metrics.labels import classification_metrics, confusion, per_class

rows = st.integers(1, 30)
pytestmark = pytest.mark.filterwarnings("ignore:A single label")


def one_hot(answers, classes):
    return np.eye(classes)[answers]


@settings(deadline=None)
@given(st.data(), rows, st.integers(2, 6))
def test_single_equals_sklearn(data, n, classes):
    classes_of_rows = arrays(np.int64, n, elements=st.integers(0, classes - 1))
    targets, answers = data.draw(classes_of_rows), data.draw(classes_of_rows)
    ours = classification_metrics(targets, one_hot(answers, classes), "single")
    assert ours == pytest.approx(
        {
            "accuracy": reference.accuracy_score(targets, answers),
            "macro_f1": reference.f1_score(targets, answers, average="macro", zero_division=0),
            "mcc": reference.matthews_corrcoef(targets, answers),
        },
        abs=1e-12,
    )
    counts = confusion(targets, answers, classes)
    assert counts.dtype == np.int64
    assert (counts == reference.confusion_matrix(targets, answers, labels=range(classes))).all()


@settings(deadline=None)
@given(st.data(), rows, st.integers(2, 5))
def test_multi_equals_sklearn(data, n, classes):
    targets = data.draw(arrays(np.float32, (n, classes), elements=st.sampled_from([0.0, 1.0])))
    probabilities = data.draw(arrays(np.float32, (n, classes), elements=st.floats(0, 1, width=32)))
    answers = probabilities >= 0.5
    assert classification_metrics(targets, probabilities, "multi") == pytest.approx(
        {
            "micro_f1": reference.f1_score(targets, answers, average="micro", zero_division=0),
            "macro_f1": reference.f1_score(targets, answers, average="macro", zero_division=0),
            "subset_accuracy": (targets.astype(bool) == answers).all(axis=1).mean(),
        },
        abs=1e-12,
    )


@settings(deadline=None)
@given(st.data(), st.integers(2, 30))
def test_regression_equals_scipy(data, n):
    values = arrays(np.float64, n, elements=st.integers(-8, 8).map(lambda v: v / 4))  # with ties
    targets, answers = data.draw(values), data.draw(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        pearson, spearman = stats.pearsonr(targets, answers)[0], stats.spearmanr(targets, answers)[0]
    ours = classification_metrics(targets, answers[:, None], "regression")
    assert ours["pearson"] == pytest.approx(np.nan_to_num(pearson), abs=1e-9)
    assert ours["spearman"] == pytest.approx(np.nan_to_num(spearman), abs=1e-9)
    assert ours["rmse"] == pytest.approx(reference.root_mean_squared_error(targets, answers))


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_per_class_equals_sklearn(kind):
    random = np.random.default_rng(0)
    probabilities = random.random((200, 7)) * (0, 1, 1, 1, 1, 1, 1)  # class 0 is never said
    if kind == "single":
        targets = random.integers(6, size=200)  # class 6 is never true
        answers = probabilities.argmax(axis=1)
    else:
        targets = (random.random((200, 7)) < 0.3).astype(np.float32) * (1, 1, 1, 1, 1, 1, 0)
        answers = probabilities >= 0.5
    table = per_class(targets, probabilities, kind, list("abcdefg"))
    theirs = reference.precision_recall_fscore_support(targets, answers, labels=range(7), zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "rows"), theirs, strict=True):
        np.testing.assert_allclose([row[name] for row in table], column, atol=1e-12)
    assert [row["label"] for row in table] == list("abcdefg")
    assert table[0]["said"] == 0 and table[6]["rows"] == 0 and table[6]["said"] > 0


def test_one_class_only():
    targets = np.zeros(5, dtype=np.int64)
    assert classification_metrics(targets, one_hot(targets, 3), "single") == {
        "accuracy": 1.0,
        "macro_f1": 1.0,
        "mcc": 0.0,
    }


def test_a_constant_prediction_correlates_with_nothing():
    constant = np.full(7, 0.1)  # its mean is not exactly 0.1
    scores = classification_metrics(np.arange(7.0), constant, "regression")
    assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)


def test_nothing_there_and_nothing_said():
    nothing = np.zeros((3, 2))
    assert classification_metrics(nothing, nothing, "multi") == {
        "micro_f1": 0.0,
        "macro_f1": 0.0,
        "subset_accuracy": 1.0,
    }


@pytest.mark.parametrize("kind", ["single", "multi", "regression", "ranking"])
def test_refusals(kind):
    with pytest.raises(ValueError):
        classification_metrics(np.zeros(0, dtype=np.int64), np.zeros((0, 2)), kind)
    with pytest.raises(ValueError):
        classification_metrics(np.zeros(2, dtype=np.int64), np.zeros((3, 2)), kind)


def test_values_are_plain_numbers():
    targets = np.array([0, 1, 1])
    values = classification_metrics(targets, one_hot(targets, 2), "single").values()
    assert {type(value) for value in values} == {float}
