"""Long texts as rows: everything once, with context, and in its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adverb.bert.tokenizer import Tokenizer
from adverb.data.windows import encode_passages, most_context, question_rows, tag_rows, windows

LONG = "The committee met Mrs. O'Neill \u200b in Łódź , 東京 and New York ; nobody else came to the symposium . " * 9


@pytest.fixture(scope="module")
def tokenizer(minilm) -> Tokenizer:
    return Tokenizer.from_pretrained(minilm)


def spans_of_words(text: str) -> list[tuple[int, int]]:
    places, position = [], 0
    for word in text.split(" "):
        places.append((position, position + len(word)))
        position += len(word) + 1
    return [(start, end) for start, end in places if start < end]


@given(length=st.integers(0, 3000), size=st.integers(2, 600), stride=st.integers(1, 700))
def test_windows_cover_everything_evenly_and_share_the_stride(length, size, stride):
    cut, shared = windows(length, size, stride), min(stride, size // 2)
    assert cut[0][0] == 0 and cut[-1][1] == length
    assert len({end - start for start, end in cut}) == 1 and cut[0][1] <= size
    assert all(b - c >= shared and c > a for (a, b), (c, _) in zip(cut, cut[1:], strict=False))
    assert len(cut) == 1 or (len(cut) - 1) * (size - shared) + shared < length  # with one less it would not fit


@given(length=st.integers(1, 400), size=st.integers(2, 80), stride=st.integers(1, 80))
def test_a_place_is_judged_where_its_nearer_end_is_farthest(length, size, stride):
    cut = windows(length, size, stride)
    for place, window in enumerate(most_context(cut, np.arange(length)).tolist()):
        context = [min(place - start, end - 1 - place) for start, end in cut]
        assert context[window] == max(context)


@pytest.mark.parametrize("max_length, stride", [(512, 64), (64, 16), (16, 4), (9, 100)])
def test_each_visible_word_is_judged_once_at_its_first_piece(tokenizer, max_length, stride):
    texts = [LONG, "", "short", "\u200b"]
    words = [spans_of_words(text) for text in texts]
    judged = [[] for _ in texts]
    for row in tag_rows(tokenizer, texts, words, max_length, stride):
        assert len(row.input_ids) <= max_length
        assert (row.input_ids[0], row.input_ids[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
        for word, position in zip(row.words.tolist(), row.take.tolist(), strict=True):
            start, end = words[row.text][word]
            alone = tokenizer.encode(texts[row.text][start:end]).ids
            assert row.input_ids[position] == alone[1]
            judged[row.text].append(word)
    for text, spans, seen in zip(texts, words, judged, strict=True):
        assert sorted(seen) == [w for w, (a, b) in enumerate(spans) if text[a:b] != "\u200b"]


def test_answers_are_pointed_at_in_each_window_that_holds_them(tokenizer):
    start = LONG.index("New York", 400)
    answers = [("New York", start)]
    (passage,) = encode_passages(tokenizer, [LONG])
    rows = question_rows(tokenizer, ["Which city?"], [passage], 64, 24, 16)
    assert len(rows) > 5
    held = 0
    for row in rows:
        first, last = row.target(passage, answers)
        assert len(row.input_ids) == len(row.token_type_ids) <= 64
        assert tokenizer.decode(row.input_ids[: row.token_type_ids.index(1)], False) == "[CLS] which city? [SEP]"
        if first:
            held += 1
            assert tokenizer.decode(row.input_ids[first : last + 1]) == "new york"
        else:
            assert (first, last) == (0, 0)
    assert held == 2 or held == 1
    assert {rows[0].target(passage, []), rows[0].target(passage, [("\u200b", LONG.index("\u200b"))])} == {(0, 0)}


def test_a_long_question_gives_way_and_the_passage_never_does(tokenizer):
    (passage,) = encode_passages(tokenizer, [LONG])
    rows = question_rows(tokenizer, ["why " * 100], [passage], 40, 8, 64)
    covered = set()
    for row in rows:
        assert len(row.input_ids) <= 40 and row.token_type_ids.index(1) == 22  # [CLS], half of 40, [SEP]
        covered |= set(range(*row.words))
    assert covered == set(range(len(passage.spans)))
