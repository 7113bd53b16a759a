"""Classifiers of every kind, over HTTP: several labels a text, a number, pairs of texts; and models that get better."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("fastapi")
from test_api import TEXT, rows, same  # noqa: E402

from adverb.bert.checkpoint import save_pretrained  # noqa: E402
from adverb.bert.config import BertConfig  # noqa: E402
from adverb.bert.heads import SequenceClassifier  # noqa: E402
from adverb.pipelines import load  # noqa: E402
from adverb.pipelines.predict import answers  # noqa: E402
from adverb.serve.models import open_model, refresh  # noqa: E402

KINDS = {  # name -> (problem, labels, whether rows are pairs)
    "topics": ("multi_label_classification", ("animals", "houses", "films"), False),
    "stars": ("regression", ("stars",), False),
    "alike": ("single_label_classification", ("no", "yes"), True),
}
SECOND = "a big dog sat in a blue house"


def write(tokenizer, folder: Path, kind: str, seed: int = 1) -> Path:
    problem, labels, pairs = KINDS[kind]
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, max_position_embeddings=48, initializer_range=0.4, problem_type=problem,
        id2label=dict(enumerate(labels)),
    )  # fmt: skip
    config.adverb = {"pairs": pairs}
    save_pretrained(SequenceClassifier(config).eval(), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def kinds(tokenizer, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: write(tokenizer, folder / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def served(start, kinds):
    return start(*kinds.values())


def asked_of(kind: str) -> str | None:
    """The second text, where there is one."""
    return SECOND if KINDS[kind][2] else None


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_says_what_a_model_decides(served, kind):
    problem, labels, pairs = KINDS[kind]
    (facts,) = [one for one in served.ask("/models")[1]["models"] if one["name"] == kind]
    assert (facts["verb"], facts["labels"], facts["pairs"]) == ("classify", list(labels), pairs)
    assert facts["multi_label"] == problem.startswith("multi") and facts["regression"] == (problem == "regression")


@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_those_of_predict(served, kinds, in_float32, kind):
    texts, pair = [TEXT, "a bad film", "the dog ran"], asked_of(kind)
    body = {"model": kind, "texts": texts} | ({"pairs": [pair] * len(texts)} if pair else {})
    status, said, _ = served.ask("/classify", body)
    assert status == 200 and same(said["answers"], answers(load(kinds[kind]), rows(*texts, pair=pair)))
    assert len({str(one) for one in said["answers"]}) == len(texts)
    keys = {"topics": {"labels", "probabilities"}, "stars": {"value"}, "alike": {"label", "probability"}}
    assert keys[kind] <= said["answers"][0].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_word_changes_is_what_is_said_without_it(served, kind):
    pair = asked_of(kind)
    status, found, _ = served.ask("/explain", {"model": kind, "text": TEXT} | ({"pair": pair} if pair else {}))
    assert status == 200
    places = [(match.start(), match.end()) for match in re.finditer(r"\w+", TEXT)]
    assert [(word["start"], word["end"]) for word in found["words"]] == places
    texts = [TEXT, *(TEXT[:start] + TEXT[end:] for start, end in places)]
    body = {"model": kind, "texts": texts} | ({"pairs": [pair] * len(texts)} if pair else {})
    said = [one.get("probabilities", one) for one in served.ask("/classify", body)[1]["answers"]]
    label = max(said[0], key=said[0].get)
    assert found["label"] == label and found["probability"] == pytest.approx(said[0][label], abs=1e-5)
    changes = [word["change"] for word in found["words"]]
    assert changes == pytest.approx([said[0][label] - one[label] for one in said[1:]], abs=2e-5)
    assert max(map(abs, changes)) > 1e-3
    if pair:
        other = served.ask("/explain", {"model": kind, "text": TEXT, "pair": f"{pair} {TEXT}"})[1]
        assert [word["change"] for word in other["words"]] != pytest.approx(changes, abs=1e-3)
        assert served.ask("/explain", {"model": kind, "text": TEXT})[0] == 422  # it reads pairs


# -- models that get better


def classes(served) -> list:
    return served.model.classify(["a bad film"])


def replace(folder: Path, other: Path) -> None:
    """New weights in an old folder, as the next evaluation writes them."""
    before = (folder / "model.safetensors").stat().st_mtime
    shutil.copy(other / "model.safetensors", folder)
    os.utime(folder / "model.safetensors", (before + 1, before + 1))


def test_a_model_is_opened_again_when_its_weights_are_new(tokenizer, tmp_path):
    folder, other = write(tokenizer, tmp_path / "a", "alike"), write(tokenizer, tmp_path / "b", "alike", seed=2)
    served = open_model("alike", str(folder))
    before, model = classes(served), served.model
    assert not refresh(served) and served.model is model
    replace(folder, other)
    assert refresh(served) and classes(served) != before
    assert classes(served) == classes(open_model("b", str(other))) and not refresh(served)


def test_the_best_model_of_a_run_is_served_when_it_appears(tokenizer, tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: classify\nobjective: classify\n")
    served = open_model("run", str(tmp_path))
    assert served.model is None and served.verb is None
    write(tokenizer, tmp_path / "model", "alike")
    assert refresh(served) and not refresh(served)
    last = classes(served)
    write(tokenizer, tmp_path / "best", "alike", seed=2)
    assert refresh(served) and classes(served) != last
    replace(tmp_path / "model", write(tokenizer, tmp_path / "later", "alike", seed=3))
    assert not refresh(served)  # a later model is not a better one
    replace(tmp_path / "best", tmp_path / "later")
    best = classes(served)
    assert refresh(served) and classes(served) != best
