"""Penalties on the discriminator's slope in the image: what keeps the game from spinning or blowing up.

All need the gradient of a gradient, so a discriminator must be free of operations without a second derivative, and
must judge every image by itself: batch normalisation couples the rows of a batch, and the gradient of a sum of
logits is then no longer each logit's own gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _slope(images: Tensor, logits: Tensor) -> Tensor:
    """d logits[n] / d images[n], differentiable, flat [N, C·H·W], float32 at least."""
    # No row of the logits depends on another row's image: the gradient of the sum holds every row's own gradient.
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.flatten(1).to(torch.promote_types(gradient.dtype, torch.float32))


def zero_centred(images: Tensor, logits: Tensor) -> Tensor:
    """|∇ₓ f(x)|² for every image, [N], float32 (float64 for float64), with a graph behind it.

    images [N, C, H, W]: must have required gradients *before* `logits` [N] were computed from them
        (`images.requires_grad_()`), else RuntimeError. Not augmented: penalise the slope where the data are.

    R1 on real images, gamma/2 · E |∇f(x)|² (Mescheder et al. 2018, eq. 9; Huang et al. 2024, eq. 3), R2 on generated
    ones (eq. 10 there; eq. 4). The caller multiplies by gamma/2 and averages.
    """
    return _slope(images, logits).square().sum(1)


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """(|∇ₓ̂ f(x̂)| - 1)² on the way from fake to real, x̂ = mix · real + (1 - mix) · fake; [N], float32, with a graph.

    discriminator: images [N, C, H, W] -> logits [N] (close over the label for a conditional one).
    real, fake: [N, C, H, W]; no gradient flows back into them.
    mix: [N], uniform on [0, 1).

    WGAN-GP, Gulrajani et al. 2017, eq. 3, without the lambda (10 there). Where the slope is exactly zero the
    gradient is taken as zero, not NaN.
    """
    share = mix.reshape(-1, *[1] * (real.dim() - 1))  # [N, 1, 1, 1]
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    return (torch.linalg.vector_norm(_slope(between, discriminator(between)), dim=1) - 1).square()
