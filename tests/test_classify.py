"""Classifiers: that they learn, keep what they learnt, open in transformers, and what happens in a step."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

import adverb
from adverb import recipe
from adverb.bert.checkpoint import load_pretrained, save_pretrained
from adverb.bert.heads import SequenceClassifier, TokenClassifier, cross_entropy
from adverb.context import Context
from adverb.data.labelled import Labelled
from adverb.data.records import Report
from adverb.engine import Engine
from adverb.errors import UserError
from adverb.metrics.details import Details
from adverb.objectives import build
from adverb.objectives.adversarial import Perturbed, divergence, fgm, smart
from adverb.objectives.base import Draw
from adverb.objectives.classify import class_weights
from adverb.optim import RowwiseAdamW, layerwise_adamw, restore, set_lr
from adverb.pipelines import load
from adverb.pipelines.judging.classes import judge_logits
from adverb.pipelines.predict import predict
from adverb.pipelines.reader import Reader
from adverb.pipelines.torch_model import TorchModel
from adverb.run import Run
from adverb.schema.tasks import TaskOptim

CPU = Context(torch.device("cpu"))
ANIMALS = ("heron", "badger", "otter", "lynx")
REST = "the old young quick grey sleepy watched chased found left near by under behind river barn hedge road".split()
WORDS = " ".join([*REST, *ANIMALS, "very", "yes", "no"])
SMALL = {"train.precision": "fp32", "train.batch_size": 16, "optim.lr": 3e-3, "train.epochs": 3, "train.evaluations": 2}


def sentence(random: np.random.Generator, *words: str) -> str:
    filler = random.choice(REST, random.integers(2, 14)).tolist()
    for word in words:
        filler.insert(random.integers(len(filler) + 1), word)
    return " ".join(filler)


def write(path, columns, rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def folder_of(folder, columns, make) -> str:
    """train.csv, dev.csv and test.csv of rows that `make(random)` makes."""
    random = np.random.default_rng(0)
    for name, count in (("train", 320), ("dev", 48), ("test", 48)):
        write(folder / f"{name}.csv", columns, [make(random) for _ in range(count)])
    return str(folder)


@pytest.fixture(scope="module")
def animals(tmp_path_factory):
    """Which of four animals is in the text."""

    def make(random):
        animal = str(random.choice(ANIMALS))
        return sentence(random, animal), animal

    return folder_of(tmp_path_factory.mktemp("animals"), ("text", "animal"), make)


@pytest.fixture(scope="module", params=["bert", "modern"])
def blank(request, blank_bert) -> str:
    """A small masked language model that knows nothing, of either architecture."""
    return blank_bert([WORDS] * 3, 160, max_length=40, architecture=request.param)


@pytest.fixture(scope="module")
def bert(blank_bert) -> str:
    return blank_bert([WORDS] * 3, 160, max_length=40)


def make(data, init, **overrides):
    spec = recipe.load("classify", {**SMALL, "data.path": data, "model.init": init, **overrides})
    return build(spec, CPU, Console(quiet=True))


def draw(rows=16) -> Draw:
    return Draw((0, 0, "test", 0), rows, 0, rows, CPU.device)


# -- it learns


def test_one_of_several_classes_from_either_architecture(animals, blank, tmp_path):
    run = adverb.train("classify", animals, out=tmp_path / "run", **SMALL, **{"model.init": blank})
    last = run.metrics()[-1]
    assert last["test/accuracy"] > 0.95 and last["test/mcc"] > 0.9  # guessing gives 0.25 and 0
    assert abs(last["test/ece"]) < 0.1
    reader = load(run.path)
    label, probability = reader.classify("the old otter watched the river")[0]
    assert label == "otter" and probability > 0.6
    config = json.loads((run.best / "config.json").read_text())
    assert config["adverb"]["max_length"] == 40 and config["adverb"]["temperature"] > 0
    assert config["id2label"] == dict(zip("0123", sorted(ANIMALS), strict=True))
    details = Details.read(run.samples)
    assert details.split == "test" and details.rows == 48 and np.sum(details.confusion["counts"]) == 48
    low, high = details.intervals["accuracy"]
    assert low <= last["test/accuracy"] <= high
    assert details.calibration["temperature"] == config["adverb"]["temperature"]
    assert "Classes" in (run.path / "report.html").read_text()
    # the run is itself a model to start from, for other classes or the same
    objective = make(animals, str(run.path))
    assert torch.equal(objective.networks["model"].classifier.weight, load_pretrained(run.best).model.classifier.weight)
    assert "temperature" not in objective.networks["model"].config.adverb


def test_several_classes_a_row(bert, tmp_path):
    def rows(random):
        chosen = [animal for animal in ANIMALS if random.random() < 0.4]
        return sentence(random, *chosen), json.dumps(chosen)

    data = folder_of(tmp_path, ("text", "labels"), rows)
    options = SMALL | {"train.epochs": 6, "loss.class_weights": "balanced", "loss.label_smoothing": 0.05}
    run = adverb.train("classify", data, out=tmp_path / "run", **options, **{"model.init": bert})
    last = run.metrics()[-1]
    assert last["test/micro_f1"] > 0.95 and last["test/subset_accuracy"] > 0.8
    said = dict(load(run.path).classify("the lynx chased the old heron"))
    assert said["lynx"] > 0.5 and said["heron"] > 0.5 and said["otter"] < 0.5 and said["badger"] < 0.5


def test_pairs_of_texts(bert, tmp_path):
    def rows(random):
        first, second = random.choice(ANIMALS[:2], 2)
        return sentence(random, first), sentence(random, second), "yes" if first == second else "no"

    data = folder_of(tmp_path, ("sentence1", "sentence2", "label"), rows)
    options = SMALL | {"train.epochs": 25, "train.evaluations": 5}
    run = adverb.train("classify", data, out=tmp_path / "run", **options, **{"model.init": bert})
    assert run.metrics()[-1]["test/accuracy"] > 0.9  # neither text alone says more than 0.5
    reader = load(run.path)
    assert reader.classify("the heron", "a grey heron")[0][0] == "yes"
    assert reader.facts["columns"] == {"text": "sentence1", "pair": "sentence2"} and reader.facts["pairs"]
    renamed = tmp_path / "new.csv"
    renamed.write_text("sentence2,notes,sentence1\na grey heron,a long note about nothing at all,the heron\n")
    predict(str(run.path), file=renamed, out=tmp_path / "said.jsonl", console=Console(quiet=True))
    said = json.loads((tmp_path / "said.jsonl").read_text())
    assert said["text"] == "the heron" and said["label"] == "yes"
    renamed.write_text("notes\nthe heron\n")
    with pytest.raises(UserError, match="reads pairs of texts"):
        predict(str(run.path), file=renamed, out=tmp_path / "other.jsonl", console=Console(quiet=True))


def test_a_mistake_is_shown_with_both_of_its_texts(bert):
    texts, pairs, labels, truth = ["the heron", "an otter"], ["a grey heron", "a lynx"], ["no", "yes"], np.array([1, 0])
    data = Labelled("rows", texts, pairs, "single", labels, truth, np.arange(2), report=Report("rows"))
    loaded = load_pretrained(bert, "sequence_classification", data.label_names)
    reader = Reader(TorchModel(loaded.model), loaded.tokenizer)
    _, details = judge_logits(reader, np.array([[3.0, 0.0], [1.0, 0.0]]), data, resamples=5, fit=False)
    assert [(one["text"], one["said"]) for one in details.mistakes] == [("the heron | a grey heron", "no")]


def test_a_number_is_learnt_in_its_own_unit_and_gone_on_from(bert, tmp_path):
    transformers = pytest.importorskip("transformers")

    def rows(random):
        count = int(random.integers(5))
        return sentence(random, *["very"] * count), 3000 + 500.5 * count

    data = folder_of(tmp_path, ("text", "price"), rows)
    options = SMALL | {"train.epochs": 8, "data.kind": "regression", "model.init": bert}
    run = adverb.train("classify", data, out=tmp_path / "run", **options)
    last = run.metrics()[-1]
    assert last["test/spearman"] > 0.9 and last["test/rmse"] < 250  # the deviation is 700
    assert "test/ece" not in last
    texts = ["very very very old barn", "the old barn"]
    said = [row[0][1] for row in load(run.path).classify(texts)]
    assert said[0] == pytest.approx(4500, abs=400) and said[1] == pytest.approx(3000, abs=400)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(run.best).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(run.best)(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        assert theirs(**tokens).logits[:, 0].tolist() == pytest.approx(said, rel=1e-2)
    again = make(data, str(run.best), **{"data.kind": "regression"})
    model = again.networks["model"].eval()
    batch = again.batch(0, 0, 16)
    assert again.row_loss(model, batch).item() < 0.2  # not from scratch, which is 1
    folded = load_pretrained(run.best).model.state_dict()
    for name, tensor in again.finished(model).state_dict().items():
        torch.testing.assert_close(tensor, folded[name], rtol=1e-5, atol=1e-3)


def test_minilm_learns_to_sort_real_questions(shared_data, minilm, tmp_path):
    run = adverb.train("classify", shared_data / "trec", out=tmp_path / "run", **{
        "data.label": "coarse", "data.limit": 640, "train.epochs": 2, "train.evaluations": 1, "optim.lr": 2e-4,
        "model.init": str(minilm)})  # fmt: skip
    assert run.metrics()[-1]["test/accuracy"] > 0.8  # the most frequent class is 0.28


def test_transformers_opens_the_classifier_and_says_the_same(animals, bert, tmp_path):
    transformers = pytest.importorskip("transformers")
    objective = make(animals, bert)
    engine = Engine(objective, None, CPU)
    for step in range(5):
        engine.one_step(step / 5)
    model = objective.networks["model"].eval()
    with torch.no_grad():
        objective.evaluate(objective.networks, tmp_path, 5, final=False)
    objective.save(objective.networks, tmp_path / "model")
    kind = transformers.AutoModelForSequenceClassification
    theirs, info = kind.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    texts = ["the grey lynx", "a badger left the barn by the road"]
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = theirs.eval()(**tokens).logits
        found = model(tokens["input_ids"], tokens["attention_mask"])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert theirs.config.id2label == dict(enumerate(sorted(ANIMALS)))


# -- the temperature


def test_the_temperature_is_of_the_held_out_rows_and_of_the_model_kept(animals, bert, tmp_path):
    objective = make(animals, bert)
    model = objective.networks["model"].eval()
    with torch.no_grad():
        for p in model.classifier.parameters():
            p.mul_(40)  # far too sure of itself
        metrics = objective.evaluate(objective.networks, tmp_path, 0, final=False)
        temperature = model.config.adverb["temperature"]
        assert temperature > 2 and metrics["ece"] < 0.5 * metrics["ece_uncalibrated"]
        objective.judge(model, objective.test, tmp_path, False)
    assert model.config.adverb["temperature"] == temperature  # the test set fits nothing
    objective.save(objective.networks, tmp_path / "model")
    reader = load(tmp_path / "model")
    expected = torch.from_numpy(reader.logits(["the lynx"]) / temperature).softmax(-1).max().item()
    assert reader.classify("the lynx")[0][1] == pytest.approx(expected, rel=1e-5)


def test_without_a_test_set_details_are_of_the_best_model_not_the_last(animals, bert, tmp_path):
    shutil.copy(f"{animals}/train.csv", tmp_path / "only.csv")
    objective = make(str(tmp_path / "only.csv"), bert)
    (tmp_path / "samples").mkdir()
    objective.save(objective.networks, tmp_path / "best")
    said = load(tmp_path / "best").logits(objective.valid.texts).argmax(1)
    with torch.no_grad():
        for p in objective.networks["model"].classifier.parameters():
            p.neg_()  # the last one says otherwise
    assert objective.conclude(tmp_path / "best", tmp_path / "samples") == {}
    details = Details.read(tmp_path / "samples")
    assert details.split == "valid" and details.rows == len(said) == 32
    counts = np.array(details.confusion["counts"])
    assert counts.sum(0).tolist() == np.bincount(said, minlength=len(ANIMALS)).tolist()


# -- what the loss counts


def test_class_weights_and_smoothing_against_torch():
    torch.manual_seed(0)
    logits, labels = torch.randn(40, 3), torch.randint(3, (40,))
    labels[5] = -100
    weights = torch.tensor([0.2, 1.0, 3.0])
    torch.testing.assert_close(
        cross_entropy(logits, labels, label_smoothing=0.2),
        F.cross_entropy(logits, labels, label_smoothing=0.2, ignore_index=-100),
    )
    each = F.cross_entropy(logits, labels, reduction="none", ignore_index=-100, label_smoothing=0.2)
    expected = (each * weights[labels.clamp(min=0)]).sum() / 39
    torch.testing.assert_close(cross_entropy(logits, labels, weights, 0.2), expected)
    counts = np.array([80, 15, 5])
    balanced = class_weights(np.repeat([0, 1, 2], counts), ["a", "b", "c"])
    assert (balanced.numpy() * counts).tolist() == pytest.approx([100 / 3] * 3)
    several = np.array([[1, 0], [0, 0], [1, 0], [1, 1]], np.float32)
    assert class_weights(several, ["a", "b"]).tolist() == pytest.approx([1 / 3, 3])


def test_rare_classes_count_more_when_balanced(bert, tmp_path):
    rows = [(f"the heron {i}", "heron") for i in range(90)] + [(f"the lynx {i}", "lynx") for i in range(10)]
    write(tmp_path / "rows.csv", ("text", "label"), rows)
    objective = make(str(tmp_path / "rows.csv"), bert, **{"loss.class_weights": "balanced", "model.dropout": 0})
    model = objective.networks["model"].eval()
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([1.0, 0.0]))  # heron, lynx
    for label, weight in ((0, 100 / 180), (1, 100 / 20)):
        batch = objective.collate([row for row in objective.rows if row["label"] == label][:4])
        plain = F.cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([label])).item()
        share = objective.train.targets.mean()  # of lynxes among those not held out
        exact = {0: 0.5 / (1 - share), 1: 0.5 / share}[label]
        assert objective.row_loss(model, batch).item() == pytest.approx(exact * plain, rel=1e-4)
        assert exact == pytest.approx(weight, rel=0.15)


# -- the optimiser


def test_deeper_layers_learn_more_slowly(bert):
    loaded = load_pretrained(bert, "sequence_classification")
    spec = TaskOptim(layer_decay=0.5, head_lr_ratio=10, weight_decay=0.1)
    optimizer = layerwise_adamw(loaded.model, spec, new=loaded.missing)
    set_lr(optimizer, 1.0)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = {name: rates[id(p)] for name, p in loaded.model.named_parameters()}
    assert named["classifier.weight"] == 10 and named["bert.pooler.dense.weight"] == 10  # neither is in the checkpoint
    assert named["bert.layers.1.feed_forward.up.weight"] == 0.5 and named["bert.layers.0.attention.out.bias"] == 0.25
    assert named["bert.embeddings.word.weight"] == 0.125 and len(named) == len(rates)
    assert {decay[id(p)] for p in loaded.model.parameters() if p.ndim < 2} == {0.0}
    assert {decay[id(p)] for p in loaded.model.parameters() if p.ndim >= 2} == {0.1}


@pytest.mark.parametrize("clip", [None, 1.0])  # with the rows of the embedding on their own, and all alike
def test_adam_is_the_recipes(animals, bert, clip):
    objective = make(animals, bert, **{"train.clip": clip, "optim.beta1": 0.7, "optim.beta2": 0.8, "optim.eps": 1e-3})
    objective.schedule(0.5, 0)
    optimizer = objective.optimizers["model"]
    assert isinstance(optimizer, RowwiseAdamW) == (clip is None)
    assert {(*group["betas"], group["eps"]) for group in optimizer.param_groups} == {(0.7, 0.8, 1e-3)}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(objective.networks["model"].parameters()))
    usual = make(animals, bert).optimizers["model"].param_groups
    assert {(*group["betas"], group["eps"]) for group in usual} == {(0.9, 0.999, 1e-8)}


def test_a_resumed_optimiser_has_the_recipes_options_and_finds_its_own_moments(animals, bert):
    """On one CPU, embeddings keep other moments than elsewhere; a run may go from one to the other and back."""
    cpu, clipped = make(animals, bert), make(animals, bert, **{"train.clip": 1.0, "optim.weight_decay": 0.3})
    for one, other in ((cpu, clipped), (clipped, cpu)):
        Engine(one, None, CPU).one_step(0.5)
        restore(other.optimizers["model"], one.optimizers["model"].state_dict())
        assert {g["weight_decay"] for g in clipped.optimizers["model"].param_groups} == {0.3, 0.0}
        Engine(other, None, CPU).one_step(0.5)
    with pytest.raises(UserError, match="groups the weights otherwise"):
        restore(
            make(animals, bert, **{"optim.layer_decay": 0.8}).optimizers["model"], cpu.optimizers["model"].state_dict()
        )


def test_rows_of_an_embedding_go_the_way_adamw_makes_them_go():
    """The whole way that gradients move a row, of words that are frequent, rare, used once, or never."""
    torch.manual_seed(0)
    options = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    table = torch.randn(8, 4)
    plain, rowwise = torch.nn.Embedding(8, 4, _weight=table.clone()), torch.nn.Embedding(8, 4, _weight=table.clone())
    other = torch.nn.Parameter(torch.zeros(4))
    dense = torch.optim.AdamW(plain.parameters(), **options)
    lazy = RowwiseAdamW([{"params": [rowwise.weight, other]}], rowwise, **options)
    push = torch.randn(8, 4)
    for step in range(400):
        used = [0] + [1] * (step % 20 == 3) + [2] * (step == 300) + [0]
        for optimizer, embedding in ((dense, plain), (lazy, rowwise)):
            optimizer.zero_grad()
            ((embedding(torch.tensor(used)) * push[used]).sum() + other.sum()).backward()
            optimizer.step()
    assert rowwise.weight.grad is None  # nothing sparse is left for others to stumble on
    assert torch.equal(rowwise.weight[3:], table[3:])
    moved, expected = rowwise.weight - table, plain.weight - table
    for row in range(3):
        assert expected[row].abs().min() > 3e-3
        torch.testing.assert_close(moved[row], expected[row], rtol=0.06, atol=0)
    assert other.abs().max() > 0.3  # and what is no embedding is updated as ever
    state = lazy.state_dict()
    again = RowwiseAdamW([{"params": [rowwise.weight, other]}], rowwise, **options)
    again.load_state_dict(state)
    assert again.state[rowwise.weight]["step"] == 400


# -- adversarial


@pytest.fixture
def classifier(bert):
    return load_pretrained(bert, "sequence_classification", ["a", "b", "c"]).model.eval()


@pytest.fixture
def texts():
    """Three rows, of which two are padded."""
    torch.manual_seed(1)
    ids, mask = torch.randint(5, 60, (3, 9)), torch.ones(3, 9, dtype=torch.long)
    mask[1, 6:], mask[2, 3:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1, 2])}


def row_loss(model, batch):
    return model.loss(model(batch["input_ids"], batch["attention_mask"]), batch["labels"])


def test_fgm_moves_each_text_by_epsilon_along_its_gradient(classifier, texts):
    seen = []
    watch = classifier.bert.embeddings.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    loss, rough = fgm(classifier, lambda: row_loss(classifier, texts), epsilon=0.05, weight=2.0)
    watch.remove()
    moved = (seen[1] - seen[0]).detach()  # [B, L, H]
    words = classifier.bert.embeddings.word(texts["input_ids"]) * texts["attention_mask"][..., None]
    lengths = moved.flatten(1).norm(dim=1) / words.flatten(1).norm(dim=1)
    assert lengths.tolist() == pytest.approx([0.05] * 3, rel=1e-4)
    assert moved[1, 6:].abs().max() == 0 and moved[2, 3:].abs().max() == 0  # padding stays
    clean = row_loss(classifier, texts)
    assert loss.item() == pytest.approx(clean.item() + 2 * rough.item(), rel=1e-5)
    worse = rough.item() - clean.item()
    random = []
    for seed in range(20):
        with Perturbed(classifier) as perturbed:
            row_loss(classifier, texts)
            perturbed.delta = perturbed.along(
                torch.randn(3, 9, 48, generator=torch.Generator().manual_seed(seed)) * (moved != 0), 0.05
            )
            random.append(row_loss(classifier, texts).item() - clean.item())
    assert worse > 0 and worse > 2 * max(random)
    loss.backward()
    assert all(p.grad is not None for p in classifier.classifier.parameters())
    assert not classifier._forward_hooks and not classifier.bert.embeddings.word._forward_hooks


def test_smart_needs_no_labels_and_finds_where_the_answer_changes(classifier, texts):
    loss, rough = smart(classifier, lambda: row_loss(classifier, texts), None, 0.05, 3.0, draw(3))
    clean = row_loss(classifier, texts)
    assert loss.item() == pytest.approx(clean.item() + 3 * rough.item(), rel=1e-4) and rough.item() > 0
    said = classifier(texts["input_ids"], texts["attention_mask"])
    for seed in range(10):
        with Perturbed(classifier) as perturbed, torch.no_grad():
            row_loss(classifier, texts)
            perturbed.delta = perturbed.along(
                torch.randn(3, 9, 48, generator=torch.Generator().manual_seed(seed)), 0.05
            )
            row_loss(classifier, texts)
            assert divergence(said, perturbed.outputs).item() < rough.item()


def test_divergence():
    a, b = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    p, q = a.softmax(-1), b.softmax(-1)
    both = F.kl_div(q.log(), p, reduction="sum") + F.kl_div(p.log(), q, reduction="sum")
    torch.testing.assert_close(divergence(a, b), both)
    assert divergence(a, a).item() == 0
    torch.testing.assert_close(divergence((a, b), (b, a)), 2 * both)
    assert divergence(a, b, "regression").item() == pytest.approx(5 / 3)
    single = torch.distributions.Bernoulli(logits=a), torch.distributions.Bernoulli(logits=b)
    kl = torch.distributions.kl_divergence
    torch.testing.assert_close(
        divergence(a, b, "multi_label_classification"), (kl(*single) + kl(*single[::-1])).sum(-1).mean()
    )
    tagged = torch.stack([a, b], dim=1), torch.stack([b, b], dim=1)  # [1, 2, 3]
    torch.testing.assert_close(divergence(*tagged), both / 2)
    torch.testing.assert_close(divergence(*tagged, labels=torch.tensor([[1, -100]])), both)
    longer = [F.pad(side, (0, 4), value=1.5) for side in (a, b)]  # of a question answerer: start and end
    mask = torch.tensor([[1, 1, 1, 0, 0, 0, 0]])
    found = divergence((longer[0], longer[1]), (longer[1], longer[0]), attention_mask=mask)
    torch.testing.assert_close(found, 2 * both)


@pytest.mark.parametrize("kind", ["fgm", "smart"])
def test_adversarial_training_learns_too(animals, bert, kind, tmp_path):
    objective = make(animals, bert, **{"loss.adversarial": kind, "loss.epsilon": 0.1})
    engine, steps = Engine(objective, None, CPU), 120
    for step in range(steps):
        engine.one_step(step / steps)
    assert engine.journal.window["adversarial_loss"][1] == steps
    with torch.no_grad():
        assert objective.evaluate(objective.networks, tmp_path, steps, False)["accuracy"] > 0.9


def test_taggers_can_be_smoothed_too(bert, texts):
    model = load_pretrained(bert, "token_classification", ["a", "b"]).model
    assert isinstance(model, TokenClassifier)
    labels = texts["input_ids"] % 2
    batch = texts | {"labels": torch.where(texts["attention_mask"] == 1, labels, -100)}
    for loss, rough in (
        fgm(model, lambda: row_loss(model, batch), 0.05, 1.0),
        smart(model, lambda: row_loss(model, batch), batch["labels"], 0.05, 1.0, draw(3)),
    ):
        assert loss.isfinite() and rough.item() > 0


# -- steps, rows, resuming


def test_epochs_are_steps_and_padding_is_only_told_where_it_is(animals, bert):
    objective = make(animals, bert, **{"train.epochs": 1.5})
    assert objective.recipe.train.steps == 30  # of 320 rows
    widths = set()
    for index in range(20):
        batch = objective.batch(index, 0, 16)
        padded = (batch["input_ids"] == objective.tokenizer.pad_id).any().item()
        assert ("attention_mask" in batch) == padded and "token_type_ids" not in batch
        widths.add(batch["input_ids"].shape[1])
    assert len(widths) > 5  # like lengths together
    parts = [objective.batch(3, start, start + 8)["labels"] for start in (0, 8)]
    assert torch.equal(torch.cat(parts), objective.batch(3, 0, 16)["labels"])
    assert make(animals, bert, **{"train.epochs": None, "train.steps": 7}).recipe.train.steps == 7


def test_a_killed_run_resumes_to_the_last_bit(animals, bert, tmp_path):
    options = [f"{key}={value}" for key, value in (SMALL | {"model.init": bert, "train.epochs": 8}).items()]
    words = [sys.executable, "-m", "adverb", "train", "classify", "--data", animals, *options]
    words += ["train.checkpoint_minutes=0.002", "train.evaluations=4", "loss.adversarial=fgm"]
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    process = subprocess.Popen([*words, "--out", str(torn)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    other = subprocess.Popen([*words, "--out", str(whole)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    while not list(torn.glob("checkpoints/step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (torn / "report.html").exists()  # it was not done
    step = Run(torn).load_checkpoint()["step"]
    assert 0 < step < 160
    resumed = subprocess.run([sys.executable, "-m", "adverb", "train", str(torn), "--resume"], check=True, timeout=100,
                             capture_output=True, text=True)  # fmt: skip
    assert f"resumed at step {step}\n" in resumed.stdout
    assert other.wait(timeout=100) == 0
    for name in ("model", "best"):
        a, b = (load_pretrained(run / name) for run in (whole, torn))
        assert a.model.config == b.model.config  # the temperature too
        for (key, x), y in zip(a.model.state_dict().items(), b.model.state_dict().values(), strict=True):
            assert torch.equal(x, y), key


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.path": None}, "name it by --data"),
        ({"data.max_length": 4096}, "data.max_length=4096: .* reads 40 tokens"),
        ({"model.init": "no/such/folder"}, "is not a folder"),
        ({"train.epochs": None}, "needs a budget: train.epochs"),
        ({"few.method": "contrast"}, "name them by data.unlabelled"),
    ],
)
def test_a_wrong_recipe_is_named(animals, bert, overrides, message):
    with pytest.raises(UserError, match=message):
        make(animals, bert, **overrides)


def test_an_encoder_without_a_tokenizer_is_refused(animals, bert, tmp_path):
    save_pretrained(load_pretrained(bert).model, None, tmp_path / "bare")
    with pytest.raises(UserError, match="has no tokenizer"):
        make(animals, str(tmp_path / "bare"))


def test_the_state_of_a_classifier_has_no_dropout_inside_by_default(animals, bert):
    model = make(animals, bert).networks["model"]
    assert isinstance(model, SequenceClassifier)
    assert model.config.hidden_dropout_prob == 0 and model.config.head_dropout == 0.1
