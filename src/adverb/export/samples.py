"""Texts that a model was made for, to compare an export by."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from adverb.data.text import find_text, paragraphs
from adverb.errors import UserError
from adverb.pipelines.batching import batches, pad
from adverb.pipelines.predict import columns_of
from adverb.pipelines.reader import Reader
from adverb.pipelines.stream import read_rows
from adverb.pipelines.truth import TASKS

COUNT = 256  # texts
POOL = 20_000  # rows of a file among which they are drawn
RATE = 0.15  # of tokens that are masked
WORDS = 24  # of a text that is made up, on average


@dataclass(frozen=True)
class Sample:
    """pairs: second texts, where the model reads two. name: where they are from. real: whether people wrote them."""

    texts: list[str]
    pairs: list[str] | None
    name: str
    real: bool = True


def sample_of(
    reader: Reader, recipe: dict[str, Any] | None, data: str | None, text: str | None = None, pair: str | None = None
) -> Sample:
    """COUNT texts at random: of `data`, read as `adverb predict --file` does, else of what the run was trained on where
    that is still there, else made of the vocabulary. text, pair: columns of `data`. Raises UserError where the file
    can't be read."""
    random = np.random.default_rng(0)

    def drawn(texts: list[str], pairs: list[str] | None, name: str) -> Sample:
        chosen = random.permutation(len(texts))[:COUNT].tolist()
        return Sample([texts[i] for i in chosen], None if pairs is None else [pairs[i] for i in chosen], name)

    if data is not None:
        found = read_rows(data, columns_of(reader, text, pair))
        rows = [row for row in islice(found, POOL) if row.error is None]
        if not rows:
            raise UserError(f"{data} has no texts")
        paired = all(row.pair is not None for row in rows)
        return drawn([row.text for row in rows], [row.pair for row in rows] if paired else None, data)
    told = (recipe or {}).get("data") or {}
    with contextlib.suppress(UserError):
        if told.get("path") and reader.verb in TASKS and recipe["objective"] == TASKS[reader.verb][0]:
            return drawn(*_trained_on(reader.verb, TASKS[reader.verb][1].model_validate(told)), told["path"])
        if told.get("path") and reader.verb == "fill_mask":
            found = (text for text in paragraphs(find_text(told["path"], told.get("column") or "text")) if text)
            return drawn(list(islice(found, POOL)), None, told["path"])
    return _made_up(reader, random)


def _trained_on(verb: str, spec) -> tuple[list[str], list[str] | None]:
    if verb == "classify":
        from adverb.data.labelled import load_labelled_splits

        train = load_labelled_splits(spec)[0]
        return train.texts, train.pairs
    if verb == "entities":
        from adverb.data.tagged import load_tagged_splits

        return load_tagged_splits(spec)[0].texts, None
    if verb == "answer":
        from adverb.data.squad import load_question_splits

        train = load_question_splits(spec)[0]
        return train.questions, [train.contexts[i] for i in train.context_of]
    from adverb.data.pairs import load_pair_splits

    train = load_pair_splits(spec)[0]
    return [*train.first, *train.second], None


def _made_up(reader: Reader, random: np.random.Generator) -> Sample:
    """Words of the vocabulary in any order: good for finding a wrong graph, not for saying how well one reads."""
    special = set(reader.tokenizer.special_ids)
    words = [t for i, t in enumerate(reader.tokenizer.tokens()) if i not in special and t and not t.startswith("##")]

    def text() -> str:
        return " ".join(random.choice(words, 1 + random.poisson(WORDS)))

    texts = [text() for _ in range(COUNT)]
    pairs = [text() for _ in range(COUNT)] if reader.verb == "answer" else None
    return Sample(texts, pairs, "words of its vocabulary", real=False)


def feeds_of(reader: Reader, sample: Sample, token_budget: int) -> list[dict[str, np.ndarray]]:
    """Batches of the texts as the model reads them: input_ids, attention_mask, token_type_ids int64 [B, L].

    And `take` int64 [B, T] where a head reads chosen places: all, or of a masked language model those that are masked
    here, RATE of the tokens. 0 fills up rows of `take`.
    """
    tokenizer, random = reader.tokenizer, np.random.default_rng(0)
    cut = "only_second" if reader.verb == "answer" else "longest_first"
    encodings = tokenizer.encode_batch(sample.texts, sample.pairs, reader.max_length, cut=cut)
    rows, takes = [e.ids for e in encodings], [list(range(len(e))) for e in encodings]
    if reader.fills_masks:
        takes = [np.flatnonzero(random.random(len(row) - 2) < RATE) + 1 for row in rows]
        takes = [take if len(take) else np.array([min(1, len(row) - 1)]) for take, row in zip(takes, rows, strict=True)]
        rows = [np.array(row) for row in rows]
        for row, take in zip(rows, takes, strict=True):
            row[take] = tokenizer.mask_id
    feeds = []
    for batch in batches([len(row) for row in rows], token_budget):
        ids, mask, types = pad([rows[i] for i in batch], tokenizer.pad_id, [encodings[i].type_ids for i in batch])
        feed = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids) if mask is None else mask,
            "token_type_ids": np.zeros_like(ids) if types is None else types,
        }
        if reader.verb in ("fill_mask", "entities"):
            feed["take"] = pad([takes[i] for i in batch], 0)[0]
        feeds.append(feed)
    return feeds
