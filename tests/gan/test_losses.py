"""Every adversarial loss against its formula in probabilities, its gradient, and extreme logits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from adverb.gan.losses import LOSSES

NAMES = list(LOSSES)
logits_lists = st.lists(st.tuples(*[st.floats(-8, 8)] * 2), min_size=1, max_size=9)


def by_formula(name: str, real: list[float], fake: list[float]) -> tuple[float, float]:
    """(discriminator, generator) as the papers write them, with sigmoids and logarithms, in plain Python."""

    def d(t):  # the discriminator's probability
        return 1 / (1 + math.exp(-t))

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    pairs = list(zip(real, fake, strict=True))
    classify = -mean(math.log(d(r)) for r in real) - mean(math.log(1 - d(f)) for f in fake)
    return {
        "minimax": (classify, mean(math.log(1 - d(f)) for f in fake)),
        "non-saturating": (classify, -mean(math.log(d(f)) for f in fake)),
        "least-squares": (
            mean((r - 1) ** 2 for r in real) / 2 + mean(f**2 for f in fake) / 2,
            mean((f - 1) ** 2 for f in fake) / 2,
        ),
        "wasserstein": (mean(fake) - mean(real), -mean(fake)),
        "hinge": (mean(max(0, 1 - r) for r in real) + mean(max(0, 1 + f) for f in fake), -mean(fake)),
        "rpgan": (-mean(math.log(d(r - f)) for r, f in pairs), -mean(math.log(d(f - r)) for r, f in pairs)),
    }[name]


@pytest.mark.parametrize("name", NAMES)
@given(pairs=logits_lists)
def test_equals_the_formula(name, pairs):
    real, fake = zip(*pairs, strict=True)
    loss = LOSSES[name]
    real_logits, fake_logits = (torch.tensor(x, dtype=torch.float64) for x in (real, fake))
    got = loss.discriminator(real_logits, fake_logits), loss.generator(real_logits, fake_logits)
    assert [x.item() for x in got] == pytest.approx(by_formula(name, real, fake), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name):
    # Away from the hinge's corners at ±1.
    real = torch.tensor([-2.3, 0.4, 3.1], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([-3.2, -0.3, 1.9], dtype=torch.float64, requires_grad=True)
    loss = LOSSES[name]
    for side in (loss.discriminator, loss.generator):
        assert gradcheck(side, (real, fake))
        assert gradgradcheck(side, (real, fake))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_float32_whatever_the_logits(name, dtype):
    real, fake = torch.tensor([1.5, -0.25], dtype=dtype), torch.tensor([0.125, 2.0], dtype=dtype)
    loss = LOSSES[name]
    for side in (loss.discriminator, loss.generator):
        assert side(real, fake).dtype is torch.float32
        torch.testing.assert_close(side(real, fake), side(real.float(), fake.float()), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("real_at", [-1e4, 1e4])
@pytest.mark.parametrize("fake_at", [-1e4, 1e4])
def test_finite_at_extreme_logits(name, real_at, fake_at):
    real, fake = torch.full((3,), real_at, requires_grad=True), torch.full((3,), fake_at, requires_grad=True)
    loss = LOSSES[name]
    for side in (loss.discriminator, loss.generator):
        value = side(real, fake)
        gradients = torch.autograd.grad(value, (real, fake), allow_unused=True)
        assert value.isfinite() and all(g.isfinite().all() for g in gradients if g is not None)


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("minimax", 0.0),
        ("non-saturating", -1.0),
        ("least-squares", -31.0),
        ("wasserstein", -1.0),
        ("hinge", -1.0),
        ("rpgan", -1.0),
    ],
)
def test_the_generator_s_gradient_when_the_discriminator_wins(name, slope):
    fake = torch.tensor([-30.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(LOSSES[name].generator(torch.tensor([30.0]), fake), fake)
    assert gradient.item() == pytest.approx(slope, abs=1e-6)


def test_only_the_paired_loss_needs_the_real_logits():
    fake = torch.tensor([0.5, -1.0])
    for loss in LOSSES.values():
        if loss.paired:
            with pytest.raises(ValueError, match="real logits"):
                loss.generator(None, fake)
        else:
            assert loss.generator(None, fake) == loss.generator(torch.tensor([9.0, 9.0]), fake)


def test_names_are_keys_and_rpgan_alone_is_paired():
    assert all(loss.name == name for name, loss in LOSSES.items())
    assert [name for name, loss in LOSSES.items() if loss.paired] == ["rpgan"]


@given(shift=st.floats(-50, 50))
def test_rpgan_sees_differences_only(shift):
    real, fake = torch.tensor([0.3, -1.0], dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)
    loss = LOSSES["rpgan"]
    torch.testing.assert_close(loss.discriminator(real + shift, fake + shift), loss.discriminator(real, fake))
    assert loss.discriminator(real, fake) != loss.discriminator(real, fake.flip(0))  # paired, not averaged
