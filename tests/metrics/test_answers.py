import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.metrics.answers import answer_scores, exact, f1, normalise, squad_metrics

WORDS = ["the", "The", "a", "an", "cat", "Cat.", "dog", "dogs", "café", "cafe\u0301", "ſ", "İ", "«a»", "—", "?", "!"]
WORDS += ["'s", "1,000", "\u00a0", "\t", "\u2003", "the_cat", "ﬁ", "x-ray"]
texts = st.one_of(st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join), st.text(max_size=8))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat!", "cat"),
        ("a-n", ""),  # punctuation goes first, and leaves an article
        ("an A the", ""),
        ("Theatre, anteater", "theatre anteater"),
        ("the_cat", "thecat"),
        ("«the» — cat", "« » — cat"),  # only ASCII punctuation goes
        ("U.S. dollars\u00a0(1,000)\n", "us dollars 1000"),
        ("CAFÉ", "café"),
        ("", ""),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("prediction", "truth", "both"),
    [
        ("the Denver Broncos", "Denver Broncos.", (1, 1)),
        ("Broncos of Denver", "Denver Broncos", (0, 0.8)),
        ("to be to be", "to be or not", (0, 0.5)),
        ("Carolina", "Denver", (0, 0)),
        ("", "Denver", (0, 0)),
        ("the", "?", (1, 1)),
    ],
)
def test_one_answer(prediction, truth, both):
    assert (exact(prediction, truth), f1(prediction, truth)) == pytest.approx(both)


@settings(deadline=None)
@given(texts, texts)
def test_scores_are_symmetric_shares(a, b):
    assert 0 <= f1(a, b) == f1(b, a) <= 1
    assert exact(a, b) == exact(b, a) <= f1(a, b) + 1e-12
    assert exact(a, a) == f1(a, a) == 1


V1 = {"exact": 62.0, "f1": 56.0507936508, "total": 300}
V2 = {
    "exact": 42.3333333333,
    "f1": 44.5071428571,
    "total": 300,
    "HasAns_exact": 55.421686747,
    "HasAns_f1": 59.3502581756,
    "HasAns_total": 166,
    "NoAns_exact": 26.1194029851,
    "NoAns_f1": 26.1194029851,
    "NoAns_total": 134,
    "best_exact": 66.0,
    "best_exact_thresh": 0.4,
    "best_f1": 67.8619047619,
    "best_f1_thresh": 0.4,
}


def questions(impossible: bool):
    """300 questions with up to three truths each, answers that are often nearly right, and doubts."""
    draw = random.Random(20)
    words = WORDS + 4 * ["red", "house", "seven", "of"]
    predictions, references, doubts = {}, {}, {}
    for number in range(300):
        truths = [" ".join(draw.choices(words, k=draw.randint(1, 4))) for _ in range(draw.randint(1, 3))]
        if impossible and draw.random() < 0.4:
            truths = []
        said = draw.choice(truths) if truths and draw.random() < 0.7 else " ".join(draw.choices(words, k=3))
        said = "" if draw.random() < 0.2 else said.upper() if draw.random() < 0.3 else said
        name = f"q{number}"
        predictions[name], references[name], doubts[name] = (
            said,
            truths,
            round(0.6 * draw.random() + 0.4 * (not truths), 2),
        )
    return predictions, references, doubts


def test_equal_to_the_official_script_of_v1():
    """What the script printed of these questions."""
    predictions, references, _ = questions(impossible=False)
    del predictions["q7"], predictions["q8"]
    metrics = squad_metrics(predictions, references)
    assert metrics == pytest.approx(V1, abs=1e-9)


def test_equal_to_the_official_script_of_v2():
    """What the script printed of these questions."""
    predictions, references, doubts = questions(impossible=True)
    metrics = squad_metrics(predictions, references, doubts)
    assert metrics == pytest.approx(V2, abs=1e-9)
    without = squad_metrics(predictions, references)
    assert without == {name: value for name, value in metrics.items() if not name.startswith("best")}


def test_equal_to_the_copy_in_transformers():
    theirs = pytest.importorskip("transformers.data.metrics.squad_metrics")  # up to transformers 4

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(
            st.tuples(texts, st.lists(texts, max_size=3), st.sampled_from([0.0, 0.3, 0.7, 1.0])), min_size=1, max_size=8
        )
    )
    def check(rows):
        rows.append(("", [], 5))
        names = [str(number) for number in range(len(rows))]
        predictions, references, doubts = (dict(zip(names, column, strict=True)) for column in zip(*rows, strict=True))
        examples = [SimpleNamespace(qas_id=n, answers=[{"text": t} for t in references[n]]) for n in names]
        expected = theirs.squad_evaluate(examples, predictions, doubts)
        metrics = squad_metrics(predictions, references, doubts)
        assert {name: expected[name] for name in metrics} == pytest.approx(metrics, abs=1e-9)

    check()


def test_the_best_threshold_gives_the_best_score():
    """Answering only questions with a doubt up to the threshold scores what was promised."""
    predictions, references, doubts = questions(impossible=True)
    doubts = {name: number / 300 for number, name in enumerate(sorted(doubts, key=lambda n: (doubts[n], n)))}  # no ties
    metrics = squad_metrics(predictions, references, doubts)
    for name in ("exact", "f1"):
        limit = metrics[f"best_{name}_thresh"]
        kept = {k: text if doubts[k] <= limit else "" for k, text in predictions.items()}
        assert squad_metrics(kept, references)[name] >= metrics[f"best_{name}"] - 1e-9
        assert metrics[f"best_{name}"] > metrics[name]


def test_truths_without_a_word():
    """v1.1 gives no F1 for them; v2.0, which has impossible questions, takes them for no answer."""
    assert answer_scores({"q": "a"}, {"q": ["The"]}) == {"q": (1.0, 0.0)}
    assert answer_scores({"q": "a", "r": ""}, {"q": ["The"], "r": []}) == {"q": (1.0, 1.0), "r": (1.0, 1.0)}


def test_only_impossible_questions():
    metrics = squad_metrics({"q": "", "r": "cat"}, {"q": [], "r": []}, {"q": 1.0, "r": 0.0})
    assert metrics["exact"] == metrics["NoAns_f1"] == 50
    assert metrics["best_exact"] == 100 and "HasAns_exact" not in metrics


def test_no_questions():
    assert squad_metrics({}, {}) == {"exact": 0.0, "f1": 0.0, "total": 0}
