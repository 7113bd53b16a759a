"""Tables as people have them: separators, quotes, headers, encodings, JSON, parquet, and what is torn or missing."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.data import decoding, json_rows
from adverb.data.delimited import records
from adverb.data.records import Records, find_column, numbers, read_records
from adverb.data.splits import find_splits
from adverb.errors import UserError


@pytest.fixture
def read(tmp_path):
    """read(name, content) -> (rows, report)"""

    def run(name: str, content: str | bytes):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = read_records(path)
        rows = list(found)
        return rows, found.report

    return run


def texts(rows) -> list[str]:
    return [row["text"] for _, row in rows]


# -- separators, quotes, headers


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\n"one, two",x\nthree,y\n'),
        ("semicolons.csv", "text;label\none, two;x\nthree;y\n"),
        ("tabs.csv", "text\tlabel\none, two\tx\nthree\ty\n"),
        ("bars.csv", "text|label\none, two|x\nthree|y\n"),
        ("crlf.csv", 'text,label\r\n"one, two",x\r\nthree,y\r\n'),
        ("cr.csv", 'text,label\r"one, two",x\rthree,y'),
        ("hint.csv", "sep=;\ntext;label\none, two;x\nthree;y\n"),
        ("spaces.csv", 'text, label\n"one, two", x\nthree ,y\n'),
        ("trailing.csv", "text;label;;\none, two;x;;\nthree;y;;\n"),
        ("a.tsv", "text\tlabel\none, two\tx\nthree\ty\n"),
    ],
)
def test_separators_are_found(read, name, content):
    rows, report = read(name, content)
    assert [{k: v.strip() for k, v in row.items()} for _, row in rows] == [
        {"text": "one, two", "label": "x"},
        {"text": "three", "label": "y"},
    ]
    assert report.skipped == []


def test_quoted_line_ends_and_the_lines_rows_begin_on(read):
    rows, _ = read("a.csv", 'text,label\n"one\ntwo, ""three""\n\n",x\nfour,y\n')
    assert rows == [(2, {"text": 'one\ntwo, "three"\n\n', "label": "x"}), (6, {"text": "four", "label": "y"})]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("length", [1, 30, 100, 600])
def test_texts_of_many_lines(read, length, header):
    random.seed(length)
    lines = ["She came, and saw", "it; then: nothing,", "so, well, she | left", "", "The end"]
    rows = [(i, "\n".join(random.choices(lines, k=length)) + f" {i}", "ab"[i % 2]) for i in range(60)]
    file = io.StringIO()
    csv.writer(file).writerows([("id", "text", "label")] * header + rows)
    found, report = read("a.csv", file.getvalue())
    assert [tuple(row.values()) for _, row in found] == [(str(i), text, label) for i, text, label in rows]
    assert not report.skipped


def test_a_torn_row_costs_only_itself(read):
    content = 'text,label\n"torn,x\nplain,y\n"good, text",x\n"she said "no" to me, twice",y\nsaid "bar",x\n"last'
    rows, report = read("a.csv", content)
    expected = ['"torn', "plain", "good, text", 'she said "no" to me, twice', 'said "bar"']
    assert texts(rows) == expected and [line for line, _ in rows] == [2, 3, 4, 5, 6]
    assert report.skipped == [(7, "cut off: the file ends within this row")]


def test_quotes_that_only_seem_to_close(read):
    rows, _ = read("a.csv", 'text,label\n"torn,x\nplain,y\nfine,x\nsay "bar",y\n"torn,"x"\n')
    assert texts(rows) == ['"torn', "plain", "fine", 'say "bar"', '"torn'] and rows[4][1]["label"] == "x"


def test_an_open_quote_does_not_swallow_the_file(read):
    rows, _ = read("a.csv", "text,label\n" + '"open,x\n' * 3 + "plain,y\n" * 3000)
    assert len(rows) == 3003


@pytest.mark.parametrize(
    ("name", "separator", "other"), [("a.tsv", "\t", ""), ("b.csv", ",", ",7"), ("c.csv", ";", "")]
)
def test_a_quote_around_rows_is_a_character(read, name, separator, other):
    said = [f"text {i}" for i in range(3000)]
    said[1200], said[1900] = '"This is the start', 'the end of it"'
    said[10] = "two\nlines"
    rows = [f'"{text}"' if "\n" in text else text for text in said]
    other = other.replace(",", separator)
    content = "".join(f"{row}{separator}{'ab'[i % 2]}{other}\n" for i, row in enumerate(rows))
    found, report = read(name, f"text{separator}label{other and separator + 'score'}\n{content}")
    assert texts(found) == said and not report.skipped


@pytest.mark.parametrize("text_first", [True, False])
def test_quoted_lists_with_the_separator_in_every_line_are_one_text(read, text_first):
    recipe = "\n".join(f"flour {i}, {i} g" for i in range(30))
    rows = [(recipe, "cake") if text_first else ("cake", recipe), ("tea", "drink")] * 4
    file = io.StringIO()
    csv.writer(file).writerows([("text", "label") if text_first else ("label", "text"), *rows])
    assert [tuple(row.values()) for _, row in read("a.csv", file.getvalue())[0]] == rows


def test_quotes_in_tab_separated_text_are_characters_unless_they_enclose(read):
    rows, _ = read("a.tsv", 'text\tlabel\n"I think so\tx\n"all of it"\ty\n')
    assert texts(rows) == ['"I think so', '"all of it"']
    rows, _ = read("b.tsv", 'text\tlabel\n"a ""b"" c"\tx\n"two\nlines"\ty\n')
    assert texts(rows) == ['a "b" c', "two\nlines"]


def test_ragged_rows_are_left_out_with_their_lines(read):
    rows, report = read("a.csv", "text,label\na,b\nc\nd,e,f\ng,h,,\n\ntext,label\ni,j")
    assert texts(rows) == ["a", "g", "i"]
    assert report.skipped == [(3, "1 columns instead of 2"), (4, "3 columns instead of 2"), (7, "the header again")]


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("great movie,positive\nbad one,negative\nnice one,positive\n", None),
        ("1\tgreat movie\n0\tbad one\n1\tnice\n", None),
        ("who is it?,question\nme,answer\nwho?,question\nyou,answer\n", None),
        ("what people wrote,verdict\ngreat movie this is,good\nbad,poor\n" + "fine enough,good\n" * 4, 2),
        ("text,label\n", 2),
        ("phrase,value\ngreat,1\nbad,0\n", 2),
        (",text,label\n0,great,a\n1,bad,b\n", 3),
    ],
)
def test_headers_are_told_from_rows(read, content, columns):
    rows, report = read("a.csv", content)
    lines = content.count("\n")
    if columns is None:
        assert len(rows) == lines and list(rows[0][1]) == ["0", "1"] and "no header" in report.notes[0]
    else:
        assert len(rows) == lines - 1 and report.notes == []
        assert all(len(row) == columns for _, row in rows)


def test_columns_of_one_name_and_texts_alone(read):
    rows, report = read("a.csv", "text,text,label\na,b,c\n")
    assert (
        rows[0][1] == {"text": "a", "text.2": "b", "label": "c"} and "two columns are called 'text'" in report.notes[0]
    )
    rows, _ = read("b.csv", "text\nI like it, really\nno\nwell, yes, and no\n")
    assert texts(rows) == ["I like it, really", "no", "well, yes, and no"]


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_what_python_writes_as_csv_is_read_back(rows, separator, quoting):
    file = io.StringIO()
    csv.writer(file, delimiter=separator, quoting=quoting, lineterminator="\n").writerows(rows)
    lines = io.StringIO(file.getvalue(), newline="\n")
    # white space before a quote, and rows that are blank, are where this reader is kinder than the standard
    if any(cell.startswith(" ") for row in rows for cell in row) or not all(map(any, rows)):
        return
    found = [tuple(fields) for _, fields, _ in records(iter(enumerate(lines, 1)), separator, True)]
    assert found == rows


# -- encodings


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("café “naïve” – tout à fait, übrigens", "cp1252"),
        ("it’s a “good” film", "cp1252"),
        ("El niño está jugando en el jardín", "cp1252"),
        ("Han är på väg till stranden med sina vänner", "cp1252"),
        ("zażółć gęślą jaźń, příliš žluťoučký kůň", "cp1250"),
        ("A fiú labdázik a kertben a kis kutyájával, mert meleg az idő", "cp1250"),
        ("bu film çok güzel ve eğlenceli bir şey ışık", "cp1254"),
        ("Привет, это очень плохой фильм", "cp1251"),
        ("Привет, это очень плохой фильм", "koi8_r"),
        ("Привет, это очень плохой фильм", "cp866"),
        ("αυτή η ταινία είναι πολύ καλή", "cp1253"),
        ("סרט טוב מאוד ואני אוהב אותו", "cp1255"),
        ("هذا فيلم جيد جدا وأنا أحبه", "cp1256"),
        ("café naïve été, ça va là", "mac_roman"),
        ("café naïve été, ça va là", "cp850"),
        ("这部电影非常好看我很喜欢", "gb18030"),
        ("這部電影非常好看我很喜歡", "big5"),
        ("この映画はとても面白いです。時間の無駄", "shift_jis"),
        ("この映画はとても面白いです。時間の無駄", "euc_jp"),
        ("이 영화는 정말 재미있어요. 시간 낭비", "euc_kr"),
    ],
)
def test_old_encodings_are_judged(read, text, encoding):
    rows, report = read("a.tsv", f"text\tlabel\nplain\tx\n{text}\ty\n".encode(encoding))
    assert texts(rows) == ["plain", text] and report.encoding == encoding


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_with_and_without_a_mark(read, encoding):
    rows, report = read("a.csv", "text,label\nhéllo ✓,x\nsome plain text,y\n".encode(encoding))
    assert rows[0] == (2, {"text": "héllo ✓", "label": "x"}) and len(rows) == 2
    assert report.encoding.lower().replace("-sig", "") == encoding.replace("-sig", "")


def test_files_put_together_from_several(read):
    content = "text,label\ncafé,x\nà l’école,y\n".encode() + "déjà vu,x\n".encode("cp1252") + "zoé,y\n".encode()
    rows, report = read("a.csv", content)
    assert texts(rows) == ["café", "à l’école", "déjà vu", "zoé"]
    assert report.encoding == "UTF-8" and "read as cp1252: line 4" in report.notes[0]


def test_broken_characters_and_nuls(read):
    rows, report = read("a.csv", "text,label\ncafé à la crè".encode()[:-1] + b",x\nhel\0lo,y\n")
    assert texts(rows) == ["café à la cr\ufffd", "hello"]
    assert any("U+FFFD: line 2" in note for note in report.notes)
    assert any("NUL characters taken out: line 3" in note for note in report.notes)


def test_line_ends_of_unicode_do_not_end_lines(read):
    rows, _ = read("a.jsonl", '{"text": "a\u2028b"}\n{"text": "c\x85d\\u0085"}\n')
    assert texts(rows) == ["a\u2028b", "c\x85d\x85"]
    rows, _ = read("a.csv", "text,label\na\u2028b\x0bc,x\n")
    assert texts(rows) == ["a\u2028b\x0bc"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"PK\x03\x04....", "spreadsheet"),
        ("a.jsonl", b"%PDF-1.4", "PDF"),
        ("a.csv", bytes(range(256)) * 20, "control characters"),
        ("a.xlsx", b"", "not read"),
        ("a", b"", "without a suffix"),
        ("a.parquet", b"PAR1", "parquet"),
    ],
)
def test_what_is_no_text_is_refused(read, name, content, words):
    with pytest.raises(UserError, match=words):
        read(name, content)


# -- JSON, archives, parquet, plain text


def test_jsonl_with_broken_lines(read):
    rows, report = read("a.jsonl", '{"text": "a", "n": 1}\n\nnonsense\n[1]\n{"text": "b"}\n{"text": "c')
    assert rows == [(1, {"text": "a", "n": 1}), (5, {"text": "b"})]
    reasons = [(line, reason.split(":")[0]) for line, reason in report.skipped]
    assert reasons == [(3, "not JSON"), (4, "not an object with columns, but a list"), (6, "cut off")]


def test_json_in_its_other_forms(read, tmp_path):
    rows, report = read("a.json", '[\n {"text": "a",\n "n": 1},\n {"text": "b"}, 5,\n {"text": "c"}\n]\n')
    assert [(line, row["text"]) for line, row in rows] == [(2, "a"), (4, "b"), (5, "c")]
    assert report.skipped == [(4, "not an object with columns, but a number")]
    rows, report = read("b.json", '{"version": 1, "data": [{"text": "a"}]}')
    assert texts(rows) == ["a"] and report.notes == ["the rows are the list 'data'"]
    assert texts(read("c.json", '{"text": "a"}\n{"text": "b"}\n')[0]) == ["a", "b"]
    rows, report = read("d.json", '[{"text": "a"}, {"te')
    assert texts(rows) == ["a"] and "cut off" in report.skipped[0][1]
    (tmp_path / "wide.json").write_text('[{"text": "ä"}, {"text": "b"}]', encoding="utf-16")
    assert texts(list(read_records(tmp_path / "wide.json"))) == ["ä", "b"]
    for content in ('{"text": "a"}', "{nonsense", '"a"'):
        with pytest.raises(UserError, match=r"e\.json"):
            read("e.json", content)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda inner: st.lists(inner, max_size=3)
)


objects = st.dictionaries(st.text(max_size=4), values, max_size=3)


@settings(max_examples=200, deadline=None)
@given(st.lists(objects | st.integers(-(10**9), 10**9), max_size=6), st.sampled_from([None, 1]))
def test_arrays_are_parsed_in_blocks_as_in_one(rows, indent):
    text = json.dumps(rows, indent=indent)
    block, json_rows.BLOCK = json_rows.BLOCK, 7
    try:
        skipped = []
        pieces = ((0, text[i : i + 5]) for i in range(0, len(text), 5))
        found = list(json_rows.array_rows(pieces, lambda *row: skipped.append(row)))
    finally:
        json_rows.BLOCK = block
    assert [row for _, row in found] == [row for row in rows if isinstance(row, dict)]
    assert len(skipped) == len(rows) - len(found)
    starts = [line for line, _ in found]
    if indent:  # each row's brace stands on a line of its own
        assert all(text.split("\n")[line - 1].strip()[:1] == "{" for line in starts)


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1), st.integers(4, 20))
def test_long_lines_come_in_pieces_of_whole_characters(tmp_path_factory, text, size):
    path = tmp_path_factory.mktemp("pieces") / "a.json"
    path.write_bytes((text * 9).encode())
    block, decoding.BLOCK = decoding.BLOCK, size
    try:
        lines = decoding.Lines(path, in_pieces=True)
        pieces = [piece for _, piece in lines]
    except UserError:  # of control characters alone
        return
    finally:
        decoding.BLOCK = block
    assert "".join(pieces) == (text * 9).removeprefix("\ufeff") and lines.damaged == []
    assert max(len(piece.encode()) for piece in pieces) <= size + 3


def test_a_large_array_on_one_line_in_little_memory(tmp_path):
    rows = [{"text": f"é{i} " + "word " * 20} for i in range(40_000)]
    (tmp_path / "a.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    tracemalloc.start()
    count = 0
    for (_, row), expected in zip(read_records(tmp_path / "a.json"), rows, strict=True):
        assert row == expected
        count += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == len(rows) and peak < 12e6  # the text is 4.6 MB, held as characters and objects several times more


def test_streaming_holds_a_block(tmp_path):
    with open(tmp_path / "a.csv", "w") as file:
        file.write("text,label\n")
        for i in range(60_000):
            file.write(f'"row {i}, {"word " * 20}",x\n')
    tracemalloc.start()
    assert sum(1 for _ in read_records(tmp_path / "a.csv")) == 60_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_gzip_also_cut_off(read):
    assert texts(read("a.csv.gz", gzip.compress(b"text,label\na,b\nc,d\n"))[0]) == ["a", "c"]
    draw = random.Random(0)
    content = b"text,label\n" + b"".join(b"%d,b\n" % draw.randrange(10**9) for _ in range(9000))
    rows, report = read("b.csv.gz", gzip.compress(content)[:20_000])
    whole = [line.split(b",")[0].decode() for line in content.split(b"\n")[1:]]
    assert 1000 < len(rows) < 9000 and texts(rows) == whole[: len(rows)]
    assert "cut off" in report.warnings[0]


def test_parquet_and_its_class_names(tmp_path):
    table = pa.table({"text": ["a", "b", None], "label": [1, -1, 0], "tags": [[0, 1], [], [1]]})
    label = {"names": ["no", "yes"], "_type": "ClassLabel"}
    features = {"label": label, "tags": {"feature": label, "_type": "List"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for shard in range(2):
        pq.write_table(table, tmp_path / f"train-0000{shard}-of-00002.parquet")
    where = find_splits(tmp_path).train
    found = Records(where)
    assert found.columns == ["text", "label", "tags"] and found.label_names["label"] == ["no", "yes"]
    rows = list(found)
    assert len(rows) == 6 and rows[0] == (1, {"text": "a", "label": "yes", "tags": ["no", "yes"]})
    assert rows[4] == (5, {"text": "b", "label": None, "tags": []}) and found.report.unit == "row"
    (tmp_path / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(UserError, match="1 of the 2 files"):
        find_splits(tmp_path)


def test_plain_text_and_standard_input(read):
    assert read("a.txt", "hello\n\n world, x \r\n")[0] == [(1, {"text": "hello"}), (3, {"text": " world, x "})]
    code = "from adverb.data.records import read_records\nprint(list(read_records('-')))"
    long = "word " * 20_000  # more than a pipe gives at a time
    for typed, expected in (
        ("one\ntwö\n", ["one", "twö"]),
        ('{"text": "a"}\n{"text": "b"}', ["a", "b"]),
        (f'{{"text": "{long}"}}\n{{"text": "b"}}\n', [long, "b"]),
    ):
        done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], input=typed.encode(), capture_output=True)
        assert texts(ast.literal_eval(done.stdout.decode())) == expected, done.stderr


def test_skipped_rows_can_be_told_elsewhere(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na\nb,c\n")
    told = []
    found = read_records(tmp_path / "a.csv", lambda line, reason: told.append(line))
    assert len(list(found)) == 1 and told == [2] and found.report.skipped == []


# -- names


def test_columns_by_name_and_number():
    names = ["id", "Text", "2"]
    assert find_column("Text", names, "f", "data.text") == find_column(1, names, "f", "data.text") == "Text"
    assert find_column("2", names, "f", "data.text") == "2"
    with pytest.raises(UserError, match=r"f has no column 'txt' \(data.text\): did you mean data.text=Text\?"):
        find_column("txt", names, "f", "data.text")
    with pytest.raises(UserError, match="it has id, Text, 2"):
        find_column("7", names, "f", "data.text")
    with pytest.raises(UserError, match="f has no column '²'"):  # a digit, and no number
        find_column("²", names, "f", "data.text")


def test_numbers_in_a_sentence():
    assert numbers([7]) == "line 7" and numbers([3, 1200], "row") == "rows 3, 1200"
    assert numbers(list(range(1, 100))).startswith("99 lines: 1, 2,")


# -- splits


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text,label\na,b\n")
    return folder


@pytest.mark.parametrize(
    ("files", "asked", "expected"),
    [
        (["train.csv", "dev.csv", "test.csv", "README.md"], "", ("train.csv", "dev.csv", "test.csv")),
        (["train.csv", "dev.csv", "test.csv"], "train.csv", ("train.csv", "dev.csv", "test.csv")),
        (["train.csv", "dev.csv", "test.csv"], "test.csv", ("test.csv", None, None)),
        (["a_train.tsv", "a_test.tsv", "b_test.tsv"], "a_train.tsv", ("a_train.tsv", None, "a_test.tsv")),
        (["tickets.csv"], "", ("tickets.csv", None, None)),
        (["tickets.csv", "valid.csv"], "", ("tickets.csv", "valid.csv", None)),
        (["train.conll", "valid.conll"], "", ("train.conll", "valid.conll", None)),
        (["train.jsonl.gz", "test.jsonl.gz"], "", ("train.jsonl.gz", None, "test.jsonl.gz")),
        (["train/a.csv", "test/b.csv"], "", ("train/a.csv", None, "test/b.csv")),
    ],
)
def test_splits_by_name(tmp_path, files, asked, expected):
    found = find_splits(touch(tmp_path, *files) / asked)
    assert (found.train, found.valid, found.test) == tuple(name and tmp_path / name for name in expected)


def test_splits_that_are_told_and_that_cannot_be_found(tmp_path):
    touch(tmp_path, "train.csv", "train.jsonl", "other.csv")
    with pytest.raises(UserError, match="several files that could be for 'train'"):
        find_splits(tmp_path)
    found = find_splits(tmp_path / "train.csv", valid=str(tmp_path / "other.csv"))
    assert found.valid == tmp_path / "other.csv"
    with pytest.raises(UserError, match="are both"):
        find_splits(tmp_path / "train.csv", test=str(tmp_path / "train.csv"))
    with pytest.raises(UserError, match="did you mean"):
        find_splits(tmp_path / "trian.csv")
    with pytest.raises(UserError, match="nothing called train"):
        find_splits(touch(tmp_path / "only", "test.csv"))
    with pytest.raises(UserError, match="--data"):
        find_splits(None)


def test_splits_of_the_hub(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    part = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    hub = {"train": part, "validation": part.select([1]), "test": part.select([0])}
    monkeypatch.setattr("adverb.data.hub.load_hub", lambda name: hub)
    monkeypatch.chdir(tmp_path)
    found = find_splits("owner/name")
    assert (found.train, found.valid) == (("owner/name", "train"), ("owner/name", "validation"))
    assert find_splits("owner/name", test="validation").test == ("owner/name", "validation")
    assert list(Records(found.train)) == [(1, {"text": "a", "label": "yes"}), (2, {"text": "b", "label": "no"})]
