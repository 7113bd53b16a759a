"""What the discriminator sees of images: each by itself, differentiable twice, as often as p says."""

from __future__ import annotations

import pytest
import torch

from adverb.gan.augment import MOST, NUMBERS, STEP, augment, next_p

CENTRE = 0.5  # the number that stands for "no change" in colour and translation


def images(n=64, channels=3, side=16):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def numbers(n=64, seed=1):
    return torch.rand(n, NUMBERS, generator=torch.Generator().manual_seed(seed))


def only(which: int, n=64, amounts=None):
    """Numbers that apply one transformation of three (colour, translation, cutout) at p = 0.5."""
    chosen = torch.ones(n, NUMBERS)
    chosen[:, which] = 0.0
    chosen[:, 3:] = numbers(n)[:, 3:] if amounts is None else torch.tensor(amounts)
    return chosen


def changed(seen, images):
    """Which images were changed by more than rounding, bool [N]."""
    return ((seen - images).abs() > 1e-4).flatten(1).any(1)


def test_nothing_changes_at_p_zero_and_everything_at_one():
    x = images()
    torch.testing.assert_close(augment(x, numbers(), 0.0), x)
    assert changed(augment(x, numbers(), 1.0), x).all()


@pytest.mark.parametrize("p", [0.2, 0.6])
def test_each_transformation_comes_with_probability_p(p):
    n = 2000
    x = images(n, 1, 8)
    for which in range(3):
        chosen = only(which, n)
        chosen[:, which] = numbers(n, seed=2)[:, which]
        share = changed(augment(x, chosen, p), x).float().mean().item()
        missed = 1 / 9 if which == 1 else 0.0  # a translation may be by nothing: 3 × 3 places
        assert abs(share - p * (1 - missed)) < 0.04, which


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_are_augmented_one_by_one(channels):
    x, chosen = images(8, channels), numbers(8)
    together = augment(x, chosen, 0.7)
    alone = torch.cat([augment(x[i : i + 1], chosen[i : i + 1], 0.7) for i in range(8)])
    torch.testing.assert_close(together, alone)


def test_colour_leaves_alpha_alone():
    x = images(16, 4)
    seen = augment(x, only(0, 16), 0.5)
    assert torch.equal(seen[:, 3], x[:, 3]) and changed(seen[:, :3], x[:, :3]).all()


def test_brightness_is_a_shift_of_at_most_a_half():
    x = images(1, 1)
    brighter = augment(x, only(0, 1, [[1.0, CENTRE, CENTRE, 0, 0, 0, 0]]), 0.5)
    torch.testing.assert_close(brighter, x + 0.5)


def test_translation_moves_by_whole_pixels_and_repeats_the_edge():
    x = images(1, 2)
    moved = augment(x, only(1, 1, [[0, 0, 0, 0.999, CENTRE, 0, 0]]), 0.5)  # two rows of 16, no columns
    torch.testing.assert_close(moved[:, :, :-2], x[:, :, 2:])
    torch.testing.assert_close(moved[:, :, -2:], x[:, :, -1:].expand(-1, -1, 2, -1))


def test_cutout_blanks_a_quarter_at_most():
    x = images(200, 1) + 3  # nothing is 0 by itself
    blank = (augment(x, only(2, 200), 0.5) == 0).float().mean((1, 2, 3))
    assert blank.max() == 0.25 and blank.min() > 0 and blank.std() > 0.02


def test_gradients_flow_twice():
    x, chosen = images(3, 3, 8).double(), numbers(3)

    def through(x):
        return augment(x, chosen, 0.8).double()

    x.requires_grad_()
    assert torch.autograd.gradcheck(through, x)
    assert torch.autograd.gradgradcheck(lambda x: through(x).square(), x)


def test_p_goes_where_overfitting_sends_it_and_stays_within_bounds():
    assert next_p(0.0, 0.7, 0.5) == STEP and next_p(STEP, 0.3, 0.5) == 0.0
    assert next_p(0.0, 0.0, 0.5) == 0.0 and next_p(MOST, 1.0, 0.5) == MOST
