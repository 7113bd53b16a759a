"""Text as tokens on disk: written once, memory-mapped from then on, whatever its size.

A corpus is a folder of the cache: `tokens` (uint16, or uint32 for a large vocabulary), every document ended by a
[SEP]; `sentences`, where each begins, in tokens; `documents`, where each begins, in sentences; about.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from adverb.bert.tokenizer import Tokenizer
from adverb.data.cache import scratch_folder
from adverb.data.sentence_ends import sentences
from adverb.data.text import Source, paragraphs
from adverb.errors import UserError
from adverb.places import cache_folder

FORMAT = 2  # raise when reading or cutting changes, so that older caches aren't used
BLOCK = 1 << 20  # characters encoded at a time
WORDS_REMEMBERED = 300_000
HELD_OUT = 0.02


@dataclass(frozen=True)
class Corpus:
    """A range of sentences of a token file.

    tokens: uint16 or uint32 [N]; sentences: int64 [S + 1], in tokens; documents: int64 [D + 1], in sentences; each
    for the whole file, memory-mapped. span: the sentences [first, end) that belong to this corpus.
    """

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    span: tuple[int, int]
    about: dict[str, Any]

    @property
    def first_token(self) -> int:
        return int(self.sentences[self.span[0]])

    def __len__(self) -> int:
        """Tokens, the [SEP] at the ends of documents among them."""
        return int(self.sentences[self.span[1]]) - self.first_token

    @property
    def document_span(self) -> tuple[int, int]:
        """The documents [first, end) of which at least a part is here."""
        first = int(np.searchsorted(self.documents, self.span[0], "right")) - 1
        return first, int(np.searchsorted(self.documents, self.span[1], "left"))

    @property
    def document_count(self) -> int:
        first, end = self.document_span
        return end - first

    def document(self, index: int) -> tuple[int, int]:
        """The sentences [first, end) of a document, `index` counting from document_span[0]; the part that is here."""
        return max(int(self.documents[index]), self.span[0]), min(int(self.documents[index + 1]), self.span[1])

    def text_tokens(self, first: int, end: int) -> np.ndarray:
        """The tokens of sentences [first, end) of one document, without the [SEP] that ends it: [n]."""
        tokens = self.tokens[self.sentences[first] : self.sentences[end]]
        return tokens[:-1] if len(tokens) and tokens[-1] == self.about["sep"] else tokens

    def hold_out(self, share: float = HELD_OUT) -> tuple[Corpus, Corpus]:
        """(all but the last documents, the last documents with about `share` of the tokens).

        Where no document ends near that point, the cut is at the end of a sentence.
        """
        first, end = self.span
        base, size = self.first_token, len(self)
        cut = int(np.searchsorted(self.documents, self._sentence_at(base + round(size * (1 - share)))))
        cut = int(self.documents[min(cut, len(self.documents) - 1)])
        if not 1 - 3 * share <= (int(self.sentences[cut]) - base) / size <= 1 - share / 3:
            cut = self._sentence_at(base + round(size * (1 - share)))
        cut = min(max(cut, first + 1), end - 1)
        return replace(self, span=(first, cut)), replace(self, span=(cut, end))

    def _sentence_at(self, token: int) -> int:
        return int(np.searchsorted(self.sentences, token, "right")) - 1


def load_corpus(source: Source, tokenizer: Tokenizer, say: Callable[[str], None] = lambda line: None) -> Corpus:
    """The tokens of `source`: from the cache, or read, cut, encoded and written to it now.

    say: is told when it takes a while. Raises UserError for text that can't be read, an empty corpus, a full disk.
    """
    key = fingerprint(source, tokenizer.backend.to_str())
    root = cache_folder() / "text"
    corpus = _open(root / key)
    if corpus is None:
        say(f"tokenising {source.name}, once")
        try:
            scratch = scratch_folder(root / key)
            try:
                _write(scratch, source, tokenizer)
                if (root / key).exists() and _open(root / key) is None:
                    shutil.rmtree(root / key)  # damaged
                os.replace(scratch, root / key)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        except OSError as error:
            if _open(root / key) is None:  # else another process was faster
                free = shutil.disk_usage(cache_folder()).free if cache_folder().exists() else 0
                raise UserError(
                    f"can't keep the tokens of {source.name} in {root}: {error.strerror} ({free / 1e9:.1f} GB free). "
                    "Set ADVERB_CACHE to a folder with room"
                ) from None
        corpus = _open(root / key)
    return corpus


def fingerprint(source: Source, *more: Any) -> str:
    text = json.dumps([FORMAT, source.stamp(), *more], default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _open(folder: Path) -> Corpus | None:
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        tokens = np.memmap(folder / "tokens", dtype=about["dtype"], mode="r")
        starts = np.memmap(folder / "sentences", dtype=np.int64, mode="r")
        documents = np.memmap(folder / "documents", dtype=np.int64, mode="r")
    except (OSError, ValueError, KeyError):
        return None
    if len(tokens) != about["tokens"] or starts[-1] != len(tokens) or documents[-1] != len(starts) - 1:
        return None
    return Corpus(tokens, starts, documents, (0, len(starts) - 1), about)


def _write(folder: Path, source: Source, tokenizer: Tokenizer) -> None:
    dtype = np.dtype(np.uint16 if len(tokenizer.tokens()) <= 1 << 16 else np.uint32)
    encode = WordCache(tokenizer, dtype)
    sep = np.array([tokenizer.sep_id], dtype).tobytes()
    position, count = 0, 0  # tokens, sentences so far
    at_start = True  # of a document
    with (
        open(folder / "tokens", "wb") as tokens,
        open(folder / "sentences", "wb") as starts,
        open(folder / "documents", "wb") as documents,
    ):
        documents.write(np.int64(0).tobytes())
        for block in _blocks(source):
            encoded = iter(encode([s for s in block if s is not None]))
            out, begins = [], []
            for piece in block:
                if piece is None:
                    if not at_start:
                        out.append(sep)
                        position += 1
                        documents.write(np.int64(count).tobytes())
                    at_start = True
                elif ids := next(encoded):
                    begins.append(position)
                    out.append(ids)
                    position += len(ids) // dtype.itemsize
                    count, at_start = count + 1, False
            tokens.write(b"".join(out))
            starts.write(np.array(begins, np.int64).tobytes())
        if position == 0:
            raise UserError(f"{source.name} holds no text: {len(source.files)} file(s), all empty")
        starts.write(np.int64(position).tobytes())
        for file in (tokens, starts, documents):
            file.flush()
            os.fsync(file.fileno())
    about = {"dtype": dtype.name, "tokens": position, "sentences": count, "sep": tokenizer.sep_id, **source.counts}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _blocks(source: Source) -> Iterator[list[str | None]]:
    """Sentences, and None at the ends of documents, in lists of about BLOCK characters."""
    block, size = [], 0
    for paragraph in paragraphs(source):
        if paragraph is None:
            block.append(None)
            continue
        block.extend(sentences(paragraph))
        size += len(paragraph)
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


class WordCache:
    """Sentences to their tokens, most of them by looking words up.

    BERT's tokenizer first splits at white space and never looks beyond a word, so a word always has the same
    tokens, and text repeats its words: a dictionary answers about ten times faster than tokenising again. New words
    go to the tokenizer in batches, on all cores.
    """

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype):
        self.tokenizer, self.dtype = tokenizer, dtype
        self.known: dict[str, bytes] = {}
        added = tokenizer.backend.get_added_tokens_decoder().values()
        self.by_word = not any(token.content.split() != [token.content] for token in added)

    def __call__(self, texts: list[str]) -> list[bytes]:
        """Tokens without [CLS] and [SEP], each text's as the bytes of an array of `dtype`."""
        if not self.by_word:
            return list(self._encode(texts))
        if len(self.known) > WORDS_REMEMBERED:
            self.known.clear()
        new = list({word for text in texts for word in text.split()}.difference(self.known))
        self.known.update(zip(new, self._encode(new), strict=True))
        find = self.known.__getitem__
        return [b"".join(map(find, text.split())) for text in texts]

    def _encode(self, texts: list[str]) -> Iterable[bytes]:
        for encoding in self.tokenizer.encode_batch(texts, special_tokens=False):
            yield np.array(encoding.ids, self.dtype).tobytes()
