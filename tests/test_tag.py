"""Tagging: that it learns words of several pieces, finds them in raw text, and reads long texts like short ones."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

import adverb
from adverb.bert.alignment import cut_words
from adverb.bert.checkpoint import load_pretrained, save_pretrained
from adverb.bert.config import BertConfig
from adverb.bert.heads import TokenClassifier
from adverb.data.records import Report
from adverb.data.tagged import Tagged
from adverb.metrics.details import Details
from adverb.pipelines import load
from adverb.pipelines.judging.tags import judge_tags
from adverb.pipelines.reader import Reader
from adverb.pipelines.scores import softmax
from adverb.pipelines.tagger import allowed, best_path, best_tags, scheme_of, word_logits
from adverb.pipelines.torch_model import TorchModel

PEOPLE = ["Ánna", "Björn", "Chlöé", "Dvořák", "Eilidh", "O'Hara"]
TOWNS = ["Łódź", "Zürich", "São Paulo", "New York", "Aix-en-Provence", "東京"]
FILLERS = ["met", "the", "quick-witted", "\u200b", "baker", "…", "near", "don't", "(very)", "late", ",", "éclair"]


def sentence(random: np.random.Generator, length: int) -> list[tuple[str, str]]:
    """Words and tags; what a word is decides its tag, so a label that is off by one can't be learned."""
    words = []
    while len(words) < length:
        kind = random.integers(4)
        if kind == 0:
            words.append((str(random.choice(PEOPLE)), "B-person"))
        elif kind == 1:
            parts = str(random.choice(TOWNS)).split()
            words += [(part, f"{'I' if i else 'B'}-town") for i, part in enumerate(parts)]
        else:
            words.append((str(random.choice(FILLERS)), "O"))
    return words


def write_conll(path, sentences) -> None:
    text = "\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in words) for words in sentences)
    path.write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, random = tmp_path_factory.mktemp("towns"), np.random.default_rng(0)
    write_conll(folder / "train.conll", [sentence(random, int(random.integers(3, 12))) for _ in range(300)])
    write_conll(folder / "dev.conll", [sentence(random, 8) for _ in range(40)])
    write_conll(folder / "test.conll", [sentence(random, 60) for _ in range(12)])  # longer than a row
    return folder


@pytest.fixture(scope="module")
def blank(blank_bert, data) -> str:
    """A small encoder that knows nothing, with a vocabulary so small that most words are of several pieces."""
    texts = [(data / "train.conll").read_text(encoding="utf-8")]
    return blank_bert(texts, 120, max_length=48, hidden_size=64, num_attention_heads=2, intermediate_size=128)


@pytest.fixture(scope="module")
def run(tmp_path_factory, data, blank):
    return adverb.train(
        "tag",
        {"path": str(data), "stride": 16},
        out=tmp_path_factory.mktemp("run") / "tag",
        model={"init": blank},
        train={"epochs": 12, "batch_size": 8, "evaluations": 2, "precision": "fp32", "compile": False},
        optim={"lr": 3e-3},
        evaluate={"resamples": 50},
    )


# -- it learns


def test_it_learns_words_of_many_pieces_in_texts_longer_than_a_row(run):
    (tested,) = [row for row in run.metrics() if "test/f1" in row]
    assert tested["test/f1"] > 0.97  # every fourth of the words is invisible or has an accent, a hyphen, a mark
    details = Details.read(run.samples)
    assert details.split == "test" and details.rows == 12
    assert details.intervals["f1"][0] <= tested["test/f1"] <= details.intervals["f1"][1]
    (table,) = details.tables
    assert [row[0] for row in table["rows"]] == ["person", "town"]


def test_raw_text_is_tagged_to_the_character(run):
    reader = load(run.path)
    text = "late\tBjörn met  Chl\u00f6\u00e9, \u200bnear New\u200b York (very)\nŁódź"
    found = [(e.type, e.text, text[e.start : e.end]) for e in reader.entities(text)]
    said = [("person", "Björn"), ("person", "Chl\u00f6\u00e9"), ("town", "New\u200b York"), ("town", "Łódź")]
    assert found == [(type_, part, part) for type_, part in said]
    assert all(0.5 < e.probability <= 1 for e in reader.entities(text))


def test_the_folder_says_how_to_read(run):
    facts = json.loads((run.best / "config.json").read_text())["adverb"]
    assert facts["scheme"] == "spans" and facts["max_length"] == 48 and facts["stride"] == 16
    assert facts["temperature"] == Details.read(run.samples).calibration["temperature"]


def test_an_answer_does_not_depend_on_its_neighbours(run, data):
    reader = load(run.path)
    texts = [" ".join(w for w, _ in sentence(np.random.default_rng(i), 5 + 9 * i)) for i in range(9)] + ["", "\u200b"]
    together = reader.entities(texts)
    for text, found in zip(texts, together, strict=True):
        for a, b in zip(reader.entities(text), found, strict=True):
            assert (a.type, a.start, a.end, a.text) == (b.type, b.start, b.end, b.text)
            assert a.probability == pytest.approx(b.probability, abs=2e-3)


# -- parts of speech: a tag a word, no spans


def test_tags_of_words_without_spans(tmp_path, blank):
    random = np.random.default_rng(1)
    sides = {"person": "NAME", "town": "NAME", "O": "OTHER"}
    rows = [[(word, sides[tag[2:] or "O"]) for word, tag in sentence(random, 8)] for _ in range(200)]
    write_conll(tmp_path / "train.conll", rows)
    run = adverb.train(
        "tag",
        tmp_path / "train.conll",
        out=tmp_path / "run",
        model={"init": blank},
        optim={"lr": 3e-3},
        train={"epochs": 12, "batch_size": 8, "evaluations": 1, "precision": "fp32", "compile": False},
        evaluate={"resamples": 20},
    )
    assert run.metrics()[-1]["eval/accuracy"] > 0.97
    found = load(run.path).entities("Björn met \u200b Eilidh")
    assert [(e.text, e.type) for e in found] == [("Björn", "NAME"), ("met", "OTHER"), ("Eilidh", "NAME")]
    assert Details.read(run.samples).confusion["labels"] == ["NAME", "OTHER"]


# -- decoding


def test_the_best_path_is_the_best_of_all_allowed_ones():
    labels = ["O", "B-a", "I-a", "B-b", "I-b"]
    follows, random = allowed(labels), np.random.default_rng(0)
    for _ in range(50):
        scores = np.log(random.dirichlet(np.ones(5) / 2, size=4))
        legal = [
            path
            for path in itertools.product(range(5), repeat=4)
            if all(follows[before, after] for before, after in zip((-1, *path), path, strict=False))
        ]
        best = max(legal, key=lambda path: sum(scores[i, label] for i, label in enumerate(path)))
        assert best_path(scores, follows).tolist() == list(best)
    assert len(legal) < 5**4 / 2


def test_what_may_follow_what():
    labels = ["O", "B-a", "I-a", "B-b", "I-b"]
    before = np.array([*labels, "the beginning"])
    follows = dict(zip(labels, allowed(labels).T, strict=True))
    assert set(before[follows["I-a"]]) == {"B-a", "I-a"}
    assert set(before[follows["B-b"]]) == set(before[follows["O"]]) == set(before)


def model_with(labels, **facts) -> TokenClassifier:
    config = BertConfig(vocab_size=10, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4)
    config.id2label, config.adverb = dict(enumerate(labels)), facts
    return TokenClassifier(config).eval()


def test_a_word_without_scores_is_passed_over():
    model = model_with(["O", "B-a", "I-a"], scheme="spans")
    scores = np.array([[0, 5, 0], [np.nan] * 3, [0, 0, 5], [5, 0, 0]], np.float32)
    ((tags, probabilities),) = best_tags(model, [scores])
    assert tags == ["B-a", "", "I-a", "O"]
    assert probabilities[0] == pytest.approx(np.exp(5) / (np.exp(5) + 2))
    assert best_tags(model, [scores[:0]])[0][0] == []


def test_models_of_others_keep_their_own_scheme():
    """IOB1 and IO begin spans with I-: only models trained here are bound to BIO2."""
    scores = np.array([[0, 1, 5], [5, 0, 0]], np.float32)
    assert best_tags(model_with(["O", "B-a", "I-a"]), [scores])[0][0] == ["I-a", "O"]
    assert best_tags(model_with(["O", "B-a", "I-a"], scheme="spans"), [scores])[0][0] == ["B-a", "O"]
    assert scheme_of(model_with(["O", "PER"])) == "spans" and scheme_of(model_with(["NOUN", "VERB"])) == "words"


# -- what is fitted on held-out texts


@pytest.mark.parametrize(("scheme", "labels"), [("words", ["NOUN", "VERB", "REST"]), ("spans", ["O", "B-a", "B-b"])])
def test_the_temperature_is_that_of_the_scores_and_mends_the_probabilities(blank, scheme, labels):
    """Tags drawn with the probabilities that a model gives: as it is it knows how sure it is, ten times louder not."""
    random, loaded = np.random.default_rng(0), load_pretrained(blank, "token_classification", labels)
    model, texts = (
        loaded.model.eval(),
        [" ".join(random.choice(["baker", "near", "late", "met"], 8)) for _ in range(200)],
    )
    model.config.adverb = {"scheme": scheme}
    torch.nn.init.normal_(model.classifier.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    words = [cut_words(text) for text in texts]
    logits = word_logits(TorchModel(model), loaded.tokenizer, texts, words)
    tags = [[labels[random.choice(3, p=softmax(word.astype(float)))] for word in scores] for scores in logits]
    data = Tagged("here", texts, words, tags, scheme, ["a", "b"], np.arange(200), report=Report("here"))
    temperatures = []
    for times in (1, 10):
        with torch.no_grad():
            model.classifier.weight.mul_(times), model.classifier.bias.mul_(times)
        reader = Reader(TorchModel(model), loaded.tokenizer)
        metrics, _ = judge_tags(reader, data, resamples=0, fit=True)
        temperatures.append(reader.facts["temperature"])
    assert temperatures[0] == pytest.approx(1, rel=0.15)
    assert temperatures[1] == pytest.approx(10 * temperatures[0], rel=0.02)
    assert metrics["ece_uncalibrated"] > 0.1 and metrics["ece"] < metrics["ece_uncalibrated"] / 2


# -- beside transformers


def test_scores_of_words_are_those_of_transformers(minilm, tmp_path):
    import transformers

    labels = ["O", "B-a", "I-a"]
    loaded = load_pretrained(minilm, "token_classification", labels)
    save_pretrained(loaded.model, loaded.tokenizer, tmp_path)
    words = "The New-York \u200b Philharmonic's José played antidisestablishmentarianism .".split(" ")
    text, places, position = " ".join(words), [], 0
    for word in words:
        places.append((position, position + len(word)))
        position += len(word) + 1
    (scores,) = word_logits(TorchModel(loaded.model), loaded.tokenizer, [text], [places])
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    theirs = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        logits = theirs(**encoded).logits[0].numpy()
    for word in range(len(words)):
        pieces = [i for i, of in enumerate(encoded.word_ids()) if of == word]
        if pieces:
            np.testing.assert_allclose(scores[word], logits[pieces[0]], atol=2e-5)
        else:
            assert np.isnan(scores[word]).all()
    assert np.isnan(scores[:, 0]).sum() == 1
