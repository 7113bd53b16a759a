"""Keys of recipes reach what they are about: one key is given, and one thing that it decides is looked at."""

from __future__ import annotations

import copy
import csv
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from adverb import recipe
from adverb.context import Context
from adverb.objectives import build
from adverb.objectives.base import Draw, Objective

CPU = Context(torch.device("cpu"))
ROWS = 16
WORDS = "The the old young heron badger otter lynx sleepy watched found by near river barn hedge road met".split()
TEXT = {"train.steps": 10, "data.sequence_length": 32, "data.vocab_size": 120, "model.layers": 2, "model.hidden": 64,
        "model.heads": 2}  # fmt: skip
SMALL = {
    "bert-fast": TEXT,
    "bert-electra": TEXT,
    "text-gan": {"train.steps": 10, "data.vocab_size": 120, "data.max_length": 32, "model.hidden": 32,
                 "model.layers": 1, "model.heads": 2, "discriminator.hidden": 32, "discriminator.layers": 1,
                 "discriminator.heads": 2},
    "image-gan": {"train.steps": 10, "data.path": "digits", "data.limit": 100},
    "classify": {}, "answer": {}, "embed": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, blank_bert) -> Path:
    """A small BERT that knows nothing, and data of each kind."""
    folder, random = tmp_path_factory.mktemp("keys"), np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, random.integers(6, 17))) for _ in range(160)]
    sizes = dict(hidden_size=32, num_attention_heads=2, intermediate_size=48, initializer_range=0.2)
    Path(blank_bert(texts, 120, max_length=48, **sizes)).rename(folder / "bert")
    (folder / "text.txt").write_text("\n\n".join(texts))
    (folder / "sentences.txt").write_text("\n".join(texts))
    for name, header, second in (("classify", "label", None), ("embed", "pair", texts[::-1])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            labels = second or [str("heron" in text) for text in texts]
            csv.writer(file).writerows([("text", header), *zip(texts, labels, strict=True)])
    asked = [
        {"context": text, "qas": [{"id": text, "question": f"{text} ?", "answers": [
            {"text": text.split()[0], "answer_start": 0}]}]} for text in texts
    ]  # fmt: skip
    (folder / "answer.json").write_text(json.dumps({"data": [{"title": "", "paragraphs": asked}]}))
    return folder


@pytest.fixture(scope="module")
def made(folder) -> Callable[..., Objective]:
    """(recipe, ((key, value), …)) -> its objective, small; each is made once."""
    data = {"bert-fast": "text.txt", "bert-electra": "text.txt", "text-gan": "sentences.txt", "answer": "answer.json"}

    @cache
    def make(name: str, told: tuple[tuple[str, Any], ...] = ()) -> Objective:
        given = {"train.precision": "fp32", "train.batch_size": ROWS} | SMALL[name]
        if name != "image-gan":
            given["data.path"] = str(folder / data.get(name, f"{name}.csv"))
        if name in ("classify", "answer", "embed"):
            given["model.init"] = str(folder / "bert")
        return build(recipe.load(name, given | dict(told)), CPU, Console(quiet=True))

    return make


# -- what is looked at


def loss(name: str = "loss", progress: float = 0.0) -> Callable[[Objective], float]:
    """That of the first batch by this method, with the same randomness each time."""

    def measured(one: Objective) -> float:
        one.schedule(progress, 0)
        for network in one.networks.values():
            network.train()
        torch.manual_seed(0)
        batch, draw = one.batch(0, 0, ROWS), Draw((0, 0, name, 0), ROWS, 0, ROWS, CPU.device)
        return getattr(one, name)(batch, draw)[0].item()

    return measured


def config(*names: str, of: str = "") -> Callable[[Objective], Any]:
    """Fields of a model's config; `of` is the part of it that has the config."""

    def read(one: Objective) -> Any:
        found = one.networks["model"].get_submodule(of).config
        values = {getattr(found, name) for name in names}
        return values.pop() if len(values) == 1 else values

    return read


def sizes(one: Objective) -> list[int]:
    return [sum(p.numel() for p in network.parameters()) for network in one.networks.values()]


def group(key: str, name: str = "model", at: float = 0.0) -> Callable[[Objective], Any]:
    """What an optimiser is told for its first weights, at some progress."""

    def read(one: Objective) -> Any:
        one.schedule(at, 0)
        return one.optimizers[name].param_groups[0][key]

    return read


def repeats(one: Objective) -> list[int]:
    one.schedule(0.9, 0)
    return [phase.repeats for phase in one.phases]


def question_tokens(one: Objective) -> int:
    return max(row["input_ids"].index(one.tokenizer.sep_id) for row in one.rows) - 1


def augmented(one: Objective) -> float:
    """How often, after a look that finds complete overfitting (as where nothing is held out)."""
    one = copy.copy(one)
    one.held_out, one.p = (), 0.4
    one.look(0.0, 0, broken=True)
    return round(one.p, 2)


def tells_capitals(one: Objective) -> bool:
    return one.tokenizer.encode("The").ids != one.tokenizer.encode("the").ids


DROPOUTS = "hidden_dropout_prob", "attention_probs_dropout_prob"
OTHER = object()  # another value than without the key
GAME = 0.9  # progress at which a text GAN plays


@pytest.mark.parametrize(
    ("name", "key", "value", "look", "expected"),
    [
        ("bert-fast", "model.dropout", 0.3, config(*DROPOUTS), 0.3),
        ("bert-fast", "model.dropout", 0.3, loss(), OTHER),
        ("bert-fast", "model.activation", "relu", config("hidden_act"), "relu"),
        ("bert-fast", "model.activation", "relu", loss(), OTHER),
        ("bert-fast", "model.intermediate", 80, config("intermediate_size"), 80),
        ("bert-fast", "model.initializer_range", 0.5, loss(), OTHER),
        ("bert-fast", "model.max_length", 64, config("max_position_embeddings"), 64),
        ("bert-fast", "data.lowercase", False, tells_capitals, True),
        ("bert-fast", "masking.whole_words", True, lambda one: one.masking.whole_words, True),
        ("bert-fast", "masking.rate", 0.5, lambda one: one.masking.rate, 0.5),
        ("bert-fast", "optim.beta1", 0.7, group("betas"), (0.7, 0.95)),
        ("bert-fast", "optim.eps", 1e-3, group("eps"), 1e-3),
        ("bert-electra", "generator.layers", 1, config("num_hidden_layers", of="generator.bert"), 1),
        ("bert-electra", "generator.hidden", 64, config("hidden_size", of="generator.bert"), 64),
        ("bert-electra", "generator.weight", 1.0, loss(), OTHER),
        ("classify", "model.encoder_dropout", 0.3, config(*DROPOUTS), 0.3),
        ("classify", "model.encoder_dropout", 0.3, loss(), OTHER),
        ("classify", "model.dropout", 0.5, loss(), OTHER),
        ("classify", "loss.label_smoothing", 0.3, loss(), OTHER),
        ("answer", "data.max_question", 8, question_tokens, 8),
        ("answer", "data.max_question", 8, lambda one: one.networks["model"].config.adverb["max_question"], 8),
        ("embed", "loss.temperature", 0.5, loss(), OTHER),
        ("image-gan", "augment.target", 1.0, augmented, 0.35),
        ("image-gan", "model.blocks", 2, sizes, OTHER),
        ("image-gan", "model.group_width", 8, sizes, OTHER),
        ("image-gan", "model.patch", 2, sizes, OTHER),
        ("image-gan", "data.flip", True, loss("generator_loss"), OTHER),
        ("text-gan", "model.dropout", 0.0, loss("likelihood_loss"), OTHER),
        ("text-gan", "model.initializer_range", 0.5, loss("likelihood_loss"), OTHER),
        ("text-gan", "data.lowercase", False, tells_capitals, True),
        ("text-gan", "discriminator.dropout", 0.0, loss("discriminator_loss"), OTHER),
        ("text-gan", "discriminator.layers", 2, sizes, OTHER),
        ("text-gan", "discriminator.steps", 3, repeats, [3, 1]),
        ("text-gan", "discriminator.lr", 0.25, group("lr", "discriminator", GAME), 0.25),
        ("text-gan", "optim.game_lr", 0.5, group("lr", "generator", GAME), OTHER),
        ("text-gan", "loss.pretrain", 0.95, repeats, [1]),
        ("text-gan", "loss.value", 9.0, loss("game_loss", GAME), OTHER),
        ("text-gan", "loss.likelihood", 0.5, loss("game_loss", GAME), OTHER),
    ],
)
def test_a_key_decides_what_it_is_about(made, name, key, value, look, expected):
    without, found = look(made(name)), look(made(name, ((key, value),)))
    assert found != without and (expected is OTHER or found == expected)


@pytest.mark.parametrize("key", ["loss.adversarial_weight", "loss.epsilon"])
@pytest.mark.parametrize("kind", ["fgm", "smart"])
def test_keys_of_adversarial_training(made, kind, key):
    told = ("loss.adversarial", kind)
    assert loss()(made("classify", (told,))) != loss()(made("classify", (told, (key, 0.01))))


@pytest.mark.parametrize(
    ("name", "look"),
    [
        ("bert-fast", loss()),
        ("bert-electra", loss()),
        ("classify", loss()),
        ("embed", loss()),
        ("image-gan", loss("generator_loss")),
        ("text-gan", loss("likelihood_loss")),
        ("text-gan", loss("discriminator_loss")),
        ("text-gan", loss("game_loss", GAME)),
    ],
)
def test_what_nothing_was_told_of_stays_the_same(made, name, look):
    """Else a difference above would say nothing."""
    assert look(made(name)) == look(made(name, (("description", "another"),)))
