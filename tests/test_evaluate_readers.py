"""Measuring readers: what a run said of itself, and what anybody can count from the answers."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from adverb.errors import UserError
from adverb.pipelines import load
from adverb.pipelines.evaluate import evaluate
from adverb.run import Run
from test_stream import rows_of, small_model, write_csv

LABELS = ("bad", "good")


def measure(model, data=None, **options) -> tuple[dict[str, float], str]:
    said = io.StringIO()
    found = evaluate(str(model), None if data is None else str(data), console=Console(file=said, width=160), **options)
    return found, said.getvalue()


def labelled(path: Path, texts: list[str], labels: list[str]) -> Path:
    path.write_text("text,label\n" + "".join(f"{t},{label}\n" for t, label in zip(texts, labels, strict=True)))
    return path


# -- classes


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A classifier, trained for some steps by the shipped recipe, with a test set beside its training set."""
    from adverb import training

    folder = tmp_path_factory.mktemp("classify")
    for part, n, start in (("train", 120, 0), ("valid", 40, 200), ("test", 60, 300)):
        texts = rows_of(n, start)
        labelled(folder / f"{part}.csv", texts, [LABELS["cat" in text or "dog" in text] for text in texts])
    small_model(folder / "init", "masked_lm", None)
    settings = [
        "train.steps=6",
        "train.epochs=null",
        "train.evaluations=1",
        "train.precision=fp32",
        "evaluate.resamples=20",
    ]
    settings += [f"model.init={folder / 'init'}", "train.batch_size=16"]
    training.start("classify", settings, data=str(folder / "train.csv"), out=folder / "run", resume=False,
                   console=Console(quiet=True))  # fmt: skip
    return folder / "run"


def test_a_run_is_measured_as_it_measured_itself(run, tmp_path):
    logged = {k.removeprefix("test/"): v for row in Run(run).metrics() for k, v in row.items() if k.startswith("test/")}
    found, said = measure(run, out=tmp_path / "found.json")
    assert {"accuracy", "macro_f1", "ece"} <= logged.keys() & found.keys()
    for name in logged.keys() & found.keys():
        assert found[name] == pytest.approx(logged[name], abs=1e-6), name
    assert "test.csv: 60 rows" in said and "Classes" in said and "macro f1" in said
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["accuracy"] == found["accuracy"] and sum(map(sum, written["details"]["confusion"]["counts"])) == 60
    low, high = written["details"]["intervals"]["accuracy"]
    assert low <= found["accuracy"] <= high


def test_other_data_is_counted_from_the_answers(run, tmp_path):
    texts = rows_of(50, start=700)
    truth = [LABELS[i % 3 == 0] for i in range(50)]
    answers = [classes[0][0] for classes in load(run).classify(texts)]
    found, _ = measure(run, labelled(tmp_path / "other.csv", texts, truth))
    assert found["accuracy"] == pytest.approx(np.mean([a == b for a, b in zip(answers, truth, strict=True)]))
    with pytest.raises(UserError, match="other.csv:2: label 'god' .* nearest is 'good'"):
        measure(run, labelled(tmp_path / "other.csv", texts, ["god", *truth[1:]]))


def test_values_of_a_regression(tmp_path):
    from scipy.stats import spearmanr

    model = small_model(tmp_path / "model", "sequence_classification", ["stars"], problem_type="regression")
    texts = rows_of(30)
    truth = np.random.default_rng(0).normal(size=30).round(3)
    found, _ = measure(model, labelled(tmp_path / "v.csv", texts, truth.tolist()))
    said = [classes[0][1] for classes in load(model).classify(texts)]
    assert found["spearman"] == pytest.approx(spearmanr(truth, said).statistic, abs=1e-6)


# -- the other tasks


def test_entities_against_seqeval(tmp_path):
    seqeval = pytest.importorskip("seqeval.metrics")
    tags = ["O", *(f"{place}-{type_}" for type_ in ("LOC", "PER") for place in "BI")]
    model = small_model(tmp_path / "model", "token_classification", tags, adverb={"scheme": "spans"})
    texts, reader = rows_of(40), load(model)
    said = []
    for text, entities in zip(texts, reader.entities(texts), strict=True):
        starts = np.cumsum([0, *(len(word) + 1 for word in text.split())])[:-1].tolist()
        row = ["O"] * len(starts)
        for e in entities:
            inside = [i for i, start in enumerate(starts) if e.start <= start < e.end]
            for i in inside:
                row[i] = f"{'B' if i == inside[0] else 'I'}-{e.type}"
        said.append(row)
    truth = [row[1:] + row[:1] if i % 2 else row for i, row in enumerate(said)]
    truth = [["B" + t[1:] if t[0] == "I" and (i == 0 or row[i - 1][2:] != t[2:]) else t for i, t in enumerate(row)]
             for row in truth]  # fmt: skip

    def conll(rows: list[list[str]]) -> Path:
        lines = [f"{word}\t{tag}" for text, row in zip(texts, rows, strict=True)
                 for word, tag in [*zip(text.split(), row, strict=True), ("", "")]]  # fmt: skip
        (tmp_path / "rows.conll").write_text("\n".join(line.strip() for line in lines) + "\n")
        return tmp_path / "rows.conll"

    found, shown = measure(model, conll(truth))
    assert found["f1"] == pytest.approx(seqeval.f1_score(truth, said)) and 0 < found["f1"] < 1
    assert found["precision"] == pytest.approx(seqeval.precision_score(truth, said)) and "Entities" in shown
    assert measure(model, conll(said))[0]["f1"] == 1


def test_a_tag_for_every_word(tmp_path):
    model = small_model(tmp_path / "model", "token_classification", ["ADJ", "NOUN", "VERB"], adverb={"scheme": "words"})
    texts = rows_of(20)
    said = [[e.type for e in entities] for entities in load(model).entities(texts)]
    truth = [["NOUN"] * len(row) for row in said]
    truth[-1][-1] = "VERB"  # one tag alone would be no scheme
    blocks = [
        "".join(f"{w}\t{t}\n" for w, t in zip(text.split(), row, strict=True))
        for text, row in zip(texts, truth, strict=True)
    ]
    (tmp_path / "rows.conll").write_text("\n".join(blocks))
    found, _ = measure(model, tmp_path / "rows.conll")
    right = sum(a == b for x, y in zip(said, truth, strict=True) for a, b in zip(x, y, strict=True))
    assert found["accuracy"] == pytest.approx(right / sum(map(len, said)))


def test_answers_of_their_own(tmp_path):
    model = small_model(tmp_path / "model", "question_answering", None)
    questions, contexts = [f"{w}?" for w in ("the cat", "a dog", "was it good")], rows_of(3, start=10)
    answers = load(model).answer(questions, contexts, n_best=1)
    rows = [{"question": q, "context": c, "answers": {"text": [a[0].text], "answer_start": [a[0].start]}}
            for q, c, a in zip(questions, contexts, answers, strict=True)]  # fmt: skip

    def write() -> Path:
        (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / "q.jsonl"

    assert measure(model, write())[0]["exact"] == 100
    rows[0]["answers"] = {"text": [contexts[0].split()[0]], "answer_start": [0]}
    assert answers[0][0].text != contexts[0].split()[0]
    assert measure(model, write())[0]["exact"] == pytest.approx(200 / 3)


PAIRS = [
    ("A dog runs through the snow.", "A puppy is playing in the white powder.", 0.9),
    ("The stock market fell.", "Shares lost value on Wednesday.", 0.8),
    ("Two men play guitar on a stage.", "A band gives a concert.", 0.6),
    ("How far is it from Denver to Aspen?", "The cat is asleep.", 0.0),
]


def test_pairs_of_texts(minilm, tmp_path):
    from scipy.stats import spearmanr

    graded = write_csv(tmp_path / "graded.csv", [])
    graded.write_text("sentence1,sentence2,score\n" + "".join(f'"{a}","{b}",{s}\n' for a, b, s in PAIRS))
    found, _ = measure(minilm, graded)
    reader = load(minilm)
    cosines = (reader.embed([a for a, _, _ in PAIRS]) * reader.embed([b for _, b, _ in PAIRS])).sum(1)
    assert found["spearman"] == pytest.approx(spearmanr(cosines, [s for _, _, s in PAIRS]).statistic)
    graded.write_text("sentence1,sentence2\n" + "".join(f'"{a}","{b}"\n' for a, b, _ in PAIRS[:3]))
    assert measure(minilm, graded)[0] == {"accuracy": 1, "recall_at_10": 1, "mrr": 1}
    wrong = [(PAIRS[0][0], PAIRS[1][1]), (PAIRS[1][0], PAIRS[0][1]), PAIRS[2][:2]]
    graded.write_text("sentence1,sentence2\n" + "".join(f'"{a}","{b}"\n' for a, b in wrong))
    assert measure(minilm, graded)[0]["accuracy"] == pytest.approx(1 / 3)


def test_texts_that_no_vector_tells_apart_are_found_as_often_as_by_chance():
    from adverb.pipelines.judging.pairs import _ranks

    texts, same = [f"text {i}" for i in range(9)], np.ones((9, 1), np.float32)
    assert _ranks(same, same, texts).tolist() == [5] * 9
    assert _ranks(same, same, ["one text"] * 9).tolist() == [1] * 9
    assert _ranks(np.eye(9), np.roll(np.eye(9), 1, axis=0), texts)[0] == 1 + 1 + 3.5  # one is nearer, seven as far
    assert _ranks(np.eye(9), np.eye(9), texts).tolist() == [1] * 9


@pytest.mark.parametrize("words", [40, 5])  # of a document: with 5, several share a row and do not see each other
def test_a_masked_language_model_as_its_training_judged_it(tmp_path, words):
    from adverb import training

    (tmp_path / "text").mkdir()
    text = "\n\n".join(" ".join(rows_of(words, start)) + "." for start in range(0, 900, 45 * words // 40))
    (tmp_path / "text/a.txt").write_text(text)
    settings = ["data.vocab_size=150", "data.sequence_length=16", "model.layers=1", "model.hidden=16", "model.heads=2",
                "train.batch_size=8", "evaluate.rows=64", "train.steps=2", "train.evaluations=1",
                "train.precision=fp32", "model.architecture=bert"]  # fmt: skip
    training.start("bert-fast", settings, data=str(tmp_path / "text"), out=tmp_path / "run", resume=False,
                   console=Console(quiet=True))  # fmt: skip
    logged = [row for row in Run(tmp_path / "run").metrics() if "eval/masked_loss" in row][-1]
    found, said = measure(tmp_path / "run")
    assert found["masked_loss"] == pytest.approx(logged["eval/masked_loss"], abs=1e-4)
    assert found["masked_accuracy"] == pytest.approx(logged["eval/masked_accuracy"], abs=1e-6)
    assert found["masked_perplexity"] == pytest.approx(np.exp(found["masked_loss"]))
    assert "rows of 16 tokens" in said
    again, _ = measure(tmp_path / "run/model", tmp_path / "text")
    assert again["masked_loss"] == pytest.approx(found["masked_loss"], rel=0.1)


def test_what_is_missing_is_said(tmp_path):
    model = small_model(tmp_path / "model", "sequence_classification")
    with pytest.raises(UserError, match="its data is not known: name it by --data"):
        measure(model)
    with pytest.raises(UserError, match="nowhere.csv"):
        measure(model, tmp_path / "nowhere.csv")


def test_evaluate_as_a_user_runs_it(run, adverb):
    done = adverb("evaluate", run, "--out", "found.json")
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout and "95 %" in done.stdout
