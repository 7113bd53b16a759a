"""The image GAN as an objective: which images meet which loss, schedules, and that it learns."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from adverb import recipe
from adverb.context import Context
from adverb.data.grid import as_pixels
from adverb.data.order import indices_of_batch
from adverb.engine import Engine
from adverb.errors import UserError
from adverb.gan.augment import NUMBERS, augment
from adverb.metrics.judge import Judge
from adverb.objectives.base import Draw
from adverb.objectives.gan import Gan, ramp
from adverb.pipelines import load
from adverb.pipelines.generator import Generator

CPU = Context(torch.device("cpu"))


def gan(name="image-gan", **overrides) -> Gan:
    overrides = {"train.steps": 100, "train.batch_size": 16, "evaluate.features": "random", **overrides}
    return Gan(recipe.load(name, overrides), CPU, Console(quiet=True))


def draw(rows=16, step=0) -> Draw:
    return Draw((0, step, "test", 0), rows, 0, rows, CPU.device)


@pytest.mark.parametrize("name", [n for n in recipe.shipped() if recipe.load(n).objective == "gan"])
def test_every_recipe_trains_both_networks(name):
    objective = gan(name)
    engine = Engine(objective, None, CPU)
    before = {n: [p.detach().clone() for p in m.parameters()] for n, m in objective.networks.items()}
    engine.one_step(0.0)
    engine.one_step(0.01)
    for network, parameters in before.items():
        pairs = zip(parameters, objective.networks[network].parameters(), strict=True)
        moved = [not torch.equal(a, b) for a, b in pairs]
        assert sum(moved) > len(moved) / 2, network
        assert all(torch.isfinite(p).all() for p in objective.networks[network].parameters())


def test_the_discriminators_loss_is_its_formula():
    objective = gan()
    objective.schedule(0.0, 0)
    batch = objective.batch(0, 0, 16)
    loss, metrics = objective.discriminator_loss(batch, draw())
    real, label = objective.real_images(batch, draw())
    fake = objective.networks["generator"](draw().randn(64), label)
    discriminator = objective.networks["discriminator"]
    expected = torch.nn.functional.softplus(discriminator(fake, label) - discriminator(real, label)).mean()
    for images in (real, fake.detach()):
        images = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(images, label).sum(), images)
        expected = expected + objective.r1 / 2 * slope.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    assert objective.r1 == objective.r2 > 0 and metrics["r1"] > 0


def test_the_wasserstein_critic_is_that_of_the_paper():
    """Gulrajani et al. 2017, eq. 3 and algorithm 1: five steps of mean fake - mean real + 10 (slope - 1)²."""
    objective = gan("wgan-gp")
    batch = objective.batch(0, 0, 16)
    loss, metrics = objective.discriminator_loss(batch, draw())
    same, (real, label) = draw(), objective.real_images(batch, draw())
    generator, critic = objective.networks["generator"], objective.networks["discriminator"]
    fake = generator(same.randn(100), label).detach()
    share = same.rand()[:, None, None, None]
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, label).sum(), between)
    penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
    expected = critic(fake, label).mean() - critic(real, label).mean() + 10 * penalty
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(metrics["gradient_penalty"], penalty, rtol=1e-4, atol=1e-5)


def test_a_critic_that_takes_five_steps_sees_five_batches():
    objective, seen = gan("wgan-gp"), []
    whole = objective.batch
    objective.batch = lambda index, start, stop: whole(index, start, stop)[:1] + (torch.full((16,), index),)
    phases = [(phase.name, phase.repeats) for phase in objective.phases]
    assert phases == [("discriminator", 5), ("generator", 1)] and objective.units_per_step == 5 * 16

    def noted(batch, draw):
        seen.append((batch[1][0].item(), draw.randn(1)[0].item()))
        parameters = [*objective.networks["discriminator"].parameters(), *objective.networks["generator"].parameters()]
        return sum(p.sum() for p in parameters), {}

    objective.phases = [replace(phase, loss=noted) for phase in objective.phases]
    engine = Engine(objective, None, CPU)
    engine.one_step(0.0), engine.one_step(0.1)
    assert [index for index, _ in seen] == list(range(12)) and len({noise for _, noise in seen}) == 12


def test_every_layer_of_the_discriminator_is_divided_by_its_spectral_norm():
    objective = gan("hinge-sn")
    discriminator = objective.networks["discriminator"]
    for index in range(30):  # a step of the power iteration each
        discriminator(*objective.real_images(objective.batch(index, 0, 16), draw()))
    norms, before = {}, {}
    for name, module in discriminator.named_modules():
        for weight in getattr(module, "parametrizations", ()):
            dim = 2 if name == "grid_sum" else 0  # [h, w, C]
            original = module.parametrizations[weight].original
            for found, matrix in ((norms, getattr(module, weight)), (before, original)):
                found[f"{name}.{weight}"] = torch.linalg.matrix_norm(matrix.movedim(dim, 0).flatten(1), 2).item()
    weights = [p for p in discriminator.parameters() if p.ndim > 1]
    assert len(norms) == len(weights) > 5
    assert all(0.9 < norm < 1.03 for norm in norms.values()), norms
    assert not all(0.9 < norm < 1.03 for norm in before.values())
    assert not any(hasattr(module, "parametrizations") for module in objective.networks["generator"].modules())


@pytest.mark.parametrize("name", ["rpgan", "hinge"])
def test_the_generators_loss_is_of_augmented_images(name):
    objective = gan(**{"loss.name": name, "augment.policy": "diff"})
    batch = objective.batch(0, 0, 16)
    loss, metrics = objective.generator_loss(batch, draw())
    same, (real, label) = draw(), objective.real_images(batch, draw())
    generator, discriminator = objective.networks["generator"], objective.networks["discriminator"]
    fake = generator(same.randn(64), label)
    fake_logits = discriminator(augment(fake, same.rand(NUMBERS), 1.0), label)
    real_logits = discriminator(augment(real, same.rand(NUMBERS), 1.0), label)  # by other numbers
    pair = torch.nn.functional.softplus(real_logits - fake_logits).mean()
    torch.testing.assert_close(loss, {"rpgan": pair, "hinge": -fake_logits.mean()}[name], rtol=1e-4, atol=1e-5)
    assert loss.requires_grad and torch.equal(metrics["g_loss"], loss.detach())


def test_a_generators_step_leaves_no_gradient_on_the_discriminator():
    objective = gan()
    engine = Engine(objective, None, CPU)
    objective.phases = objective.phases[1:]
    engine.one_step(0.0)
    assert all(p.grad is None for p in objective.networks["discriminator"].parameters())


def test_images_reach_the_discriminator_as_they_are():
    objective = gan()
    images, label = objective.batch(3, 4, 12)
    rows = indices_of_batch(len(objective.data), 16, 0, 3)[4:12]
    assert np.array_equal(images.numpy(), objective.data.images[rows])
    assert np.array_equal(label.numpy(), objective.data.labels[rows])
    real, _ = objective.real_images((images, label), draw(8))
    assert real.min() >= -1 and real.max() <= 1 and np.array_equal(as_pixels(real), images.numpy())


def test_mirroring_turns_about_half_of_the_images():
    objective = gan(**{"data.flip": True})
    images, _ = objective.batch(0, 0, 16)
    real, _ = objective.real_images((images, None), draw())
    turned = [not np.array_equal(as_pixels(real)[i], images.numpy()[i]) for i in range(16)]
    for i in np.flatnonzero(turned):
        assert np.array_equal(as_pixels(real)[i], images.numpy()[i][:, ::-1])
    assert 2 < sum(turned) < 14


def test_ramps_go_from_start_to_end_by_a_cosine():
    assert ramp(0.3, 0.7) == 0.3
    assert ramp((2.0, 0.2), 0.0) == 2.0 and math.isclose(ramp((2.0, 0.2), 0.5), 1.1) and ramp((2.0, 0.2), 1.0) == 0.2
    objective = gan(**{"train.burn_in": 0.5, "optim.lr": [1e-3, 1e-4], "optim.discriminator_lr_ratio": 2.0})
    objective.schedule(0.5, 50)
    assert math.isclose(objective.optimizers["generator"].param_groups[0]["lr"], 1e-4)
    assert math.isclose(objective.optimizers["discriminator"].param_groups[0]["lr"], 2e-4)


def test_penalties_come_every_so_many_steps_and_are_as_many_times_as_strong():
    objective = gan(**{"loss.r1": [2.0, 0.2], "loss.r2": [1.0, 0.5], "loss.lazy": 4})
    for progress, r1, r2 in ((0.0, 8, 4), (1.0, 0.8, 2)):
        for step in range(9):
            objective.schedule(progress, step)
            expected = [r1, r2] if step in (0, 4, 8) else [0, 0]
            assert [objective.r1, objective.r2] == pytest.approx(expected)
    for step, noted in ((1, False), (4, True)):
        objective.schedule(0.0, step)
        _, metrics = objective.discriminator_loss(objective.batch(0, 0, 16), draw())
        assert ("r1" in metrics) == ("r2" in metrics) == noted


def test_each_penalty_has_its_own_strength():
    objective, losses = gan(), []
    batch = objective.batch(0, 0, 16)
    for r1, r2 in ((3.0, 0.0), (0.0, 5.0), (3.0, 5.0)):
        objective.r1, objective.r2 = r1, r2
        loss, metrics = objective.discriminator_loss(batch, draw())
        losses.append((loss.detach() - metrics["d_loss"]).item())
    expected = [3 / 2 * metrics["r1"].item(), 5 / 2 * metrics["r2"].item()]
    assert losses == pytest.approx([*expected, sum(expected)], rel=1e-3) and min(expected) > 0


def test_adams_moments_follow_the_recipe():
    objective = gan(**{"optim.beta1": 0.3, "optim.beta2": [0.8, 0.95], "train.burn_in": 0.5})
    for progress, beta2 in ((0.0, 0.8), (0.25, 0.875), (0.5, 0.95), (1.0, 0.95)):
        objective.schedule(progress, 0)
        for optimizer in objective.optimizers.values():
            assert [group["betas"] for group in optimizer.param_groups] == [(0.3, pytest.approx(beta2))]
    recipe_as_shipped = gan()
    for progress, beta2 in ((0.0, 0.9), (1.0, 0.99)):
        recipe_as_shipped.schedule(progress, 0)
        for optimizer in recipe_as_shipped.optimizers.values():
            assert optimizer.param_groups[0]["betas"] == (0.0, pytest.approx(beta2))


def test_the_average_has_the_half_life_it_is_given():
    objective = gan(**{"average.half_life": 1.0})
    decay = objective.average_decay(0.5, 10)
    assert math.isclose(decay ** (1000 / 16), 0.5)
    assert gan(**{"average.half_life": [0, 1]}).average_decay(0.0, 0) == 0.0


def test_what_the_data_cannot_give_is_refused():
    with pytest.raises(UserError, match="too few to train"):
        gan(**{"data.limit": 10})
    with pytest.raises(UserError, match="has no labels"):
        gan(**{"model.conditional": True, "data.label": "none"})
    assert gan(**{"data.label": "none"}).classes == 0


def test_a_saved_generator_draws_the_same(tmp_path):
    objective = gan()
    objective.save(objective.networks, tmp_path)
    model = load(tmp_path)
    assert isinstance(model, Generator) and model.label_names == [str(d) for d in range(10)]
    direct = objective._pipeline(objective.networks)
    assert np.array_equal(model.generate(20, seed=5), direct.generate(20, seed=5))
    assert not np.array_equal(model.generate(20, seed=5), model.generate(20, seed=6))
    images, labels = model.generate(400, seed=1, with_labels=True)
    assert images.shape == (400, 8, 8, 1) and images.dtype == np.uint8
    assert (np.bincount(labels, minlength=10) > 15).all()  # labels come as often as in the data
    assert np.array_equal(model.generate(3, seed=2, label="7"), model.generate(3, seed=2, label=7))


def test_transparent_images_are_seen_with_premultiplied_alpha():
    objective = gan()
    images = torch.tensor([[200, 100, 50, 0], [200, 100, 50, 51]], dtype=torch.uint8).reshape(2, 1, 1, 4)
    real, _ = objective.real_images((images, None), draw(2))
    torch.testing.assert_close(real[1].flatten(), torch.tensor([40, 20, 10, 51]) / 127.5 - 1)
    assert (real[0] == -1).all()  # what is not seen is not learned


def test_it_learns_to_draw_digits():
    """Seconds of training bring the samples' statistics near the reals', and each image near the class asked for."""
    objective = gan(**{"train.batch_size": 32, "train.steps": LEARNING_STEPS, "evaluate.samples": 500})
    objective.prepare()
    classifier = Judge(objective.images, "classifier", 300)
    engine = Engine(objective, None, CPU)

    def judged() -> dict[str, float]:
        generator = objective._pipeline(engine.current())
        return objective._judge(generator) | {"label_agreement": classifier(generator)["label_agreement"]}

    start = judged()
    for step in range(LEARNING_STEPS):
        engine.one_step(step / LEARNING_STEPS)
    end = judged()
    assert start["label_agreement"] < 0.25 and end["label_agreement"] > 0.6, (start, end)  # guessing gives 0.1
    assert end["frechet"] < start["frechet"] / 4 and end["coverage"] > 0.25 > start["coverage"], (start, end)


LEARNING_STEPS = 400
