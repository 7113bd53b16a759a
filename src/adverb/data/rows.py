"""Rows of a batch from a corpus, each a pure function of (seed, index of the batch, row).

Devlin et al. 2018, appendix A.2, says how the two segments of a pair are made.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adverb.bert.tokenizer import Tokenizer
from adverb.data.corpus import Corpus
from adverb.data.order import indices_of_batch
from adverb.errors import UserError

SHORT = 0.1  # share of pairs cut to a random shorter length, so that the model meets short texts too
UNIFORMS = 8  # numbers that decide a pair


class Chunks:
    """Rows [CLS] text [SEP], all of exactly `length` tokens: the corpus cut end to end, so there is no padding.

    Each epoch cuts elsewhere (a random shift) and reads in another order. The text runs on around the end of the
    corpus, so that in every epoch each token is in one row, save the fewer than `length` that are left over.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, length: int, batch_size: int, seed: int):
        self.corpus, self.length, self.batch_size, self.seed = corpus, length, batch_size, seed
        self.cls_id, self.sep_id = tokenizer.cls_id, tokenizer.sep_id
        self.width = length - 2
        _at_least(corpus, self.width, length)

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self.corpus) // self.width

    def batch(self, index: int, start: int, stop: int) -> Tensor:
        """Rows [start, stop) of the index-th batch: int64 [stop - start, length]."""
        rows = indices_of_batch(len(self), self.batch_size, self.seed, index)[start:stop]
        epochs = (index * self.batch_size + np.arange(start, stop)) // len(self)
        shifts = {epoch: shift(len(self.corpus), self.seed, epoch) for epoch in set(epochs.tolist())}
        return self.rows(np.array([shifts[e] for e in epochs.tolist()]) + rows * self.width)

    def rows(self, positions: np.ndarray) -> Tensor:
        """Rows whose text begins at these tokens, int64 [B] -> int64 [B, length]."""
        positions = (positions[:, None] + np.arange(self.width)) % len(self.corpus)  # [B, width]
        ids = np.empty((len(positions), self.length), np.int64)
        ids[:, 0], ids[:, -1] = self.cls_id, self.sep_id
        ids[:, 1:-1] = self.corpus.tokens[self.corpus.first_token + positions]
        return torch.from_numpy(ids)


def documents_of(input_ids: Tensor, sep_id: int) -> Tensor:
    """Which document of its row of `Chunks` each token of input_ids, int64 [B, L], is in: int64 [B, L], from 0."""
    return F.pad((input_ids[:, :-1] == sep_id).cumsum(1), (1, 0))


class Pairs:
    """Rows [CLS] A [SEP] B [SEP], where B follows A in half of them (label 0), and in the other half (label 1)

    "next": comes from another document (next-sentence prediction, Devlin et al. 2018);
    "order": precedes it, the two being swapped (sentence-order prediction, Lan et al. 2019).
    A and B are whole sentences that fill the row; what is too long is cut from the longer segment, at its front and
    its end in a random proportion.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, length: int, batch_size: int, seed: int, kind: str):
        self.corpus, self.length, self.batch_size, self.seed, self.kind = corpus, length, batch_size, seed, kind
        self.cls_id, self.sep_id, self.pad_id = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
        self.room = length - 3
        _at_least(corpus, self.room, length)
        first, end = corpus.document_span
        if kind == "next" and end - first < 2:
            raise UserError(
                f"next-sentence prediction needs two documents; this text is one, of {len(corpus):,} tokens: put an "
                "empty line between documents, or set objectives.nsp=0"
            )
        if kind == "order" and all(b - a < 2 for a, b in map(corpus.document, range(first, min(end, first + 10_000)))):
            raise UserError("sentence-order prediction needs documents of two sentences and more: set objectives.sop=0")

    def __len__(self) -> int:
        return max(1, len(self.corpus) // self.room)

    def batch(self, index: int, start: int, stop: int) -> dict[str, Tensor]:
        """Rows [start, stop) of the index-th batch, padded: input_ids, attention_mask, token_type_ids, int64
        [stop - start, length], and pair_labels, int64 [stop - start]."""
        rows = indices_of_batch(len(self), self.batch_size, self.seed, index)[start:stop]
        bits = np.random.PCG64(np.random.SeedSequence([self.seed, index, 1]))
        words = bits.random_raw(self.batch_size * UNIFORMS).reshape(self.batch_size, UNIFORMS)[start:stop]
        uniforms = (words >> np.uint64(11)) * 2.0**-53
        epochs = (index * self.batch_size + np.arange(start, stop)) // len(self)
        ids = np.full((len(rows), self.length), self.pad_id, np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        labels = np.zeros(len(rows), np.int64)
        for i, (row, epoch) in enumerate(zip(rows.tolist(), epochs.tolist(), strict=True)):
            position = shift(len(self.corpus), self.seed, epoch) + row * self.room
            a, b, labels[i] = self.pair(position % len(self.corpus), uniforms[i].tolist())
            end = len(a) + len(b) + 3
            ids[i, 0] = self.cls_id
            ids[i, 1 : len(a) + 1] = a
            ids[i, [len(a) + 1, end - 1]] = self.sep_id
            ids[i, len(a) + 2 : end - 1] = b
            mask[i, :end] = 1
            types[i, len(a) + 2 : end] = 1
        names = ("input_ids", "attention_mask", "token_type_ids", "pair_labels")
        return {name: torch.from_numpy(value) for name, value in zip(names, (ids, mask, types, labels), strict=True)}

    def pair(self, position: int, uniforms: list[float]) -> tuple[np.ndarray, np.ndarray, int]:
        """(A, B, label) about a token of the corpus, from the sentence that holds it onwards."""
        u_short, u_size, u_split, u_coin, *u_more = uniforms
        sentence, (first, end), document = self._place(position)
        target = 2 + int(u_size * (self.room - 1)) if u_short < SHORT else self.room
        begin = max(first, min(sentence, end - 2))
        stop = begin + min(2, end - begin)  # two sentences, where the document has as many
        while stop < end and self._tokens(begin, stop) < target:
            stop += 1
        while begin > first and self._tokens(begin, stop) < target:  # at the end of the document: from before
            begin -= 1
        if stop - begin < 2:
            return *self._fit(
                self.corpus.text_tokens(begin, stop), self._other(document, target // 2, u_more), u_more
            ), 1
        split = begin + 1 + int(u_split * (stop - begin - 1))
        a, b = self.corpus.text_tokens(begin, split), self.corpus.text_tokens(split, stop)
        label = int(u_coin < 0.5)
        if label and self.kind == "order":
            a, b = b, a
        elif label:
            b = self._other(document, target - len(a), u_more)
        return *self._fit(a, b, u_more), label

    def _fit(self, a: np.ndarray, b: np.ndarray, uniforms: list[float]) -> tuple[np.ndarray, np.ndarray]:
        return truncate(a, b, self.room, uniforms[2:])

    def _tokens(self, first: int, end: int) -> int:
        return int(self.corpus.sentences[end] - self.corpus.sentences[first])

    def _place(self, position: int) -> tuple[int, tuple[int, int], int]:
        """The sentence that holds a token, its document's sentences, and the document."""
        corpus = self.corpus
        sentence = int(np.searchsorted(corpus.sentences, corpus.first_token + position, "right")) - 1
        document = int(np.searchsorted(corpus.documents, sentence, "right")) - 1
        bounds = corpus.document(document)
        if self.kind == "order":  # go on to the next document with two sentences; there is one
            first, end = corpus.document_span
            while bounds[1] - bounds[0] < 2:
                document = document + 1 if document + 1 < end else first
                bounds = corpus.document(document)
                sentence = bounds[0]
        return sentence, bounds, document

    def _other(self, document: int, room: int, uniforms: list[float]) -> np.ndarray:
        """Sentences from a random place of another document: as many as it takes to fill `room` tokens."""
        corpus = self.corpus
        low, high = corpus.document_span
        other = low + int(uniforms[0] * (high - low - 1))
        first, end = corpus.document(other + (other >= document))
        begin = first + int(uniforms[1] * (end - first))
        stop = begin + 1
        while stop < end and self._tokens(begin, stop) < room:
            stop += 1
        return corpus.text_tokens(begin, stop)


def truncate(a: np.ndarray, b: np.ndarray, room: int, uniforms: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Take tokens from the longer of the two until both fit, at its front and its end in a random proportion."""
    excess = len(a) + len(b) - room
    if excess <= 0:
        return a, b
    from_a = min(max(len(a) - len(b), 0), excess)  # first the longer down to the shorter, then in turn
    from_b = min(max(len(b) - len(a), 0), excess)
    rest = excess - from_a - from_b
    from_a, from_b = from_a + rest // 2, from_b + (rest + 1) // 2
    return _cut(a, from_a, uniforms[0]), _cut(b, from_b, uniforms[1])


def _cut(tokens: np.ndarray, count: int, uniform: float) -> np.ndarray:
    front = int(uniform * (count + 1))
    return tokens[front : len(tokens) - (count - front)]


def shift(tokens: int, seed: int, epoch: int) -> int:
    """Where an epoch begins to cut: a random token."""
    return int(np.random.PCG64(np.random.SeedSequence([seed, epoch, 2])).random_raw() % tokens)


def _at_least(corpus: Corpus, needed: int, length: int) -> None:
    if len(corpus) < needed:
        raise UserError(
            f"the text has {len(corpus):,} tokens, a row of data.sequence_length={length} needs {needed}: "
            "give more text, or set a smaller data.sequence_length"
        )
