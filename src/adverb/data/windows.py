"""Texts longer than a model reads, as rows that overlap: of words to tag, and of passages with a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adverb.bert.alignment import GONE, cut_words, word_pieces
from adverb.bert.tokenizer import Tokenizer

Span = tuple[int, int]  # start and end, the end exclusive


def windows(length: int, size: int, stride: int) -> list[Span]:
    """Spans of at most `size` that cover `length` places, neighbours sharing `stride` places or a few more.

    As few as can be, and evenly long: where others leave a short rest at the end, all have the same context here, and
    attention, which is quadratic, costs less. A stride of more than half the size counts as half.
    """
    if length <= size:
        return [(0, length)]
    stride = min(stride, size // 2)
    count = -(-(length - stride) // (size - stride))
    width = -(-(length + (count - 1) * stride) // count)
    return [(start, start + width) for start in (i * (length - width) // (count - 1) for i in range(count))]


def most_context(cut: Sequence[Span], places: np.ndarray) -> np.ndarray:
    """The window of `windows` in which each place, int64 [N], is farthest from the nearer end: int64 [N]."""
    middles = [(start + end - 1) / 2 for (_, end), (start, _) in zip(cut, cut[1:], strict=False)]
    return np.searchsorted(middles, places, side="left")


@dataclass(frozen=True)
class TagRow:
    """[CLS] pieces [SEP] of a text, or of a window of it.

    text: which text. words: the words of that text that are judged here, int64 [T]. take: where in input_ids the first
    piece of each of them is, int64 [T].
    """

    input_ids: list[int]
    text: int
    words: np.ndarray
    take: np.ndarray


def tag_rows(
    tokenizer: Tokenizer, texts: Sequence[str], words: Sequence[Sequence[Span]], max_length: int, stride: int
) -> list[TagRow]:
    """Rows of up to `max_length` tokens in which each word of each text is judged once, where it has most context.

    words: their characters in the text. Those that vanish in tokenisation are in no row.
    """
    rows = []
    encodings = tokenizer.encode_batch(texts, special_tokens=False)
    for text, (encoding, spans) in enumerate(zip(encodings, words, strict=True)):
        ids, (first, _) = encoding.ids, word_pieces(encoding.offsets, spans)
        cut = windows(len(ids), max_length - 2, stride)
        home = np.where(first == GONE, GONE, most_context(cut, first))
        for window, (start, end) in enumerate(cut):
            here = np.flatnonzero(home == window)
            row = [tokenizer.cls_id, *ids[start:end], tokenizer.sep_id]
            rows.append(TagRow(row, text, here, first[here] - start + 1))
    return rows


@dataclass(frozen=True)
class Passage:
    """A text to find answers in. spans: the characters of its words, int64 [W, 2]; first, last: their pieces, [W].

    Words that vanish in tokenisation are not among them.
    """

    text: str
    ids: list[int]
    spans: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def words_of(self, start: int, end: int) -> Span | None:
        """The words, first and last inclusive, that the characters [start, end) touch; None if there are none."""
        first = int(np.searchsorted(self.spans[:, 1], start, side="right"))
        last = int(np.searchsorted(self.spans[:, 0], end, side="left")) - 1
        return (first, last) if first <= last else None


def encode_passages(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Passage]:
    passages = []
    for text, encoding in zip(texts, tokenizer.encode_batch(texts, special_tokens=False), strict=True):
        spans = np.array(cut_words(text), dtype=np.int64).reshape(-1, 2)
        first, last = word_pieces(encoding.offsets, spans)
        kept = first != GONE
        passages.append(Passage(text, encoding.ids, spans[kept], first[kept], last[kept]))
    return passages


@dataclass(frozen=True)
class QuestionRow:
    """[CLS] question [SEP] passage [SEP], or a window of the passage.

    question: which question. words: the words [first, after) of the passage that are whole in this row. shift: what to
    add to a piece's place in the passage for its place in input_ids.
    """

    input_ids: list[int]
    token_type_ids: list[int]
    question: int
    words: Span
    shift: int

    def target(self, passage: Passage, answers: Sequence[tuple[str, int]]) -> Span:
        """Where in input_ids the first answer starts and ends that is whole in this row; (0, 0), [CLS], if none is.

        answers: (text, start in characters of the passage). The end is inclusive.
        """
        for text, place in answers:
            words = passage.words_of(place, place + len(text))
            if words and self.words[0] <= words[0] and words[1] < self.words[1]:
                return int(passage.first[words[0]]) + self.shift, int(passage.last[words[1]]) + self.shift
        return 0, 0


def question_room(max_length: int, max_question: int) -> int:
    """Tokens of a question, without special ones, that rows of `max_length` tokens have: at most half of them."""
    return min(max_question, max_length // 2)


def question_rows(
    tokenizer: Tokenizer,
    questions: Sequence[str],
    passages: Sequence[Passage],
    max_length: int,
    stride: int,
    max_question: int,
) -> list[QuestionRow]:
    """Rows of up to `max_length` tokens for each question and its passage, as many as the passage needs.

    Questions are cut to `question_room`; passages never are.
    """
    rows = []
    limit = question_room(max_length, max_question)
    encodings = tokenizer.encode_batch(questions, special_tokens=False)
    for number, (encoding, passage) in enumerate(zip(encodings, passages, strict=True)):
        head = [tokenizer.cls_id, *encoding.ids[:limit], tokenizer.sep_id]
        for start, end in windows(len(passage.ids), max_length - len(head) - 1, stride):
            row = [*head, *passage.ids[start:end], tokenizer.sep_id]
            types = [0] * len(head) + [1] * (end - start + 1)
            words = np.searchsorted(passage.first, start), np.searchsorted(passage.last, end)
            rows.append(QuestionRow(row, types, number, (int(words[0]), int(words[1])), len(head) - start))
    return rows
