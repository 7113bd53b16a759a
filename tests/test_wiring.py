"""What `train.…` asks for reaches the algorithms: batches cut up, norms clipped, bf16, compilation, checkpoints."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from rich.console import Console

from adverb import machine, recipe
from adverb.context import Context
from adverb.engine import Engine
from adverb.objectives import build
from adverb.objectives.base import Objective, Phase
from adverb.optim import RowwiseAdamW, layerwise_adamw
from adverb.pipelines import load
from adverb.run import Run
from adverb.schema import Recipe, Train
from adverb.schema.tasks import TaskOptim

CPU = torch.device("cpu")
WORDS = "the old young heron badger otter lynx sleepy watched found by near river barn hedge road met under".split()
PLAIN = {"model.dropout": 0.0, "train.precision": "fp32", "train.compile": False, "evaluate.resamples": 20}


@pytest.fixture(scope="module")
def bert(blank_bert) -> str:
    sizes = dict(hidden_size=32, num_attention_heads=2, intermediate_size=48, initializer_range=0.2)
    return blank_bert([" ".join([*WORDS, "who?"])] * 3, 120, max_length=32, **sizes)


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    """Of 3 to 16 words, so that the rows of a batch have different lengths."""
    random = np.random.default_rng(0)
    return [random.choice(WORDS, random.integers(3, 17)).tolist() for _ in range(64)]


@pytest.fixture(scope="module")
def data(tmp_path_factory, texts) -> dict[str, str]:
    """A file to learn from, for each task: which animal is first, which words are animals, what follows `the`."""
    folder = tmp_path_factory.mktemp("data")
    animals, (classes, tags, answers) = WORDS[3:7], (folder / f"train.{kind}" for kind in ("csv", "conll", "json"))
    classes.write_text("text,label\n" + "".join(f"{' '.join(t)},{'ab'['heron' in t]}\n" for t in texts))
    tagged = ("".join(f"{word}\t{'B-animal' if word in animals else 'O'}\n" for word in t) for t in texts)
    tags.write_text("\n".join(tagged))
    asked = [
        {"context": " ".join(t),
         "qas": [{"id": str(i), "question": "who?", "answers": [{"text": t[0], "answer_start": 0}]}]}
        for i, t in enumerate(texts)
    ]  # fmt: skip
    answers.write_text(json.dumps({"data": [{"title": "", "paragraphs": asked}]}))
    return {"classify": str(classes), "tag": str(tags), "answer": str(answers)}


def weights(objective: Objective) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for n in objective.networks.values() for p in n.parameters()])


# -- batches that are cut up


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("classify", {}),
        ("classify", {"loss.class_weights": "balanced", "loss.label_smoothing": 0.1}),
        ("classify", {"loss.adversarial": "fgm"}),
        ("classify", {"loss.adversarial": "smart"}),
        ("tag", {}),
        ("tag", {"loss.adversarial": "fgm"}),
        ("tag", {"loss.adversarial": "smart"}),
        ("answer", {}),
        ("answer", {"loss.adversarial": "smart"}),
    ],
)
def test_a_batch_that_is_cut_up_gives_the_same_step(task, more, data, bert):
    """By plain gradient descent: Adam would make rounding of gradients near 0 as large as gradients."""
    moved = []
    for accumulate in (1, 4):
        told = PLAIN | {"data.path": data[task], "model.init": bert, "train.batch_size": 16, "train.clip": 1e9}
        spec = recipe.load(task, told | more | {"train.accumulate": accumulate})
        objective = build(spec, Context(CPU), Console(quiet=True))
        before = weights(objective)
        objective.optimizers["model"] = torch.optim.SGD(objective.networks["model"].parameters(), lr=1.0)
        objective.schedule = lambda progress, step: None
        Engine(objective, None, Context(CPU)).one_step(0.0)
        moved.append(weights(objective) - before)
    assert moved[0].abs().max() > 1e-3
    torch.testing.assert_close(moved[1], moved[0], rtol=0, atol=1e-5)


def test_rows_of_an_embedding_move_by_the_sum_of_two_gradients():
    """Where a batch is cut up there is more than one backward to a step."""

    def after(*losses) -> torch.Tensor:
        torch.manual_seed(0)
        network = torch.nn.Module()
        network.bert = torch.nn.Module()
        network.bert.layers = torch.nn.ModuleList()
        network.bert.embeddings = torch.nn.Embedding(6, 4)
        optimizer = layerwise_adamw(network, TaskOptim(lr=0.1), by_rows=network.bert.embeddings)
        assert isinstance(optimizer, RowwiseAdamW)
        for _ in range(2):
            optimizer.zero_grad()
            for loss in losses:
                loss(network.bert.embeddings).backward()
            optimizer.step()
        return network.bert.embeddings.weight.detach()

    def first(rows):
        return rows(torch.tensor([0, 1, 1])).square().sum()

    def second(rows):
        return (rows(torch.tensor([1, 2])) ** 3).sum()

    apart, together = after(first, second), after(lambda rows: first(rows) + second(rows))
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-6)
    assert (apart - after(first)).abs().max() > 0.01 and (apart - after(second)).abs().max() > 0.01


# -- gradients that are clipped


class Valley(Objective):
    """One weight vector under a loss that grows with its square: a long gradient far from 0, a short one near it."""

    def __init__(self, clip: float | None, lr: float):
        self.recipe = Recipe(name="valley", train=Train(steps=200, batch_size=1, clip=clip))
        layer = torch.nn.Linear(3, 1, bias=False)
        layer.weight.data = torch.tensor([[1.0, -2.0, 2.0]])
        self.networks = {"valley": layer}
        self.optimizers = {"valley": torch.optim.SGD(layer.parameters(), lr)}
        self.phases = [Phase("valley", self.loss)]

    def batch(self, index, start, stop):
        return torch.zeros(1)

    def loss(self, batch, draw):
        loss = self.networks["valley"].weight.square().sum() / 2  # the gradient is the weight
        return loss, {"loss": loss.detach()}


def test_no_step_is_longer_than_the_clipped_gradient():
    lr, clip = 0.5, 0.1
    lengths = {}
    for asked in (clip, None):
        objective = Valley(asked, lr)
        engine, lengths[asked] = Engine(objective, None, Context(CPU)), []
        for _ in range(100):
            before = weights(objective)
            engine.one_step(0.0)
            lengths[asked].append(((weights(objective) - before).norm().item(), before.norm().item()))
    for step, norm in lengths[clip]:
        assert step == pytest.approx(lr * min(norm, clip), rel=1e-3)
    assert lengths[clip][0][1] > clip > lengths[clip][-1][1]  # both cases came up
    assert lengths[None][0][0] == pytest.approx(lr * 3, rel=1e-5)


# -- checkpoints by the clock


@pytest.mark.parametrize(("minutes", "kept"), [(1e-6, {6, 7}), (60.0, {None})])
def test_at_most_so_many_minutes_are_lost_to_a_kill(minutes, kept, tmp_path):
    objective = Valley(None, 0.1)
    objective.recipe.train = Train(steps=100, batch_size=1, evaluations=1, checkpoint_minutes=minutes)
    engine = Engine(objective, Run(tmp_path), Context(CPU))
    one_step = engine.one_step

    def killed(progress: float) -> None:
        one_step(progress)
        if engine.step == 7:
            raise InterruptedError

    engine.one_step = killed
    with pytest.raises(InterruptedError):
        engine.train()
    state = Run(tmp_path).load_checkpoint()
    assert (state and state["step"]) in kept


# -- precision and compilation


@pytest.fixture(scope="module")
def sentences(tmp_path_factory, texts) -> str:
    path = tmp_path_factory.mktemp("text") / "sentences.txt"
    path.write_text("\n\n".join(" ".join(t) for t in texts * 4))
    return str(path)


@pytest.fixture
def made(data, bert, sentences):
    """(recipe's name, context, overrides) -> a small objective."""
    small = {
        "image-gan": {"data.path": "digits", "data.limit": 200, "train.batch_size": 32},
        "bert-fast": {"data.path": sentences, "data.vocab_size": 120, "data.sequence_length": 32, "model.layers": 2,
                      "model.hidden": 64, "model.heads": 2},
        "classify": {"data.path": data["classify"], "model.init": bert, "train.batch_size": 16, "model.dropout": 0.0},
    }  # fmt: skip

    def make(name: str, context: Context, **more) -> Objective:
        return build(recipe.load(name, {"train.steps": 10} | small[name] | more), context, Console(quiet=True))

    return make


RECIPES = ("image-gan", "bert-fast", "classify")


def steps(objective: Objective, context: Context, count: int) -> Engine:
    engine = Engine(objective, None, context)
    for step in range(count):
        engine.one_step(step / 10)
    return engine


@pytest.mark.parametrize("name", RECIPES)
def test_bf16_is_for_products_and_not_for_weights(name, made):
    losses, products = {}, []
    for bf16 in (False, True):
        context = Context(CPU, bf16=bf16)
        objective = made(name, context)

        def note(layer, inputs, out, bf16=bf16) -> None:
            products.append((bf16, out.dtype))

        for layer in (layer for network in objective.networks.values() for layer in network.modules()):
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                layer.register_forward_hook(note)
        engine = steps(objective, context, 2)
        losses[bf16] = {name: value for name, value in engine.journal.means().items() if name.endswith("loss")}
        states = [t for o in objective.optimizers.values() for s in o.state.values() for t in s.values()]
        kept = [*(p for n in objective.networks.values() for p in n.parameters()), *states]
        assert {tensor.dtype for tensor in kept} == {torch.float32}
        assert not engine.bad_updates.total()
    assert (True, torch.bfloat16) in products and (False, torch.bfloat16) not in products
    for key, loss in losses[False].items():
        assert losses[True][key] == pytest.approx(loss, rel=0.05) and losses[True][key] != loss


@pytest.mark.parametrize("name", ["bert-fast", "classify"])  # GANs differentiate twice, which compiled code can't
def test_what_is_compiled_learns_the_same_and_is_saved_as_if_it_were_not(name, made, tmp_path, monkeypatch):
    compiled, compile = [], torch.nn.Module.compile

    def without_compiler(module: torch.nn.Module) -> None:
        compiled.append(module)
        compile(module, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", without_compiler)
    monkeypatch.setattr(machine, "has_compiler", lambda device: True)
    learnt, before = [], torch._dynamo.utils.counters["frames"]["ok"]
    for context in (Context(CPU), Context(CPU, compiled=True)):
        objective = made(name, context)
        steps(objective, context, 3)
        learnt.append(weights(objective))
    assert len(compiled) == 1 and torch._dynamo.utils.counters["frames"]["ok"] > before
    torch.testing.assert_close(learnt[1], learnt[0], rtol=1e-4, atol=1e-6)
    networks = {name: network.eval() for name, network in objective.networks.items()}
    objective.save(networks, tmp_path)
    said = load(tmp_path)
    if name == "bert-fast":
        assert len(said.fill_mask("the old [MASK]", top_k=3)) == 3
    else:
        assert {label for label, _ in said.classify("the heron")} == {"a", "b"}
