"""From a request that is well formed to its answer: which model, what it costs, what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines.filler import times_read
from adverb.pipelines.stream import Row, chunks
from adverb.serve import bodies
from adverb.serve.batcher import Batcher, Work
from adverb.serve.limits import MASKS, WORDS, Refused
from adverb.serve.models import Models, Served
from adverb.serve.occlusion import changes, without_each, words_of
from adverb.serve.work import IMAGE_TOKENS, Draft, Drawing, Reading, Samples, Writing


class Service:
    """Raises Refused for whatever can't be answered."""

    def __init__(self, models: Models, batcher: Batcher):
        self.models, self.batcher = models, batcher

    async def classify(self, asked: bodies.Classify) -> dict[str, Any]:
        served = self.models.find(asked.model, "classify")
        pairs = asked.pairs
        _must_pair(served, pairs, "pairs")
        if pairs is not None and len(pairs) != len(asked.texts):
            raise Refused(422, f"there are {len(asked.texts)} texts, but {len(pairs)} pairs: send one for each")
        rows, costs = await self._fit(served, asked.texts, pairs, truncate=asked.truncate)
        return await self._read(Reading(served, paired=pairs is not None), rows, costs)

    async def entities(self, asked: bodies.Entities) -> dict[str, Any]:
        served = self.models.find(asked.model, "entities")
        costs = await self._tokens(served, asked.texts)
        return await self._read(Reading(served), _rows(asked.texts), costs)

    async def answer(self, asked: bodies.Answer) -> dict[str, Any]:
        served = self.models.find(asked.model, "answer")
        questions, contexts = asked.questions, asked.contexts
        if len(contexts) == 1:
            contexts = contexts * len(questions)
        if len(contexts) != len(questions):
            raise Refused(422, f"there are {len(questions)} questions, but {len(contexts)} contexts: send one for each")
        self._refuse_repeated(sum(map(len, questions)) + sum(map(len, contexts)))
        different = list(dict.fromkeys(contexts))
        tokens = dict(zip(different, await self._tokens(served, different), strict=True))
        heads = await self._tokens(served, questions)
        most = served.model.max_question
        for place, head in enumerate(heads):
            if (count := head - 2) > most:
                said = f"questions[{place}] has {count:,} tokens, of which '{served.name}' reads {most}: shorten it"
                raise Refused(413, said)
        costs = [head + tokens[context] for head, context in zip(heads, contexts, strict=True)]
        return await self._read(Reading(served, asked.top_k), _rows(questions, contexts), costs)

    async def fill_mask(self, asked: bodies.FillMask) -> dict[str, Any]:
        served = self.models.find(asked.model, "fill_mask")
        mask = served.model.tokenizer.mask_token
        for place, text in enumerate(asked.texts):
            if (count := text.count(mask)) > MASKS:
                raise Refused(413, f"texts[{place}] has {count} masks, of which {MASKS} can be filled at a time")
        rows, costs = await self._fit(served, asked.texts)
        costs = [cost * times_read(row.text.count(mask), asked.top_k) for cost, row in zip(costs, rows, strict=True)]
        candidates = None if asked.candidates is None else tuple(asked.candidates)
        return await self._read(Reading(served, asked.top_k, candidates), rows, costs)

    async def embed(self, asked: bodies.Embed) -> dict[str, Any]:
        served = self.models.find(asked.model, "embed")
        rows, costs = await self._fit(served, asked.texts, truncate=asked.truncate)
        return await self._read(Reading(served), rows, costs)

    async def embeddings(self, asked: bodies.Embeddings) -> tuple[str, list[list[float]], int]:
        """(model, vectors, tokens)"""
        served = self.models.find(asked.model, "embed")
        rows, costs = await self._fit(served, asked.input, truncate=asked.truncate, name="input")
        said = await self._ask(Reading(served), rows, costs)
        return served.name, [one["embedding"] for one in said], sum(costs)

    async def explain(self, asked: bodies.Explain) -> dict[str, Any]:
        served = self.models.find(asked.model, "classify")
        _must_pair(served, asked.pair, "pair")
        pairs = None if asked.pair is None else [asked.pair]
        (row,), costs = await self._fit(served, [asked.text], pairs, truncate=asked.truncate, name="text")
        words = words_of(row.text)
        if len(words) > WORDS:
            raise Refused(413, f"the text has {len(words)} words, of which {WORDS} can be explained")
        self._refuse_repeated((1 + len(words)) * len(row.text + (row.pair or "")))
        rows = [row, *(replace(row, text=text) for text in without_each(row.text, words))]
        said = await self._ask(Reading(served, paired=pairs is not None), rows, costs * len(rows))
        label, probability, changed = changes(said)
        found = [{"start": w[0], "end": w[1], "change": change} for w, change in zip(words, changed, strict=True)]
        told = {"label": label, "probability": probability, "words": found, "read": len(row.text)}
        return {"model": served.name} | told

    async def draw(self, asked: bodies.Generate | bodies.Walk) -> bytes | dict[str, Any]:
        served = self.models.find(asked.model, "generate")
        if asked.label is not None and not served.model.label_names:
            why = "draws captions: say what in text" if served.reader else "was trained without labels: leave label out"
            raise Refused(422, f"the model '{served.name}' {why}")
        captioned = ["text"] * (asked.text is not None) + ["strength"] * (asked.strength != 1)
        if captioned and served.reader is None:
            told = " and ".join(captioned)
            raise Refused(422, f"the model '{served.name}' was trained without captions: leave {told} out")
        if asked.text is not None:
            await self._fit(served, [asked.text], name="text")
        walk, images, kind = None, asked.n, "json"
        if isinstance(asked, bodies.Generate):
            kind = asked.format
        else:
            walk, images = (asked.first, asked.second, asked.frames), asked.frames
            if max(walk[:2]) >= asked.n:
                raise Refused(422, f"first and second are numbers of the n = {asked.n} images, from 0")
        samples = Samples(asked.n, asked.seed, asked.text or asked.label, asked.truncation, asked.strength, kind, walk)
        (found,) = await self._ask(Drawing(served), [samples], [IMAGE_TOKENS * images])
        return found if kind == "png" else {"model": served.name, "images": found[0], "labels": found[1]}

    async def write(self, asked: bodies.Write) -> dict[str, Any]:
        served = self.models.find(asked.model, "write")
        draft, cost = Draft(asked.n, asked.seed, asked.temperature), asked.n * served.model.max_length
        (texts,) = await self._ask(Writing(served), [draft], [cost])
        return {"model": served.name, "texts": texts}

    # -- the queue

    async def _read(self, work: Reading, rows: list[Row], costs: list[int]) -> dict[str, Any]:
        return {"model": work.model, "answers": await self._ask(work, rows, costs)}

    async def _ask(self, work: Work, items: Sequence[Any], costs: list[int]) -> list[Any]:
        found = await self.batcher.ask(work, items, costs)
        for place, one in enumerate(found):
            if isinstance(one, UserError):
                told = " ".join(str(one).split())
                raise Refused(422, f"texts[{place}]: {told}" if len(found) > 1 else told)
            if isinstance(one, Exception):
                raise Refused(500, f"the model '{work.model}' failed on this: the server's log says why")
        return found

    async def _fit(
        self,
        served: Served,
        texts: list[str],
        pairs: list[str] | None = None,
        *,
        truncate: bool = False,
        name: str = "texts",
    ) -> tuple[list[Row], list[int]]:
        """What the model reads of each text, and its tokens, special ones included.

        truncate: cut what is longer than it reads; else that is refused (413). name: the key that holds the texts;
        "text": one text.
        """
        counts, most = await self._tokens(served, texts, pairs), served.reader.max_length
        rows = _rows(texts, pairs)
        long = [place for place, count in enumerate(counts) if count > most]
        if long and not truncate:
            cuts = served.verb in ("classify", "embed")
            remedy = 'shorten it, or send "truncate": true' if cuts else "shorten it"
            which = name if name == "text" else f"{name}[{long[0]}]"
            said = f"{which} has {counts[long[0]]:,} tokens, of which '{served.name}' reads {most:,}: {remedy}"
            raise Refused(413, said)
        for place in long:
            rows[place] = await asyncio.to_thread(_cut, served.reader.tokenizer, rows[place], most)
        return rows, [min(count, most) for count in counts]

    async def _tokens(self, served: Served, texts: list[str], pairs: list[str] | None = None) -> list[int]:
        """Tokens of each text, special ones included, however long it is."""
        return await asyncio.to_thread(_lengths, served.reader.tokenizer, texts, pairs)

    def _refuse_repeated(self, characters: int) -> None:
        """What is to be read again and again counts as if it had been sent each time. Raises Refused (413)."""
        if characters > (most := self.batcher.limits.body):
            raise Refused(413, f"this makes the model read {characters:,} characters, more than {most:,}: ask for less")


def _must_pair(served: Served, given: object, key: str) -> None:
    if given is None and served.model.facts.get("pairs"):
        raise Refused(422, f"the model '{served.name}' reads pairs of texts: send the second ones as '{key}'")


def _lengths(tokenizer: Tokenizer, texts: list[str], pairs: list[str] | None) -> list[int]:
    """Some texts at a time: a token takes a hundred bytes until it is counted, and others want to tokenise too."""
    counts = []
    for part in chunks(_rows(texts, pairs)):
        seconds = None if pairs is None else [row.pair for row in part]
        counts += map(len, tokenizer.encode_batch([row.text for row in part], seconds))
    return counts


def _cut(tokenizer: Tokenizer, row: Row, most: int) -> Row:
    """The row without what a model that reads `most` tokens leaves out."""
    read = tokenizer.encode(row.text, row.pair, most)
    ends = [0, 0]
    for (_, end), side in zip(read.offsets, read.sequence_ids, strict=True):
        if side is not None:
            ends[side] = end
    return replace(row, text=row.text[: ends[0]], pair=None if row.pair is None else row.pair[: ends[1]])


def _rows(texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Row]:
    """line: so that an answer that can't be given is one answer, not the end of all."""
    pairs = pairs or [None] * len(texts)
    return [Row(text, pair, line) for line, (text, pair) in enumerate(zip(texts, pairs, strict=True), 1)]
