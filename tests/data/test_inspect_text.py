"""`adverb data`: what is recognised, and what a person reads about it."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from adverb.data import checks
from adverb.data.checks import view
from adverb.data.inspect_text import inspect_data
from adverb.data.labelled import load_labelled
from adverb.data.recognise import recognise
from adverb.errors import UserError

FILMS = [f"a film about {i} cats and the dogs of street {7 * i}" for i in range(200)]


def written(path, rows: list[dict] | str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def printed(path, *overrides: str, width: int = 100, **settings) -> str:
    console = Console(file=io.StringIO(), width=width)
    inspect_data(path, console, overrides=overrides, **settings)
    return console.file.getvalue()


def cells(text: str, start: str) -> list[str]:
    """The words of the line that starts so."""
    return next(line for line in text.splitlines() if line.strip().startswith(start)).split()


# -- what is recognised


@pytest.mark.parametrize(
    ("name", "content", "task"),
    [
        ("a.jsonl", [{"text": t, "label": i % 2} for i, t in enumerate(FILMS)], "classify"),
        ("a.jsonl", [{"sentence1": t, "sentence2": t, "score": i / 9} for i, t in enumerate(FILMS)], "classify"),
        ("a.jsonl", [{"comment": t, "coarse": i % 2, "fine": i % 4} for i, t in enumerate(FILMS)], "classify"),
        ("a.jsonl", [{"anchor": t, "positive": t} for t in FILMS], "embed"),
        ("a.jsonl", [{"german": t, "english": t} for t in FILMS], "embed"),
        ("a.jsonl", [{"text": t} for t in FILMS], "pretrain"),
        ("a.jsonl", [{"id": i, "text": t, "url": f"http://{i}"} for i, t in enumerate(FILMS)], "pretrain"),
        ("a.jsonl", [{"text": t, "spans": []} for t in FILMS] + [{"text": "a b", "spans": [[0, 1, "X"]]}], "tag"),
        ("a.jsonl", [{"text": "a b", "label": [[0, 1, "X"]]}], "tag"),
        ("a.jsonl", [{"tokens": ["a", "b"], "ner_tags": ["O", "B-X"]}], "tag"),
        ("a.jsonl", [{"text": t, "labels": ["x", "y"][: i % 3]} for i, t in enumerate(FILMS)], "classify"),
        ("a.jsonl", [{"question": "?", "context": "a b", "answers": {"text": ["a"], "answer_start": [0]}}], "answer"),
        ("a.json", '{"data": [{"paragraphs": []}]}', "answer"),
        ("a.conll", "a\tO\n", "tag"),
        ("a.txt", "a O\nb B-X\n\nc O\n", "tag"),
        ("a.txt", "\n".join(FILMS), "pretrain"),
        ("a.txt", "".join(f"{'xy'[i % 2]}\t{t}\n" for i, t in enumerate(FILMS)), "classify"),
        ("a.csv", "text,label\n" + "".join(f"{t},{i % 2}\n" for i, t in enumerate(FILMS)), "classify"),
        ("a.csv", "id,text\n" + "".join(f"{i},{t}\n" for i, t in enumerate(FILMS)), "pretrain"),
        ("a.csv", "question,context,answer\nWho?,Anna came,Anna\n", "answer"),
    ],
)
def test_what_a_file_is_for(tmp_path, name, content, task):
    assert recognise(written(tmp_path / name, content)) == task
    assert recognise(written(tmp_path / "set" / "train" / name, content).parents[1]) == task


def test_folders_and_names(tmp_path, shared_data):
    assert recognise("digits") == "image"
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "pictures/a.png")
    written(tmp_path / "pictures/metadata.csv", "file_name,text\na.png,x\n")
    assert recognise(tmp_path / "pictures") == "image"
    for language in ("en", "de"):
        written(tmp_path / "both" / f"train.{language}", "a\n")
    assert recognise(tmp_path / "both") == recognise(tmp_path / "both" / "train") == "embed"
    for names, task in (
        (("sst2", "trec"), "classify"),
        (("wnut17",), "tag"),
        (("xquad-en",), "answer"),
        (("multi30k",), "embed"),
        (("books",), "pretrain"),
        (("mnist", "emoji"), "image"),
    ):
        assert {recognise(shared_data / name) for name in names} == {task}
    for i in range(3):
        written(tmp_path / "corpus" / f"part-{i}.jsonl", [{"text": t} for t in FILMS])
    assert recognise(tmp_path / "corpus") == "pretrain"
    with pytest.raises(UserError, match="no data at"):
        recognise(tmp_path / "nothing")


# -- what is wrong with rows


def test_repeated_leaked_and_conflicting_rows(tmp_path):
    train = [{"text": t, "label": "xy"[i % 2]} for i, t in enumerate(FILMS[:50])]
    train += [{"text": f" {FILMS[0].upper()}  ", "label": "x"}, {"text": FILMS[1], "label": "x"}]
    test = [{"text": FILMS[60], "label": "x"}, {"text": FILMS[3], "label": "x"}]
    files = [written(tmp_path / f"{name}.jsonl", rows) for name, rows in (("train", train), ("test", test))]
    views = [view(load_labelled(file, label_names=["x", "y"])) for file in files]
    assert views[0].repeated() == [(50, 0)] and views[0].conflicts() == [(51, 1)]
    assert views[1].leaked(views[0]) == [(1, 3)] and views[1].repeated() == []


def test_the_report_of_a_messy_table(tmp_path):
    lines = [f"{t},{'xy'[i % 2]}" for i, t in enumerate(FILMS)]
    lines += [f"{FILMS[4]},x", f"{FILMS[5]},x", ",x", "no label,", "a,b,c", "[red]é,x"]
    (tmp_path / "train.csv").write_bytes(("text,label\n" + "\n".join(lines) + "\ncut").encode("cp1252"))
    written(tmp_path / "test.csv", f"text,label\n{FILMS[9]},y\nnew,x\n")
    written(tmp_path / "valid.csv", "text,label\nanother,y\n")
    text = printed(tmp_path)
    assert "texts with one of 2 classes" in " ".join(text.split()) and "cp1252, not UTF-8" in text
    assert cells(text, "rows")[:3] == ["rows", "left", "out"]
    assert cells(text, "train")[1:5] == ["203", "4", "1", "1"]  # rows, left out, repeated, conflicts
    assert cells(text, "test")[1:4] == ["2", "–", "–"] and cells(text, "test")[4] == "1"
    for words in (
        "left out  4", "no text", "line 204", "3 columns instead of 2", "line 206", "cut off",
        "conflicts  the same text", f"train line 203 = line 7  x / y  {FILMS[5]}",
        f"test line 2 = train line 11  {FILMS[9]}", f"train line 202 = line 6  {FILMS[4]}",
    ):  # fmt: skip
        assert words in text, words
    share = cells(text, "x ")
    assert share[:3] == ["x", "103", "50.7%"] and "█" in share[3]


@pytest.mark.parametrize("width", [80, 100, 160])
def test_nothing_is_cut_that_matters(tmp_path, width):
    rows = [{"text": f"{t} " * 9, "label": f"class {i % 3}"} for i, t in enumerate(FILMS)]
    text = printed(written(tmp_path / "a.jsonl", rows), width=width)
    assert max(map(len, text.splitlines())) <= width
    for words in ("left out", "in train", "conflicts", "longest", "> 512", "class 1", "up to 128"):
        assert words in text
    assert cells(text, "train")[1] == "180"


def test_tokens_against_what_the_model_reads(tmp_path, minilm):
    rows = [{"text": "cat " * (10 * (i + 1)), "label": i % 2} for i in range(100)]
    path = written(tmp_path / "train.jsonl", rows)
    written(tmp_path / "valid.jsonl", rows[:2])
    text = printed(path)
    assert "the model reads 512" in text and cells(text, "train")[-2:] == ["1,002", "49"]
    text = printed(path, "data.max_length=100")
    assert "the model reads 100" in text and cells(text, "train")[-1] == "91"
    assert cells(printed(path, f"model.init={minilm}"), "train")[-1] == "49"


def test_words_where_no_tokenizer_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    text = printed(written(tmp_path / "a.jsonl", [{"text": t, "label": i % 2} for i, t in enumerate(FILMS)]))
    assert "words; in tokens with pip install 'adverb[offline]'" in text and cells(text, "train")[-1] == "11"


def test_several_labels_numbers_and_pairs(tmp_path):
    rows = [{"text": t, "labels": ["x", "y", "z"][: i % 4]} for i, t in enumerate(FILMS)]
    text = " ".join(printed(written(tmp_path / "a.jsonl", rows)).split())
    assert "any of 3 labels" in text and "labels a row: 0 on 45 rows" in text
    rows = [{"sentence1": t, "sentence2": t, "score": i / 40} for i, t in enumerate(FILMS)]
    text = " ".join(printed(written(tmp_path / "a.jsonl", rows)).split())
    assert "pairs of texts with a number" in text and "numbers in 'score'" in text and "⟷" in text
    text = " ".join(printed(tmp_path / "a.jsonl", task="embed").split())
    assert "pairs of texts with a score" in text and "scores in 'score'" in text


def test_tags_and_answers(tmp_path):
    content = "".join(f"Anna\tB-PER\nsaw\tO\nRome{i}\tB-LOC\n{i}\tI-LOC\n\n" for i in range(40)) + "x\tI-LOC\n"
    text = printed(written(tmp_path / "a.conll", content), width=140)
    assert "spans of 2 types" in text and cells(text, "LOC")[1:3] == ["37", "50.7%"]
    assert re.search(r"Anna/PER saw Rome(\d+) \1/LOC", text) and "read as B-: line 201" in text
    told = [("Anna" if i % 4 else "", f"Anna {i} came") for i in range(40)]
    rows = [{"question": "Who?", "context": context, "answer": answer} for answer, context in told]
    text = printed(written(tmp_path / "a.jsonl", rows))
    of_answers = text[text.index("answers\n") :]
    assert cells(of_answers, "train")[1] == "36" and int(cells(of_answers, "train")[3]) in (8, 9, 10)


def test_a_table_that_must_be_explained_shows_its_columns(tmp_path):
    rows = [{"comment": t, "coarse": i % 2, "fine": i % 4} for i, t in enumerate(FILMS)]
    path = written(tmp_path / "a.jsonl", rows)
    console = Console(file=io.StringIO(), width=100)
    with pytest.raises(UserError, match="data.label=coarse"):
        inspect_data(path, console)
    text = console.file.getvalue()
    assert cells(text, "fine")[1:4] == ["4", "of", "200"] and FILMS[0][:20] in text
    assert "labels (4)" in printed(path, "label=fine") and "labels (2)" in printed(path, "data.label=1")


def test_plain_text(tmp_path):
    words = "\n\n".join("\n".join(f"The cat {i} sat on the mat {j}." for j in range(i % 7 + 1)) for i in range(300))
    written(tmp_path / "books/train/a.txt", words)
    written(tmp_path / "books/valid/b.txt", "The end.\n\nTruly.")
    text = " ".join(printed(tmp_path / "books").split())
    assert "documents 300" in text and "2 documents" in text and "valid" in text and "undecodable none" in text
    tokens = int(re.search(r"tokens +about ([\d,]+)", text)[1].replace(",", ""))
    lines = words.count("The")
    assert 8.5 * lines < tokens < 11 * lines  # "the cat 12 sat on the mat 3 ." has 9 tokens, or 10
    (tmp_path / "a.txt").write_bytes(("café café ".encode() + b"\xff ") * 500)
    text = printed(tmp_path / "a.txt")
    assert "500 characters" in text and "can't be decoded" in text and "one document" in text and "the last 2%" in text


# -- the command


@pytest.mark.parametrize(("column", "said"), [("text", "pre-training;"), ("review", "by data.column=review")])
def test_a_table_without_labels(tmp_path, column, said):
    path = written(tmp_path / "more.csv", f"id,{column}\n" + "".join(f"{i},{t}\n" for i, t in enumerate(FILMS)))
    text = " ".join(printed(path).split())
    assert "texts without labels" in text and said in text and "data.unlabelled" in text and "documents 200" in text
    with pytest.raises(UserError, match="no column 'nope'"):
        printed(path, "data.column=nope")


def test_the_command_line(tmp_path, adverb):
    path = written(tmp_path / "a.jsonl", [{"text": t, "a": i % 2, "b": i % 3} for i, t in enumerate(FILMS)])
    told = adverb("data", path, "data.label=b")
    assert told.returncode == 0 and "labels (3)" in told.stdout
    for words, message in (
        ((path,), "Choose one: data.label="),
        ((path, "data.labl=b"), "did you mean"),
        ((path, "label"), "is not an override"),
        ((path, "--as", "poetry"), "expected one of image, pretrain"),
        ((path, "--as", "tag"), "tagged words are"),
        ((path, "label=b", "--out", "x.png"), "contact sheet"),
        ((tmp_path / "b.jsonl",), "did you mean"),
    ):
        done = adverb("data", *words)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr
    sheet = adverb("data", "digits", "data.limit=50", "--out", "sheet.png")
    assert sheet.returncode == 0 and "50 images" in sheet.stdout and (tmp_path / "sheet.png").is_file()
