"""Few labels and texts without: the losses, that each way learns, that the choice is kept to, what is refused."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
import torch
from rich.console import Console

import adverb
from adverb import recipe, training
from adverb.bert.checkpoint import load_pretrained
from adverb.context import Context
from adverb.data.parts import folds_of
from adverb.engine import Engine
from adverb.errors import UserError
from adverb.export import export
from adverb.objectives import build, contrast, few_choice
from adverb.objectives.base import Draw
from adverb.objectives.contrast import class_contrast, soft_loss
from adverb.objectives.ganbert import discriminator_losses, generator_losses
from adverb.pipelines import load

CPU = Context(torch.device("cpu"))
ANIMALS = ("heron", "badger", "otter")
NEAR = {"heron": ("wings", "beak", "nest"), "badger": ("sett", "stripes", "burrow"), "otter": ("river", "fish", "paws")}
REST = "the old young quick grey sleepy watched chased found left near by under behind barn hedge road".split()
SMALL = {"train.precision": "fp32", "train.batch_size": 16, "optim.lr": 3e-3, "few.folds": 2, "evaluate.resamples": 20}


def write(path, columns, rows) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return str(path)


def sentence(random: np.random.Generator, words) -> str:
    filler = random.choice(REST, random.integers(3, 9)).tolist()
    for word in words:
        filler.insert(random.integers(len(filler) + 1), word)
    return " ".join(filler)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """few.csv with 24 labels, more.csv with 300 texts, test.csv with 90 labels. A text has two words of its class."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)

    def row(i: int):
        animal = ANIMALS[i % 3]
        return sentence(random, random.choice([animal, *NEAR[animal]], 2, replace=False)), animal

    write(folder / "few.csv", ("text", "animal"), [row(i) for i in range(24)])
    write(folder / "more.csv", ("text",), [row(i)[:1] for i in range(300)])
    write(folder / "exam.csv", ("text", "animal"), [row(i) for i in range(90)])
    return folder


@pytest.fixture(scope="module")
def bert(blank_bert) -> str:
    words = " ".join([*REST, *ANIMALS, *(word for near in NEAR.values() for word in near)])
    return blank_bert([words] * 3, 200, max_length=40)


def spec_of(data, bert, **overrides):
    paths = {"data.path": str(data / "few.csv"), "data.unlabelled": str(data / "more.csv"), "model.init": bert}
    return recipe.load("classify", {**SMALL, **paths, **overrides})


def accuracy(model, path) -> float:
    rows = list(csv.DictReader(open(path, encoding="utf-8")))
    said = load(model).classify([row["text"] for row in rows])
    return float(np.mean([one[0][0] == row["animal"] for one, row in zip(said, rows, strict=True)]))


# -- the losses


def test_the_losses_of_gan_bert_are_those_of_the_paper():
    random = np.random.default_rng(0)
    real, made, k = 3 * random.standard_normal((7, 5)), 3 * random.standard_normal((6, 5)), 4
    labels = np.array([2, 0, 3])
    p, q = (np.exp(x) / np.exp(x).sum(1, keepdims=True) for x in (real, made))
    supervised = -np.mean([np.log(p[i, y] / (1 - p[i, k])) for i, y in enumerate(labels)])  # p(y | h, y <= k)
    unsupervised = -np.log(1 - p[:, k]).mean() - np.log(q[:, k]).mean()
    found = discriminator_losses(torch.tensor(real), torch.tensor(labels), torch.tensor(made))
    assert [x.item() for x in found] == pytest.approx([supervised, unsupervised], rel=1e-5)
    f_real, f_made = random.standard_normal((7, 9)), random.standard_normal((6, 9))
    matching = np.linalg.norm(f_real.mean(0) - f_made.mean(0)) ** 2
    found = generator_losses(torch.tensor(made), torch.tensor(f_real), torch.tensor(f_made))
    assert [x.item() for x in found] == pytest.approx([-np.log(1 - q[:, k]).mean(), matching], rel=1e-5)


def test_logits_so_large_that_probabilities_round_give_finite_losses():
    sure = torch.tensor([[0.0, 0.0, 200.0], [200.0, 0.0, 0.0]])
    losses = [*discriminator_losses(sure, torch.tensor([0]), sure), generator_losses(sure, sure, sure)[0]]
    assert all(torch.isfinite(loss) for loss in losses) and losses[-1] > 90


def test_contrast_is_equation_2_of_khosla():
    random = np.random.default_rng(1)
    vectors, targets = random.standard_normal((6, 4)), np.array([0, 1, 0, 2, 1, 0])
    z = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    each = []
    for i in range(6):
        others = [a for a in range(6) if a != i]
        alike = [a for a in others if targets[a] == targets[i]]
        below = sum(np.exp(z[i] @ z[a] / 0.3) for a in others)
        if alike:
            each.append(-np.mean([np.log(np.exp(z[i] @ z[a] / 0.3) / below) for a in alike]))
    found = torch.tensor(vectors, requires_grad=True)
    loss = class_contrast(found, torch.tensor(targets), 0.3)
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-5)
    loss.backward()
    assert torch.isfinite(found.grad).all() and found.grad.abs().sum() > 0
    assert class_contrast(found, torch.arange(6)).item() == 0  # no two are alike


def test_soft_labels_that_are_hard_are_the_classifiers_own_loss():
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(8, 3), torch.randint(3, (8,)), torch.tensor([0.5, 1.0, 2.0])
    hard = torch.eye(3)[labels]
    torch.testing.assert_close(soft_loss(logits, hard), torch.nn.functional.cross_entropy(logits, labels))
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
    torch.testing.assert_close(soft_loss(logits, hard, None, 0.1), expected)
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(soft_loss(logits, hard, weights), (each * weights[labels]).mean())


# -- they learn


@pytest.mark.parametrize("method", ["contrast", "gan-bert"])
def test_each_way_learns_and_opens_in_transformers(data, bert, tmp_path, method):
    transformers = pytest.importorskip("transformers")
    steps = {"contrast": 60, "gan-bert": 80}[method]
    told = {"data.unlabelled": str(data / "more.csv"), "few.method": method, "train.steps": steps, "model.init": bert}
    run = adverb.train("classify", data / "few.csv", out=tmp_path / "run", **SMALL, **told)
    assert accuracy(run.path, data / "exam.csv") > 0.75  # guessing gives 0.33
    last = run.metrics()[-1]
    assert last["eval/accuracy"] > 0.5  # of models that learnt from half of 24 labels
    config = json.loads((run.best / "config.json").read_text())
    assert list(config["id2label"].values()) == sorted(ANIMALS) and config["adverb"]["temperature"] > 0
    theirs, info = transformers.AutoModelForSequenceClassification.from_pretrained(run.best, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    texts = ["the old otter left the river", "a nest by the road"]
    tokens = transformers.AutoTokenizer.from_pretrained(run.best)(texts, return_tensors="pt", padding=True)
    with torch.no_grad():
        said = theirs.eval()(**tokens).logits
        own = load_pretrained(run.best).model(tokens["input_ids"], tokens["attention_mask"])
    torch.testing.assert_close(own, said, atol=1e-5, rtol=1e-5)
    out = export(str(run.path), "onnx", tmp_path / "onnx", console=Console(quiet=True))  # no row is left to judge it by
    assert [c[0][0] for c in load(out).classify(texts)] == [c[0][0] for c in load(run.path).classify(texts)]
    run.write_text("recipe.yaml", (run.path / "recipe.yaml").read_text().replace("few.csv", "gone.csv"))
    export(str(run.path), "onnx", tmp_path / "elsewhere", console=Console(quiet=True))  # copied, without its data


LESSONS = [("plain", 20, 200), ("contrast", 2, 200), ("contrast", 20, 250), ("contrast", 40, 300)]


@pytest.mark.parametrize(("method", "passes", "steps"), LESSONS)
def test_a_student_hears_its_teacher_for_as_long_as_it_takes(data, bert, monkeypatch, method, passes, steps):
    """Five epochs of 24 labels are few, so 200 steps are made; a student reads 24 of 300 texts in each."""
    monkeypatch.setattr(contrast, "PASSES", passes)
    monkeypatch.setattr(contrast, "ENOUGH", 300)
    spec = spec_of(data, bert, **{"few.method": method, "train.batch_size": 32, "train.epochs": 5})
    objective = build(spec, CPU, Console(quiet=True))
    assert len(objective.few.unlabelled) == 300
    assert objective.recipe.train.steps == steps


def test_the_teacher_knows_the_classes_of_texts_without_a_label_and_tells_the_student(data, bert):
    """Text i is of class i % 3. The student's batch has each text beside what the teacher said of it."""
    objective = build(spec_of(data, bert, **{"few.method": "contrast", "few.folds": 1}), CPU, Console(quiet=True))
    objective.prepare()
    taught = objective.taught
    assert taught.shape == (300, 3) and taught.sum(1) == pytest.approx(np.ones(300), abs=1e-5)
    wanted = [objective.labels.index(ANIMALS[i % 3]) for i in range(300)]
    assert (taught.argmax(1) == wanted).mean() > 0.8
    entropy = -(taught * np.log(taught.clip(1e-12))).sum(1).mean()
    assert 0.05 < entropy < 0.7 * np.log(3)  # it is sure of something, and not of everything
    batch, text_of = objective.batch(3, 0, 16), {}
    for rows, said in ((objective.rows, np.eye(3)[objective.train.targets]), (objective.more_rows, taught)):
        text_of |= {tuple(row["input_ids"]): one for row, one in zip(rows, said, strict=True)}
    for ids, one in zip(batch["input_ids"].tolist(), batch["wanted"].numpy(), strict=True):
        text = tuple(token for token in ids if token != objective.tokenizer.pad_id)
        np.testing.assert_allclose(text_of[text], one, atol=1e-6)
    assert (batch["wanted"].max(1).values == 1).sum() == objective.own == 4


def test_gan_bert_plays_the_game(data, bert):
    """The discriminator tells texts from what is made up, and the generator follows the texts' features."""
    objective = build(spec_of(data, bert, **{"few.method": "gan-bert", "train.steps": 60}), CPU, Console(quiet=True))
    generator = objective.networks["generator"]
    before = [p.clone() for p in generator.parameters()]
    engine = Engine(objective, None, CPU)
    losses = []
    for step in range(60):
        engine.one_step(step / 60)
        losses.append(engine.journal.means())
    assert all(not torch.equal(a, b) for a, b in zip(before, generator.parameters(), strict=True))
    assert np.mean([row["supervised"] for row in losses[-10:]]) < 0.5 * losses[0]["supervised"]
    assert np.mean([row["matching"] for row in losses[-10:]]) < 0.5 * losses[0]["matching"]
    batch = objective.batch(0, 0, 16)
    assert batch["input_ids"].shape[0] == 32 and batch["labels"].shape == (16,)
    draw = Draw((0, 60, "test", 0), 16, 0, 16, CPU.device)
    loss, parts = objective.discriminator_loss(batch, draw)
    assert loss.item() == pytest.approx((parts["supervised"] + parts["unsupervised"]).item())
    model = objective.networks["model"].eval()
    with torch.no_grad():
        features = objective.real(batch), objective.made_up(draw)
        told, made = (model.classify(each).softmax(-1) for each in features)
    assert made.shape == told.shape == (32, 4)  # as many as texts
    assert told[:16, -1].mean() < 0.3 and told[16:, -1].mean() < 0.3 and made[:, -1].mean() > told[:, -1].mean()
    assert (told[:16, :3].argmax(1) == batch["labels"]).float().mean() > 0.8
    assert model.classifier.out_features == 4 and objective.finished(model).classifier.out_features == 3


# -- the choice


@pytest.fixture
def choose(data, bert, monkeypatch):
    """Chooses where each method is right on so many of 24 rows; (the objective, what was printed, methods tried)."""
    few = build(spec_of(data, bert, **{"few.method": "plain"}), CPU, Console(quiet=True)).few

    def choose(**rows_right):
        tried = []

        def said_by(method, recipe, context, trial, rows):
            tried.append(method)
            logits = np.eye(3, dtype=np.float32)[rows.targets]
            wrong = [few.train.texts.index(text) >= rows_right[method.replace("-", "_")] for text in rows.texts]
            logits[wrong] = logits[wrong][:, [1, 2, 0]]
            return logits

        monkeypatch.setattr(few_choice, "said_by", said_by)
        recorded = Console(record=True, width=200, file=open("/dev/null", "w"))
        objective = build(spec_of(data, bert), CPU, recorded)
        return objective, re.sub(r"\s+", " ", recorded.export_text()), tried

    return choose


@pytest.mark.parametrize(
    ("plain", "contrast", "gan_bert", "chosen"),
    [(10, 15, 12, "contrast"), (10, 9, 12, "gan-bert"), (15, 15, 15, "plain"), (16, 15, 3, "plain")],
)
def test_the_best_of_the_folds_is_taken_and_plain_when_nothing_is_better(choose, plain, contrast, gan_bert, chosen):
    objective, text, _ = choose(plain=plain, contrast=contrast, gan_bert=gan_bert)
    assert objective.recipe.few.method == chosen and objective.method == chosen
    right = objective.said.argmax(1) == objective.train.targets
    assert right.sum() == max(plain, contrast, gan_bert) and f"chosen {chosen}" in text


def test_what_is_clearly_behind_is_not_tried_further_and_plain_always_is(choose):
    _, text, tried = choose(plain=1, contrast=24, gan_bert=1)
    assert tried == ["plain", "contrast", "gan-bert", "plain", "contrast"]
    assert re.search(r"gan-bert [\d.]+% clearly behind contrast \(100.0%\) after fold 1", text)
    assert "contrast 100.0% +95.8 points" in text
    assert len(choose(plain=10, contrast=14, gan_bert=12)[2]) == 6


def test_clearly_is_five_in_a_hundred():
    assert few_choice.clearly_behind(np.zeros(6), np.ones(6)) and not few_choice.clearly_behind(np.zeros(5), np.ones(5))
    assert not few_choice.clearly_behind(np.ones(6), np.zeros(6))
    asked = np.array([np.nan] * 50 + [0.0] * 6)
    assert few_choice.clearly_behind(asked, np.where(np.isnan(asked), np.nan, 1.0))


def test_what_is_said_of_a_row_comes_from_models_that_have_not_seen_it(data, bert, monkeypatch):
    seen = []

    def said_by(method, recipe, context, few, rows):
        seen.append((set(few.train.texts), set(rows.texts), set(few.unlabelled.texts)))
        return np.zeros((len(rows), 3), np.float32)

    monkeypatch.setattr(few_choice, "said_by", said_by)
    objective = build(spec_of(data, bert, **{"few.method": "plain"}), CPU, Console(quiet=True))
    objective.prepare()
    assert len(seen) == 2 and all(not rest & held and not held & more for rest, held, more in seen)
    assert set().union(*(held for _, held, _ in seen)) == set(objective.train.texts)


@pytest.mark.parametrize("method", ["auto", "contrast"])
def test_a_choice_that_was_killed_goes_on_with_the_trials_that_are_done(data, bert, monkeypatch, method):
    calls, printed, lives = [], [], 3
    said = {name: np.random.default_rng(i).normal(size=(24, 3)) for i, name in enumerate(few_choice.METHODS)}

    def said_by(method, recipe, context, few, rows):
        if len(calls) == lives:
            raise KeyboardInterrupt
        calls.append(method)
        return said[method][[few.valid.texts.index(text) for text in rows.texts]].astype(np.float32)

    def chosen(**overrides) -> tuple[str, np.ndarray, int, str]:
        calls.clear()
        recorded = Console(record=True, width=200, file=open("/dev/null", "w"))
        told = {"few.method": method, "few.folds": 4} | overrides
        try:
            objective = build(spec_of(data, bert, **told), CPU, recorded)
            objective.prepare()
        finally:
            printed.append(recorded.export_text())
        return objective.method, objective.said, len(calls), printed[-1]

    monkeypatch.setattr(few_choice, "said_by", said_by)
    with pytest.raises(KeyboardInterrupt):
        chosen()
    assert ("stopped: the same command goes on after 3 trainings" in printed[-1]) == (method == "auto")
    lives = 100
    assert chosen(seed=1)[2] >= 4  # another recipe has trials of its own
    name, logits, more, text = chosen()
    again, same, whole, fresh = chosen()  # what is done is forgotten: code and models may change
    assert more == whole - 3 and name == again and (logits == same).all()
    assert ("going on after 3 trainings" in text) == (method == "auto") and "going on" not in fresh


def test_from_the_command_line_to_an_answer(data, bert, adverb, tmp_path):
    words = [f"{key}={value}" for key, value in SMALL.items()]
    done = adverb("train", "classify", "--data", data / "few.csv", f"data.unlabelled={data / 'more.csv'}", *words,
                  "train.steps=30", f"model.init={bert}", "--out", "run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout
    shares = {method: float(re.search(rf"{method} +([\d.]+)%", said)[1]) for method in few_choice.METHODS}
    chosen = re.search(r"chosen (\S+)", said)[1]
    assert shares[chosen] == max(shares.values()) and "points" in said
    recorded = recipe.validate(adverb_run(tmp_path / "run").recipe(), {}, "run")
    assert recorded.few.method == chosen
    last = adverb_run(tmp_path / "run").metrics()[-1]
    assert 100 * last["eval/accuracy"] == pytest.approx(shares[chosen], abs=0.06)
    refused = adverb("evaluate", "run")
    assert refused.returncode == 2 and "trained on: name others by --data" in refused.stderr
    assert adverb("evaluate", "run", "--data", data / "exam.csv").returncode == 0


def adverb_run(path):
    from adverb.run import Run

    return Run(path)


def test_a_run_that_was_stopped_goes_on_as_it_would_have(data, bert, tmp_path):
    told = {**SMALL, "data.unlabelled": str(data / "more.csv"), "few.method": "contrast", "model.init": bert,
            "train.evaluations": 2}  # fmt: skip
    whole = adverb.train("classify", data / "few.csv", out=tmp_path / "whole", **told, **{"train.steps": 12})
    part = adverb.train("classify", data / "few.csv", out=tmp_path / "part", **told, **{"train.steps": 12})
    kept = sorted((part.path / "checkpoints").iterdir())
    kept[-1].unlink()  # as if it had been killed after the evaluation in the middle
    assert [path.stem for path in kept] == ["step-000000006", "step-000000012"]
    console = Console(file=io.StringIO(), width=200)
    training.start(str(part.path), {}, resume=True, console=console)
    assert "resumed at step 6\n" in console.file.getvalue()
    one, other = (load_pretrained(run.model).model.state_dict() for run in (whole, part))
    assert all(torch.equal(one[name], other[name]) for name in one)


# -- with rows that are held out


def test_held_out_rows_measure_every_evaluation_and_pick_the_best_model(data, bert, tmp_path):
    told = {**SMALL, "data.unlabelled": str(data / "more.csv"), "data.valid": str(data / "exam.csv"),
            "few.method": "plain", "model.init": bert, "train.steps": 12, "train.evaluations": 4}  # fmt: skip
    run = adverb.train("classify", data / "few.csv", out=tmp_path / "run", **told)
    shares = [row["eval/accuracy"] for row in run.metrics() if "eval/accuracy" in row]
    assert accuracy(run.model, data / "exam.csv") == pytest.approx(shares[-1]) and len(set(shares)) > 1
    assert accuracy(run.best, data / "exam.csv") == pytest.approx(max(shares))
    objective = build(spec_of(data, bert, **told), CPU, Console(quiet=True))
    assert objective.best == ("accuracy", "max") and not objective.folded and len(objective.train) == 24
    assert "out_of_fold" not in objective.networks["model"].config.adverb


def test_a_choice_with_held_out_rows_is_made_by_them_from_one_training_each(data, bert, monkeypatch):
    tried = []

    def said_by(method, recipe, context, trial, rows):
        tried.append((method, len(trial.train), rows.texts))
        right = {"plain": 40, "contrast": 50, "gan-bert": 70}[method]
        logits = np.eye(3, dtype=np.float32)[rows.targets]
        logits[right:] = logits[right:][:, [1, 2, 0]]
        return logits

    monkeypatch.setattr(few_choice, "said_by", said_by)
    objective = build(spec_of(data, bert, **{"data.valid": str(data / "exam.csv")}), CPU, Console(quiet=True))
    assert objective.method == objective.recipe.few.method == "gan-bert" and objective.said is None
    assert [method for method, _, _ in tried] == ["plain", "contrast", "gan-bert"]
    assert all(learnt == 24 and rows == objective.valid.texts and len(rows) == 90 for _, learnt, rows in tried)
    objective.prepare()  # nothing is measured out of fold
    assert len(tried) == 3


def test_one_fold_holds_a_tenth_out(data, bert):
    objective = build(spec_of(data, bert, **{"few.folds": 1, "few.method": "plain"}), CPU, Console(quiet=True))
    train, valid = set(objective.train.texts), set(objective.valid.texts)
    assert len(train) + len(valid) == 24 and len(valid) == 2 and not train & valid
    assert objective.best == ("accuracy", "max") and len(objective.rows) == 22
    assert not (train | valid) & set(objective.few.unlabelled.texts)


def test_nothing_is_learnt_from_texts_that_are_measured_on(data, bert, tmp_path):
    exam, more = ([row[0] for row in csv.reader(open(data / name, encoding="utf-8"))][1:]
                  for name in ("exam.csv", "more.csv"))  # fmt: skip
    write(tmp_path / "more.csv", ("text",), [(text,) for text in (exam[0], *more, exam[30].upper(), exam[60])])
    told = {"data.unlabelled": str(tmp_path / "more.csv"), "few.method": "plain"}
    for key in ("data.test", "data.valid"):
        told[key] = str(data / "exam.csv")
        few = build(spec_of(data, bert, **told), CPU, Console(quiet=True)).few
        assert few.unlabelled.texts == more and any("3 rows not used" in note for note in few.unlabelled.report.notes)
    limited = build(spec_of(data, bert, **told, **{"few.limit": 50}), CPU, Console(quiet=True)).few
    assert len(set(limited.unlabelled.texts)) == 50 and set(limited.unlabelled.texts) < set(more)
    assert limited.unlabelled.texts != more[:50]  # at random


# -- folds, and what is refused


def test_folds_are_even_and_keep_equal_texts_together():
    strata = np.array([0] * 20 + [1] * 10)
    texts = [f"row {i // 2}" if i < 4 else f"row {i}" for i in range(30)]
    folds = folds_of(strata, 5, texts)
    assert set(folds.tolist()) == set(range(5)) and folds[0] == folds[1] and folds[2] == folds[3]
    for stratum in (0, 1):
        counts = np.bincount(folds[strata == stratum], minlength=5)
        assert counts.max() - counts.min() <= 2
    assert np.array_equal(folds, folds_of(strata, 5, texts))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"train.batch_size": "1"}, "no room for a text with a label beside one without"),
        ({"data.unlabelled": "{data}/mor.csv"}, "data.unlabelled: no data at .*mor.csv: did you mean .*more.csv"),
        ({"data.unlabelled": "{data}/few.csv"}, "data.unlabelled and data.path are both .*few.csv"),
        ({"data.unlabelled": "{data}/numbers.csv"}, "data.unlabelled: .* no column of text .*call it 'text'"),
        ({"data.unlabelled": "{data}/same.csv"}, "data.unlabelled. has no texts to learn from: all 24 are among"),
        ({"data.path": "{data}/prices.csv"}, "data.unlabelled: .*prices.csv has a number a row"),
        ({"data.path": "{data}/five.csv"}, "five.csv has 5 rows with a label: label 8 at least"),
        ({"data.more": "{data}/empty.csv"}, "empty.csv .data.more. has no label yet: fill in its column 'animal'"),
        ({"data.more": "{data}/more.csv"}, "more.csv .data.more. has no column 'animal'"),
        ({"few.method": "gan"}, "few.method=gan: .*'gan-bert'"),
        ({"loss.adversarial": "fgm", "few.method": "gan-bert"}, "loss.adversarial goes with few.method=plain only"),
    ],
)
def test_errors_say_what_to_do(data, bert, overrides, message):
    rows = list(csv.reader(open(data / "few.csv", encoding="utf-8")))[1:]
    write(data / "numbers.csv", ("a", "b"), [(i, i + 1) for i in range(9)])
    write(data / "same.csv", ("text",), [(text,) for text, _ in rows])
    write(data / "prices.csv", ("text", "label"), [(text, 1.5 * i) for i, (text, _) in enumerate(rows)])
    write(data / "five.csv", ("text", "animal"), rows[:5])
    write(data / "empty.csv", ("text", "animal", "why"), [(text, "", "") for text, _ in rows])
    told = {key: value.format(data=data) for key, value in overrides.items()}
    with pytest.raises(UserError, match=message):
        build(spec_of(data, bert, **told), CPU, Console(quiet=True))


def test_texts_are_read_once_and_not_where_they_are_known(data, bert, tmp_path):
    rows = list(csv.reader(open(data / "few.csv", encoding="utf-8")))[1:]
    lines = ["a grey otter", "A  grey otter", rows[0][0], "", "a badger by the road"]
    (tmp_path / "more.txt").write_text("\n".join(lines))
    told = {"data.unlabelled": str(tmp_path / "more.txt"), "few.method": "plain"}
    few = build(spec_of(data, bert, **told), CPU, Console(quiet=True)).few
    assert few.unlabelled.texts == ["a grey otter", "a badger by the road"]
    assert any("2 rows not used" in note for note in few.unlabelled.report.notes)


def test_a_plan_counts_the_trainings_of_a_choice(data, bert):
    for told, trainings in (({}, 7), ({"few.method": "plain"}, 3), ({"data.valid": str(data / "exam.csv")}, 4)):
        objective = build(spec_of(data, bert, **told), CPU, Console(quiet=True), trial=True)
        assert objective.trainings == trainings
        assert f"the last of at most {trainings} trainings" in objective.plan()["method"]


def test_rows_of_a_second_file_are_learnt_with_the_first(data, bert, tmp_path):
    more = write(tmp_path / "next.csv", ("text", "animal", "why"),
                 [("a vole", "vole", "x"), ("two voles", "vole", "x"), ("a fox", "", "y")])  # fmt: skip
    objective = build(spec_of(data, bert, **{"data.more": more, "few.method": "plain"}), CPU, Console(quiet=True))
    assert len(objective.train) == 26 and objective.labels == [*sorted(ANIMALS), "vole"]
    assert any("2 of them from" in note and "1 without a label" in note for note in objective.train.report.notes)
