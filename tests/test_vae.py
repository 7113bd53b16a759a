"""The variational autoencoder: its bound against closed forms, and that it learns and is used like a GAN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from adverb import recipe
from adverb.context import Context
from adverb.engine import Engine
from adverb.metrics.judge import Judge
from adverb.objectives.base import Draw
from adverb.objectives.vae import FINEST, NOISE_LR, PixelNoise, Vae, bound, gaussian_log_density, kl_to_prior
from adverb.pipelines import load
from adverb.pipelines.generator import Generator

CPU = Context(torch.device("cpu"))


def vae(**overrides) -> Vae:
    overrides = {"train.steps": 100, "train.batch_size": 16, "evaluate.features": "random", **overrides}
    return Vae(recipe.load("vae", overrides), CPU, Console(quiet=True))


def draw(rows=16) -> Draw:
    return Draw((0, 0, "test", 0), rows, 0, rows, CPU.device)


def test_what_is_measured_of_transparent_images_is_what_is_trained_on(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 8, 8, 4), dtype=np.uint8)
    pixels[..., 3] = np.where(pixels[..., 3] > 127, 255, 0)
    for i, picture in enumerate(pixels):
        hidden = picture.copy()
        hidden[picture[..., 3] == 0, :3] = 255 * (i % 2)  # a colour that nobody sees
        Image.fromarray(hidden).save(tmp_path / f"{i:02d}.png")
    one = vae(**{"data.path": str(tmp_path)})
    measured = one.measure(one.networks)
    images = one.data.batch(np.arange(40))
    images[images[..., 3] == 0, :3] = 90
    one.data.batch = lambda rows: images
    assert one.measure(one.networks) == pytest.approx(measured)


# -- the bound


def test_both_terms_are_those_of_torch_distributions():
    g = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_to_prior(mean, log_variance), expected, rtol=1e-5, atol=1e-6)
    x, y, log_deviation = torch.randn(5, 2, 4, 4, generator=g), torch.randn(5, 2, 4, 4, generator=g), torch.tensor(-0.7)
    expected = Normal(y, log_deviation.exp()).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(gaussian_log_density(x, y, log_deviation), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("off", [0.0, 0.5])
def test_the_bound_is_log_p_at_the_true_posterior_and_below_it_elsewhere(off):
    """A linear generator W z of orthogonal columns: p(x) = N(0, WWᵀ + s²) and the posterior of z are known."""
    s, w = 0.6, torch.tensor([[1.0, 1.0], [1.0, -1.0], [0.5, 0.0]])
    w[:, 1] -= w[:, 0] * (w[:, 0] @ w[:, 1]) / w[:, 0].square().sum()
    x = torch.tensor([[0.3, -1.2, 0.8]])
    precision = 1 + w.square().sum(0) / s**2  # diagonal, as the columns are orthogonal
    mean = (x @ w) / s**2 / precision + off
    networks = {
        "encoder": lambda images, label: (mean.expand(len(images), -1), -precision.log().expand(len(images), -1)),
        "generator": lambda z, label: (z @ w.T)[:, :, None, None],
        "noise": lambda: torch.tensor(math.log(s)),
    }
    n = 200_000
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    reconstruction, kl = bound(networks, x[:, :, None, None].expand(n, -1, -1, -1), None, noise)
    elbo = (reconstruction - kl).mean()
    log_p = MultivariateNormal(torch.zeros(3), w @ w.T + s**2 * torch.eye(3)).log_prob(x[0])
    gap = (off**2 * precision).sum() / 2  # KL from the true posterior to one that is off by so much
    torch.testing.assert_close(elbo, log_p - gap, rtol=0, atol=0.02)


def test_beta_weighs_the_divergence_alone():
    objective = vae(**{"loss.beta": [0.0, 4.0]})
    batch = objective.batch(0, 0, 16)
    losses = []
    for progress, beta in ((0.0, 0.0), (0.5, 2.0), (1.0, 4.0)):
        objective.schedule(progress, 0)
        assert objective.beta == pytest.approx(beta)
        loss, metrics = objective.loss(batch, draw())
        losses.append(loss.detach())
    torch.testing.assert_close(losses[2] - losses[0], 4 * metrics["kl"], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(losses[1] - losses[0], 2 * metrics["kl"], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(metrics["elbo"], metrics["kl"] * -1 - losses[0], rtol=1e-4, atol=1e-2)


def test_adams_moments_follow_the_recipe():
    objective = vae(**{"optim.beta1": 0.3, "optim.beta2": [0.8, 0.95]})
    for progress, beta2 in ((0.0, 0.8), (1.0, 0.95)):
        objective.schedule(progress, 0)
        groups = objective.optimizers["vae"].param_groups
        assert [group["betas"] for group in groups] == [(0.3, pytest.approx(beta2))] * 2
        assert groups[1]["lr"] == pytest.approx(NOISE_LR * groups[0]["lr"])  # the deviation's


def test_pixels_are_never_finer_than_files():
    noise = PixelNoise()
    with torch.no_grad():
        noise.raw.fill_(-50.0)
    assert noise().exp().item() == pytest.approx(FINEST)
    assert PixelNoise()().exp().item() == pytest.approx(0.59, abs=0.02)


# -- the networks and the training


@pytest.mark.parametrize("network", ["residual", "dcgan", "mlp"])
@pytest.mark.parametrize("label", [None, "none"])
def test_every_network_trains_all_of_it(network, label):
    objective = vae(**{"model.network": network, "data.label": label})
    assert objective.classes == (0 if label else 10)
    engine = Engine(objective, None, CPU)
    before = {n: [p.detach().clone() for p in m.parameters()] for n, m in objective.networks.items()}
    for step in range(2):
        engine.one_step(step / 100)
    for name, parameters in before.items():
        pairs = list(zip(parameters, objective.networks[name].parameters(), strict=True))
        assert sum(not torch.equal(a, b) for a, b in pairs) > 0.7 * len(pairs), name
        assert all(torch.isfinite(b).all() for _, b in pairs)


def test_what_is_saved_is_a_generator(tmp_path):
    objective = vae()
    objective.save(objective.networks, tmp_path)
    model = load(tmp_path)
    assert isinstance(model, Generator) and model.generate(5, seed=1).shape == (5, 8, 8, 1)
    direct = objective._pipeline(objective.networks)
    assert np.array_equal(model.generate(20, seed=5, label=3), direct.generate(20, seed=5, label=3))


def test_it_learns_to_draw_digits():
    """Seconds of training: the bound passes that of the best Gaussian without a latent, and samples near the data."""
    steps = 600
    overrides = {"model.network": "mlp", "data.label": "none", "train.batch_size": 32, "evaluate.samples": 500}
    objective = vae(**overrides, **{"train.steps": steps})
    objective.prepare()
    engine = Engine(objective, None, CPU)
    start = objective._judge(objective._pipeline(engine.current()))
    for step in range(steps):
        engine.one_step(step / steps)
    for network in engine.current().values():
        network.eval()
    end = objective._judge(objective._pipeline(engine.current())) | objective.measure(engine.current())
    images = torch.from_numpy(objective.held_out.batch(range(len(objective.held_out)))).float() / 127.5 - 1
    seen = torch.from_numpy(objective.data.batch(range(len(objective.data)))).float() / 127.5 - 1
    flat = Normal(seen.mean(0), (seen - seen.mean(0)).square().mean().sqrt())
    without_latent = flat.log_prob(images).flatten(1).sum(1).mean().item()
    assert end["elbo"] > without_latent + 12 and end["kl_to_prior"] > 6, (end, without_latent)
    assert end["frechet"] < start["frechet"] / 3, (start, end)


def test_it_draws_the_class_it_is_asked_for():
    steps = 600
    objective = vae(**{"model.network": "mlp", "train.batch_size": 32, "train.steps": steps})
    classifier, engine = Judge(objective.images, "classifier", 300), Engine(objective, None, CPU)
    agreement = lambda: classifier(objective._pipeline(engine.current()))["label_agreement"]  # noqa: E731
    start = agreement()
    for step in range(steps):
        engine.one_step(step / steps)
    assert start < 0.25 and agreement() > 0.75, start  # guessing gives 0.1


def test_through_the_command_line(adverb, tmp_path):
    words = ("train", "vae", "model.network=mlp", "train.steps=30", "train.evaluations=1", "train.precision=fp32",
             "evaluate.features=random", "evaluate.samples=60", "--out", "run")  # fmt: skip
    done = adverb(*words)
    assert done.returncode == 0, done.stderr
    assert adverb("generate", "run", "-n", "4", "--label", "7", "--out", "sevens.png").returncode == 0
    done = adverb("evaluate", "run", "--samples", "100")
    assert done.returncode == 0 and "frechet" in done.stdout, done.stderr
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "ELBO" in page and "Fréchet" in page
    wrong = adverb("train", "vae", "optim.discriminator_lr_ratio=2")
    assert wrong.returncode == 2 and "unknown key" in wrong.stderr
