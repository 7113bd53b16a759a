"""Files through a model: every row answered once, in order, whatever is broken, and whenever it is killed."""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from adverb.bert.checkpoint import save_pretrained
from adverb.bert.config import BertConfig
from adverb.bert.heads import MODELS
from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines import load, stream
from adverb.pipelines import predict as pipeline
from adverb.pipelines.stream import Row, answered, chunks, stamp

WORDS = "the a cat dog sat ran on mat house was good bad very film not ticket printer broken please help".split()


def small_model(folder: Path, task: str, labels=("bad", "good"), **config) -> Path:
    """A network that is made in no time, in the files of transformers."""
    torch.manual_seed(0)
    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *".,?"])}
    tokenizer = Tokenizer.from_vocabulary(vocabulary)
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    config = dict(vocab_size=len(vocabulary), max_position_embeddings=64, initializer_range=0.5) | sizes | config
    model = MODELS[task](BertConfig(id2label=dict(enumerate(labels)) if labels else None, **config))
    save_pretrained(model.eval(), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    return small_model(tmp_path_factory.mktemp("models") / "classifier", "sequence_classification")


@pytest.fixture
def run(classifier):
    """run(file, out, **options) -> (rows of out, what was printed)"""

    def predict(file, out, model=classifier, **options):
        said = io.StringIO()
        console = Console(file=said, width=200)
        pipeline.predict(str(model), file=file, out=out, console=console, **options)
        return [json.loads(line) for line in out.read_text().splitlines()], said.getvalue()

    return predict


def rows_of(n: int, start: int = 0) -> list[str]:
    return [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 2 + i % 17)) for i in range(start, start + n)]


def write_csv(path: Path, texts: list[str]) -> Path:
    path.write_text("id,text\n" + "".join(f"t{i},{text}\n" for i, text in enumerate(texts)))
    return path


# -- which rows there are


def test_every_row_has_one_line_in_order_also_the_broken_ones(run, tmp_path):
    (tmp_path / "in.csv").write_text(
        'id,text,when\na1,the cat sat,1\na2,"",2\na3,a dog,3,4,5\na4,"very bad,\nvery good film",5\na5,no\n,the end,7\n'
    )
    rows, said = run(tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert [row["line"] for row in rows] == [2, 3, 4, 5, 7, 8]
    assert [row.get("id") for row in rows] == ["a1", "a2", None, "a4", None, ""]
    assert [row.get("text") for row in rows if "label" in row] == [
        "the cat sat",
        "very bad,\nvery good film",
        "the end",
    ]
    assert [row["error"] for row in rows if "error" in row] == [
        "no text in column 'text'", "5 columns instead of 3", "2 columns instead of 3",
    ]  # fmt: skip
    assert "3 answers" in said and "3 rows have an error" in said and "line 3: no text" in said
    for row in rows:
        if "label" in row:
            assert row["probability"] == row["probabilities"][row["label"]] == max(row["probabilities"].values())


def test_tables_of_all_kinds_say_the_same(run, tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    texts = rows_of(9)
    write_csv(tmp_path / "a.csv", texts)
    (tmp_path / "a.tsv").write_text("text\tstars\n" + "".join(f"{t}\t{i}\n" for i, t in enumerate(texts)))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    (tmp_path / "a.txt").write_text("\n\n".join(texts))
    parquet.write_table(pa.table({"text": texts}), tmp_path / "a.parquet")
    found = {}
    for suffix in ("csv", "tsv", "jsonl", "txt", "parquet"):
        rows, _ = run(tmp_path / f"a.{suffix}", tmp_path / f"{suffix}.out")
        found[suffix] = [(row["text"], row["label"], row["probability"]) for row in rows]
    assert len(set(map(str, found.values()))) == 1 and [text for text, *_ in found["csv"]] == texts


def test_columns_are_named_and_missed(run, tmp_path):
    (tmp_path / "in.jsonl").write_text(json.dumps({"title": "the cat", "body": "a very good film was on"}) + "\n")
    out = tmp_path / "out.jsonl"
    assert run(tmp_path / "in.jsonl", out)[0][0]["text"] == "a very good film was on"
    assert run(tmp_path / "in.jsonl", out, text="title")[0][0]["text"] == "the cat"
    one = run(tmp_path / "in.jsonl", out, text="title")[0][0]["probability"]
    assert run(tmp_path / "in.jsonl", out, text="title", pair="body")[0][0]["probability"] != one
    with pytest.raises(UserError, match="no column 'titel' .--text.: did you mean .*title"):
        run(tmp_path / "in.jsonl", out, text="titel")


def test_what_json_holds_and_no_encoding_does_not_stop_the_stream(run, tmp_path):
    (tmp_path / "in.jsonl").write_text(
        '{"text": "cat \\ud83d dog", "id": 7}\n{"text": 12}\n{"text": null}\n[1]\nnope\n'
        '{"text": "dog", "id": "\\ud83d"}\n{"text": "cat", "id": {"\\udc00": ["\\ud83d\\ude42"]}}\n'
    )
    rows, _ = run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", text="text")
    assert rows[0]["text"] == "cat \ufffd dog" and rows[0]["id"] == 7
    assert rows[1]["text"] == "12" and ["error" in row for row in rows[:5]] == [False, False, True, True, True]
    assert [row["id"] for row in rows[5:]] == ["\ufffd", {"\ufffd": ["🙂"]}]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "no rows"), (None, "can't read"), ("id,when\n1,2\n3,4\n", "no column of text.*--text")],
)
def test_files_without_texts_are_refused(run, tmp_path, content, message):
    if content is not None:
        (tmp_path / "in.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        run(tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("out.jsonl*"))


def test_the_input_is_not_overwritten(run, tmp_path):
    write_csv(tmp_path / "in.csv", rows_of(3))
    with pytest.raises(UserError, match="is the --file itself"):
        run(tmp_path / "in.csv", tmp_path / "in.csv")


# -- bounded memory


def test_few_rows_are_read_ahead_and_long_ones_make_small_chunks(monkeypatch):
    monkeypatch.setattr(stream, "ROWS", 10)
    read = []

    def endless():
        for i in itertools.count():
            read.append(i)
            yield Row("x" * (1 + i % 3), line=i)

    seen = 0
    for _, chunk in answered(endless(), lambda rows: [{"n": len(row.text)} for row in rows]):
        assert all(said["n"] == len(row.text) for row, said in chunk)
        seen += len(chunk)
        assert len(read) <= seen + 40
        if seen == 200:
            break
    monkeypatch.setattr(stream, "CHARACTERS", 100)
    assert [len(c) for c in chunks([Row("x" * 60)] * 3 + [Row("x", "y" * 99)] + [Row("x")] * 15)] == [2, 2, 10, 5]


# -- killed and resumed


@pytest.fixture
def asked(monkeypatch):
    """The lines that the model was asked about, in chunks of ten; it is killed once there are asked.limit of them."""
    answers = pipeline.answers

    class Asked(list):
        limit = 10**9

    lines = Asked()

    def counting(reader, rows, **options):
        if len(lines) >= lines.limit:
            raise KeyboardInterrupt
        lines.extend(row.line for row in rows)
        return answers(reader, rows, **options)

    monkeypatch.setattr(pipeline, "answers", counting)
    monkeypatch.setattr(stream, "ROWS", 10)
    return lines


def killed(run, asked, file: Path, out: Path, limit: int = 30) -> Path:
    """The part that a run leaves which is killed after `limit` rows."""
    asked.clear()
    asked.limit = limit
    with pytest.raises(KeyboardInterrupt):
        run(file, out)
    asked.limit = 10**9
    asked.clear()
    assert not out.exists()
    (part,) = out.parent.glob(f"{out.name}.*.part")
    return part


@pytest.mark.parametrize("torn", [0, 1, 60, 61, 1200, 10**6])
def test_a_part_is_gone_on_with_and_ends_as_in_one_go(run, asked, tmp_path, torn):
    file, out = write_csv(tmp_path / "in.csv", rows_of(47)), tmp_path / "out.jsonl"
    run(file, tmp_path / "whole.jsonl")
    part = killed(run, asked, file, out)
    written = part.read_bytes()
    assert written == b"".join((tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)[:30])
    part.write_bytes(written[: len(written) - torn] if torn < len(written) else b"")
    kept = part.read_bytes().count(b"\n")
    _, said = run(file, out)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes() and not part.exists()
    assert asked == list(range(2 + kept // 10 * 10, 49))  # whole chunks are kept, and nothing of them asked again
    assert (f"going on after {kept} rows" in said) == (kept > 0)


def test_what_a_crash_of_the_system_leaves_is_cut_off(run, asked, tmp_path):
    file, out = write_csv(tmp_path / "in.csv", rows_of(47)), tmp_path / "out.jsonl"
    run(file, tmp_path / "whole.jsonl")
    part = killed(run, asked, file, out)
    part.write_bytes(part.read_bytes()[:-300] + bytes(250) + b"\n" + bytes(49))
    run(file, out)
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_another_input_or_model_starts_over(run, asked, tmp_path):
    file, out = write_csv(tmp_path / "in.csv", rows_of(47)), tmp_path / "out.jsonl"
    part = killed(run, asked, file, out)
    write_csv(file, rows_of(47, start=5))
    rows, said = run(file, out)
    assert "is of another input, model or option: starting over" in said
    assert [row["text"] for row in rows] == rows_of(47, start=5) and len(asked) == 47 and not part.exists()
    part = killed(run, asked, file, out := tmp_path / "second.jsonl")
    other = small_model(tmp_path / "other", "sequence_classification", ("red", "blue"))
    rows, said = run(file, out, model=other)
    assert "starting over" in said and {row["label"] for row in rows} <= {"red", "blue"}


def test_a_killed_process_leaves_what_the_next_one_needs(classifier, tmp_path):
    file = write_csv(tmp_path / "in.csv", rows_of(12_000))
    words = [sys.executable, "-m", "adverb", "predict", str(classifier), "--file", str(file), "--out"]
    process = subprocess.Popen([*words, str(tmp_path / "out.jsonl")], stdout=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size for p in tmp_path.glob("out.jsonl.*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out.jsonl").exists()
    done = subprocess.run([*words, str(tmp_path / "out.jsonl")], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0 and "going on after" in done.stdout and "12,000 answers" in done.stdout, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rows] == list(range(2, 12_002))


def test_parts_of_another_output_are_left_alone(run, asked, tmp_path):
    other = tmp_path / "out.jsonl.0123456789ab.part"
    other.write_text("{}\n")
    write_csv(tmp_path / "in.csv", rows_of(5))
    run(tmp_path / "in.csv", tmp_path / "out")
    assert other.exists()
    run(tmp_path / "in.csv", tmp_path / "out.jsonl")
    assert not other.exists()  # of this one, it is of another input


def test_a_pattern_of_files_is_known_by_what_it_finds(tmp_path):
    for name in ("a-1.csv", "b-1.csv"):
        (tmp_path / name).write_text("text\nhello\n")
    assert stamp(tmp_path / "a-*.csv") != stamp(tmp_path / "b-*.csv")


def test_two_processes_do_not_write_one_part(tmp_path):
    first = stream.Part(tmp_path / "out.jsonl", "key")
    with pytest.raises(UserError, match="another process writes it"):
        stream.Part(tmp_path / "out.jsonl", "key")
    first.file.close()


def test_a_full_disk_keeps_what_was_written(run, asked, tmp_path, monkeypatch):
    file, out = write_csv(tmp_path / "in.csv", rows_of(47)), tmp_path / "out.jsonl"
    syncs = iter(range(3))

    def fsync(_):
        if next(syncs, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(UserError, match="No space left on device. The rows done are kept in .*part"):
        run(file, out)
    monkeypatch.undo()
    rows, said = run(file, out)
    assert len(rows) == 47 and "going on after" in said


# -- what stands in the lines


def test_several_labels_values_and_pairs(run, tmp_path):
    file = write_csv(tmp_path / "in.csv", rows_of(5))
    several = small_model(
        tmp_path / "several", "sequence_classification", "abc", problem_type="multi_label_classification"
    )
    for row in run(file, tmp_path / "out.jsonl", model=several)[0]:
        assert row["labels"] == [label for label, p in row["probabilities"].items() if p >= 0.5]
        assert list(row["probabilities"].values()) == sorted(row["probabilities"].values(), reverse=True)
    value = small_model(tmp_path / "value", "sequence_classification", ["stars"], problem_type="regression")
    assert all(isinstance(row["value"], float) for row in run(file, tmp_path / "out.jsonl", model=value)[0])


def test_a_model_of_pairs_is_asked_for_pairs(run, tmp_path):
    model = small_model(tmp_path / "paired", "sequence_classification", adverb={"pairs": True})
    with pytest.raises(UserError, match="this model reads pairs of texts: give the second one by --pair"):
        pipeline.predict(str(model), ["the cat sat"], console=Console(quiet=True))
    pipeline.predict(str(model), ["the cat sat"], pair="the dog ran", console=Console(quiet=True))


def test_entities_of_a_file(run, tmp_path):
    tagger = small_model(tmp_path / "tagger", "token_classification", ["O", "B-ANIMAL", "I-ANIMAL"])
    texts = ["  the cat   sat on a mat.", "Dog? dog!"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rows, _ = run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", model=tagger)
    found = [(text, e) for text, row in zip(texts, rows, strict=True) for e in row["entities"]]
    assert found and all(text[e["start"] : e["end"]] == e["text"] for text, e in found)
    assert {e["type"] for _, e in found} <= {"ANIMAL"}


def test_answers_of_a_file_need_its_columns(run, tmp_path):
    model = small_model(tmp_path / "answerer", "question_answering", None)
    context = "the cat sat on the mat. the dog ran"
    (tmp_path / "in.jsonl").write_text(
        json.dumps({"question": "the cat?", "context": context}) + "\n" + json.dumps({"question": "a dog?"}) + "\n"
    )
    rows, _ = run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", model=model, top_k=2)
    assert len(rows[0]["answers"]) == 2 and rows[1]["error"] == "no text in column 'context'"
    assert all(context[a["start"] : a["end"]] == a["text"] for a in rows[0]["answers"])
    with pytest.raises(UserError, match="no column 'question'"):
        run(write_csv(tmp_path / "in.csv", rows_of(3)), tmp_path / "out.jsonl", model=model)


def test_questions_that_would_be_cut_are_errors_of_their_lines(run, tmp_path):
    model = small_model(tmp_path / "answerer", "question_answering", None)
    questions = ["the cat?", "the " * 33, "a dog?", "the " * 32]
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"question": question, "context": "the dog ran"}) + "\n" for question in questions)
    )
    rows, _ = run(tmp_path / "in.jsonl", tmp_path / "out.jsonl", model=model)
    assert ["answers" in row for row in rows] == [True, False, True, True]
    told = f"The question '{'the ' * 10}…' has 33 tokens, of which the model reads 32: shorten it."
    assert rows[1]["error"] == told
    with pytest.raises(UserError, match="has 33 tokens"):
        load(model).answer(questions, "the dog ran")
    with pytest.raises(UserError, match="has 33 tokens"):
        pipeline.predict(str(model), questions[1:2], pair="the dog ran", console=Console(quiet=True))


def test_texts_without_a_mask_are_errors_of_their_lines(run, tmp_path):
    model = small_model(tmp_path / "filler", "masked_lm", None)
    (tmp_path / "in.txt").write_text("the [MASK] sat\nthe cat sat\n\na [MASK]\n")
    rows, _ = run(tmp_path / "in.txt", tmp_path / "out.jsonl", model=model)
    assert [row["line"] for row in rows] == [1, 2, 4] and ["fills" in row for row in rows] == [True, False, True]
    assert "There is no [MASK]" in rows[1]["error"]


def test_long_texts_are_repeated_in_short(run, tmp_path):
    (tmp_path / "in.txt").write_text("cat " * 100)
    (row,), said = run(tmp_path / "in.txt", tmp_path / "out.jsonl")
    assert len(row["text"]) == 200 and row["text"].endswith("…") and "1 texts were cut to 64 tokens" in said
