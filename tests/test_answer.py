"""Answers: that it learns to find them, says when there is none, and reads long passages like short ones."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

import adverb
from adverb import recipe
from adverb.bert.checkpoint import load_pretrained, save_pretrained
from adverb.context import Context
from adverb.data.records import Report
from adverb.data.squad import Questions
from adverb.metrics.details import Details
from adverb.objectives import build
from adverb.pipelines import load
from adverb.pipelines.answerer import Answer, Candidates, best_spans, choose, find_candidates
from adverb.pipelines.judging import answers
from adverb.pipelines.judging.answers import best_threshold, fitted_temperature, judge_answers
from adverb.pipelines.torch_model import TorchModel

KINDS = {
    "colour": ["bleu-vert", "crème", "O'Henry's red", "ultramarine"],
    "animal": ["Żubr", "polar bear", "dog", "東京 cat"],
    "town": ["Łódź", "New York", "São Paulo", "Ulm"],
}
FILLERS = ["met", "the", "quick-witted", "\u200b", "baker", "…", "near", "don't", "(very)", "late", ",", "éclair"]


def passage(random: np.random.Generator, length: int, kinds: list[str]) -> tuple[str, dict[str, tuple[str, int]]]:
    """Words with one thing of each of the kinds among them, and where these are."""
    words = random.choice(FILLERS, size=length).tolist()
    for kind in kinds:
        words.insert(int(random.integers(len(words))), (kind, str(random.choice(KINDS[kind]))))
    text, places = "", {}
    for word in words:
        if isinstance(word, tuple):
            places[word[0]] = (word[1], len(text))
            word = word[1]
        text += f"{word} "
    return text, places


def write_squad(path, seed: int, count: int, length: int, impossible: bool) -> None:
    random, paragraphs = np.random.default_rng(seed), []
    for number in range(count):
        kinds = random.permutation(list(KINDS)).tolist()
        text, places = passage(random, length, kinds[:2] if impossible else kinds)
        qas = []
        for kind in kinds:
            qa = {"id": f"{number}{kind}", "question": f"Which {kind}?"}
            text_and_start = places.get(kind)
            qa["answers"] = [dict(zip(("text", "answer_start"), text_and_start, strict=True))] if text_and_start else []
            qas.append(qa | ({"is_impossible": not text_and_start} if impossible else {}))
        paragraphs.append({"context": text, "qas": qas})
    path.write_text(json.dumps({"data": [{"title": "", "paragraphs": paragraphs}]}), encoding="utf-8")


@pytest.fixture(scope="module", params=[False, True], ids=["v1", "v2"])
def data(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("squad")
    for name, seed, count, length in (("train", 0, 250, 12), ("dev", 1, 20, 12), ("test", 2, 12, 60)):
        write_squad(folder / f"{name}.json", seed, count, length, request.param)
    return folder


@pytest.fixture(scope="module")
def blank(blank_bert) -> str:
    """A small encoder that knows nothing, with a vocabulary so small that answers are of many pieces."""
    words = [*FILLERS, *KINDS, "Which", "?", *(thing for things in KINDS.values() for thing in things)]
    sizes = dict(hidden_size=64, num_attention_heads=2, intermediate_size=128)
    return blank_bert([" ".join(words)] * 3, 110, max_length=72, **sizes)


@pytest.fixture(scope="module")
def run(tmp_path_factory, data, blank):
    return adverb.train(
        "answer", {"path": str(data), "stride": 30}, out=tmp_path_factory.mktemp("run") / "answer",
        model={"init": blank}, train={"epochs": 8, "evaluations": 2, "precision": "fp32", "compile": False},
        optim={"lr": 3e-3}, evaluate={"resamples": 50},
    )  # fmt: skip


def impossible(run) -> bool:
    return "null_threshold" in json.loads((run.best / "config.json").read_text())["adverb"]


# -- it learns


def test_it_learns_to_answer_about_passages_longer_than_a_row(run):
    (tested,) = [row for row in run.metrics() if "test/f1" in row]
    assert tested["test/exact"] > 90  # a third of the words are invisible or have an accent, a hyphen, a mark
    assert ("test/NoAns_exact" in tested) == impossible(run)
    details = Details.read(run.samples)
    assert details.intervals["exact"][0] <= tested["test/exact"] <= details.intervals["exact"][1]
    assert details.tables[0]["rows"][0][0] == "which"


def test_answers_are_found_to_the_character(run):
    reader = load(run.path)
    text = "late,\tthe  (very) Żubr met\u200b … the S\u00e3o Paulo\nbaker "
    kinds = ["animal", "town"]
    for kind, wanted in zip(kinds, ["Żubr", "S\u00e3o Paulo"], strict=True):
        answers = reader.answer(f"Which {kind}?", text, n_best=3)
        assert answers[0].text == wanted and len(answers) == 3
        assert all(text[answer.start : answer.end] == answer.text for answer in answers)
        assert 0.4 < answers[0].probability <= 1
    nothing = reader.answer("Which colour?", text, n_best=3)
    assert (nothing[0].text == "") == impossible(run)


def test_an_answer_does_not_depend_on_its_neighbours(run):
    reader, random = load(run.path), np.random.default_rng(5)
    texts = [passage(random, 4 + 13 * i, ["town", "animal"])[0] for i in range(7)] + ["", "\u200b"]
    together = reader.answer(["Which town?"] * len(texts), texts)
    for text, found in zip(texts, together, strict=True):
        alone = reader.answer("Which town?", text)
        assert (alone[0].text, alone[0].start) == (found[0].text, found[0].start)
        assert alone[0].probability == pytest.approx(found[0].probability, abs=2e-3)
    assert together[-1] == [Answer("", 0, 0, 1.0)]


# -- choosing


def test_the_best_spans_are_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    starts, ends = torch.randn(2, 3, 17, generator=generator)
    may_start, may_end = torch.rand(2, 3, 17, generator=generator) < 0.6
    scores, i, j = best_spans(*(x.numpy() for x in (starts, ends, may_start, may_end)), count=6, longest=5)
    for row in range(3):
        legal = {
            (a, b): (starts[row, a] + ends[row, b]).item()
            for a in range(17) for b in range(a, min(a + 5, 17)) if may_start[row, a] and may_end[row, b]
        }  # fmt: skip
        best = sorted(legal, key=legal.get, reverse=True)[:6]
        assert list(zip(i[row].tolist(), j[row].tolist(), strict=True)) == best
        assert scores[row].tolist() == pytest.approx([legal[span] for span in best])


def test_probabilities_and_the_place_of_no_answer():
    context, found = "red green blue", Candidates({(0, 3): 3.0, (4, 9): 2.0, (10, 14): 0.0}, none=2.5)
    everything = np.exp([3.0, 2.0, 0.0, 2.5])
    share = everything / everything.sum()
    always = choose(found, context, 5, None)
    assert [answer.text for answer in always] == ["red", "green", "blue"]
    assert [answer.probability for answer in always] == pytest.approx(share[:3].tolist())
    assert found.no_answer == pytest.approx(1 / (1 + np.exp(0.5)))
    assert [answer.text for answer in choose(found, context, 5, 0.5)] == ["red", "", "green", "blue"]
    assert [answer.text for answer in choose(found, context, 2, 0.3)] == ["", "red"]
    assert choose(found, context, 1, 0.3)[0].probability == pytest.approx(share[3])
    warm = choose(found, context, 1, None, temperature=2.0)[0].probability
    assert warm == pytest.approx(np.exp(1.5) / np.exp(np.array([1.5, 1, 0, 1.25])).sum())


# -- what is fitted on held-out questions

CONTEXT = "ab cd ef gh"


def honest(count: int, scale: float = 1.0) -> tuple[list[Candidates], list[list[str]], list[str]]:
    """Four spans and none, and truths drawn with the probabilities that the scores over `scale` give."""
    random, words = np.random.default_rng(0), CONTEXT.split()
    found, truths = [], []
    for scores in 2 * random.normal(size=(count, 5)):
        chances = np.exp(scores) / np.exp(scores).sum()
        order = np.argsort(-scores[:4]).tolist()
        found.append(Candidates({(3 * i, 3 * i + 2): scale * scores[i] for i in order}, none=scale * scores[4]))
        truths.append([[word] for word in words][true] if (true := random.choice(5, p=chances)) < 4 else [])
    return found, truths, [CONTEXT] * count


def test_the_temperature_is_that_of_the_scores():
    """However few the candidates are; short passages have no more."""
    assert fitted_temperature(*honest(1500)) == pytest.approx(1, rel=0.1)
    assert fitted_temperature(*honest(1500, 4.0)) == pytest.approx(4 * fitted_temperature(*honest(1500)), rel=1e-3)


def test_questions_without_an_answer_count():
    """Three of five have none, of which a model is as sure as a score of 1 more says."""
    found, truths = [Candidates({(0, 2): 0.0}, none=1.0)] * 500, ([[]] * 3 + [["ab"]] * 2) * 100
    assert fitted_temperature(found, truths, [CONTEXT] * 500) == pytest.approx(1 / np.log(3 / 2), rel=0.02)


@pytest.mark.parametrize(("answered", "not_answered"), [((-6, -4), (-2, -1)), ((1, 2), (4, 6))])
def test_the_threshold_lies_between_what_is_answered_and_what_is_not(answered, not_answered):
    """Wherever that is: by how much `none` is above the best span."""
    above = [*np.linspace(*answered, 20), *np.linspace(*not_answered, 20)]
    found = [Candidates({(0, 2): 3.0, (3, 5): 1.0}, none=3.0 + x) for x in above]
    threshold = best_threshold(found, [["ab"]] * 20 + [[]] * 20, [CONTEXT] * 40)
    assert 1 / (1 + np.exp(-answered[1])) <= threshold < 1 / (1 + np.exp(-not_answered[0]))
    said = [choose(each, CONTEXT, 1, threshold)[0].text for each in found]
    assert said == ["ab"] * 20 + [""] * 20


def test_what_was_fitted_is_noted_and_mends_the_probabilities(monkeypatch):
    found, truths, _ = honest(800, 4.0)
    monkeypatch.setattr(answers, "find_candidates", lambda *_: found)
    data = Questions(
        "here", [str(i) for i in range(800)], ["?"] * 800, [CONTEXT], np.zeros(800, np.int64),
        [[(text, CONTEXT.index(text)) for text in texts] for texts in truths], report=Report("here"),
    )  # fmt: skip
    facts = {"null_threshold": 0.99}
    reader = SimpleNamespace(model=SimpleNamespace(deciding=lambda: None), tokenizer=None, facts=facts)
    before, _ = judge_answers(reader, data, resamples=0)
    assert facts == {"null_threshold": 0.99} and before["ece"] == before["ece_uncalibrated"]
    after, _ = judge_answers(reader, data, resamples=0, fit=True)
    assert facts["temperature"] == pytest.approx(4, rel=0.15) and after["ece"] < after["ece_uncalibrated"] / 2
    assert 0.2 < facts["null_threshold"] < 0.8
    assert after["f1"] == pytest.approx(after["best_f1"]) and after["f1"] > before["f1"]


# -- beside transformers


def test_loss_and_scores_are_those_of_transformers(minilm, tmp_path):
    import transformers

    context, questions = "The Zürich \u200b Philharmonic's José plays in New York.", ["Who plays?", "Where?"]
    loaded = load_pretrained(minilm, "question_answering")
    save_pretrained(loaded.model, loaded.tokenizer, tmp_path / "model")
    answers = ["José", "New York"]
    qas = [{"id": q, "question": q, "answers": [{"text": a, "answer_start": context.index(a)}]}
           for q, a in zip(questions, answers, strict=True)]  # fmt: skip
    squad = {"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}
    (tmp_path / "train.json").write_text(json.dumps(squad))
    (tmp_path / "dev.json").write_text(json.dumps(squad))
    made = {"data.path": str(tmp_path), "model.init": str(tmp_path / "model"), "train.compile": False}
    objective = build(recipe.load("answer", made), Context(torch.device("cpu")), Console(quiet=True))
    model = objective.networks["model"].eval()

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path / "model").eval()
    encoded = tokenizer(questions, [context] * 2, return_tensors="pt", padding=True)
    starts = [encoded.char_to_token(i, context.index(a), 1) for i, a in enumerate(answers)]
    ends = [encoded.char_to_token(i, context.index(a) + len(a) - 1, 1) for i, a in enumerate(answers)]
    with torch.no_grad():
        said = theirs(**encoded)
        losses = [
            theirs(**tokenizer(q, context, return_tensors="pt"), start_positions=torch.tensor([s]),
                   end_positions=torch.tensor([e])).loss
            for q, s, e in zip(questions, starts, ends, strict=True)
        ]  # fmt: skip
        loss = objective.row_loss(model, objective.collate(objective.rows))
    assert [(row["start"], row["end"]) for row in objective.rows] == list(zip(starts, ends, strict=True))
    assert loss.item() == pytest.approx(torch.stack(losses).mean().item(), abs=2e-5)
    for row, found in enumerate(find_candidates(TorchModel(model), objective.tokenizer, questions, [context] * 2)):
        words, side = encoded.word_ids(row), encoded.sequence_ids(row)
        inside = [i for i, which in enumerate(side) if which == 1]
        begin, finish = ([i for i in inside if words[i] != words[i + step]] for step in (-1, 1))
        best = max(
            (said.start_logits[row, a] + said.end_logits[row, b]).item() for a in begin for b in finish if a <= b
        )
        assert next(iter(found.spans.values())) == pytest.approx(best, abs=2e-5)
        assert found.none == pytest.approx((said.start_logits[row, 0] + said.end_logits[row, 0]).item(), abs=2e-5)
