import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.metrics.entities import entity_counts, entity_metrics, entity_scores, per_type, spans_of

TAGS = ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "E-LOC", "S-LOC", "B-a-b", "I-a-b"]
BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


def sentences(tags):
    words = st.lists(st.tuples(st.sampled_from(tags), st.sampled_from(tags)), max_size=8)
    return st.lists(words, min_size=1, max_size=6)


@pytest.mark.parametrize("tags", [BIO, TAGS, [tag for tag in BIO if tag[0] != "B"]], ids=["BIO", "any", "IO"])
def test_equal_to_seqeval(tags):
    theirs = pytest.importorskip("seqeval.metrics")
    labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")

    @settings(deadline=None, max_examples=300)
    @given(sentences(tags))
    def check(pairs):
        true = [[gold for gold, _ in sentence] for sentence in pairs]
        said = [[answer for _, answer in sentence] for sentence in pairs]
        for sentence in true:
            expected = {(type_, start, end + 1) for type_, start, end in labelling.get_entities(sentence)}
            assert spans_of(sentence) == expected
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {
                "f1": theirs.f1_score(true, said, zero_division=0),
                "precision": theirs.precision_score(true, said, zero_division=0),
                "recall": theirs.recall_score(true, said, zero_division=0),
            }
            precision, recall, f1, there = labelling.precision_recall_fscore_support(true, said, zero_division=0)
        assert entity_metrics(true, said) == pytest.approx(expected, abs=1e-12)
        table = per_type(true, said)
        assert [row["type"] for row in table] == sorted({span[0] for s in true + said for span in spans_of(s)})
        for name, column in (("precision", precision), ("recall", recall), ("f1", f1), ("entities", there)):
            np.testing.assert_allclose([row[name] for row in table], column, atol=1e-12)

    check()


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("B-PER I-PER O B-LOC", {("PER", 0, 2), ("LOC", 3, 4)}),
        ("O I-PER I-PER O", {("PER", 1, 3)}),  # I- starts where there is nothing to continue
        ("B-PER B-PER", {("PER", 0, 1), ("PER", 1, 2)}),
        ("B-PER I-LOC I-LOC", {("PER", 0, 1), ("LOC", 1, 3)}),  # the type switches
        ("B-PER I-PER E-PER S-PER I-PER", {("PER", 0, 3), ("PER", 3, 4), ("PER", 4, 5)}),
        ("PER PER O LOC", {("PER", 0, 2), ("LOC", 3, 4)}),  # no prefixes
        ("B-a-b I-a-b", {("a-b", 0, 2)}),
        ("B I O", {("_", 0, 2)}),
        ("O O", set()),
        ("", set()),
    ],
)
def test_spans(tags, spans):
    assert spans_of(tags.split()) == spans


def test_sentences_are_not_joined():
    assert entity_metrics([["B-PER"], ["I-PER"]], [["B-PER"], ["I-PER"]])["f1"] == 1.0
    assert entity_counts([["B-PER"], ["I-PER"]], [["B-PER"], ["O"]]).tolist() == [[1, 1, 1], [0, 0, 1]]


def test_half_an_entity_is_none():
    assert entity_metrics([["B-PER", "I-PER"]], [["B-PER", "O"]])["f1"] == 0.0


@pytest.mark.parametrize(("true", "said"), [([], []), ([["O"]], [["O"]]), ([["B-x"]], [["O"]]), ([["O"]], [["B-x"]])])
def test_nothing_to_find_or_nothing_said(true, said):
    assert entity_metrics(true, said) == {"f1": 0.0, "precision": 0.0, "recall": 0.0}


def test_counts_of_sentences_add_up():
    true, said = [["B-x", "O"], ["B-y", "I-y"]] * 3, [["B-x", "B-x"], ["B-y", "O"]] * 3
    assert entity_scores(entity_counts(true, said).sum(axis=0)) == entity_metrics(true, said)
    assert entity_metrics(true, said) == pytest.approx({"f1": 0.4, "precision": 1 / 3, "recall": 0.5})


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="sentence 1 has 2 words"):
        entity_metrics([["O"], ["O", "O"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="1 tagged sentences, 2"):
        entity_metrics([["O"]], [["O"], ["O"]])
