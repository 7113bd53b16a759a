"""Sentences against a BERT: the gradient, that the game is won, exact resumption, and the way to the command line."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from adverb import recipe
from adverb.bert.baselines import BaselineConfig, LeftToRight, save_baseline
from adverb.bert.sampling import Alphabet, log_probabilities
from adverb.context import Context
from adverb.engine import Engine
from adverb.errors import UserError
from adverb.objectives.base import Draw
from adverb.objectives.text_gan import TextGan, reinforce
from adverb.pipelines import load
from adverb.pipelines.writer import Writer
from adverb.run import Run

CPU = Context(torch.device("cpu"))
WHO = ("the cat", "the dog", "a bird", "my old friend", "the king", "nobody")
DOES = ("sees", "likes", "eats", "sings to", "dreams of", "runs after")
WHAT = ("the moon", "a red apple", "the sea", "two mice", "a song", "the long way home")
SMALL = {
    "train.steps": 20, "train.batch_size": 16, "train.evaluations": 2, "data.vocab_size": 200, "data.max_length": 16,
    "model.hidden": 32, "model.layers": 1, "model.heads": 2, "discriminator.hidden": 32, "discriminator.layers": 1,
    "discriminator.heads": 2, "evaluate.samples": 30, "evaluate.repeats": 2, "evaluate.temperatures": [0.7, 1.0],
}  # fmt: skip


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """216 sentences, one a line."""
    path = tmp_path_factory.mktemp("texts") / "sentences.txt"
    path.write_text("".join(f"{' '.join(words)} .\n" for words in itertools.product(WHO, DOES, WHAT)))
    return path


@pytest.fixture(scope="module")
def judge(blank_bert, texts) -> str:
    """A tiny BERT that has learned nothing, whose embeddings are fast."""
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    return blank_bert(texts.read_text().splitlines(), 200, max_length=32, initializer_range=0.02, **sizes)


@pytest.fixture
def objective(texts, judge):
    def make(**overrides) -> TextGan:
        told = SMALL | {"data.path": str(texts), "evaluate.reader": judge} | overrides
        return TextGan(recipe.load("text-gan", told), CPU, Console(quiet=True))

    return make


def draw(rows=16) -> Draw:
    return Draw((0, 0, "test", 0), rows, 0, rows, CPU.device)


def weights(network) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


# -- the gradient


def test_reinforce_is_the_gradient_of_the_expected_reward():
    """By enumeration of all texts: the expected estimate equals the derivative, whatever the baseline is."""
    torch.manual_seed(0)
    generator = LeftToRight(BaselineConfig("gpt", 8, 16, 1, 2, 32, 5, initializer_range=0.5)).double()
    alphabet = Alphabet(start=2, end=3, pad=0, unwritten=torch.tensor([0, 1, 2, 4]))
    rows = [
        [2, *words, 3, *[0] * (3 - n)] for n in range(4) for words in itertools.product((5, 6, 7), repeat=n)
    ]  # fmt: skip
    ids = torch.tensor(rows)
    reward = torch.randn(len(ids), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    parameters = list(generator.parameters())

    def log_p():
        states = generator.states(ids[:, :-1])
        return *log_probabilities(generator, alphabet, ids, states, most=5), states

    chosen, drawn, states = log_p()
    expected = (chosen.sum(1).exp().double() * reward).sum()
    exact = torch.autograd.grad(-expected, parameters)
    chosen, drawn, states = log_p()
    value = states.detach().sum(-1) * 3 - 1  # of the tokens before, and not at all what is expected
    chance = chosen.detach().sum(1).exp().double()
    assert chance.sum() == pytest.approx(1.0, abs=1e-5)
    estimate = [torch.zeros_like(p) for p in parameters]
    for i in range(len(ids)):
        one = slice(i, i + 1)
        policy, _ = reinforce(chosen[one], drawn[one], reward[one], value[one])
        for total, part in zip(estimate, torch.autograd.grad(policy, parameters, retain_graph=True), strict=True):
            total += chance[i] * part
    for a, b in zip(exact, estimate, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert max(a.abs().max() for a in exact) > 0.01


def test_the_baseline_is_trained_and_the_reward_is_not(objective):
    one = objective()
    loss, metrics = one.game_loss(one.batch(0, 0, 16), draw())
    loss.backward()
    assert one.networks["value"].bias.grad.abs().item() > 0
    assert all(p.grad is None for p in one.networks["discriminator"].parameters())
    assert all(p.grad is None for p in one.networks["twin"].parameters())
    assert one.networks["generator"].training and one.networks["discriminator"].training
    assert -1 < metrics["reward"] < 1


def test_the_loss_of_the_game_is_the_sum_of_its_parts(objective):
    """By the same numbers: 2 D(x) - 1 rewards what is written, and a token counts alike however long texts are."""
    one = objective(**{"loss.value": 0.5, "loss.likelihood": 0.1, "model.dropout": 0.0, "discriminator.dropout": 0.4})
    generator, discriminator = one.networks["generator"], one.networks["discriminator"]
    with torch.no_grad():
        one.networks["value"].bias.fill_(0.2)
        discriminator.classifier.bias.fill_(0.5)
    batch = one.batch(0, 0, 16)
    loss, metrics = one.game_loss(batch, draw())
    texts = one.written(draw())
    there = (texts != one.tokenizer.pad_id).long()
    reward = 2 * torch.sigmoid(discriminator.eval()(texts, there)[:, 0]) - 1
    chosen, counted = log_probabilities(generator, one.alphabet, texts, generator.states(texts[:, :-1]), 16)
    policy = -((reward[:, None] - 0.2) * counted * chosen).sum(1).mean()
    error = ((reward[:, None] - 0.2).square() * counted).sum(1).mean()
    token_loss = one.token_loss(generator, batch)
    typical = sum(len(row) - 1 for row in one.rows) / len(one.rows)
    torch.testing.assert_close(loss, (policy + 0.5 * error) / typical + 0.1 * token_loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(metrics["reward"], reward.mean())
    torch.testing.assert_close(metrics["token_loss"], token_loss.detach())
    for weight, more in ((0.0, -0.1), (0.4, 0.3)):
        one.recipe.loss.likelihood = weight
        torch.testing.assert_close(one.game_loss(batch, draw())[0] - loss, more * token_loss, rtol=1e-3, atol=1e-4)


# -- that it learns


def play(one: TextGan, steps: int, names: tuple[str, ...] = ("discriminator", "generator")) -> None:
    """The game from the first step on, of these phases, at a rate that does not warm up."""
    one.playing, one.recipe.optim.schedule, one.recipe.optim.warmup = True, "wsd", 1e-6
    whole, one.phases = one.game_phases, one.game_phases
    engine = Engine(one, None, CPU)
    one.game_phases = [phase for phase in whole if phase.name in names]
    for step in range(steps):
        engine.one_step(0.3 + 0.3 * step / steps)
    one.game_phases = whole


def test_the_game_raises_a_known_reward(objective):
    """A reward for one word: by a wrong sign the word disappears, without a gradient it stays as rare as it was."""
    one = objective(**{"optim.game_lr": 3e-3, "loss.pretrain": 0.2, "loss.likelihood": 0.0, "train.batch_size": 64})
    word = one.tokenizer.encode_batch(["moon"], special_tokens=False)[0].ids[-1]
    one.judged = lambda ids: 6.0 * (ids == word).any(1).float() - 3.0
    share = lambda: float(np.mean([word in row for row in one.written(draw(400)).tolist()]))  # noqa: E731
    before = share()
    play(one, 40, ("generator",))
    assert share() > max(0.8, 2 * before), (before, share())


def test_the_discriminator_learns_and_the_generator_answers(objective):
    """A generator of some likelihood, against a discriminator that had some steps: it is found out, then less so."""
    one = objective(
        **{"optim.game_lr": 2e-3, "discriminator.lr": 2e-3, "discriminator.dropout": 0.0, "loss.pretrain": 0.2,
           "loss.likelihood": 0.0, "train.batch_size": 64}
    )  # fmt: skip
    engine = Engine(one, None, CPU)
    for step in range(60):
        engine.one_step(0.19 * step / 60)
    play(one, 30, ("discriminator",))
    discriminator = one.networks["discriminator"].eval()
    with torch.no_grad():
        real, fake = one.judged(one.batch(900, 0, 64)), one.judged(one.written(draw(200)))
    assert (real > 0).float().mean() > 0.9 and (fake < 0).float().mean() > 0.9
    frozen = copy.deepcopy(discriminator)
    play(one, 60, ("generator",))
    with torch.no_grad():
        after = one.judged(one.written(draw(200)))
    assert torch.equal(weights(frozen), weights(one.networks["discriminator"]))  # it stood still
    assert after.mean() > fake.mean() + 0.5, (fake.mean(), after.mean())


def test_likelihood_learns_and_its_best_state_starts_the_game(objective):
    steps = 100
    one = objective(**{"train.steps": steps, "optim.lr": 5e-3, "loss.pretrain": 0.8, "train.batch_size": 32})
    engine, first = Engine(one, None, CPU), one.measured_loss(one.networks["generator"], one.valid_rows)
    for step in range(75):
        engine.one_step(step / steps)
        one.look(step / steps, step + 1, False)
    assert one.best_loss < first - 1.5 and not one.playing
    best = copy.deepcopy(one.networks["twin"])
    assert one.measured_loss(best, one.valid_rows) == pytest.approx(one.best_loss)
    with torch.no_grad():
        for p in one.networks["generator"].parameters():
            p.mul_(0.5)  # worse than it was
    one.schedule(0.8, 80)
    assert one.playing and one.phases == one.game_phases
    for name in ("generator", "twin"):
        assert torch.equal(weights(one.networks[name]), weights(best))
    engine.one_step(0.85)
    assert torch.equal(weights(one.networks["twin"]), weights(best))
    assert not torch.equal(weights(one.networks["generator"]), weights(best))
    one.schedule(0.1, 90)  # a longer budget does not lead back
    assert one.playing


@pytest.mark.parametrize("stop_at", [7, 14])
def test_resuming_is_exact(objective, tmp_path, stop_at, train_until):
    def engine(name):
        one = objective(**{"loss.pretrain": 0.5})
        one.prepare()
        (tmp_path / name).mkdir(exist_ok=True)
        return Engine(one, Run(tmp_path / name), CPU)

    whole, first = engine("whole"), engine("parts")
    assert whole.train() == "done"
    train_until(first, stop_at)
    second = engine("parts")
    assert second.resume() and second.step == stop_at and second.objective.playing == (stop_at > 10)
    assert second.train() == "done"
    for name, network in whole.objective.networks.items():
        assert torch.equal(weights(network), weights(second.objective.networks[name])), name
    last = [{k: v for k, v in e.run.metrics()[-1].items() if k != "seconds"} for e in (whole, second)]
    assert last[0] == last[1] and "test/gap" in last[0] and "test/curve/twin/0.7/bleu" in last[0]


# -- data, and what is kept


def test_three_parts_share_no_text(objective, texts):
    one = objective()
    parts = [set(part.texts) for part in (one.train, one.valid, one.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 216
    assert len(parts[1]) == 22 and len(parts[2]) == 19
    assert torch.equal(one.batch(3, 4, 10), one.batch(3, 0, 16)[4:10, : one.batch(3, 4, 10).shape[1]])


def test_long_texts_are_left_out_and_too_few_refused(objective):
    one = objective(**{"data.max_length": 10})
    assert max(map(len, one.rows)) <= 10 and any("more than 10 tokens" in note for note in one.train.report.notes)
    with pytest.raises(UserError, match="too few"):
        objective(**{"data.limit": 15})


def test_tables_and_splits_are_found(objective, shared_data):
    path = shared_data / "trec"
    if not path.is_dir():
        pytest.skip(f"needs {path}")
    one = objective(**{"data.path": str(path), "data.limit": 400, "data.max_length": 64})
    assert len(one.test) == 500 and len(one.train) == 360 and len(one.valid) == 40
    assert one.train.report.columns == {"text": "text"} and "?" in one.test.texts[0]


@pytest.mark.parametrize("path", ["folder", "folder/train.txt"])
def test_plain_text_for_measuring_is_not_learnt_from(objective, tmp_path, path):
    lines = [f"{' '.join(words)} ." for words in itertools.product(WHO, DOES, WHAT)]
    (tmp_path / "folder").mkdir()
    for name, some in (("train.txt", lines[40:]), ("dev.txt", lines[:20]), ("test.txt", lines[20:40])):
        (tmp_path / "folder" / name).write_text("\n".join(some))
    one = objective(**{"data.path": str(tmp_path / path)})
    assert [len(part.texts) for part in (one.train, one.valid, one.test)] == [176, 20, 20]
    assert set(one.test.texts) == set(lines[20:40])


def test_text_told_to_measure_on_is_taken_out_of_its_folder(objective, tmp_path):
    lines = [f"{' '.join(words)} ." for words in itertools.product(WHO, DOES, WHAT)]
    for name, some in (("a.txt", lines[40:]), ("held.txt", lines[:20]), ("last.txt", lines[20:40])):
        (tmp_path / name).write_text("\n".join(some))
    told = {"data.valid": str(tmp_path / "held.txt"), "data.test": str(tmp_path / "last.txt")}
    one = objective(**{"data.path": str(tmp_path), **told})
    assert [set(part.texts) for part in (one.train, one.valid, one.test)] == [
        set(lines[40:]), set(lines[:20]), set(lines[20:40])
    ]  # fmt: skip


def test_a_folder_test_is_for_the_end(objective, tmp_path):
    lines = [f"{' '.join(words)} ." for words in itertools.product(WHO, DOES, WHAT)]
    for folder, name, some in (("train", "test_of_time.txt", lines[:100]), ("train", "b.txt", lines[100:180]),
                               ("test", "c.txt", lines[180:])):  # fmt: skip
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text("\n".join(some))
    one = objective(**{"data.path": str(tmp_path)})
    assert set(one.test.texts) == set(lines[180:]) and len(one.train) + len(one.valid) == 180


def test_patience_is_for_the_game(objective):
    waiting = objective(**{"train.patience": 1})
    engine = Engine(waiting, None, CPU)
    for worse in (1.0, 2.0):
        engine._is_best({"frechet": worse})
    assert not engine._out_of_patience  # there is no best before the game
    waiting.playing = True
    for worse in (1.0, 2.0):
        engine._is_best({"frechet": worse})
    assert engine._out_of_patience


def test_heads_that_do_not_fit_are_refused(objective):
    with pytest.raises(UserError, match="not divisible by 3 heads"):
        objective(**{"model.heads": 3})


def test_any_left_to_right_model_writes(objective, tmp_path):
    one = objective()
    save_baseline(one.networks["generator"], one.tokenizer, tmp_path / "plain")
    model = load(tmp_path / "plain")
    assert isinstance(model, Writer) and model.twin is None
    written = model.generate(30, seed=1)
    assert model.generate(5, seed=1) == written[:5] and model.generate(5, seed=2) != written[:5]
    assert len(set(written)) > 20 and all("[" not in text for text in written)
    with pytest.raises(UserError, match="above 0"):
        model.generate(1, temperature=0.0)
    assert model.respell(["The CAT sees   the moon ."]) == ["the cat sees the moon."]
    assert model.fill_mask("the cat [MASK] the moon .", top_k=2)


def test_from_training_to_texts_on_the_command_line(adverb, texts, judge, tmp_path):
    small = [f"{key}={json.dumps(value)}" for key, value in SMALL.items()]
    told = ["train", "text-gan", "--data", texts, *small, f"evaluate.reader={judge}"]
    run = adverb(*told, "--dry-run")
    assert run.returncode == 0 and "left to right" in run.stdout, run.stderr
    run = adverb(*told, "--out", "run")
    assert run.returncode == 0 and "the twin's" in run.stdout, run.stderr + run.stdout
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Quality and diversity" in page and "its MLE twin" in page and "curve/" not in page
    run = adverb("generate", "run", "-n", "7", "--seed", "1", "--temperature", "0.8")
    assert run.returncode == 0 and len(run.stdout.splitlines()) == 7, run.stderr
    again = adverb("generate", "run", "-n", "7", "--seed", "1", "--temperature", "0.8", "--out", "x.jsonl")
    assert again.returncode == 0
    assert [json.loads(line)["text"] for line in (tmp_path / "x.jsonl").open()] == run.stdout.splitlines()
    run = adverb("generate", "run", "--out", "grid.png")
    assert run.returncode == 2 and ".jsonl" in run.stderr
    run = adverb("generate", "run", "--label", "7")
    assert run.returncode == 2 and "--label" in run.stderr
    run = adverb("evaluate", "run", "--samples", "50", "--out", "numbers.json")
    assert run.returncode == 0 and "self-BLEU" in run.stdout, run.stderr
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    last = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()][-1]
    assert numbers["samples"] == last["test/samples"] == 19  # the same texts, written by the same numbers
    assert numbers["frechet"] == pytest.approx(last["test/frechet"], rel=1e-3)
