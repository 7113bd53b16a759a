"""Pre-training: that it learns, that its loss is the mean over the masks, and that its models open elsewhere."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from adverb import recipe, training
from adverb.bert.checkpoint import load_pretrained
from adverb.bert.sampling import sample
from adverb.context import Context
from adverb.engine import Engine
from adverb.errors import UserError
from adverb.objectives import build
from adverb.objectives.base import Draw
from adverb.objectives.electra import fill_in
from adverb.optim import lr_factor
from adverb.pipelines import load
from adverb.schema import AdamWSpec

CPU = Context(torch.device("cpu"))
PEOPLE = ("lay in", "ate", "killed", "worried", "tossed", "milked", "kissed", "married", "waked", "kept")
THINGS = ("malt", "rat", "cat", "dog", "cow with the crumpled horn", "maiden all forlorn", "man all tattered and torn",
          "priest all shaven and shorn", "cock that crowed in the morn", "farmer sowing his corn")  # fmt: skip
SMALL = {
    "model.layers": 2, "model.hidden": 64, "model.heads": 2, "data.sequence_length": 32, "train.batch_size": 16,
    "train.precision": "fp32", "evaluate.rows": 32, "data.vocab_size": 150, "train.steps": 100,
}  # fmt: skip


def verse(last: int) -> str:
    """This is the house that Jack built (traditional, 1755), a verse a paragraph."""
    lines = [f"This is the {THINGS[last]}"]
    lines += [f"that {PEOPLE[i]} the {THINGS[i - 1]}" for i in range(last, 0, -1)]
    return ", ".join([*lines, "that lay in the house that Jack built."])


@pytest.fixture(scope="session")
def rhyme(tmp_path_factory):
    """Each verse a document of a few sentences, so that pairs can be made of it."""
    folder = tmp_path_factory.mktemp("rhyme")
    text = "\n\n".join(verse(i).replace(", that", ". That") for i in range(10))
    (folder / "train").mkdir()
    (folder / "train/jack.txt").write_text("\n\n".join([text] * 4))
    (folder / "valid").mkdir()
    (folder / "valid/jack.txt").write_text(text)
    return folder


def make(name, data, **overrides):
    overrides = {**SMALL, "data.path": str(data), **overrides}
    return build(recipe.load(name, overrides), CPU, Console(quiet=True))


def draw(rows=16, step=0) -> Draw:
    return Draw((0, step, "test", 0), rows, 0, rows, CPU.device)


def train(objective, steps: int) -> Engine:
    engine = Engine(objective, None, CPU)
    for step in range(steps):
        engine.one_step(step / steps)
    for network in objective.networks.values():
        network.eval()
    return engine


@torch.no_grad()
def judge(objective, folder, final=False) -> dict[str, float]:
    return objective.evaluate(objective.networks, folder, 1, final)


# -- it learns


def test_it_learns_a_rhyme_by_heart_and_says_it(rhyme, tmp_path):
    objective = make("bert-fast", rhyme, **{"optim.lr": 3e-3})
    before = judge(objective, tmp_path)
    train(objective, 350)
    after = judge(objective, tmp_path)
    assert before["masked_loss"] > 0.9 * math.log(120)  # it knew nothing
    assert after["masked_loss"] < 1.0 and after["masked_accuracy"] > 0.75  # how often words occur gives 2.6 and 0.2
    objective.save(objective.networks, tmp_path / "model")
    reader = load(tmp_path / "model")
    best = reader.fill_mask("This is the cat. That killed the [MASK]. That ate the malt.", top_k=1)[0]
    assert best.tokens == ("rat",) and best.probability > 0.5
    page = (tmp_path / "step-0000001.txt").read_text()
    assert "[MASK]" in page and "[CLS]" in page


def test_the_2018_recipe_learns_which_sentence_follows(rhyme, tmp_path):
    # swapped sentences of one verse can be told by the order of its animals
    objective = make("bert-classic", rhyme, **{"model.dropout": 0.0, "optim.lr": 3e-3, "model.architecture": "modern",
                     "objectives.nsp": 0, "objectives.sop": 1})  # fmt: skip
    train(objective, 350)
    assert judge(objective, tmp_path, final=True)["sop_accuracy"] > 0.9


def test_the_text_that_data_valid_names_is_not_in_train(tmp_path):
    for name, i in (("a", 8), ("b", 9), ("held", 9)):
        (tmp_path / f"{name}.txt").write_text("\n\n".join([verse(i)] * 4))
    one = make("bert-fast", tmp_path, **{"data.valid": str(tmp_path / "held.txt")})
    assert (one.train_text.document_count, one.valid_text.document_count) == (8, 4)


def test_a_csv_without_a_header_is_read_by_the_number_of_its_column(tmp_path):
    (tmp_path / "a.csv").write_text("".join(f'{i},"{verse(i % 10)}"\n' for i in range(100)))
    one = make("bert-fast", tmp_path / "a.csv", **{"data.column": 1})
    assert one.train_text.document_count + one.valid_text.document_count == 100


@pytest.mark.parametrize("kind", ["gpt", "lstm"])
def test_the_baselines_learn_too(rhyme, tmp_path, kind):
    objective = make("bert-fast", rhyme, **{"model.architecture": kind, "optim.lr": 1e-2})
    train(objective, 100)
    metrics = judge(objective, tmp_path)
    assert metrics["token_loss"] < 1.6 and metrics["blank_accuracy"] > 0.55
    objective.save(objective.networks, tmp_path / "model")
    reader = load(tmp_path / "model")
    assert reader.fill_mask("that lay in the house that [MASK] built.", top_k=1)[0].tokens == ("jack",)
    with pytest.raises(UserError, match="one-sided"):
        reader.embed("a")


@pytest.mark.parametrize("kind", ["gpt", "lstm"])
def test_a_baseline_never_sees_what_it_predicts(rhyme, kind):
    model = make("bert-fast", rhyme, **{"model.architecture": kind}).networks["model"].eval()
    ids = torch.randint(5, 100, (3, 20))
    other = ids.clone()
    other[:, 9] = (ids[:, 9] + 1 - 5) % 95 + 5
    take = torch.full((3, 1), 9)
    assert torch.equal(model.blanks(ids, take), model.blanks(other, take))
    left, target = model.predictions(ids)[0]
    changed = (left != model.predictions(other)[0][0]).any(-1).any(0)  # [L - 1]
    assert torch.equal(target, ids[:, 1:]) and not changed[:9].any() and changed[9]
    if kind == "lstm":
        right, target = model.predictions(ids)[1]
        changed = (right != model.predictions(other)[1][0]).any(-1).any(0)  # of tokens 1 … L - 1
        assert torch.equal(target, ids[:, :-1]) and not changed[9:].any() and changed[8]


def test_electra_learns_to_find_replaced_words(rhyme, tmp_path):
    objective = make("bert-electra", rhyme, **{"optim.lr": 3e-3, "model.architecture": "modern"})
    before = judge(objective, tmp_path)
    train(objective, 200)
    after = judge(objective, tmp_path, final=True)
    assert after["replaced_loss"] < 0.75 * before["replaced_loss"] and after["replaced_loss"] < 0.25
    assert after["replaced_found"] > 0.3 and after["replaced_precision"] > 0.6
    objective.save(objective.networks, tmp_path / "model")
    reader = load(tmp_path / "model")
    with pytest.raises(UserError, match="replaced token"):
        reader.fill_mask("the [MASK]")
    assert reader.embed(["the cat", "a rat ate the malt"]).shape == (2, 64)


# -- the loss


def test_the_loss_is_the_mean_over_the_masks(rhyme):
    objective = make("bert-fast", rhyme, **{"model.architecture": "bert", "masking.rate": 0.15})
    batch = objective.batch(0, 0, 16)
    loss, metrics = objective.loss(batch, draw())
    ids, take, labels = objective.masking(batch["input_ids"], draw().rand(32, 3))
    logits = objective.networks["model"](ids, **objective.apart(batch["input_ids"]))  # everywhere, the plain way
    full = torch.full_like(ids, -100).scatter(1, take, labels)
    full[:, 0] = -100
    expected = F.cross_entropy(logits.flatten(0, 1), full.flatten(), ignore_index=-100)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert metrics["masked_loss"].item() == pytest.approx(loss.item())
    assert ((full != -100).sum(1) == round(0.15 * 30)).all()  # 15 % of what can be masked, in each row


def test_weights_sum_the_tasks_and_label_0_is_next(rhyme):
    objective = make("bert-classic", rhyme, **{"objectives.mlm": 2.0, "objectives.nsp": 3.0, "model.dropout": 0.0})
    batch = objective.batch(0, 0, 16)
    loss, metrics = objective.loss(batch, draw())
    assert loss.item() == pytest.approx(2 * metrics["masked_loss"].item() + 3 * metrics["pair_loss"].item(), rel=1e-6)
    model = objective.networks["model"]
    with torch.no_grad():
        model.pair.bias += torch.tensor([9.0, 0.0])  # now it says "is next" always
    _, metrics = objective.loss(batch, draw())
    assert metrics["pair_accuracy"].item() == pytest.approx((batch["pair_labels"] == 0).float().mean().item())


def test_electra_by_hand(rhyme):
    objective = make("bert-electra", rhyme, **{"generator.weight": 7.0})
    pair, batch = objective.networks["model"], objective.batch(0, 0, 16)
    loss, metrics = objective.loss(batch, draw())
    assert loss.item() == pytest.approx(metrics["masked_loss"].item() + 7 * metrics["replaced_loss"].item(), rel=1e-6)
    loss.backward()
    words = pair.discriminator.bert.embeddings.word.weight
    assert pair.generator.bert.embeddings.wide.word.weight is words  # shared
    assert sum(p is words for p in pair.parameters()) == 1
    # only the generator's own loss reaches it: none passes through the sampling
    own = [p for n, p in pair.generator.named_parameters() if "wide" not in n]
    gradients = [p.grad.clone() for p in own]
    pair.zero_grad()
    objective.recipe.generator.weight = 0.0
    objective.loss(batch, draw())[0].backward()
    assert all(torch.allclose(p.grad, g) for p, g in zip(own, gradients, strict=True))


def test_electra_samples_from_the_softmax_and_fills_in():
    logits = torch.tensor([0.0, 1.0, 2.0, -torch.inf]).expand(1, 60_000, 4)
    tokens = sample(logits, torch.rand(1, 60_000, generator=torch.Generator().manual_seed(0)))
    shares = torch.bincount(tokens.flatten(), minlength=4) / 60_000
    assert torch.allclose(shares, logits[0, 0].softmax(-1), atol=0.01) and shares[3] == 0
    truth = torch.tensor([[2, 7, 8, 9, 3]])
    filled = fill_in(truth, torch.tensor([[3, 1, 0]]), torch.tensor([[9, 7, -100]]), torch.tensor([[5, 7, 6]]))
    assert filled.tolist() == [[2, 7, 8, 5, 3]]  # the fill-up at 0 changes nothing


def test_documents_that_are_short_do_not_see_each_other(rhyme, tmp_path):
    (tmp_path / "x.txt").write_text("\n\n".join(verse(1) for _ in range(200)))
    objective = make("bert-fast", tmp_path)
    assert objective.documents_apart and not make("bert-fast", rhyme, **{"data.sequence_length": 8}).documents_apart
    sep = objective.tokenizer.sep_id
    ids = torch.tensor([[2, 9, sep, 8, 8, sep]])
    assert objective.apart(ids)["document_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]


# -- schedules and batches


@pytest.mark.parametrize("schedule", ["linear", "cosine", "wsd"])
def test_the_learning_rate_rises_stays_and_falls(schedule):
    spec = AdamWSpec(schedule=schedule, warmup=0.1, decay=0.2)
    factors = [lr_factor(spec, p) for p in np.linspace(0, 1, 101)]
    assert 0 < factors[0] < 0.01 and factors[5] == pytest.approx(0.5) and factors[10] == pytest.approx(1)
    assert factors[100] == pytest.approx(0, abs=1e-9)
    assert np.all(np.diff(factors[10:]) <= 1e-12) and max(factors) <= 1
    if schedule == "wsd":
        assert factors[80] == pytest.approx(1) and factors[85] == pytest.approx(1 - math.sqrt(0.25))
    assert lr_factor(AdamWSpec(warmup=0), 0.0) == 1


def test_the_masking_rate_follows_its_ramp_and_weight_decay_spares_norms(rhyme):
    objective = make("bert-fast", rhyme, **{"masking.rate": [0.4, 0.1], "model.architecture": "bert"})
    taken = []
    for progress in (0.0, 0.5, 1.0):
        objective.schedule(progress, 0)
        taken.append(objective.masking(objective.batch(0, 0, 4)["input_ids"], draw(4).rand(32, 3)).take.shape[1])
    assert taken == [13, 8, 3]
    decayed, spared = objective.optimizers["model"].param_groups
    assert all(p.ndim >= 2 for p in decayed["params"]) and all(p.ndim == 1 for p in spared["params"])
    assert decayed["weight_decay"] > 0 and spared["weight_decay"] == 0


def test_judging_is_repeatable_and_changes_nothing(rhyme, tmp_path):
    objective = make("bert-fast", rhyme)
    random = torch.get_rng_state()
    assert judge(objective, tmp_path) == judge(objective, tmp_path)
    assert torch.equal(torch.get_rng_state(), random)
    other = make("bert-fast", rhyme, **{"masking.rate": 0.4, "train.batch_size": 8})
    other.networks = objective.networks
    assert judge(other, tmp_path) == judge(objective, tmp_path)  # the same masks, whatever the training's rate


# -- what is saved


@pytest.mark.parametrize("name", ["bert-classic", "bert-fast"])
def test_transformers_opens_the_model_and_says_the_same(rhyme, tmp_path, name):
    transformers = pytest.importorskip("transformers")
    objective = make(name, rhyme, **{"model.architecture": "bert"})
    train(objective, 3)
    objective.save(objective.networks, tmp_path / "model")
    kind = transformers.BertForPreTraining if name == "bert-classic" else transformers.BertForMaskedLM
    theirs, info = kind.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    theirs.eval()
    tokens = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")("the cat ate [MASK]", return_tensors="pt")
    assert tokens["input_ids"][0].tolist() == objective.tokenizer.encode("the cat ate [MASK]").ids
    with torch.no_grad():
        expected, found = theirs(**tokens), objective.networks["model"](tokens["input_ids"])
    if name == "bert-classic":
        torch.testing.assert_close(found[0], expected.prediction_logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[1], expected.seq_relationship_logits, atol=1e-5, rtol=1e-5)
    else:
        torch.testing.assert_close(found, expected.logits, atol=1e-5, rtol=1e-5)


def test_training_goes_on_from_a_saved_model(rhyme, tmp_path):
    first = make("bert-fast", rhyme)
    train(first, 5)
    first.save(first.networks, tmp_path / "model")
    second = make("bert-fast", rhyme, **{"model.init": str(tmp_path / "model"), "model.layers": 7})
    assert second.recipe.model.layers == 2  # the sizes are the model's own
    for (name, a), b in zip(
        first.networks["model"].state_dict().items(), second.networks["model"].state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    assert second.tokenizer.tokens() == first.tokenizer.tokens()
    train(second, 2)
    with pytest.raises(UserError, match="data.sequence_length=64: the model reads 32"):
        make("bert-fast", rhyme, **{"model.init": str(tmp_path / "model"), "data.sequence_length": 64})


def test_a_discriminator_can_be_gone_on_from(rhyme, tmp_path):
    first = make("bert-electra", rhyme)
    first.save(first.networks, tmp_path / "model")
    assert load_pretrained(tmp_path / "model").model.task == "replaced_token"
    second = make("bert-electra", rhyme, **{"model.init": str(tmp_path / "model")})
    train(second, 1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data.path": None}, "no text to learn from: name it by --data"),
        ({"objectives.nsp": 1, "objectives.sop": 1}, "nsp and sop share a head"),
        ({"masking.rate": 0}, "masking.rate=0: "),
        ({"data.sequence_length": 4096}, "a row of data.sequence_length=4096 needs"),
        ({"model.heads": 3}, "not divisible by"),
        ({"model.architecture": "gpt", "objectives.nsp": 1}, "gpt has no pair task"),
        ({"data.tokenizer": "no/such/folder"}, "is not a folder"),
    ],
)
def test_a_wrong_recipe_is_named(rhyme, overrides, message):
    with pytest.raises(UserError, match=message):
        make("bert-fast", rhyme, **overrides)


def test_the_report_and_the_run(rhyme, tmp_path):
    import adverb

    run = adverb.train("bert-classic", rhyme, out=tmp_path / "run", **{k: v for k, v in SMALL.items()} | {
        "train.steps": 4, "train.evaluations": 2})  # fmt: skip
    rows = run.metrics()
    assert {"masked_loss", "pair_loss", "tok_per_second", "mfu"} <= rows[0].keys()
    assert "eval/nsp_accuracy" in rows[-1] and (run.path / "samples/step-0000004.txt").is_file()
    report = (run.path / "report.html").read_text()
    assert "masked loss" in report and "next sentence" in report
    assert json.loads((run.path / "model/config.json").read_text())["architectures"] == ["BertForPreTraining"]
    assert adverb.load(run.path).fill_mask("the [MASK]")


def test_without_a_compiler_it_says_so_and_goes_on(rhyme, monkeypatch, capsys):
    monkeypatch.setattr("adverb.engine.machine.has_compiler", lambda device: False)
    context = Context(torch.device("cpu"), compiled=True)
    spec = recipe.load("bert-fast", {**SMALL, "data.path": str(rhyme)})
    objective = build(spec, context, Console())
    assert "not compiled" in capsys.readouterr().out and not context.compiled
    train(objective, 1)


def test_a_text_that_has_grown_keeps_the_vocabulary_of_its_run(rhyme, tmp_path):
    shutil.copytree(rhyme, tmp_path / "text")
    settings = {key: value for key, value in SMALL.items() if key != "train.steps"}
    run = training.train("bert-fast", tmp_path / "text", out=tmp_path / "run", **settings, **{"train.steps": 4})
    before = (run.model / "tokenizer.json").read_text()
    with (tmp_path / "text/train/jack.txt").open("a") as file:
        file.write("\n\n" + "Zebras quizzed xylophonists. " * 200)
    training.train(run.path, resume=True, **{"train.steps": 6})
    assert run.metrics()[-1]["step"] == 6
    assert (run.model / "tokenizer.json").read_text() == before


def test_weights_of_another_shape_are_refused_in_a_sentence(rhyme, tmp_path):
    run = training.train("bert-fast", rhyme, out=tmp_path / "run", **SMALL | {"train.steps": 2})
    with pytest.raises(UserError, match="can't be resumed: its model has other shapes"):
        training.train(run.path, resume=True, **{"train.steps": 4, "model.hidden": 32})
    with pytest.raises(UserError, match="can't be shared evenly"):
        training.train(run.path, resume=True, **{"train.steps": 4, "train.accumulate": 3})
    training.train(run.path, resume=True, **{"train.steps": 4})  # what was refused has left nothing behind
    assert run.metrics()[-1]["step"] == 4 and run.recipe()["train"]["accumulate"] == 1
