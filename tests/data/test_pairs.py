"""Pairs of texts: columns that belong together, and files whose lines do."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from adverb.bert.tokenizer import Tokenizer
from adverb.data.pairs import find_pair_splits, load_pair_splits, load_pairs, parallel_files
from adverb.errors import UserError
from adverb.objectives.embed import Embed
from adverb.schema.tasks import EmbedData


def write(path, rows: list[dict]):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("anchor", "positive"), ("anchor", "positive", None)),
        (("id", "question", "answer"), ("question", "answer", None)),
        (("sentence1", "sentence2", "score"), ("sentence1", "sentence2", "score")),
        (("german", "english"), ("german", "english", None)),
        (("Query", "Passage", "label"), ("Query", "Passage", "label")),
    ],
)
def test_columns_are_guessed(tmp_path, columns, expected):
    numbers = ("id", "score", "label")
    rows = [{name: i / 4 if name in numbers else f"{name} of row {i}" for name in columns} for i in range(5)]
    data = load_pairs(write(tmp_path / "a.jsonl", rows))
    first, second, score = expected
    assert data.first[1] == f"{first} of row 1" and data.second[1] == f"{second} of row 1"
    assert data.scores is None if score is None else data.scores.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert data.lines.tolist() == [1, 2, 3, 4, 5]


def test_columns_that_are_told_or_must_be(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"x": f"one {i}", "y": f"two {i}", "z": f"three {i}"} for i in range(5)])
    with pytest.raises(UserError, match="which columns belong together.*x, y, z.*data.text"):
        load_pairs(path)
    assert load_pairs(path, text="x", pair="z").second[0] == "three 0"
    with pytest.raises(UserError, match="no column 'score'"):
        load_pairs(path, text="x", pair="z", score="score")


def test_rows_without_a_text_or_a_score(tmp_path):
    rows = [{"text1": "a", "text2": "b", "score": 1}, {"text1": "", "text2": "b", "score": 1}]
    rows += [{"text1": "a", "text2": "c", "score": None}, {"text1": "a", "text2": None, "score": 0}]
    data = load_pairs(write(tmp_path / "a.jsonl", rows))
    assert len(data) == 1 and data.report.skipped == [(2, "no text"), (3, "no score"), (4, "no text")]


def test_parallel_files(tmp_path):
    for part, n in (("train", 30), ("dev", 3), ("test", 2)):
        for language in ("de", "en"):
            lines = [f"{language} {part} {i}" for i in range(n)]
            if part == "train" and language == "de":
                lines[4] = ""
            (tmp_path / f"{part}.{language}").write_text("\n".join(lines) + "\n")
    (tmp_path / "README.md").write_text("x")
    train, valid, test = load_pair_splits(EmbedData(path=str(tmp_path)))
    assert (len(train), len(valid), len(test)) == (29, 3, 2)
    assert train.first[0] == "en train 0" and train.second[0] == "de train 0" and train.lines[4] == 6
    assert train.report.skipped == [(5, "empty in one of the files")]
    assert train.report.columns == {"text": "train.en", "pair": "train.de"}
    named = find_pair_splits(tmp_path / "train")
    assert (named.train, named.valid, named.test) == tuple(tmp_path / name for name in ("train", "dev", "test"))
    alone = find_pair_splits(tmp_path / "dev")
    assert (alone.train, alone.valid, alone.test) == (tmp_path / "dev", None, None)
    (tmp_path / "train.de").write_text("one\n")
    with pytest.raises(UserError, match="30 lines, train.de has 1: line by line"):
        load_pair_splits(EmbedData(path=str(tmp_path)))


def test_what_are_no_parallel_files(tmp_path):
    for name in ("train.csv", "train.json", "a.en", "a.de", "a.fr"):
        (tmp_path / name).write_text("x\n")
    assert parallel_files(tmp_path / "train") == parallel_files(tmp_path / "a") == []


def test_a_tenth_is_held_out_and_equal_pairs_stay_together(tmp_path):
    rows = [{"anchor": f"a {i % 60}", "positive": f"b {i % 60}"} for i in range(100)]
    train, valid, test = load_pair_splits(EmbedData(path=str(write(tmp_path / "a.jsonl", rows))))
    assert test is None and len(train) + len(valid) == 100 and len(valid) >= 1
    assert not set(zip(train.first, train.second, strict=True)) & set(zip(valid.first, valid.second, strict=True))
    drawn = load_pairs(tmp_path / "a.jsonl", limit=9)
    assert len(drawn) == 9 and drawn.lines.tolist() == sorted(drawn.lines.tolist())


def test_multi30k(shared_data):
    train, valid, test = load_pair_splits(EmbedData(path=str(shared_data / "multi30k")))
    assert (len(train), len(valid), len(test)) == (29_000, 1014, 1000) and not train.report.skipped
    assert train.first[0].startswith("Two young, White males") and train.second[0].startswith("Zwei junge weiße")


def test_one_long_text_does_not_make_all_take_its_room(tmp_path):
    rows = [("a cat", "a dog"), ("a dog", "word " * 50_000), *((f"thing {i}", f"thing {i + 1}") for i in range(200))]
    (tmp_path / "a.tsv").write_text("".join("\t".join(row) + "\n" for row in [("anchor", "positive"), *rows]))
    objective = Embed.__new__(Embed)
    objective.tokenizer, objective.max_length = Tokenizer.train(["a cat word thing 0 1 2 3 4 5 6 7 8 9"], 100), 16
    pairs = load_pairs(tmp_path / "a.tsv")
    tracemalloc.start()
    found = objective.encode(pairs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    numbers = [row["number"].tolist() for row in found]
    assert numbers[0][1] == numbers[1][0] and numbers[2][1] == numbers[3][0] and len({*sum(numbers, [])}) == 204
    assert peak < 20e6
