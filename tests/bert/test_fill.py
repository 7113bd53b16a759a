from __future__ import annotations

import itertools

import pytest
import torch
from bert_models import tiny

from adverb.bert.heads import MaskedLM, Pretraining
from adverb.bert.tokenizer import SPECIALS, Tokenizer
from adverb.errors import UserError
from adverb.pipelines.filler import fill_mask
from adverb.pipelines.torch_model import TorchModel

WORDS = [*SPECIALS.values(), "the", "cat", "dog", "sat", "ran", "##s", ".", "old"]
TOKENIZER = Tokenizer.from_vocabulary({w: i for i, w in enumerate(WORDS)})


@pytest.fixture(scope="module", params=[MaskedLM, Pretraining])
def model(request):
    torch.manual_seed(3)
    return request.param(tiny(vocab_size=len(WORDS), max_position_embeddings=12, initializer_range=0.5)).eval()


def logits(model, ids):
    out = model(torch.tensor([ids]))
    return (out[0] if isinstance(out, tuple) else out)[0].detach()


def brute_force(model, text: str, allowed: list[str]) -> dict[tuple[str, ...], float]:
    """p(a) p(b | a) p(c | a, b) for every filling."""
    ids = TOKENIZER.encode(text).ids
    masks = [i for i, token in enumerate(ids) if token == TOKENIZER.mask_id]
    scores = {}
    for filling in itertools.product(allowed, repeat=len(masks)):
        row, probability = list(ids), 1.0
        for position, word in zip(masks, filling, strict=True):
            index = TOKENIZER.token_to_id(word)
            probability *= logits(model, row)[position].softmax(-1)[index].item()
            row[position] = index
        scores[filling] = probability
    return scores


@pytest.mark.parametrize("text", ["the [MASK] sat", "[MASK] [MASK] sat .", "the [MASK] [MASK] the [MASK]"])
@pytest.mark.parametrize("candidates", [None, ["cat", "dog", "##s"]])
def test_joint_search_equals_brute_force(model, text, candidates):
    expected = brute_force(model, text, candidates or WORDS[5:])
    fills = fill_mask(TorchModel(model), TOKENIZER, text, top_k=4, candidates=candidates, beam=len(expected))
    best = sorted(expected, key=expected.get, reverse=True)[:4]
    assert [fill.tokens for fill in fills] == best[: len(fills)] and len(fills) == min(4, len(expected))
    for fill in fills:
        assert fill.probability == pytest.approx(expected[fill.tokens], rel=1e-4)


def test_a_narrow_beam_gives_true_probabilities(model):
    expected = brute_force(model, "[MASK] [MASK] sat", WORDS[5:])
    for fill in fill_mask(TorchModel(model), TOKENIZER, "[MASK] [MASK] sat", top_k=1, beam=1):
        assert fill.probability == pytest.approx(expected[fill.tokens], rel=1e-4)


def test_the_text_stays_as_it_was_written(model):
    text = "The  Old [MASK], 'x' [MASK]!"
    fills = fill_mask(TorchModel(model), TOKENIZER, text, top_k=200)
    assert all(f.text.startswith("The  Old") and f.text.endswith("!") for f in fills)
    by_tokens = {f.tokens: f.text for f in fills}
    assert len(by_tokens) == len(fills) == 64
    assert by_tokens["##s", "cat"] == "The  Olds, 'x' cat!"
    assert by_tokens["dog", "ran"] == "The  Old dog, 'x' ran!"


def test_leaves_the_model_in_its_mode(model):
    model.train()
    fill_mask(TorchModel(model), TOKENIZER, "[MASK]")
    assert model.training
    model.eval()


@pytest.mark.parametrize(
    "text, candidates, words",
    [
        ("the cat", None, r"no \[MASK\]"),
        ("the [MASK] " + "cat " * 12, None, "16 tokens, but the model reads 12"),
        ("the [MASK]", ["cat", "cats"], "'cats' is not one token.*cat ##s"),
        ("the [MASK]", ["zebra"], "'zebra' is not one token"),
        ("the [MASK]", ["[PAD]"], "not one token"),
        ("the [MASK]", [""], "not one token"),
        ("the [MASK]", [], "empty"),
    ],
)
def test_what_cannot_be_filled(model, text, candidates, words):
    with pytest.raises(UserError, match=words):
        fill_mask(TorchModel(model), TOKENIZER, text, candidates=candidates)
