"""Words of a text and the pieces that WordPiece makes of them, matched by characters.

Nothing is matched by counting: a word that vanishes in tokenisation (a control character, a lone accent) has no piece,
and its neighbours keep theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenizers import PreTokenizedString, normalizers, pre_tokenizers

GONE = -1  # where a word without a piece would have its piece

# Case and accents stay, so that a span of the text keeps all of its letter, also where that is two characters.
_normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
_pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def cut_words(text: str) -> list[tuple[int, int]]:
    """The words of a text as BERT's tokenizers cut them, before they cut words into pieces: [start, end) in characters.

    A word ends at white space; a punctuation mark is a word, and so is a Chinese character. Control characters and
    invisible ones are in no word, unless they stand inside of one.
    """
    cut = PreTokenizedString(text)
    cut.normalize(_normalizer.normalize)
    _pre_tokenizer.pre_tokenize(cut)
    return [span for _, span, _ in cut.get_splits("original", "char")]


def word_pieces(offsets: Sequence[tuple[int, int]], words: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last piece of each word, int64 [W] each, both GONE where there is none.

    offsets: the characters [start, end) of each piece, in order. words: those of each word, in order and apart. A piece
    belongs to the word in which it starts.
    """
    starts = np.array([start for start, _ in offsets], dtype=np.int64)
    spans = np.array(words, dtype=np.int64).reshape(-1, 2)
    first = np.searchsorted(starts, spans[:, 0], side="left")
    last = np.searchsorted(starts, spans[:, 1], side="left") - 1
    gone = last < first
    return np.where(gone, GONE, first), np.where(gone, GONE, last)
