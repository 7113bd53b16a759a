"""Questions about contexts: answers are where they are said to be, or found, or left out."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.data.squad import load_question_splits, load_questions
from adverb.errors import UserError
from adverb.schema.tasks import AnswerData

CONTEXT = "Rome is in Italy. Rome is old. Ärger is German."


def squad(*qas, context: str = CONTEXT) -> dict:
    return {"version": "v2.0", "data": [{"title": "x", "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def qa(ident: str, *answers, question: str = "Where?", **more) -> dict:
    listed = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": ident, "question": question, "answers": listed, **more}


@pytest.fixture
def load(tmp_path):
    def run(whole: dict | list, name: str = "a.json"):
        text = json.dumps(whole) if isinstance(whole, dict) else "\n".join(map(json.dumps, whole))
        (tmp_path / name).write_text(text)
        return load_questions(tmp_path / name)

    return run


def right(data) -> bool:
    return all(
        data.contexts[c][start : start + len(text)] == text and text
        for c, answers in zip(data.context_of, data.answers, strict=True)
        for text, start in answers
    )


def test_answers_in_their_places(load):
    data = load(squad(qa("a", ("Italy", 11)), qa("b", ("Rome", 18), ("Rome", 0)), qa("c", is_impossible=True)))
    assert data.ids == ["a", "b", "c"] and data.contexts == [CONTEXT] and data.context_of.tolist() == [0, 0, 0]
    assert data.answers == [[("Italy", 11)], [("Rome", 18), ("Rome", 0)], []] and right(data)
    assert not data.report.skipped and not data.report.notes


def test_answers_that_are_elsewhere_are_found(load):
    data = load(
        squad(
            qa("moved", ("Rome", 15)),
            qa("spaces", (" Italy. ", 10)),
            qa("case", ("ROME", 0)),
            qa("lost", ("Paris", 0)),
            qa("none"),
            qa("twice", ("Italy", 11)),
            qa("twice", ("Italy", 11), question="Again?"),
            qa("empty", ("Italy", 11), question=" "),
            qa("negative", ("Rome", -3)),
            {"id": "odd", "question": "Where?", "answers": {"text": ["Rome", "Italy"], "answer_start": [0]}},
        )
    )
    by_id = dict(zip(data.ids, data.answers, strict=True))
    assert by_id["moved"] == [("Rome", 18)] and by_id["spaces"] == [("Italy.", 11)] and by_id["case"] == [("Rome", 0)]
    assert by_id["negative"] == [("Rome", 0)] and right(data)
    assert data.ids == ["moved", "spaces", "case", "twice", "twice'", "negative"]
    assert data.report.by_reason() == {
        "the answer is not in its context": [4],
        "no answer, and not marked is_impossible": [5],
        "2 answers, but 1 places": [10],
        "no question": [8],
    }
    assert data.report.unit == "question" and any("found elsewhere" in n and "1, 3, 9" in n for n in data.report.notes)


@pytest.mark.parametrize(
    "row",
    [
        {"answers": {"text": ["Italy"], "answer_start": [11]}},
        {"answers": [{"text": "Italy", "answer_start": 11}]},
        {"answer": "Italy", "answer_start": 11},
        {"answer": "Italy"},
        {"answers": ["Italy"]},
        {"answers": ["Italy"], "answer_start": [11]},
        {"answers": "{'text': ['Italy'], 'answer_start': [11]}"},
    ],
)
def test_forms_of_tables(load, row):
    data = load([{"question": "Where?", "context": CONTEXT} | row, {"question": "Who?", "context": CONTEXT}], "a.jsonl")
    assert data.answers == [[("Italy", 11)], []] and data.ids == ["1", "2"]


def test_no_answer_may_be_written_as_nulls(load):
    nothing = {"question": "Where?", "context": CONTEXT, "answers": {"text": None, "answer_start": None}}
    empty = nothing | {"answers": {"text": [], "answer_start": []}}
    assert load([nothing, empty, nothing | {"answers": "Rome"}], "a.jsonl").answers == [[], [], [("Rome", 0)]]


def test_tables_in_csv(tmp_path):
    with open(tmp_path / "a.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("id", "question", "passage", "answer"), (7, "What?", CONTEXT, "Rome"), (8, "What?", CONTEXT, "")]
        )
    data = load_questions(tmp_path / "a.csv")
    assert data.ids == ["7", "8"] and data.answers == [[("Rome", 0)], []]
    assert any("occur several times, the first one taken: line 2" in note for note in data.report.notes)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"data": [', r"a.json:1:11: not JSON"),
        ("a.json", '{"x": 1}', "not one list of rows"),
        ("a.json", '{"data": []}', "no questions"),
        ("a.csv", "text,label\na,b\n", "no column 'question'"),
        ("a.csv", "question,context\na,b\n", "no column 'answers'"),
    ],
)
def test_what_holds_no_questions(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_questions(tmp_path / name)


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=30), st.integers(0, 29), st.integers(1, 9), st.booleans()
)
def test_any_answer_of_any_context(tmp_path_factory, context, start, length, told):
    answer = context[start : start + length]
    if not answer.strip() or not context.strip():
        return
    path = tmp_path_factory.mktemp("q") / "a.json"
    path.write_text(json.dumps(squad(qa("a", (answer, start if told else 999)), context=context)))
    data = load_questions(path)
    assert right(data) and data.answers[0][0][0] == answer.strip()
    if told:
        assert data.answers[0][0][1] == start + len(answer) - len(answer.lstrip())


def test_whole_contexts_are_held_out(tmp_path):
    articles = [
        squad(*(qa(f"{i}-{j}", ("Rome", 0)) for j in range(4)), context=f"Rome {i}")["data"][0] for i in range(30)
    ]
    (tmp_path / "a.json").write_text(json.dumps({"data": articles}))
    train, valid, test = load_question_splits(AnswerData(path=str(tmp_path / "a.json")))
    assert (
        test is None and (len(train), len(valid)) == (108, 12) and (len(train.contexts), len(valid.contexts)) == (27, 3)
    )
    assert not set(train.contexts) & set(valid.contexts) and right(train) and right(valid)
    one = squad(qa("a", ("Rome", 0)), qa("b", ("Italy", 11)))
    (tmp_path / "a.json").write_text(json.dumps(one))
    with pytest.raises(UserError, match="about one context"):
        load_question_splits(AnswerData(path=str(tmp_path / "a.json")))
    (tmp_path / "a.json").write_text(json.dumps(squad(qa("a", is_impossible=True))))
    with pytest.raises(UserError, match="not one question has an answer"):
        load_question_splits(AnswerData(path=str(tmp_path / "a.json")))


def test_limits_keep_the_contexts_that_are_asked_about(load, tmp_path):
    load({"data": [squad(qa(f"q{i}", ("Rome", 0)), context=f"Rome {i}")["data"][0] for i in range(50)]})
    few = load_questions(tmp_path / "a.json", limit=7)
    assert len(few) == 7 and len(few.contexts) == 7 and right(few)
    assert [few.contexts[c] for c in few.context_of] == [f"Rome {ident[1:]}" for ident in few.ids]


def test_xquad(shared_data):
    train, valid, test = load_question_splits(AnswerData(path=str(shared_data / "xquad-en")))
    assert (len(train), len(valid), test) == (925, 265, None) and right(train) and right(valid)
    assert not train.report.skipped and not train.report.notes and train.context_of.dtype == np.int64
    raw = json.loads((shared_data / "xquad-en" / "dev.json").read_text())
    first = raw["data"][0]["paragraphs"][0]["qas"][0]
    assert valid.ids[0] == first["id"] and valid.questions[0] == first["question"]
