"""The gradient penalties against closed forms of linear and quadratic discriminators."""

from __future__ import annotations

import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from adverb.gan.penalties import gradient_penalty, zero_centred


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_zero_centred_of_a_linear_discriminator():
    weight = rand(2, 3, 4).requires_grad_()
    images = rand(5, 2, 3, 4, seed=1).requires_grad_()
    penalty = zero_centred(images, (images * weight).sum((1, 2, 3)))
    torch.testing.assert_close(penalty, weight.square().sum().expand(5))
    (slope,) = torch.autograd.grad(penalty.mean(), weight)
    torch.testing.assert_close(slope, 2 * weight)


def test_zero_centred_of_a_quadratic_discriminator():
    # f(x) = ½ xᵀ A x, A symmetric: ∇f = A x, |∇f|² = xᵀ A² x, and d mean|∇f|² / dA = (2/N) Σ sym(A x xᵀ)
    a = rand(6, 6, seed=2)
    a = (a + a.T).requires_grad_()
    images = rand(4, 1, 2, 3, seed=3).requires_grad_()
    x = images.flatten(1)
    penalty = zero_centred(images, 0.5 * torch.einsum("ni,ij,nj->n", x, (a + a.T) / 2, x))
    torch.testing.assert_close(penalty, (x @ a).square().sum(1))
    (slope,) = torch.autograd.grad(penalty.mean(), a)
    outer = torch.einsum("ni,nj->ij", x @ a, x) / 4
    torch.testing.assert_close(slope, outer + outer.T)


def test_gradient_penalty_of_a_linear_discriminator():
    weight = rand(2, 3, 4).requires_grad_()
    real, fake, mix = rand(5, 2, 3, 4, seed=1), rand(5, 2, 3, 4, seed=2), rand(5).sigmoid()
    penalty = gradient_penalty(lambda images: (images * weight).sum((1, 2, 3)), real, fake, mix)
    norm = weight.norm()
    torch.testing.assert_close(penalty, (norm - 1).square().expand(5))
    (slope,) = torch.autograd.grad(penalty.mean(), weight)
    torch.testing.assert_close(slope, 2 * (norm - 1) * weight / norm)


def test_gradient_penalty_looks_between_fake_and_real():
    # f(x) = ½|x|²: the slope at x̂ is x̂ itself
    real, fake = rand(3, 1, 2, 2, seed=1), rand(3, 1, 2, 2, seed=2)
    mix = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    penalty = gradient_penalty(lambda x: 0.5 * x.square().sum((1, 2, 3)), real, fake, mix)
    points = torch.stack([fake[0], 0.25 * real[1] + 0.75 * fake[1], real[2]])
    torch.testing.assert_close(penalty, (points.flatten(1).norm(dim=1) - 1).square())


def test_gradient_penalty_sends_nothing_to_the_images():
    real, fake = rand(3, 1, 2, 2).requires_grad_(), rand(3, 1, 2, 2, seed=1).requires_grad_()
    weight = rand(1, 2, 2).requires_grad_()
    gradient_penalty(lambda x: (x * weight).square().sum((1, 2, 3)), real, fake, torch.rand(3)).sum().backward()
    assert real.grad is None and fake.grad is None and weight.grad.abs().sum() > 0


def test_a_flat_discriminator_gives_no_nan():
    layer = nn.Linear(4, 1)
    nn.init.zeros_(layer.weight)
    real, fake = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
    penalty = gradient_penalty(lambda x: layer(x.flatten(1)).squeeze(1), real, fake, torch.rand(3))
    torch.testing.assert_close(penalty, torch.ones(3))
    penalty.mean().backward()
    assert layer.weight.grad.isfinite().all()


def test_derivatives_in_the_weights():
    weight, readout = rand(4, 3, seed=4).requires_grad_(), rand(3, seed=5).requires_grad_()
    real, fake, mix = rand(2, 1, 2, 2, seed=6), rand(2, 1, 2, 2, seed=7), rand(2, seed=8).sigmoid()

    def r1(weight, readout):
        images = real.clone().requires_grad_()
        return zero_centred(images, (images.flatten(1) @ weight).tanh() @ readout)

    def wgan_gp(weight, readout):
        return gradient_penalty(lambda x: (x.flatten(1) @ weight).tanh() @ readout, real, fake, mix)

    for penalty in (r1, wgan_gp):
        assert gradcheck(penalty, (weight, readout))
        assert gradgradcheck(penalty, (weight, readout))


def test_float32_from_bfloat16():
    images = torch.randn(2, 1, 8, 8).bfloat16().requires_grad_()
    weight = torch.full((1, 8, 8), 0.1, dtype=torch.bfloat16)
    penalty = zero_centred(images, (images * weight).sum((1, 2, 3)))
    assert penalty.dtype is torch.float32
    torch.testing.assert_close(penalty, weight.float().square().sum().expand(2))
