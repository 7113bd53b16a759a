"""Sentence embeddings: the losses against their formulas, that pairs and grades are learnt, and what others open."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import adverb
from adverb.errors import UserError
from adverb.objectives.embed import alike, contrastive_loss, order_loss
from adverb.pipelines import load

SMALL = {"train.precision": "fp32", "train.compile": False, "train.batch_size": 32, "optim.lr": 3e-3,
         "evaluate.resamples": 20}  # fmt: skip
ENGLISH = "heron badger otter barn hedge road river moon stone bread salt lamp king rope bell wheel".split()
FRENCH = "garde blaireau loutre grange haie route fleuve lune pierre pain sel lampe roi corde cloche roue".split()


@pytest.fixture(scope="module")
def bert(blank_bert) -> str:
    return blank_bert([" ".join([*ENGLISH, *FRENCH])] * 3, 200, max_length=16)


def translations(count: int, seed: int) -> list[tuple[str, str]]:
    """Three words, and the same in French in another order."""
    random, pairs = np.random.default_rng(seed), []
    for _ in range(count):
        chosen = random.choice(len(ENGLISH), 3, replace=False)
        pairs.append((" ".join(ENGLISH[i] for i in chosen), " ".join(FRENCH[i] for i in random.permutation(chosen))))
    return pairs


def write(path, columns, rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


# -- the losses


def unit(random: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = random.standard_normal(shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_the_contrast_is_infonce_in_both_directions():
    random = np.random.default_rng(0)
    first, second = unit(random, 5, 8), unit(random, 5, 8)
    exponents = np.exp(first @ second.T / 0.1)
    own = np.diag(exponents)
    expected = -(np.log(own / exponents.sum(1)) + np.log(own / exponents.sum(0))).mean() / 2
    found = contrastive_loss(torch.tensor(first), torch.tensor(second), 0.1)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    same = torch.eye(5, dtype=torch.bool)
    same[1, 3] = same[3, 1] = True  # which are then no negatives of each other
    exponents[1, 3] = exponents[3, 1] = 0
    expected = -(np.log(own / exponents.sum(1)) + np.log(own / exponents.sum(0))).mean() / 2
    found = contrastive_loss(torch.tensor(first), torch.tensor(second), 0.1, same)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_grades_count_by_their_order():
    cosines, grades = np.array([0.9, 0.1, 0.5, 0.4]), np.array([5.0, 1.0, 1.0, 3.0])
    apart = [cosines[j] - cosines[i] for i in range(4) for j in range(4) if grades[i] > grades[j]]
    found = order_loss(torch.tensor(cosines), torch.tensor(grades), 0.05)
    assert found.item() == pytest.approx(np.log1p(np.exp(np.array(apart) / 0.05).sum()), rel=1e-5)
    stretched = order_loss(torch.tensor(cosines), torch.tensor(100 * grades - 7), 0.05)
    assert stretched.item() == pytest.approx(found.item())


def test_rows_that_share_a_text_on_either_side_are_no_negatives():
    numbers = torch.tensor([[0, 1], [1, 0], [1, 2], [3, 4], [5, 4]])
    expected = torch.eye(5, dtype=torch.bool)
    for i, j in ((0, 1), (0, 2), (1, 2), (3, 4)):  # turned around; one's second the other's first; equal seconds
        expected[i, j] = expected[j, i] = True
    assert torch.equal(alike(numbers), expected)


# -- it learns


def test_pairs_are_learnt_from_the_command_line_and_open_elsewhere(adverb, bert, tmp_path):
    write(tmp_path / "pairs.csv", ("english", "french"), translations(600, 0))
    write(tmp_path / "test.csv", ("english", "french"), test := translations(100, 1))
    words = [f"{key}={value}" for key, value in SMALL.items()]
    words += ["train.epochs=8", f"model.init={bert}"]
    done = adverb("train", "embed", "--data", "pairs.csv", *words, "--out", "run")
    assert done.returncode == 0, done.stderr
    measured = adverb("evaluate", "run", "--data", "test.csv", "--out", "found.json")
    assert measured.returncode == 0, measured.stderr
    assert json.loads((tmp_path / "found.json").read_text())["accuracy"] > 0.75  # chance is 0.01
    transformer = pytest.importorskip("sentence_transformers").SentenceTransformer(str(tmp_path / "run/best"))
    texts = [text for pair in test[:10] for text in pair]
    np.testing.assert_allclose(transformer.encode(texts), load(tmp_path / "run").embed(texts), atol=1e-5)


def test_grades_are_learnt(bert, tmp_path):
    random, rows = np.random.default_rng(2), []
    for english, french in translations(600, 3):
        grade, words = int(random.integers(4)), french.split()
        rows.append((english, " ".join(words[:grade] + random.choice(FRENCH, 3 - grade).tolist()), grade))
    write(tmp_path / "train.csv", ("first", "second", "score"), rows)
    run = adverb.train("embed", tmp_path / "train.csv", out=tmp_path / "run", **SMALL,
                       **{"model.init": bert, "train.epochs": 10})  # fmt: skip
    found = [row["eval/spearman"] for row in run.metrics() if "eval/spearman" in row]
    assert max(found) > 0.6  # of an encoder that knows nothing about 0


def test_a_batch_that_would_be_cut_up_is_refused(bert, tmp_path):
    write(tmp_path / "pairs.csv", ("english", "french"), translations(60, 0))
    with pytest.raises(UserError, match="a batch can't be cut up"):
        adverb.train("embed", tmp_path / "pairs.csv", out=tmp_path / "run", **SMALL,
                     **{"model.init": bert, "train.accumulate": 2})  # fmt: skip
