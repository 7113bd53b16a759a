"""Similarity search: exact, the same from the cache, and about the lines of the file."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rich.console import Console

from adverb.errors import UserError
from adverb.pipelines import load, search, stream
from adverb.pipelines.reader import Reader
from adverb.pipelines.search import blocks_of, nearest, search_file
from adverb.places import cache_folder

TEXTS = [
    "A dog runs through the snow.",
    "The stock market fell by three per cent.",
    "Two men play guitar on a stage.",
    "A puppy is playing in the white powder.",
    "How far is it from Denver to Aspen?",
    "A man sleeps on a bench.",
    "Shares lost value on Wednesday.",
    "What is the distance between two towns in Colorado?",
]
QUERIES = ["an animal in winter", "falling prices of shares", "kilometres to a ski resort"]


@pytest.fixture(scope="module")
def model(minilm) -> Reader:
    return load(minilm)


@pytest.fixture
def find(model, minilm):
    """find(file, **options) -> hits of QUERIES"""
    return lambda file, **options: search_file(
        model, minilm, QUERIES, file, console=Console(file=io.StringIO()), **options
    )


@pytest.fixture
def embedded(monkeypatch):
    """The texts that were embedded."""
    texts = []
    embed = Reader.embed

    def counting(self, found):
        texts.extend(found)
        return embed(self, found)

    monkeypatch.setattr(Reader, "embed", counting)
    return texts


VALUES = st.floats(-2, 2, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)


@given(st.data(), st.integers(1, 5), st.integers(1, 40), st.integers(1, 50), st.integers(1, 7))
def test_nearest_is_a_full_sort(data, queries, rows, top_k, block):
    of = lambda n: data.draw(arrays.arrays(np.float32, (n, 3), elements=VALUES))  # noqa: E731
    asked, vectors = of(queries), of(rows)
    scores, found = nearest(asked, (vectors[i : i + block] for i in range(0, rows, block)), top_k)
    unit = lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-38)  # noqa: E731
    cosines = unit(asked).astype(np.float64) @ unit(vectors).astype(np.float64).T
    assert found.shape == scores.shape == (queries, min(top_k, rows))
    best = -np.sort(-cosines, axis=1)[:, :top_k]
    np.testing.assert_allclose(scores, best, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(cosines, found, axis=1), best, atol=1e-5)
    assert all(len(set(row)) == len(row) for row in found.tolist())


def test_of_equals_the_first_is_found():
    vectors = np.tile(np.eye(3, dtype=np.float32), (4, 1))
    _, found = nearest(np.eye(3, dtype=np.float32)[:1], [vectors[:5], vectors[5:]], 3)
    assert found.tolist() == [[0, 3, 6]]


def test_what_is_meant_is_found(model):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    hits = model.search(QUERIES, TEXTS, top_k=2)
    assert [{hit.index for hit in found} for found in hits] == [{0, 3}, {1, 6}, {4, 7}]
    expected = sentence_transformers.util.semantic_search(model.embed(QUERIES), model.embed(TEXTS), top_k=2)
    assert [[hit.index for hit in found] for found in hits] == [[e["corpus_id"] for e in row] for row in expected]
    np.testing.assert_allclose(
        [[hit.score for hit in found] for found in hits], [[e["score"] for e in row] for row in expected], atol=1e-5
    )
    assert model.search(QUERIES[0], TEXTS, top_k=99)[0].text == hits[0][0].text == TEXTS[hits[0][0].index]
    assert len(model.search(QUERIES[0], TEXTS, top_k=99)) == len(TEXTS)


def test_a_file_is_embedded_once(find, embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "ROWS", 3)
    monkeypatch.setattr(search, "BLOCK", 2)
    rows = ["text,id", *(f'"{text}",n{i}' for i, text in enumerate(TEXTS)), "broken,row,here", '"",n9']
    file = tmp_path / "corpus.csv"
    file.write_text("\n".join(rows[:3] + rows[-2:] + rows[3:-2]) + "\n")
    hits = find(file, top_k=2)
    assert [{hit.text for hit in found} for found in hits] == [
        {TEXTS[0], TEXTS[3]}, {TEXTS[1], TEXTS[6]}, {TEXTS[4], TEXTS[7]},
    ]  # fmt: skip
    for hit in sum(hits, []):
        number = TEXTS.index(hit.text)
        assert hit.id == f"n{number}" and hit.line == number + 2 + 2 * (number >= 2)
    assert embedded == TEXTS + QUERIES
    embedded.clear()
    assert find(file, top_k=2) == hits and embedded == QUERIES
    file.write_text("text\n" + TEXTS[5] + "\n")
    embedded.clear()
    assert [len(found) for found in find(file)] == [1, 1, 1] and TEXTS[5] in embedded


def test_vectors_that_were_begun_are_gone_on_with(find, model, embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "ROWS", 3)
    file = tmp_path / "corpus.txt"
    file.write_text("\n".join(TEXTS))
    embed = Reader.embed

    def killed(self, texts):
        if TEXTS[6] in texts:
            raise KeyboardInterrupt
        return embed(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "embed", killed)
        with pytest.raises(KeyboardInterrupt):
            find(file)
    (part,) = (cache_folder() / "vectors").glob("*.part")
    part.write_bytes(part.read_bytes()[:-7])  # 5 vectors and a torn one: the second chunk of three is made again
    embedded.clear()
    hits = find(file, top_k=8)
    assert embedded == TEXTS[3:] + QUERIES and not part.exists()
    for found, expected in zip(hits, model.search(QUERIES, TEXTS, top_k=8), strict=True):
        assert [hit.index for hit in found] == [hit.index for hit in expected]


def test_blocks_are_all_rows(monkeypatch):
    monkeypatch.setattr(search, "BLOCK", 4)
    vectors = np.arange(22).reshape(11, 2)
    assert [len(b) for b in blocks_of(vectors)] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(list(blocks_of(vectors))), vectors)


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), ("a,b\n1,2\n", "no column of text")])
def test_files_that_cannot_be_searched(find, tmp_path, content, message):
    if content is not None:
        (tmp_path / "c.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        find(tmp_path / "c.csv")


def test_search_as_a_user_runs_it(minilm: Path, adverb, tmp_path):
    (tmp_path / "corpus.txt").write_text("\n".join(TEXTS) + "\n")
    done = adverb("predict", minilm, *QUERIES, "--search", "corpus.txt", "--top-k", "2")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["query"] for row in rows] == QUERIES
    assert {hit["line"] for hit in rows[0]["hits"]} == {1, 4} and rows[0]["hits"][0]["text"] in TEXTS
    again = adverb("predict", minilm, QUERIES[0], "--search", "corpus.txt", "--file", "corpus.txt")
    assert again.returncode == 2 and "--search takes" in again.stderr
    over = adverb("predict", minilm, QUERIES[0], "--search", "corpus.txt", "--out", "corpus.txt")
    assert over.returncode == 2 and "is the file that is searched itself" in over.stderr
    assert (tmp_path / "corpus.txt").read_text() == "\n".join(TEXTS) + "\n"
