"""What readers say, against transformers and against themselves with other neighbours."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adverb import machine
from adverb.bert.checkpoint import load_pretrained, save_pretrained
from adverb.bert.config import BertConfig
from adverb.bert.heads import MODELS
from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines import batching, load, reader
from adverb.pipelines.batching import ahead, batches, pad
from adverb.pipelines.reader import Reader
from adverb.pipelines.torch_model import TorchModel, with_bf16_encoder

TEXTS = [
    "Terrible.",
    "a stirring , funny and finally transporting re-imagining of beauty and the beast",
    "How far is it from Denver to Aspen ?",
    "It was a dark and stormy night; the rain fell in torrents, except at occasional intervals. " * 9,
    "What county is Modesto , California in ?",
    "",
    "no movement , no yuks , not much of anything .",
]


@pytest.fixture
def in_float32(monkeypatch):
    """A machine on which bf16 is no faster."""
    monkeypatch.setattr(machine, "peaks", lambda device: machine.Peaks(fp32=1.0, bf16=1.0))


@pytest.fixture
def in_bf16(monkeypatch):
    monkeypatch.setattr(machine, "peaks", lambda device: machine.Peaks(fp32=1.0, bf16=2.0))


@pytest.fixture
def make(minilm, tmp_path):
    """make(labels, task=…, **config) -> a folder with a small network that has large weights, and MiniLM's words."""
    tokenizer = Tokenizer.from_pretrained(minilm)

    def build(labels=("bad", "good"), task="sequence_classification", **config):
        torch.manual_seed(0)
        sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
        names = dict(enumerate(labels)) if labels else None
        model = MODELS[task](BertConfig(**sizes, id2label=names, initializer_range=0.3, **config)).eval()
        save_pretrained(model, tokenizer, tmp_path / "model")
        return tmp_path / "model"

    return build


# -- against transformers


@pytest.mark.parametrize(
    ("labels", "problem"),
    [
        (("bad", "good"), None),
        (("a", "b", "c"), "single_label_classification"),
        (("a", "b", "c"), "multi_label_classification"),
        (("stars",), "regression"),
        (("relevant",), None),  # a single logit is a probability
    ],
)
def test_classes_are_those_of_the_pipeline_of_transformers(make, in_float32, labels, problem):
    transformers = pytest.importorskip("transformers")
    folder = make(labels, problem_type=problem)
    pipeline = transformers.pipeline("text-classification", str(folder), top_k=None, device="cpu")
    expected = pipeline(TEXTS, batch_size=4, truncation=True)
    found = load(folder).classify(TEXTS)
    for ours, theirs in zip(found, expected, strict=True):
        assert [label for label, _ in ours] == [one["label"] for one in theirs]
        np.testing.assert_allclose([p for _, p in ours], [one["score"] for one in theirs], atol=2e-5)


def test_pairs_are_read_as_transformers_reads_them(make, in_float32):
    transformers = pytest.importorskip("transformers")
    folder = make(("no", "yes"))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    seconds = TEXTS[::-1]
    with torch.no_grad():
        expected = model(**tokenizer(TEXTS, seconds, padding=True, truncation=True, return_tensors="pt")).logits
    ours = load(folder)
    np.testing.assert_allclose(ours.logits(TEXTS, seconds), expected, atol=2e-4)
    assert ours.classify(TEXTS[1], seconds[1]) == ours.classify([TEXTS[1]], [seconds[1]])[0]
    assert not np.allclose(ours.logits(TEXTS), expected, atol=1e-2)
    with pytest.raises(UserError, match="7 texts, but 1 second texts"):
        ours.classify(TEXTS, ["one"])


def test_probabilities_are_calibrated_by_the_stored_temperature(make, in_float32):
    cold, warm = load(make()), load(make(adverb={"temperature": 2.5}))
    logits = cold.logits(TEXTS)
    np.testing.assert_array_equal(warm.logits(TEXTS), logits)
    np.testing.assert_allclose(warm.probabilities(TEXTS), torch.tensor(logits / 2.5).softmax(-1), atol=1e-6)
    value = load(make(("stars",), problem_type="regression", adverb={"temperature": 2.5}))
    np.testing.assert_array_equal(value.probabilities(TEXTS), value.logits(TEXTS))


# -- a text's answer is its own


def test_one_text_gives_one_answer_and_a_list_a_list(make, in_float32):
    model = load(make(("a", "b", "c")))
    one = model.classify(TEXTS[1])
    assert [p for _, p in one] == sorted((p for _, p in one), reverse=True)
    assert sum(p for _, p in one) == pytest.approx(1, abs=1e-6)
    many = model.classify(TEXTS)
    assert [label for label, _ in many[1]] == [label for label, _ in one] and len(many) == len(TEXTS)
    assert model.classify([]) == [] and model.embed([]).shape == (0, 32)


def test_order_is_kept_over_chunks_and_batches(make, in_float32, monkeypatch):
    model = load(make(("a", "b", "c")))
    texts = [" ".join(["word"] * n) + f" {n}" for n in (5, 90, 2, 41, 7, 7, 120, 1)] * 3
    alone = np.concatenate([model.probabilities([text]) for text in texts])
    monkeypatch.setattr(reader, "CHUNK", 5)
    monkeypatch.setattr(batching, "TOKEN_BUDGET", 64)
    np.testing.assert_allclose(model.probabilities(texts), alone, atol=1e-5)


# What a row says alone and beside others differs by the rounding of matrix products, whose kernels sum in an order
# that depends on the number of rows: some units of the last place. Of float32 that is far below 1e-4 in a logit; of
# bf16, 2^-8 in each state, averaged over hundreds of them, it is a few hundredths. A wrong mask moves logits by tenths.
@pytest.mark.parametrize(("precision", "tolerance"), [("in_float32", 1e-4), ("in_bf16", 0.05)])
def test_neighbours_do_not_matter(minilm, request, precision, tolerance):
    request.getfixturevalue(precision)
    torch.manual_seed(0)
    loaded = load_pretrained(minilm, "sequence_classification", ["a", "b", "c"])
    torch.nn.init.normal_(loaded.model.classifier.weight, std=2.0)
    model = Reader(TorchModel(loaded.model), loaded.tokenizer)
    alone = np.concatenate([model.logits([text]) for text in TEXTS])
    together = model.logits(TEXTS)
    assert together.std() > 1
    assert abs(together - alone).max() < tolerance
    crowd = model.logits(TEXTS[:3] + TEXTS[:3] * 40 + TEXTS[3:])
    assert abs(crowd[[0, 1, 2, *range(123, 127)]] - alone).max() < tolerance


def test_the_encoder_computes_in_bf16_and_the_head_in_float32(minilm, in_bf16):
    torch.manual_seed(0)
    loaded = load_pretrained(minilm, "sequence_classification", ["a", "b"])
    light = with_bf16_encoder(loaded.model)
    types = {name: parameter.dtype for name, parameter in light.named_parameters()}
    assert types["bert.layers.0.attention.qkv.weight"] == torch.bfloat16
    assert types["classifier.weight"] == types["bert.pooler.dense.weight"] == torch.float32
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}  # the model itself is as it was
    model = Reader(TorchModel(loaded.model), loaded.tokenizer)
    logits = model.logits(TEXTS)
    assert logits.dtype == np.float32
    with torch.inference_mode():
        rows = [torch.tensor([loaded.tokenizer.encode(t, max_length=512).ids]) for t in TEXTS]
        exact = torch.cat([loaded.model(row) for row in rows])
    assert 0 < abs(logits - exact.numpy()).max() < 0.05  # it did compute otherwise, and nearly the same


def test_long_texts_are_cut_where_training_cut_them(make, in_float32):
    model = load(make(adverb={"max_length": 16}))
    words = ["many words in a row"] * 20
    assert model.max_length == 16
    np.testing.assert_allclose(
        model.logits([" ".join(words)]), model.logits([" ".join(words) + " and a different end"]), atol=0
    )
    assert model.cut == 2
    model.classify("short")
    assert model.cut == 2


# -- the other heads


def test_entities_are_characters_of_the_text(make):
    model = load(make(("O", *(f"{p}-{t}" for t in ("PER", "LOC", "ORG") for p in "BI")), "token_classification"))
    texts = ["Ångström met Dr. Müller in Zürich 🙂 today .", "x"]
    found = model.entities(texts)
    assert found[0] == model.entities(texts[0]) and any(found)
    for text, entities in zip(texts, found, strict=True):
        assert all(text[e.start : e.end] == e.text and 0 < e.probability <= 1 for e in entities)


def test_answers_are_characters_of_the_context(make):
    model = load(make(None, "question_answering"))
    context = "The tower is 330 metres tall, about the same height as an 81-storey building. " * 12
    one = model.answer("How tall is the tower?", context, n_best=3)
    two = model.answer(["How tall is the tower?", "What is it?"], context, n_best=3)
    assert len(one) == 3 and [a.text for a in two[0]] == [a.text for a in one]
    assert all(context[a.start : a.end] == a.text for answers in two for a in answers)


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [("entities", ("a",)), ("answer", ("a", "b")), ("fill_mask", ("a [MASK]",))],
)
def test_a_head_that_is_not_there_is_missed_in_a_sentence(make, verb, arguments):
    with pytest.raises(UserError, match="saved for sequence classification"):
        getattr(load(make()), verb)(*arguments)


# -- batches


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(1, 4000))
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    cut = batches(lengths, budget)
    assert sorted(itertools.chain(*cut)) == list(range(len(lengths)))
    for rows in cut:
        longest = max(lengths[row] for row in rows)
        padding = sum(longest - lengths[row] for row in rows)
        assert len(rows) == 1 or (len(rows) * longest <= budget and padding <= budget * batching.CALL)


def test_like_lengths_share_a_batch():
    assert [len(rows) for rows in batches([7] * 100 + [200] * 3, 700)] == [3, 100]


@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=6))
def test_padding_fills_up_and_says_where(rows):
    ids, mask, types = pad(rows, 0, [[0] * len(row) for row in rows])
    assert types is None and (mask is None) == (len({len(row) for row in rows}) == 1)
    for i, row in enumerate(rows):
        assert ids[i].tolist() == row + [0] * (ids.shape[1] - len(row))
        assert mask is None or mask[i].tolist() == [1] * len(row) + [0] * (ids.shape[1] - len(row))
    _, _, types = pad(rows, 0, [[1] * len(row) for row in rows])
    assert types.sum() == sum(map(len, rows))


# -- work ahead


def test_ahead_keeps_order_and_raises_where_it_would_have_been():
    def items():
        yield from range(5)
        raise UserError("here")

    seen = []
    with pytest.raises(UserError, match="here"):
        for item in ahead(items()):
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4]


def test_ahead_makes_few_items_before_they_are_wanted():
    made = []

    def items():
        for i in itertools.count():
            made.append(i)
            yield i

    for item in ahead(items()):
        assert len(made) <= item + 4
        if item == 20:
            break
    assert len(made) < 30  # the thread has ended
