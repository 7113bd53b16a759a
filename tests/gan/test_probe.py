"""What a look measures, on the embedded digits and generators whose faults are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from adverb.data.images import load_images
from adverb.gan.health import findings
from adverb.gan.losses import LOSSES
from adverb.gan.networks import build
from adverb.gan.probe import JUDGED, SAMPLES, Probe, set_aside

CPU = torch.device("cpu")
DIGITS = load_images("digits")
TRAIN, HELD_OUT = set_aside(DIGITS)
UNSEEN = load_images("digits", split="test")


class Draws(nn.Module):
    """A generator that gives the images it was given, uint8 [N, H, W, C]."""

    def __init__(self, images: np.ndarray):
        super().__init__()
        self.images = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1

    def forward(self, latent, label=None):
        return self.images[torch.arange(len(latent)) % len(self.images)]


class Linear(nn.Module):
    """f(x) = scale · <w, x>, |w| = 1."""

    def __init__(self, scale=1.0):
        super().__init__()
        weight = torch.randn(64, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(scale * weight / weight.norm())

    def forward(self, images, label=None):
        return images.flatten(1) @ self.weight


class Remembers(nn.Module):
    """Says 5 to what it has seen in training and 0 to all else, a little unsure of everything."""

    def __init__(self, train):
        super().__init__()
        self.seen = {image.tobytes() for image in train.images}

    def forward(self, images, label=None):
        pixels = ((images.detach() + 1) * 127.5).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        known = torch.tensor([5.0 * (image.tobytes() in self.seen) for image in pixels])
        return known + 0.01 * images.flatten(1).sum(1)


@pytest.fixture(scope="module")
def probe() -> Probe:
    return Probe(TRAIN, HELD_OUT, label_of=lambda data, rows: None, device=CPU)


def look(probe, images, discriminator=None, loss="non-saturating", augment=lambda x: x):
    return probe(Draws(images), discriminator or Linear(), LOSSES[loss], torch.zeros(SAMPLES, 1), augment)


def test_real_images_that_were_never_seen_show_nothing(probe):
    signals = look(probe, UNSEEN.images)
    assert findings(signals) == []
    assert 0.8 < signals["variety"] < 1.2 and 0.8 < signals["distance"] < 1.2 and signals["coverage"] > 0.9
    assert signals["missing"] == 0 and signals["overshoot"] == 0 and signals["copies"] < signals["copies_floor"] + 0.05


def test_one_image_over_and_over_is_a_collapse(probe):
    signals = look(probe, UNSEEN.images[:4])
    assert signals["variety"] == 0 and signals["coverage"] < 0.2 and findings(signals) == ["collapsing"]


def test_digits_that_are_never_drawn_are_missing(probe):
    signals = look(probe, UNSEEN.images[UNSEEN.labels < 5])
    assert 0.4 < signals["missing"] < 0.6 and findings(signals) == ["collapsing"]


def test_copies_of_training_images_are_told_from_relatives(probe):
    shaken = TRAIN.images[::5].astype(int) + np.random.default_rng(0).integers(-3, 4, TRAIN.images[::5].shape)
    signals = look(probe, shaken.clip(0, 255).astype(np.uint8))
    assert signals["copies"] > 0.95 and findings(signals) == ["memorising"]


def test_noise_is_far_from_the_data(probe):
    noise = np.random.default_rng(0).integers(0, 256, UNSEEN.images.shape, dtype=np.uint8)
    assert look(probe, noise)["distance"] > 1.5


def test_samples_out_of_range_and_not_finite_diverge(probe):
    generator = Draws(UNSEEN.images)
    for factor in (10.0, math.nan):
        generator.images = generator.images * factor
        signals = probe(generator, Linear(), LOSSES["hinge"], torch.zeros(SAMPLES, 1), lambda x: x)
        assert findings(signals)[0] == "diverging", factor


@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        ("non-saturating", lambda fake, real: torch.sigmoid(-fake)),
        ("minimax", lambda fake, real: torch.sigmoid(fake)),
        ("wasserstein", lambda fake, real: torch.ones_like(fake)),
        ("rpgan", lambda fake, real: torch.sigmoid(real - fake)),
    ],
)
def test_the_gradient_is_the_losses_slope_through_the_discriminator(probe, loss, slope):
    signals = look(probe, UNSEEN.images, Linear(3.0), loss)
    fake = Linear(3.0)(Draws(UNSEEN.images)(torch.zeros(JUDGED, 1)))
    real = Linear(3.0)(probe.real[:JUDGED] / 127.5 - 1)
    assert math.isclose(signals["gradient"], 3.0 * 8 * slope(fake, real).mean().item(), rel_tol=1e-5)
    assert math.isclose(signals["gap"], (real.mean() - fake.mean()).item(), abs_tol=1e-5)


def test_a_discriminator_that_is_certain_saturates_and_minimax_then_vanishes(probe):
    class Certain(Linear):
        def forward(self, images, label=None):
            dark = images.flatten(1).mean(1)
            return 40 * (dark > -0.99).float() - 20 + 0.01 * dark

    signals = look(probe, np.zeros_like(UNSEEN.images), Certain(), "minimax")
    assert signals["undecided"] < 1e-6 and signals["gradient"] < 1e-6 and signals["accuracy_train"] == 1
    assert {"vanishing", "saturating"} <= set(findings(signals))
    signals = look(probe, np.zeros_like(UNSEEN.images), Certain())
    assert signals["gradient"] > 1e-3  # the same discriminator: the non-saturating loss keeps its slope


def test_what_is_known_by_heart_is_told_from_what_is_real(probe):
    signals = look(probe, UNSEEN.images, Remembers(TRAIN))
    assert signals["accuracy_train"] > 0.95 and signals["accuracy_held_out"] < 0.7
    assert 4 < signals["memory"] < 6 and signals["memory"] > 10 * signals["memory_se"]


def test_the_discriminator_sees_what_training_shows_it(probe):
    shown = []
    look(probe, UNSEEN.images, augment=lambda x: shown.append(len(x)) or x)
    assert shown == [JUDGED, JUDGED, len(HELD_OUT)]


@pytest.mark.parametrize(
    "options",
    [{"network": "dcgan", "discriminator_norm": "batch"}, {"network": "residual", "spectral_norm": True}],
)
def test_a_look_changes_nothing_and_sees_the_same_twice(options):
    torch.manual_seed(0)
    networks = build(image_size=(8, 8), channels=1, latent_size=8, classes=10, **options)
    before = [{k: v.clone() for k, v in n.state_dict().items()} for n in networks]
    probe = Probe(TRAIN, HELD_OUT, label_of=lambda data, rows: torch.from_numpy(data.labels[rows]), device=CPU)
    latent = torch.randn(SAMPLES, 8)
    seen = [probe(*networks, LOSSES["rpgan"], latent, lambda x: x) for _ in range(2)]
    assert seen[0] == seen[1]
    for network, old in zip(networks, before, strict=True):
        assert network.training and all(torch.equal(v, old[k]) for k, v in network.state_dict().items())
        assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize(("n", "held_out"), [(20, 0), (63, 0), (64, 8), (500, 25), (1500, 75)])
def test_a_twentieth_is_set_aside(n, held_out):
    train, rest = set_aside(DIGITS.take(np.arange(n)))
    assert (0 if rest is None else len(rest)) == held_out and len(train) == n - held_out
    assert rest is None or not set(train.names) & set(rest.names)


def test_a_few_images_are_enough_to_look_at():
    few = DIGITS.take(np.arange(16))
    probe = Probe(few, None, label_of=lambda data, rows: None, device=CPU)
    signals = look(probe, few.images)
    assert "memory" not in signals and signals["copies"] == 1.0 and "memorising" in findings(signals)


def test_a_mirrored_copy_is_one_where_training_mirrors():
    turned = np.ascontiguousarray(TRAIN.images[::5][:, :, ::-1])
    shares = []
    for mirrored in (False, True):
        probe = Probe(TRAIN, HELD_OUT, label_of=lambda data, rows: None, device=CPU, mirrored=mirrored)
        shares.append(look(probe, turned)["copies"])
        assert look(probe, UNSEEN.images)["copies"] < probe.copies_floor + 0.05
    assert shares[0] < 0.2 and shares[1] > 0.95


def test_held_out_images_are_of_all_classes_also_where_there_are_many():
    order = np.argsort(DIGITS.labels, kind="stable").repeat(4)
    many = DIGITS.take(order)
    many.hashes = np.arange(len(many), dtype=np.uint64)  # as if no two were equal
    train, held_out = set_aside(many)
    assert len(held_out) == 2 * JUDGED
    label_of = lambda data, rows: torch.from_numpy(data.labels[rows])  # noqa: E731
    judged = Probe(train, held_out, label_of=label_of, device=CPU).held_out[1]
    assert len(judged) == JUDGED and (torch.bincount(judged, minlength=10) > 3).all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "wasserstein"])
def test_a_discriminator_that_cannot_tell_is_wholly_undecided(probe, name):
    class Constant(Linear):
        def forward(self, images, label=None):
            return super().forward(images) * 0 + LOSSES[name].unsure

    assert look(probe, UNSEEN.images, Constant(), name)["undecided"] == pytest.approx(1)
    logits = torch.linspace(-1, 1, 81)[:, None]  # and no other constant has a smaller loss
    losses = torch.stack([LOSSES[name].discriminator(logit, logit) for logit in logits])
    assert losses.min() >= LOSSES[name].discriminator(*[torch.tensor([LOSSES[name].unsure])] * 2) - 1e-6
