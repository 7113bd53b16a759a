"""Texts with a tag for every word: CoNLL in any columns, lists of words and tags, or spans by character offsets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from adverb.data.conll import read_conll
from adverb.data.parts import Part, held_out_rows
from adverb.data.records import FORMS, Records, Where, suffix_of
from adverb.data.schemes import to_bio
from adverb.data.spans import read_spans
from adverb.errors import UserError

if TYPE_CHECKING:
    from adverb.schema.tasks import TagData

TABLES = frozenset(suffix for suffix, form in FORMS.items() if form in ("jsonl", "json", "parquet"))


@dataclass
class Tagged(Part):
    """Texts cut into words, and the tags of the words.

    texts: N strings. words: of each text, the characters (start, end) of its words, ascending, apart. tags: of each
    text, one per word; "O", "B-x", "I-x" (BIO2) where scheme is "spans", as they stand in the file where it is
    "words". types: sorted; the x, or the tags. lines: int64 [N], where each text begins in the file, from 1.
    """

    per_row: ClassVar = ("texts", "words", "tags", "lines")
    texts: list[str]
    words: list[list[tuple[int, int]]]
    tags: list[list[str]]
    scheme: str
    types: list[str]
    lines: np.ndarray


def load_tagged(
    where: str | Where, *, word: str | int | None = None, tag: str | int | None = None, limit: int | None = None
) -> Tagged:
    """One file or split. word, tag: columns by number from 0 (-1: the last) or by name; empty: the first and the last
    of CoNLL, guessed elsewhere. limit: texts to draw at random, the same ones each time. Raises UserError."""
    in_table = isinstance(where, tuple) or suffix_of(Path(where)) in TABLES
    texts, words, tags, lines, report = (
        read_spans(Records(where), word, tag) if in_table else read_conll(Path(where), word, tag)
    )  # lines: of every word
    if not texts:
        report.refuse_empty("tagged words")
    read = to_bio(tags)
    report.note(
        f"{len(read.repaired):,} I- that went on from nothing, read as B-", [lines[s][w] for s, w in read.repaired]
    )
    report.note(f"{len(read.odd):,} tags of another scheme, read as O", [lines[s][w] for s, w in read.odd])
    if read.scheme not in ("BIO2", "words"):
        report.notes.append(f"the tags are {read.scheme}, read as BIO2")
    types = {tag for row in read.tags for tag in row}
    if read.spans:
        types = {tag[2:] for tag in types if tag != "O"}
    report.rows = len(texts)
    starts = np.array([row[0] for row in lines], np.int64)
    scheme = "spans" if read.spans else "words"
    return Tagged(report.name, texts, words, read.tags, scheme, sorted(types), starts, report=report).draw(
        limit, "texts"
    )


def load_tagged_splits(spec: TagData) -> tuple[Tagged, Tagged, Tagged | None]:
    """(train, valid, test or None) of a recipe's data; valid is a tenth of train where there is none.

    All have the types of all of them; those that training never sees are a warning. Raises UserError.
    """
    from adverb.data.splits import find_splits

    splits = find_splits(spec.path, spec.valid, spec.test)
    train = load_tagged(splits.train, word=spec.word, tag=spec.tag, limit=spec.limit)
    if not train.types:
        raise UserError(f"{train.name}: every word is O, there is nothing to find. Another column: data.tag=…")
    others = {
        part: load_tagged(where, word=spec.word, tag=spec.tag)
        for part, where in (("valid", splits.valid), ("test", splits.test))
        if where is not None
    }
    for other in others.values():
        if other.scheme != train.scheme and other.types:
            raise UserError(f"{other.name} has {other.scheme}, {train.name} has {train.scheme}: tag both alike")
        unseen = sorted(set(other.types) - set(train.types))
        if unseen:
            other.report.warnings.append(f"not in {train.name}, so never found: {', '.join(unseen)}")
    if "valid" not in others:
        spanned = np.array([any(tag != "O" for tag in row) for row in train.tags], np.int64)
        train, others["valid"] = train.split(held_out_rows(spanned, train.name, train.texts), "texts")
    types = sorted({kind for data in (train, *others.values()) for kind in data.types})
    train, valid, test = (
        replace(data, types=types, scheme=train.scheme) if data is not None else None
        for data in (train, others["valid"], others.get("test"))
    )
    return train, valid, test
