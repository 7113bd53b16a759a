"""The adversarial losses: one game each, as two functions of the discriminator's logits.

A logit is the discriminator's raw output, without a sigmoid: D(x) = sigmoid(logit). Every loss here is to be
*minimised*, averages over the batch, and is computed in float32 at least, in forms that neither overflow nor lose
the gradient at logits of any size: log sigmoid(t) = -softplus(-t) and log(1 - sigmoid(t)) = -softplus(t).

What tells them apart in practice is the gradient that the generator receives while the discriminator wins, which
it does early in every run (fake logits far below the real ones). "Vanishing" below means that it goes to zero, so
that a generator that has fallen behind stays behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class GanLoss:
    """One adversarial game.

    discriminator: (real_logits [N], fake_logits [N]) -> scalar.
    generator: (real_logits [N] or None, fake_logits [N]) -> scalar. Only a paired loss looks at the real logits,
        and raises ValueError without them.
    paired: row i of the fake logits is judged against row i of the real ones, so the generator's step needs real
        images too (of the same labels, when the networks are conditional).
    unsure: the logit of a discriminator that can't tell, of all constant ones that with the least loss.

    Any floating dtype; the result is float32 (float64 for float64).
    """

    name: str
    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    paired: bool = False
    unsure: float = 0.0


def _wide(logits: Tensor) -> Tensor:
    """float32, or float64 where it is already: bfloat16 keeps 8 bits, which a difference of logits would lose."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _minimax_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    # -E log D(x) - E log(1 - D(G(z)))
    return softplus(-_wide(real)).mean() + softplus(_wide(fake)).mean()


def _minimax_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    # E log(1 - D(G(z)))
    return -softplus(_wide(fake)).mean()


def _non_saturating_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    # -E log D(G(z))
    return softplus(-_wide(fake)).mean()


def _least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    # ½ E (f(x) - 1)² + ½ E f(G(z))²
    return 0.5 * (_wide(real) - 1).square().mean() + 0.5 * _wide(fake).square().mean()


def _least_squares_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    # ½ E (f(G(z)) - 1)²
    return 0.5 * (_wide(fake) - 1).square().mean()


def _wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    # E f(G(z)) - E f(x)
    return _wide(fake).mean() - _wide(real).mean()


def _raise_fake(real: Tensor | None, fake: Tensor) -> Tensor:
    # -E f(G(z))
    return -_wide(fake).mean()


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    # E max(0, 1 - f(x)) + E max(0, 1 + f(G(z)))
    return relu(1 - _wide(real)).mean() + relu(1 + _wide(fake)).mean()


def _rpgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    # -E log sigmoid(f(x) - f(G(z)))
    return softplus(_wide(fake) - _wide(real)).mean()


def _rpgan_generator(real: Tensor | None, fake: Tensor) -> Tensor:
    # -E log sigmoid(f(G(z)) - f(x))
    if real is None:
        raise ValueError("the rpgan loss pairs every fake with a real image: its generator needs the real logits too")
    return softplus(_wide(real) - _wide(fake)).mean()


MINIMAX = GanLoss("minimax", _minimax_discriminator, _minimax_generator)
"""The game as first written: min over G, max over D of E log D(x) + E log(1 - D(G(z))).

Goodfellow et al. 2014, eq. 1. At the optimal D it is the Jensen-Shannon divergence. The generator's gradient is
D(G(z)) itself: *vanishing* when the discriminator wins. For teaching and comparison; train with non-saturating."""

NON_SATURATING = GanLoss("non-saturating", _minimax_discriminator, _non_saturating_generator)
"""The same discriminator; the generator maximises log D(G(z)) instead. Goodfellow et al. 2014, end of section 3.

The generator's gradient is 1 - D(G(z)): *not vanishing*, it goes to 1 in the logit when the discriminator wins."""

LEAST_SQUARES = GanLoss("least-squares", _least_squares_discriminator, _least_squares_generator, unsure=0.5)
"""Regression of the logit to 1 for real and 0 for fake. Mao et al. 2017 (LSGAN), eq. 9.

The generator's gradient is f(G(z)) - 1: *not vanishing*, it grows with the distance from the target; it is -1 at a
discriminator that fits its targets exactly."""

WASSERSTEIN = GanLoss("wasserstein", _wasserstein_discriminator, _raise_fake)
"""The dual of the earth mover's distance. Arjovsky et al. 2017 (WGAN), eq. 2-3.

*Not vanishing*: the gradient in the logit is always -1. Meaningful only for a Lipschitz critic, so use it with
`penalties.gradient_penalty` (or spectral normalisation) and several critic steps; without, both losses diverge."""

HINGE = GanLoss("hinge", _hinge_discriminator, _raise_fake)
"""A margin of 1 on either side, beyond which the discriminator stops caring. Lim & Ye 2017 (Geometric GAN);
Miyato et al. 2018 (spectral normalisation), eq. 16-17.

The generator's gradient in the logit is always -1: *not vanishing*. The discriminator's own does vanish where it
wins by the margin, which is the point: it does not run away."""

RPGAN = GanLoss("rpgan", _rpgan_discriminator, _rpgan_generator, paired=True)
"""Relativistic pairing: is this real image more real than that fake one? Jolicoeur-Martineau 2018 (there RSGAN);
Huang et al. 2024 (R3GAN), eq. 2, with the f of eq. 1, f(t) = -log(1 + exp(-t)).

Only differences of logits matter, so a fake cannot win by standing in one crowd of real images alone: no landscape
with the bad minima that mode collapse sits in (Sun et al. 2020). The generator's gradient is
sigmoid(f(x) - f(G(z))): *not vanishing*, it goes to 1 when the discriminator wins. Converges only with both
`penalties.zero_centred` on reals (R1) and on fakes (R2)."""

LOSSES: dict[str, GanLoss] = {
    loss.name: loss for loss in (MINIMAX, NON_SATURATING, LEAST_SQUARES, WASSERSTEIN, HINGE, RPGAN)
}
"""Every loss by its name in a recipe."""
