"""Tagged words: CoNLL in all its forms, every way to write spans, offsets into texts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.data.schemes import to_bio
from adverb.data.spans import cut_words, tag_words
from adverb.data.tagged import load_tagged, load_tagged_splits
from adverb.errors import UserError
from adverb.schema.tasks import TagData

SENTENCES = [
    (["Anna", "Smith", "saw", "Rome", "."], ["B-PER", "I-PER", "O", "B-LOC", "O"]),
    (["It", "rained", "."], ["O", "O", "O"]),
]


@pytest.fixture
def load(tmp_path):
    """load(content, name, **columns) -> Tagged"""

    def run(content: str | list[dict], name: str = "a.conll", **columns):
        if isinstance(content, list):
            content, name = "\n".join(map(json.dumps, content)), "a.jsonl"
        (tmp_path / name).write_text(content, encoding="utf-8")
        return load_tagged(tmp_path / name, **columns)

    return run


def conll(sentences, separator="\t", middle="") -> str:
    rows = ["\n".join(f"{w}{separator}{middle}{t}" for w, t in zip(*pair, strict=True)) for pair in sentences]
    return "\n\n".join(rows) + "\n"


def words_of(data, row: int) -> list[str]:
    return [data.texts[row][start:end] for start, end in data.words[row]]


# -- CoNLL


@pytest.mark.parametrize("separator", ["\t", " ", "   ", ",", ";", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators(load, tmp_path, separator, end):
    (tmp_path / "a.conll").write_bytes(conll(SENTENCES, separator).replace("\n", end).encode())
    data = load_tagged(tmp_path / "a.conll")
    assert data.tags == [tags for _, tags in SENTENCES] and data.scheme == "spans" and data.types == ["LOC", "PER"]
    assert [words_of(data, i) for i in range(2)] == [words for words, _ in SENTENCES]
    assert data.texts[0] == "Anna Smith saw Rome ." and data.lines.tolist() == [1, 7]


def test_universal_dependencies_are_forms_and_parts_of_speech(load):
    def line(number: str, form: str, pos: str) -> str:
        return "\t".join([number, form, form.lower(), pos, "X", "_", "0", "root", "_", "SpaceAfter=No"])

    rows = ["# text = Vámonos ya", line("1-2", "Vámonos", "_"), line("1", "Vamos", "VERB"), line("2", "nos", "PRON"),
            line("3", "ya", "ADV"), line("3.1", "casa", "NOUN"), ""]  # fmt: skip
    data = load("\n".join(rows * 4), "a.conllu")
    assert words_of(data, 0) == ["Vamos", "nos", "ya"] and data.tags[0] == ["VERB", "PRON", "ADV"]


def test_documents_comments_and_further_columns(load):
    content = (
        "# text = Anna Smith saw Rome .\n-DOCSTART- -X- O O\n\n" + conll(SENTENCES, " ", "NN B-NP ") + "\n\n# end\n"
    )
    data = load(content)
    assert data.tags == [tags for _, tags in SENTENCES] and not data.report.skipped
    pos = load(content, tag=1)
    assert pos.scheme == "words" and pos.types == ["NN"] and pos.tags[0] == ["NN"] * 5
    with pytest.raises(UserError, match="4 columns, 0 … 3: there is no data.tag=4"):
        load(content, tag=4)
    with pytest.raises(UserError, match="both the word and the tag"):
        load(content, tag=0)


def test_columns_by_the_names_of_a_header(load):
    content = "id\tword\tpos\tner\n" + "".join(
        f"{i}\t{w}\tX\t{t}\n" for i, (w, t) in enumerate(zip(*SENTENCES[0], strict=True))
    )
    data = load(content, word="word", tag="ner")
    assert data.tags == [SENTENCES[0][1]] and words_of(data, 0) == SENTENCES[0][0] and data.lines.tolist() == [2]
    with pytest.raises(UserError, match="did you mean data.tag=ner"):
        load(content, word="word", tag="nre")


def test_hash_marks_are_words_where_they_have_tags(load):
    data = load("#\tO\n#tag\tB-X\nword\tO\n")
    assert words_of(data, 0) == ["#", "#tag", "word"]


@pytest.mark.parametrize(
    ("comment", "middle"), [("# id fa8c-11 domain=en", "_ _ "), ("# newdoc", ""), ("# newpar\n# sent_id", "")]
)
def test_comments_of_as_many_words_as_there_are_columns(load, comment, middle):
    content = "\n".join(f"{comment}\n{conll([pair], ' ', middle)}" for pair in SENTENCES)
    data = load(content)
    assert data.tags == [tags for _, tags in SENTENCES] and data.types == ["LOC", "PER"]
    tweets = load(content + f"\n# {middle}O\n1 {middle}O\n\n# {middle}B-PER\n# {middle}I-PER\n")
    assert [words_of(tweets, i) for i in (2, 3)] == [["#", "1"], ["#", "#"]]


def test_words_with_spaces_and_blank_lines_with_tabs(load):
    data = load("New York\tB-LOC\n!\tO\n\t\nnext\tO\n\tO\nlast\tO\n")
    assert [words_of(data, i) for i in range(3)] == [["New York", "!"], ["next"], ["last"]]


def test_torn_lines_are_left_out(load):
    data = load("a\tB-X\nb\nc\tO\td\ne\tO\nf\t\ng\tO\n")
    assert words_of(data, 0) == ["a", "e", "g"]
    assert data.report.by_reason() == {"1 columns instead of 2": [2], "3 columns instead of 2": [3], "no tag": [5]}


@pytest.mark.parametrize("content", ["", "only words\nand more of them here\nso\n", "\n\n"])
def test_no_columns(load, content):
    with pytest.raises(UserError, match="has no columns of words and tags"):
        load(content)


# -- schemes


def spans_to(scheme: str, spans: list[tuple[int, int, str]], n: int) -> list[str]:
    """Non-overlapping spans [start, end) written in a scheme: the reference for what is read."""
    tags = ["O"] * n
    for i, (start, end, kind) in enumerate(spans):
        touching = i > 0 and spans[i - 1][1] == start and spans[i - 1][2] == kind
        for at in range(start, end):
            first, last = at == start, at == end - 1
            tags[at] = {
                "BIO2": "B" if first else "I",
                "BIO1": "B" if first and touching else "I",
                "BIOES": "S" if first and last else "B" if first else "E" if last else "I",
                "BILOU": "U" if first and last else "B" if first else "L" if last else "I",
                "BMES": "S" if first and last else "B" if first else "E" if last else "M",
                "IO": "I",
            }[scheme] + f"-{kind}"
    return tags


@st.composite
def spans(draw):
    lengths = draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("XY")), max_size=5))
    found, at = [], 0
    for gap, length, kind in lengths:
        at += gap
        found.append((at, at + length, kind))
        at += length
    return found, at + draw(st.integers(0, 2))


@settings(deadline=None)
@given(st.lists(spans(), min_size=1, max_size=6), st.sampled_from(["BIO1", "BIO2", "BIOES", "BILOU", "BMES"]))
def test_every_scheme_is_read_as_bio2(sentences, scheme):
    found = to_bio([spans_to(scheme, *sentence) for sentence in sentences])
    if any(spans for spans, _ in sentences):
        assert found.tags == [spans_to("BIO2", *sentence) for sentence in sentences] and found.spans
        if scheme in ("BIOES", "BILOU", "BMES", "BIO2"):
            assert not found.repaired


def test_io_with_and_without_prefixes(load):
    for tags in (["I-X", "I-X", "O", "I-Y", "I-X"], ["X", "X", "O", "Y", "X"]):
        data = load(conll([(list("abcde"), tags)]))
        assert data.tags == [["B-X", "I-X", "O", "B-Y", "B-X"]] and data.scheme == "spans"
        assert any("the tags are IO" in note for note in data.report.notes)


def test_prefixes_that_go_on_from_nothing_are_repaired_and_counted(load):
    sentences = [(list("ab"), ["B-X", "I-X"])] * 4 + [(list("abc"), ["O", "I-X", "I-Y"])]
    data = load(conll(sentences))
    assert data.tags[4] == ["O", "B-X", "B-Y"]
    assert any("2 I- that went on from nothing, read as B-: lines 14, 15" in note for note in data.report.notes)


def test_what_has_ended_does_not_go_on(load):
    sentences = [(list("ab"), ["B-X", "E-X"])] * 4 + [(list("abcd"), ["S-X", "I-X", "E-X", "E-X"])]
    data = load(conll(sentences))
    assert data.tags[4] == ["B-X", "B-X", "I-X", "B-X"]
    assert any("2 I- that went on from nothing" in note for note in data.report.notes)


def test_letters_alone_small_letters_and_odd_tags(load):
    assert load(conll([(list("abc"), ["B", "I", "O"])])).tags == [["B-entity", "I-entity", "O"]]
    assert load(conll([(list("abc"), ["b-X", "i-X", "o"])])).tags == [["B-X", "I-X", "O"]]
    data = load(conll([(list("abc"), ["B-X", "I-X", "O"]), (list("ab"), ["B-X", "_"])]))
    assert data.tags[1] == ["B-X", "O"] and any("read as O: line 6" in note for note in data.report.notes)


# -- lists of words, spans by offsets


def test_lists_of_words_and_tags(load):
    rows = [{"id": i, "tokens": words, "ner_tags": tags} for i, (words, tags) in enumerate(SENTENCES)]
    rows += [{"id": 2, "tokens": ["a"], "ner_tags": []}, {"id": 3, "tokens": ["b", ""], "ner_tags": ["O", "B-LOC"]}]
    data = load(rows)
    assert data.tags == [*(tags for _, tags in SENTENCES), ["O"]] and data.lines.tolist() == [1, 2, 4]
    assert data.report.skipped == [(3, "1 words, but 0 tags")]


@pytest.mark.parametrize(
    "spans",
    [
        [[0, 10, "PER"], [15, 19, "LOC"]],
        [{"start": 0, "end": 10, "label": "PER"}, {"start": 15, "end": 19, "label": "LOC", "text": "Rome"}],
        [{"start_offset": 0, "end_offset": 10, "type": "PER"}, {"start_offset": 14, "end_offset": 19, "type": "LOC"}],
    ],
)
@pytest.mark.parametrize("column", ["spans", "entities", "label"])
def test_spans_by_offsets(load, spans, column):
    data = load([{"text": "Anna Smith saw Rome.", column: spans}])
    assert data.tags == [SENTENCES[0][1]] and words_of(data, 0) == SENTENCES[0][0]
    assert data.texts == ["Anna Smith saw Rome."] and data.report.columns == {"text": "text", "tag": column}


def test_spans_that_do_not_fit(load):
    text = "Anna Smith-Jones saw Rome"
    data = load(
        [
            {"text": text, "spans": [[0, 10, "PER"]]},
            {"text": text, "spans": [[1, 8, "PER"]]},
            {"text": text, "spans": [[0, 4, "FAM"], [0, 16, "PER"]]},
            {"text": text, "spans": [[0, 99, "PER"]]},
            {"text": text, "spans": [{"start": 0, "end": 4, "label": "PER", "text": "Jones"}]},
            {"text": text, "spans": ["PER"]},
            {"text": text, "spans": []},
        ]
    )
    assert words_of(data, 0) == ["Anna", "Smith", "-", "Jones", "saw", "Rome"]
    assert [row[:4] for row in data.tags] == [
        ["B-PER", "I-PER", "O", "O"], ["B-PER", "I-PER", "O", "O"], ["B-PER", "I-PER", "I-PER", "I-PER"], ["O"] * 4,
    ]  # fmt: skip
    notes = " ".join(data.report.notes)
    assert "1 spans begin or end inside a word and are widened to it: line 2" in notes
    assert "1 spans overlap a longer one and are left out: line 3" in notes
    reasons = [reason for _, reason in data.report.skipped]
    assert [line for line, _ in data.report.skipped] == [4, 5, 6]
    assert "not within the 25 characters" in reasons[0] and "is 'Anna' and not 'Jones'" in reasons[1]


@given(st.text(max_size=40))
def test_words_are_those_of_berts_pre_tokenizer_and_ideographs_are_alone(text):
    places = cut_words(text)
    assert all(a < b for a, b in places) and all(b <= c for (_, b), (c, _) in zip(places, places[1:], strict=False))
    covered = {i for a, b in places for i in range(a, b)}
    assert all(i in covered or c.isspace() for i, c in enumerate(text))
    film = "电影x很好, it's"
    assert [film[a:b] for a, b in cut_words(film)] == ["电", "影", "x", "很", "好", ",", "it", "'", "s"]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8), st.sampled_from("XY")), max_size=6))
def test_spans_become_whole_words_and_never_overlap(spans):
    text = "aa bb, cc dd ee ff. gg hh ii"
    places = cut_words(text)
    tags, _, dropped = tag_words(places, [(start, start + length, kind) for start, length, kind in spans])
    assert to_bio([tags]).tags == [tags] and not to_bio([tags]).repaired or set(tags) == {"O"}
    begun = sum(tag[0] == "B" for tag in tags)
    touching = sum(any(a < s + n and b > s for a, b in places) for s, n, _ in spans)
    assert begun + dropped == touching


# -- splits and real data


def test_types_of_all_parts_and_a_tenth_held_out(tmp_path):
    draw = np.random.default_rng(0)
    sentences = [([f"w{i}", "x"], ["B-A", "O"] if draw.random() < 0.3 else ["O", "O"]) for i in range(200)]
    (tmp_path / "train.conll").write_text(conll(sentences))
    (tmp_path / "test.conll").write_text(conll([(["a"], ["B-NEW"])]))
    train, valid, test = load_tagged_splits(TagData(path=str(tmp_path)))
    assert train.types == valid.types == test.types == ["A", "NEW"]
    assert any("never found: NEW" in warning for warning in test.report.warnings)
    assert len(valid) == 20 and len(train) == 180 and not set(valid.texts) & set(train.texts)
    share = sum("B-A" in row for row in train.tags) / 180
    assert abs(sum("B-A" in row for row in valid.tags) / 20 - share) < 0.06
    (tmp_path / "test.conll").write_text(conll([(["a", "b"], ["NN", "VB"])]))
    with pytest.raises(UserError, match="tag both alike"):
        load_tagged_splits(TagData(path=str(tmp_path)))
    (tmp_path / "train.conll").write_text(conll([(["a"], ["O"])] * 20))
    with pytest.raises(UserError, match="every word is O"):
        load_tagged_splits(TagData(path=str(tmp_path)))


def test_wnut17(shared_data):
    parts = load_tagged_splits(TagData(path=str(shared_data / "wnut17")))
    assert [len(part) for part in parts] == [3394, 1009, 1287]
    begun = [sum(tag[0] == "B" for row in part.tags for tag in row) for part in parts]
    raw = [(shared_data / "wnut17" / f"{name}.conll").read_text().count("\tB-") for name in ("train", "dev", "test")]
    assert begun == raw and parts[0].types == ["corporation", "creative-work", "group", "location", "person", "product"]
    for part in parts:
        assert not part.report.skipped and not part.report.notes
        assert all(len(words) == len(tags) for words, tags in zip(part.words, part.tags, strict=True))
        lines = (shared_data / "wnut17" / f"{part.name.rsplit('/', 1)[-1]}").read_text().split("\n")
        assert all(lines[n - 1].split("\t")[0] == words_of(part, i)[0] for i, n in enumerate(part.lines.tolist()))
