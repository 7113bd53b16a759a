"""Words, pieces and characters: every piece in its word, every word with its own pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.bert.alignment import GONE, cut_words, word_pieces
from adverb.bert.tokenizer import Tokenizer

# What text of the web is made of, and what has moved offsets in tokenizers before.
HARD = [
    "José",
    "A\u0301lvarez",
    "\u0301",
    "\u200b",
    "a\u200bb",
    "\ufeffBOM",
    "東京に",
    "한국어",
    "👩\u200d👩\u200d👧",
    "❤\ufe0f",
    "👍🏽",
    "İstanbul",
    "ﬁn",
    "x\x00y",
    "\x07",
    "नमस्ते",
    "U.S.",
    "can't",
    "[MASK]",
    "[SEP]",
    "\u00ad",
    "\ufffd",
    "@user",
    "#tag",
    "ǆ",
    "supercalifragilistic",
    "x" * 120,
    "…",
    "Zürich👍",
    "Å",
    "e\u0301\u0323x",
]


@pytest.fixture(scope="module", params=["uncased", "cased"])
def tokenizer(request, minilm) -> Tokenizer:
    real = Tokenizer.from_pretrained(minilm)
    if request.param == "uncased":
        return real
    return Tokenizer.from_vocabulary(real.backend.get_vocab(), lowercase=False, split_chinese=False)


def solid(text: str) -> bool:
    """Whether a text is one word of CoNLL: something, without white space."""
    return bool(text) and not any(letter.isspace() for letter in text)


WORDS = st.lists(st.one_of(st.sampled_from(HARD), st.text(min_size=1, max_size=6).filter(solid)), max_size=12)


@pytest.mark.parametrize(
    "text, words",
    [
        ("José  lives,\tin\nA\u0301vila.", ["José", "lives", ",", "in", "A\u0301vila", "."]),
        ("e\u0301 \u00e9", ["e\u0301", "\u00e9"]),
        ("去東京!", ["去", "東", "京", "!"]),
        ("I ❤\ufe0f Zürich👍🏽 👩\u200d👧", ["I", "❤\ufe0f", "Zürich👍🏽", "👩\u200d👧"]),
        ("\ufeffBOM \u200b x\u200b", ["BOM", "x"]),
        ("a\u200bb U.S.", ["a\u200bb", "U", ".", "S", "."]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("İstanbul ﬁn", ["İstanbul", "ﬁn"]),
        ("", []),
        (" \n\u200b", []),
    ],
)
def test_words_keep_their_letters_whole(text, words):
    assert [text[start:end] for start, end in cut_words(text)] == words


@settings(deadline=None, max_examples=300)
@given(words=WORDS)
def test_every_word_has_the_pieces_it_has_alone(tokenizer, words):
    text, places, position = " ".join(words), [], 0
    for word in words:
        places.append((position, position + len(word)))
        position += len(word) + 1
    whole, *alone = tokenizer.encode_batch([text, *words], special_tokens=False)
    first, last = word_pieces(whole.offsets, places)
    for encoding, start, end in zip(alone, first.tolist(), last.tolist(), strict=True):
        assert (whole.ids[start : end + 1] if start != GONE else []) == encoding.ids
        assert (start == GONE) == (end == GONE) == (not encoding.ids)


@settings(deadline=None, max_examples=300)
@given(parts=st.lists(st.one_of(st.sampled_from([*HARD, " ", "\t", "\n", "\u00a0", "\u3000"]), st.text(max_size=8))))
def test_words_of_raw_text_hold_all_its_pieces(tokenizer, parts):
    text = "".join(parts)
    words = cut_words(text)
    assert all(0 <= start < end <= len(text) for start, end in words)
    assert all(before <= after for (_, before), (after, _) in zip(words, words[1:], strict=False))
    (encoding,) = tokenizer.encode_batch([text], special_tokens=False)
    first, last = word_pieces(encoding.offsets, words)
    held = [piece for start, end in zip(first, last, strict=True) if start != GONE for piece in range(start, end + 1)]
    assert held == list(range(len(encoding.ids)))
