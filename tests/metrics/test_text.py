"""BLEU and self-BLEU against nltk, as Texygen calls it; copied n-grams by hand."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest

from adverb.metrics.text import all_ngrams, bleu, copied_share, self_bleu, words


@pytest.fixture(scope="module")
def questions(shared_data):
    path = shared_data / "trec" / "train.tsv"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with open(path, encoding="utf-8") as file:
        return [words(row["text"]) for row in csv.DictReader(file, delimiter="\t")]


def nltk_bleu(texts, references_of):
    score = pytest.importorskip("nltk.translate.bleu_score")
    smooth = score.SmoothingFunction().method1
    return np.mean([score.sentence_bleu(references_of(i), text, smoothing_function=smooth)
                    for i, text in enumerate(texts)])  # fmt: skip


def test_bleu_equals_nltk(questions):
    texts, references = questions[:60], questions[1000:1200]
    texts = [*texts, ["what"], ["zzz", "yyy"], ["what"] * 9, questions[0][:3]]
    assert bleu(texts, references) == pytest.approx(nltk_bleu(texts, lambda i: references), abs=1e-12)


def test_self_bleu_equals_nltk(questions):
    texts = [*questions[:50], questions[3], ["what"] * 4, ["what"] * 7]
    expected = nltk_bleu(texts, lambda i: texts[:i] + texts[i + 1 :])
    assert self_bleu(texts) == pytest.approx(expected, abs=1e-12)
    assert self_bleu([questions[0]] * 5) == pytest.approx(1.0)


def test_copied_ngrams_are_counted_with_repetition():
    known = all_ngrams([words("Who wrote the first English novel?")])
    assert len(known) == 4
    copied = words("Who wrote the first play?")
    assert copied_share([copied], known) == pytest.approx(1 / 3)
    assert copied_share([copied, words("who wrote the first")], known) == pytest.approx(2 / 4)
    assert copied_share([words("Who wrote it?")], known) == 0.0
    assert math.isnan(copied_share([["who"]], known))


def test_words_keep_punctuation_apart():
    assert words("What's a 1/2 dog-house?") == ["what", "'", "s", "a", "1", "/", "2", "dog", "-", "house", "?"]
