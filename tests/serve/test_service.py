"""What requests cost, without a queue: what is charged, and what the tokenizer gets to read for it."""

from __future__ import annotations

import asyncio

import pytest

from adverb.bert.tokenizer import Tokenizer
from adverb.pipelines import load
from adverb.pipelines.batching import TOKEN_BUDGET
from adverb.pipelines.reader import Reader
from adverb.pipelines.torch_model import TorchModel
from adverb.serve import bodies
from adverb.serve.limits import Limits, Refused
from adverb.serve.models import Models, Served
from adverb.serve.service import Service


class Charged:
    """In place of the queue: answers at once, and keeps what was to be done for how much."""

    limits = Limits()

    async def ask(self, work, items, costs):
        self.items, self.costs = items, costs
        return work.run(items)


@pytest.fixture
def charged(small):
    """charged(name, method, body) -> (tokens charged for each item, items)."""

    def ask(name: str, method: str, body: bodies.Asked):
        queue = Charged()
        service = Service(Models([Served(name, str(small[name]), load(small[name]))]), queue)
        asyncio.run(getattr(service, method)(body))
        return queue.costs, queue.items

    return ask


@pytest.fixture
def tokenised(monkeypatch):
    """The characters of each call of the tokenizer, as they come."""
    calls: list[int] = []
    encode = Tokenizer.encode_batch

    def counting(self, texts, pairs=None, *rest, **options):
        calls.append(sum(map(len, texts)) + sum(map(len, pairs or ())))
        return encode(self, texts, pairs, *rest, **options)

    monkeypatch.setattr(Tokenizer, "encode_batch", counting)
    return calls


def test_a_model_of_pairs_is_asked_for_pairs(charged, monkeypatch):
    monkeypatch.setattr(Reader, "facts", {"pairs": True})
    told = "the model 'classes' reads pairs of texts: send the second ones as "
    with pytest.raises(Refused, match=f"{told}'pairs'") as refused:
        charged("classes", "classify", bodies.Classify(texts="a cat"))
    assert refused.value.status == 422
    with pytest.raises(Refused, match=f"{told}'pair'"):
        charged("classes", "explain", bodies.Explain(text="a cat"))
    assert len(charged("classes", "classify", bodies.Classify(texts="a cat", pairs="a dog"))[0]) == 1


def test_a_context_of_many_questions_is_tokenised_once(charged, tokenised, small):
    context, questions = "the cat sat on a mat. " * 20, ["who sat?", "where was the dog?"] * 8
    costs, items = charged("answers", "answer", bodies.Answer(questions=questions, contexts=context))
    assert len(items) == 16 and tokenised[0] == len(context)
    length = load(small["answers"]).tokenizer.encode
    assert costs == [len(length(question)) + len(length(context)) for question in questions]


def test_many_long_texts_are_tokenised_in_parts(charged, tokenised):
    with pytest.raises(Refused, match=r"texts\[0\] has 90,002 tokens"):
        charged("classes", "classify", bodies.Classify(texts=["!" * 90_000] * 8))
    assert sum(tokenised) == 720_000 and max(tokenised) <= 270_000


def test_what_a_request_repeats_is_bounded(charged, tokenised):
    asked = bodies.Answer(questions=["who?"] * 256, contexts="a " * 50_000)
    with pytest.raises(Refused, match="this makes the model read 25,601,024 characters, more than 8,388,608: ask for "):
        charged("answers", "answer", asked)
    assert tokenised == []
    asked = bodies.Explain(text="cat " * 43 + " " * 99_000 + "dog", pair="x" * 100_000)
    with pytest.raises(Refused, match="this makes the model read "):
        charged("classes", "explain", asked)
    assert len(tokenised) == 1


def test_too_many_words_are_refused_before_texts_are_made_of_them(charged, monkeypatch):
    monkeypatch.setattr("adverb.serve.service.without_each", None)
    monkeypatch.setattr(Reader, "max_length", 512)
    with pytest.raises(Refused, match="the text has 201 words, of which 200 can be explained"):
        charged("classes", "explain", bodies.Explain(text="a " * 201))


@pytest.mark.parametrize("text", ["cat " * 300, "the cats " * 40, "🙂 İst Ünï " * 50, "a" + " " * 90_000 + "b " * 60])
@pytest.mark.parametrize("pair", [None, "big red houses " * 30])
def test_a_long_text_is_cut_to_what_the_model_reads(charged, small, text, pair):
    pairs = None if pair is None else [pair]
    costs, (row,) = charged("classes", "classify", bodies.Classify(texts=text, pairs=pairs, truncate=True))
    encode = load(small["classes"]).tokenizer.encode
    assert costs == [48] and encode(row.text, row.pair).ids == encode(text, pair, 48).ids
    assert text.startswith(row.text) and len(row.text) < len(text)


@pytest.mark.parametrize(("text", "top_k"), [("a [MASK].", 5), ("[MASK] [MASK] cat", 5), ("the " + "[MASK] " * 4, 50)])
def test_masks_cost_what_the_model_reads_for_them(charged, monkeypatch, text, top_k):
    batches = []
    read = TorchModel.__call__

    def counting(self, ids, *rest, **options):
        batches.append(ids.size)
        return read(self, ids, *rest, **options)

    monkeypatch.setattr(TorchModel, "__call__", counting)
    costs, _ = charged("fill", "fill_mask", bodies.FillMask(texts=text, top_k=top_k))
    assert costs == [sum(batches)] and max(batches) <= TOKEN_BUDGET
