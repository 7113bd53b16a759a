"""Labelled texts: which column is what, what the labels are, what is left out and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.data.label_kinds import guess_kind, plain, split_label
from adverb.data.labelled import load_labelled, load_labelled_parts, load_labelled_splits
from adverb.data.parts import held_out_rows
from adverb.errors import UserError
from adverb.schema.tasks import ClassifyData

WORDS = "a very good film with a story that I will not forget soon".split()


@pytest.fixture
def table(tmp_path):
    """table(rows, name) writes rows (dicts) as JSONL, or as CSV where the name says so, and returns the path."""

    def write(rows: list[dict], name: str = "data.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".csv"):
            lines = [",".join(rows[0])] + [",".join(map(str, row.values())) for row in rows]
        else:
            lines = [json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def film(i: int) -> str:
    return f"{' '.join(WORDS[i % 5 :])} {i}"


# -- columns


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": film, "label": lambda i: i % 2}, ("text", None, "label")),
        ({"id": str, "Sentiment": lambda i: "np"[i % 2], "phrase": film}, ("phrase", None, "Sentiment")),
        ({"premise": film, "hypothesis": film, "label": lambda i: i % 3}, ("premise", "hypothesis", "label")),
        ({"sentence1": film, "sentence2": film, "score": lambda i: i / 7}, ("sentence1", "sentence2", "score")),
        ({"title": lambda i: f"no. {i}", "body": film, "mood": lambda i: "ab"[i % 2]}, ("body", None, "mood")),
        ({"message": film, "kind of thing": lambda i: "xyz"[i % 3], "date": str}, ("message", None, "kind of thing")),
        ({"class": lambda i: "a long name, longer than any text " + "ab"[i % 2], "note": lambda i: f"n{i}"},
         ("note", None, "class")),
    ],
)  # fmt: skip
def test_columns_are_guessed(table, columns, expected):
    data = load_labelled(table([{name: make(i) for name, make in columns.items()} for i in range(40)]))
    roles = data.report.columns
    assert (roles["text"], roles.get("pair"), roles["label"]) == expected
    assert (data.pairs is not None) == (expected[1] is not None)


def test_columns_that_are_told(table):
    rows = [{"text": film(i), "other": film(i + 1), "coarse": i % 2, "fine": f"{i % 2}:{i % 4}"} for i in range(40)]
    path = table(rows)
    with pytest.raises(UserError, match=r"coarse \(2 values\), fine \(4 values\). Choose one: data.label=coarse"):
        load_labelled(path)
    assert load_labelled(path, label="fine").label_names == ["0:0", "0:2", "1:1", "1:3"]
    data = load_labelled(path, text="other", pair=0, label=2)
    assert data.report.columns == {"text": "other", "pair": "text", "label": "coarse"}
    assert data.texts[0] == film(1) and data.pairs[0] == film(0)
    for told, message in (
        ({"label": "fines"}, "did you mean data.label=fine"),
        ({"text": "fine", "label": "fine"}, "two things"),
    ):
        with pytest.raises(UserError, match=message):
            load_labelled(path, **told)


def test_files_without_a_header(tmp_path):
    (tmp_path / "a.csv").write_text("".join(f'"{film(i)}",{"np"[i % 2]}\n' for i in range(40)))
    data = load_labelled(tmp_path / "a.csv")
    assert len(data) == 40 and data.report.columns == {"text": "0", "label": "1"} and data.lines[0] == 1
    (tmp_path / "a.txt").write_text("".join(f"{'np'[i % 2]}\t{film(i)}\n" for i in range(40)))
    assert load_labelled(tmp_path / "a.txt").label_names == ["n", "p"]


def test_a_second_file_names_the_columns_of_one_without_a_header(tmp_path):
    (tmp_path / "a.csv").write_text("".join(f'{"np"[i % 2]},"{film(i)}"\n' for i in range(40)))
    (tmp_path / "b.csv").write_text('text,label,why\n"a film, such as it is",n,n 50 % or p 50 %\n"another one",,x\n')
    data = load_labelled(tmp_path / "a.csv", more=str(tmp_path / "b.csv"))
    assert data.label_names == ["n", "p"] and len(data) == 41 and data.texts[-1] == "a film, such as it is"


def test_a_test_set_without_a_label_column_is_not_used(tmp_path):
    (tmp_path / "train.csv").write_text("text,target\n" + "".join(f'"{film(i)}",{"np"[i % 2]}\n' for i in range(40)))
    (tmp_path / "test.csv").write_text("text\n" + "".join(f'"{film(i)}"\n' for i in range(9)))
    train, _, test = load_labelled_parts(ClassifyData(path=str(tmp_path)))
    assert test is None and any("test.csv has no labels and is not used" in note for note in train.report.notes)
    with pytest.raises(UserError, match="no column 'target'"):
        load_labelled_parts(ClassifyData(path=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv")))


# -- kinds of labels


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        (["b", "a"], "single", ["a", "b"]),
        (["10", "9", "1"], "single", ["1", "9", "10"]),
        ([1, 0, 1.0], "single", ["0", "1"]),
        ([True, False], "single", ["false", "true"]),
        ([1.5, 2.0, 2.5], "single", ["1.5", "2", "2.5"]),
        ([i / 8 for i in range(40)], "regression", []),
        ([3 * i for i in range(60)], "regression", []),
        ([i % 77 for i in range(600)], "single", [str(i) for i in range(77)]),
        ([["a", "b"], [], ["b"]], "multi", ["a", "b"]),
        (["a;b", "b", "c ; a", "c"], "multi", ["a", "b", "c"]),
        (["a|b", "b", "a", "a|b"], "multi", ["a", "b"]),
        (['["x", "y"]', "['x']", "[]"], "multi", ["x", "y"]),
        (["NUM|dist", "LOC|city", "NUM|count"], "single", ["LOC|city", "NUM|count", "NUM|dist"]),
    ],
)
def test_kinds_of_labels(table, values, kind, names):
    rows = [{"text": film(i), "label": values[i % len(values)]} for i in range(max(40, len(values)))]
    data = load_labelled(table(rows))
    assert data.kind == kind and data.label_names == names
    if kind == "single":
        assert data.targets.dtype == np.int64
        assert [names[t] for t in data.targets] == [plain(row["label"]) for row in rows]
    elif kind == "regression":
        assert data.targets.dtype == np.float32
        np.testing.assert_allclose(data.targets, [row["label"] for row in rows])
    else:
        assert data.targets.dtype == np.float32 and data.targets.shape == (len(rows), len(names))
        expected = [sorted(split_label(row["label"], ";" if ";" in str(values) else "|")) for row in rows]
        assert [[n for n, on in zip(names, row, strict=True) if on] for row in data.targets] == expected


def test_several_columns_of_flags(table):
    rows = [{"comment": film(i), "toxic": i % 2, "rude": int(i % 3 == 0), "id": i} for i in range(40)]
    data = load_labelled(table(rows))
    assert data.kind == "multi" and data.label_names == ["toxic", "rude"]
    assert data.targets.tolist() == [[row["toxic"], row["rude"]] for row in rows]
    told = load_labelled(table(rows), label="rude, toxic")
    assert told.label_names == ["rude", "toxic"] and told.targets[1].tolist() == [0, 1]


@pytest.mark.parametrize("write", [int, float, bool, lambda flag: str(bool(flag)).upper()])
def test_flags_however_they_are_written(table, write):
    rows = [{"text": film(i), "toxic": write(i % 2), "rude": write(int(i % 3 == 0))} for i in range(40)]
    data = load_labelled(table(rows, "data.csv"))
    assert data.kind == "multi" and data.label_names == ["toxic", "rude"]
    assert data.targets.tolist() == [[i % 2, i % 3 == 0] for i in range(40)]


def test_a_cell_that_is_no_flag_is_named_with_its_line(table):
    rows = [{"text": film(i), "toxic": i % 2, "rude": int(i % 3 == 0)} for i in range(40)]
    rows[5]["rude"] = ""
    assert load_labelled(table(rows, "data.csv"), label="toxic,rude").targets[5].tolist() == [1, 0]
    rows[7]["rude"] = "maybe"
    with pytest.raises(UserError, match="data.csv:9: 'maybe' in column 'rude' is neither 0 nor 1"):
        load_labelled(table(rows, "data.csv"), label="toxic,rude")


def test_kinds_that_are_told(table):
    path = table([{"text": film(i), "label": str(i % 4)} for i in range(40)])
    assert load_labelled(path, kind="regression").targets.tolist() == [i % 4 for i in range(40)]
    path = table([{"text": film(i), "label": "a,b" if i % 2 else "b"} for i in range(40)])
    assert load_labelled(path).label_names == ["a,b", "b"]
    assert load_labelled(path, kind="multi").targets.tolist() == [[i % 2, 1] for i in range(40)]
    with pytest.raises(UserError, match=r"data.jsonl:1: 'b' is not a number"):
        load_labelled(path, kind="regression")


names = st.sampled_from(["a", "b", "cc", "d d", "é"])


@settings(deadline=None)
@given(st.lists(st.lists(names, unique=True, max_size=4), min_size=1, max_size=12), st.sampled_from([";", "|"]))
def test_lists_of_labels_survive_being_written(rows, separator):
    assert [split_label(row, None) for row in rows] == rows
    assert [split_label(json.dumps(row), None) for row in rows] == rows
    assert [split_label(repr(row), None) for row in rows] == rows
    assert [split_label(f" {separator} ".join(row), separator) for row in rows] == rows
    assert guess_kind(rows).kind == "multi"


# -- rows that can't be used


def test_rows_without_text_or_label_are_left_out(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\ngood,x\n,y\nbad,\n  ,\nfine,NaN\nlost\nwell,y\nso,y\n")
    data = load_labelled(tmp_path / "a.csv")
    assert data.texts == ["good", "well", "so"] and data.lines.tolist() == [2, 8, 9] and data.report.rows == 3
    assert data.report.by_reason() == {"no text": [3, 5], "no label": [4, 6], "1 columns instead of 2": [7]}
    assert "5 rows left out" in " ".join(data.report.lines())


def test_halves_of_characters_become_one_that_can_be_written(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a \\ud83d b", "label": 1}\n{"text": "\\ud83d\\ude00", "label": 0}\n')
    data = load_labelled(tmp_path / "a.jsonl")
    assert data.texts == ["a \ufffd b", "😀"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\n", "no rows"),
        ("", "no rows"),
        ("text,label\na,x\nb,x\nc,x\n", "every row has the label 'x' .column 'label'.: there is nothing to tell apart"),
        ("text\na b c\nd e f\n", "no column that looks like a label"),
        ("id,label\n1,7\n2,8\n3,7\n", "no column of text"),
        ("text,label\na,\nb,\nc,\n", "not one of 3 rows has a label"),
        ("text,label\n" + "".join(f"film {i},of its own {i}\n" for i in range(30)), "30 different values in 30 rows"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        load_labelled(tmp_path / "a.csv")


def test_labels_that_look_wrong_are_warned_of(table):
    rows = [{"text": film(i), "label": ("Good", "bad", "good")[i % 3]} for i in range(40)] + [
        {"text": "x", "label": "badd"}
    ]
    warnings = load_labelled(table(rows)).report.warnings
    assert any("'Good', 'good'" in w for w in warnings) and any("badd" in w and "seldom" in w for w in warnings)


# -- splits


def test_an_unknown_label_of_a_test_set_names_line_and_neighbour(table, tmp_path):
    table([{"text": film(i), "label": ("positive", "negative")[i % 2]} for i in range(40)], "train.jsonl")
    table([{"text": "x y", "label": "negative"}, {"text": "z", "label": "postive"}], "test.jsonl")
    with pytest.raises(UserError, match=r"test.jsonl:2: label 'postive' .* \(the nearest is 'positive'\)"):
        load_labelled_splits(ClassifyData(path=str(tmp_path)))


def test_the_parts_share_columns_kind_and_labels(table, tmp_path):
    table([{"text": film(i), "stars": i % 5} for i in range(100)], "train.jsonl")
    table([{"text": film(i), "stars": 3} for i in range(3)], "dev.jsonl")
    table([{"text": film(i), "stars": -1 if i else None} for i in range(3)], "test.jsonl")
    with pytest.raises(UserError, match="label '-1'"):
        load_labelled_splits(ClassifyData(path=str(tmp_path)))
    table([{"text": film(i), "stars": None} for i in range(3)], "test.jsonl")
    train, valid, test = load_labelled_splits(ClassifyData(path=str(tmp_path)))
    assert test is None and any("has no labels" in note for note in train.report.notes)
    assert valid.targets.tolist() == [3, 3, 3] and valid.label_names == train.label_names == list("01234")


def test_a_tenth_is_held_out_in_proportion(table):
    rows = [{"text": film(i), "label": "abc"[(i % 10 > 5) + (i % 10 > 8)]} for i in range(300)]
    train, valid, test = load_labelled_splits(ClassifyData(path=str(table(rows))))
    assert test is None and len(train) == 270 and len(valid) == 30
    assert np.bincount(valid.targets).tolist() == [18, 9, 3]
    assert sorted([*train.lines, *valid.lines]) == list(range(1, 301))
    assert np.diff(valid.lines).max() > 1  # drawn, not cut off
    again = load_labelled_splits(ClassifyData(path=str(table(rows))))
    assert again[1].texts == valid.texts


def test_new_classes_of_more_rows_join_the_declared_ones(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["spam", "ham"])})
    rows = {"text": [film(i) for i in range(40)], "label": [i % 2 for i in range(40)]}
    Dataset.from_dict(rows, features=features).to_parquet(str(tmp_path / "few.parquet"))
    more = "".join(f"{film(40 + i)},scam\n" for i in range(10))
    (tmp_path / "next.csv").write_text("text,label\n" + more)
    spec = ClassifyData(path=str(tmp_path / "few.parquet"), more=str(tmp_path / "next.csv"))
    train, valid, _ = load_labelled_splits(spec)
    assert train.label_names == ["spam", "ham", "scam"] and len(train) + len(valid) == 50


@pytest.mark.parametrize(("one", "other", "names"), [(int, float, ["0", "1"]), (bool, str, ["false", "true"])])
def test_labels_written_in_two_ways_are_the_same_classes(table, tmp_path, one, other, names):
    few = table([{"text": film(i), "label": one(i % 2)} for i in range(40)], "few.csv")
    more = table([{"text": film(40 + i), "label": other(one(i % 2))} for i in range(20)], "next.csv")
    typed = table([{"text": film(i), "label": one(i % 2)} for i in range(6)], "test.jsonl")
    train, _, test = load_labelled_splits(ClassifyData(path=str(few), more=str(more), test=str(typed)))
    assert train.label_names == names and test.targets.tolist() == [0, 1] * 3
    for learnt in (["0.0", "1.0"], ["False", "True"])[names == ["false", "true"]], names:  # of older models, too
        assert load_labelled(few, label_names=learnt).targets.tolist() == [0, 1] * 20


def test_versions_and_codes_keep_their_names(table):
    values = ["1.5", "v1.0", "007", "1.0.0"]
    data = load_labelled(table([{"text": film(i), "label": values[i % 4]} for i in range(40)], "data.csv"))
    assert data.label_names == sorted(values)


def test_of_several_labels_the_rare_ones_are_held_out_too(table):
    rows = [{"text": film(i), "label": ["a", "b"][i % 2 :] + ["rare"] * (i % 15 == 0)} for i in range(300)]
    train, valid, _ = load_labelled_splits(ClassifyData(path=str(table(rows))))
    assert train.label_names == ["a", "b", "rare"] and valid.counts()[2] == 2 and train.counts()[2] == 18
    rows = [{"text": film(i), "score": i / 7} for i in range(300)]
    _, valid, _ = load_labelled_splits(ClassifyData(path=str(table(rows))))
    assert np.histogram(valid.targets, bins=10, range=(0, 300 / 7))[0].tolist() == [3] * 10


def test_equal_texts_are_on_one_side(table):
    rows = [{"text": film(i % 60), "label": i % 2} for i in range(120)]
    train, valid, _ = load_labelled_splits(ClassifyData(path=str(table(rows))))
    assert len(valid) > 0 and not set(train.texts) & set(valid.texts)


def test_limit_draws_from_all_over_train(table, tmp_path):
    table([{"text": film(i), "label": int(i > 500)} for i in range(1000)], "train.jsonl")
    table([{"text": film(i), "label": 0} for i in range(30)], "test.jsonl")
    train, valid, test = load_labelled_splits(ClassifyData(path=str(tmp_path), limit=100))
    assert len(train) + len(valid) == 100 and len(test) == 30
    assert 25 < train.targets.sum() < 65


@given(st.lists(st.integers(0, 4), min_size=2, max_size=200))
def test_what_is_held_out(strata):
    held = held_out_rows(np.array(strata), "x")
    n = len(strata)
    assert len(held) == max(1, round(n / 10)) < n and len(set(held.tolist())) == len(held)
    counts = np.bincount(strata, minlength=5)
    assert (np.abs(np.bincount(np.array(strata)[held], minlength=5) - counts * len(held) / n) < 1).all()


# -- real data


def test_sst2_and_trec(shared_data):
    train, valid, test = load_labelled_splits(ClassifyData(path=str(shared_data / "sst2")))
    assert (len(train), len(valid), len(test)) == (6920, 872, 1821)
    assert train.label_names == ["negative", "positive"] and not train.report.skipped
    assert train.targets.mean() == pytest.approx(3610 / 6920) and train.lines[0] == 2
    trec = shared_data / "trec"
    with pytest.raises(UserError, match=r"data.label=coarse"):
        load_labelled_splits(ClassifyData(path=str(trec)))
    coarse = load_labelled_splits(ClassifyData(path=str(trec), label="coarse"))
    assert len(coarse[0]) + len(coarse[1]) == 5452 and len(coarse[2]) == 500 and len(coarse[0].label_names) == 6
    fine = load_labelled_splits(ClassifyData(path=str(trec), label="fine"))
    assert len(fine[0].label_names) == 50 and fine[2].targets.max() < 50
