"""The networks: shapes at any size, labels, initialisation, independence of rows, second derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import interpolate

from adverb.errors import UserError
from adverb.gan.losses import LOSSES
from adverb.gan.networks import NETWORKS, build, default_widths, stage_sizes
from adverb.gan.networks.dcgan import DcganDiscriminator, DcganGenerator
from adverb.gan.networks.mlp import MlpDiscriminator, MlpGenerator
from adverb.gan.networks.residual import (
    Block,
    GridSum,
    Resample,
    ResidualDiscriminator,
    ResidualGenerator,
    bilinear_matrix,
)
from adverb.gan.penalties import zero_centred

LATENT = 8


def small(network: str, image_size=(13, 10), channels=1, classes=0, **sizes):
    torch.manual_seed(0)
    grids = len(stage_sizes(image_size)) - (network == "dcgan")
    sizes.setdefault("widths", [16] if network == "mlp" else [16] * grids)
    return build(network, image_size, channels, LATENT, classes, **sizes)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# Sizes


@given(st.integers(1, 300), st.integers(1, 300))
def test_stage_sizes_halve_down_to_about_four(height, width):
    sizes = stage_sizes((height, width))
    assert sizes[-1] == (height, width)
    for (h, w), (next_h, next_w) in zip(sizes[:-1], sizes[1:], strict=True):
        assert (h, w) == (math.ceil(next_h / 2), math.ceil(next_w / 2))
    assert min(sizes[0]) <= 6 and (min(sizes[0]) >= 4 or len(sizes) == 1)


def test_stage_sizes_of_common_images():
    assert stage_sizes((28, 28)) == [(4, 4), (7, 7), (14, 14), (28, 28)]
    assert stage_sizes((48, 64)) == [(6, 8), (12, 16), (24, 32), (48, 64)]
    assert stage_sizes((100, 75)) == [(7, 5), (13, 10), (25, 19), (50, 38), (100, 75)]
    assert stage_sizes((8, 8)) == [(4, 4), (8, 8)]


@settings(deadline=None, max_examples=25)
@given(
    network=st.sampled_from(NETWORKS),
    height=st.integers(7, 40),
    width=st.integers(7, 40),
    channels=st.sampled_from([1, 3, 4]),
    classes=st.sampled_from([0, 3]),
    rows=st.integers(1, 3),
)
def test_shapes(network, height, width, channels, classes, rows):
    generator, discriminator = small(network, (height, width), channels, classes)
    label = torch.arange(rows) % classes if classes else None
    images = generator.eval()(torch.randn(rows, LATENT), label)
    assert images.shape == (rows, channels, height, width) and images.dtype is torch.float32
    logits = discriminator(images, label)
    assert logits.shape == (rows,) and logits.dtype is torch.float32
    features = discriminator.features(images)
    assert features.shape == (rows, discriminator.head.linear.in_features)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(28, 28), (48, 64), (8, 8), (100, 75)])
def test_default_widths_fit(network, size):
    generator, discriminator = build(network, size, 3, LATENT)
    with torch.no_grad():
        assert discriminator(generator.eval()(torch.randn(1, LATENT))).shape == (1,)
    assert default_widths(network, size)


def test_features_are_what_the_last_linear_layer_sees():
    for network in NETWORKS:
        _, discriminator = small(network)
        images = torch.randn(3, 1, 13, 10)
        expected = discriminator.head.linear(discriminator.features(images))[:, 0]
        torch.testing.assert_close(discriminator(images), expected)


def test_parameter_counts_of_the_documentation():
    widths = (128, 128, 64, 32)
    documented = {
        MlpGenerator((28, 28), 1, 64): 109_456,
        MlpDiscriminator((28, 28), 1): 100_609,
        DcganGenerator((28, 28), 1, 64): 919_425,
        DcganDiscriminator((28, 28), 1): 660_929,
        DcganDiscriminator((28, 28), 1, norm="batch"): 661_697,
        ResidualGenerator((28, 28), 1, 64, widths): 397_729,
        ResidualDiscriminator((28, 28), 1, widths): 266_817,
    }
    for network, number in documented.items():
        assert count(network) == number
        assert f"{number:,}" in type(network).__doc__


# Labels


@pytest.mark.parametrize("network", NETWORKS)
def test_labels_matter(network):
    generator, discriminator = small(network, classes=3)
    latent, images = torch.randn(1, LATENT).expand(3, -1), torch.randn(1, 1, 13, 10).expand(3, -1, -1, -1)
    label = torch.arange(3)
    drawn, logits = generator.eval()(latent, label), discriminator(images, label)
    for i, j in ((0, 1), (1, 2), (0, 2)):
        assert not torch.allclose(drawn[i], drawn[j], atol=1e-5)
        assert not torch.allclose(logits[i], logits[j], atol=1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_label_is_projected_on_the_features(network):
    _, discriminator = small(network, classes=4)
    images, label = torch.randn(5, 1, 13, 10), torch.tensor([3, 0, 1, 3, 2])
    phi, head = discriminator.features(images), discriminator.head
    expected = torch.stack(
        [head.embedding.weight[y] @ f + head.linear.weight[0] @ f for y, f in zip(label, phi, strict=True)]
    )
    torch.testing.assert_close(discriminator(images, label), expected + head.linear.bias)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_label_too_many_or_too_few(network):
    latent, images, label = torch.randn(2, LATENT), torch.randn(2, 1, 13, 10), torch.zeros(2, dtype=torch.long)
    for net, x in zip(small(network), (latent, images), strict=True):
        with pytest.raises(UserError, match="pass none"):
            net(x, label)
    for net, x in zip(small(network, classes=3), (latent, images), strict=True):
        with pytest.raises(UserError, match="3 classes"):
            net(x)


# Gradients


def discriminator_step(discriminator, images, label=None):
    """RpGAN + R1 + R2, the second half of the images taken as fakes; gradients in the parameters."""
    images = images.clone().requires_grad_()
    logits = discriminator(images, label)
    real, fake = logits.chunk(2)
    loss = LOSSES["rpgan"].discriminator(real, fake) + 0.5 * zero_centred(images, logits).mean()
    loss.backward()
    return loss


def wake(network: nn.Module) -> nn.Module:
    """Give Fixup's zero layers weights, as the first optimiser step does."""
    for layer in network.modules():
        if isinstance(layer, Block):
            nn.init.normal_(layer.contract.weight, std=0.1)
    return network


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_gradients_reach_every_parameter(network, classes, spectral_norm):
    generator, discriminator = map(wake, small(network, classes=classes, spectral_norm=False))
    if spectral_norm:
        _, discriminator = small(network, classes=classes, spectral_norm=True)
    label = torch.arange(6) % classes if classes else None
    discriminator(generator(torch.randn(6, LATENT), label), label).sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name
    discriminator.zero_grad()
    discriminator_step(discriminator, torch.randn(6, 1, 13, 10), label)
    for name, parameter in discriminator.named_parameters():
        # A bias common to all logits cancels in a relativistic loss.
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name == "head.linear.bias", name


@pytest.mark.parametrize("network", NETWORKS)
def test_second_derivatives_are_right(network):
    """The penalty's gradient in one direction of the weights against a central difference, in float64."""
    _, discriminator = map(wake, small(network, (9, 8), widths=None))
    discriminator.double()
    images = torch.randn(3, 1, 9, 8, dtype=torch.float64)
    directions = [torch.randn_like(p) for p in discriminator.parameters()]

    def penalty():
        x = images.clone().requires_grad_()
        return zero_centred(x, discriminator(x)).mean()

    def move(step):
        with torch.no_grad():
            for p, d in zip(discriminator.parameters(), directions, strict=True):
                p.add_(d, alpha=step)

    gradients = torch.autograd.grad(penalty(), list(discriminator.parameters()), allow_unused=True)
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
    step = 1e-7  # short, so as to cross few corners of the leaky ReLUs
    move(step)
    ahead = penalty()
    move(-2 * step)
    torch.testing.assert_close(slope, (ahead - penalty()) / (2 * step), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_bfloat16_autocast_agrees_with_float32(network, spectral_norm):
    generator, discriminator = map(wake, small(network, (14, 14), spectral_norm=spectral_norm))
    discriminator.eval()  # no power iteration between the two passes
    images = torch.randn(8, 1, 14, 14)
    loss = discriminator_step(discriminator, images)
    wide = torch.cat([p.grad.flatten() for p in discriminator.parameters()])
    discriminator.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        narrow_loss = discriminator_step(discriminator, images)
        assert generator(torch.randn(2, LATENT)).dtype is torch.float32
        assert discriminator(images).dtype is torch.float32
    narrow = torch.cat([p.grad.flatten() for p in discriminator.parameters()])
    assert narrow_loss.dtype is torch.float32 and narrow.dtype is torch.float32
    torch.testing.assert_close(narrow_loss, loss, rtol=0.05, atol=0.02)
    assert torch.cosine_similarity(narrow, wide, dim=0) > 0.99


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_a_discriminator_judges_every_image_by_itself(network, spectral_norm):
    _, discriminator = small(network, spectral_norm=spectral_norm)
    discriminator.eval()
    images = torch.randn(4, 1, 13, 10)
    together = discriminator(images)
    torch.testing.assert_close(together, torch.cat([discriminator(images[i : i + 1]) for i in range(4)]))
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(images)[1], images)
    assert gradient[1].any() and not gradient[[0, 2, 3]].any()


def test_batch_normalisation_does_couple_images():
    torch.manual_seed(0)
    discriminator = DcganDiscriminator((14, 14), 1, (16, 16), norm="batch")
    images = torch.randn(4, 1, 14, 14).requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(images)[1], images)
    assert gradient[0].any()


# Initialisation


@pytest.mark.parametrize(
    ("network", "image_std"), [("mlp", (0.4, 0.9)), ("dcgan", (0.05, 0.9)), ("residual", (0.3, 1.3))]
)
@pytest.mark.parametrize("size", [(28, 28), (32, 32)])
def test_spread_at_initialisation(network, image_std, size):
    torch.manual_seed(0)
    generator, discriminator = build(network, size, 1, 64)
    with torch.no_grad():
        images = generator(torch.randn(32, 64))
        logits = discriminator(torch.randn(32, 1, *size))
    assert image_std[0] < images.std() < image_std[1]
    assert 1e-4 < logits.std() < 3


def test_residual_depth_leaves_the_spread_alone():
    spread = []
    for blocks in (1, 6):
        torch.manual_seed(0)
        generator, _ = build("residual", (28, 28), 1, 64, blocks=blocks)
        with torch.no_grad():
            spread.append(generator(torch.randn(64, 64)).std().item())
    assert spread[1] == pytest.approx(spread[0], rel=0.4)  # blocks start as the identity; only the draw differs


def test_fixup():
    generator, _ = build("residual", (28, 28), 1, 64, blocks=4)
    blocks = [m for m in generator.modules() if isinstance(m, Block)]
    assert len(blocks) == 16 and not any(block.contract.weight.any() for block in blocks)
    # 16 blocks of 3 layers: 16^(-1/4) = 1/2, times the He gain of leaky ReLU 0.2
    gain = math.sqrt(2 / (1 + 0.2**2)) / 2
    for block in blocks:
        for weight in (block.expand.weight, block.conv.weight):
            assert weight.std().item() == pytest.approx(gain / math.sqrt(weight[0].numel()), rel=0.08)


# Resampling


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40))
def test_resampling_matrix_is_torch_s_antialiased_bilinear(size_in, size_out):
    line = torch.randn(1, 1, 1, size_in, dtype=torch.float64)
    expected = interpolate(line, size=(1, size_out), mode="bilinear", antialias=True)[0, 0, 0]
    got = bilinear_matrix(size_in, size_out).double() @ line[0, 0, 0]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("size_in", "size_out"), [((7, 5), (13, 10)), ((13, 10), (7, 5)), ((25, 19), (50, 38))])
def test_resample(size_in, size_out):
    x = torch.randn(2, *size_in, 3)
    expected = interpolate(x.permute(0, 3, 1, 2), size=size_out, mode="bilinear", antialias=True)
    torch.testing.assert_close(Resample(size_in, size_out)(x), expected.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5)


def test_halving_is_the_binomial_filter():
    assert bilinear_matrix(8, 4)[1].tolist() == pytest.approx([0, 1 / 8, 3 / 8, 3 / 8, 1 / 8, 0, 0, 0])


# Spectral normalisation


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("classes", [0, 3])
def test_spectral_norm_is_at_most_one(network, classes):
    _, discriminator = small(network, classes=classes, spectral_norm=True)
    label = torch.arange(4) % classes if classes else None
    for _ in range(30):  # power iterations
        with torch.autocast("cpu", torch.bfloat16):
            assert discriminator(torch.randn(4, 1, 13, 10), label).isfinite().all()
    discriminator.eval()
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.Embedding | GridSum)]
    assert len(layers) > 1
    for layer in layers:
        weight = layer.weight.detach()
        matrix = weight.flatten(0, 1) if isinstance(layer, GridSum) else weight.flatten(1)
        norm = torch.linalg.matrix_norm(matrix, 2)
        assert 0.9 < norm < 1.03


# The doubles of DCGAN, determinism, errors


@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
@pytest.mark.parametrize("norm", ["batch", None])
def test_dcgan_options(upsample, norm):
    generator = DcganGenerator((13, 10), 3, LATENT, (16,), upsample=upsample, norm=norm)
    assert generator(torch.randn(2, LATENT)).shape == (2, 3, 13, 10)
    assert any(isinstance(m, nn.BatchNorm2d) for m in generator.modules()) == (norm == "batch")
    assert any(isinstance(m, nn.ConvTranspose2d) for m in generator.modules()) == (upsample == "transposed")


@pytest.mark.parametrize("network", NETWORKS)
def test_same_seed_same_networks(network):
    first, second = small(network, classes=3), small(network, classes=3)
    for a, b in zip(first, second, strict=True):
        assert a.state_dict().keys() == b.state_dict().keys()
        assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    latent, label = torch.randn(2, LATENT), torch.tensor([0, 2])
    images = [nets[0].eval()(latent, label) for nets in (first, second)]
    assert torch.equal(*images)
    assert torch.equal(*(nets[1].eval()(images[0], label) for nets in (first, second)))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_state_is_all_there_is(network):
    trained = small(network, (28, 28), classes=3, widths=None)
    fresh = build(network, (28, 28), 1, LATENT, 3)
    latent, label = torch.randn(2, LATENT), torch.tensor([0, 2])
    before = fresh[0].eval()(latent, label)
    for a, b in zip(trained, fresh, strict=True):
        b.load_state_dict(a.state_dict())
    images = trained[0].eval()(latent, label)
    assert torch.equal(images, fresh[0](latent, label)) and not torch.allclose(images, before)
    assert torch.equal(trained[1](images, label), fresh[1](images, label))
    for net in trained:  # what follows from the sizes is not saved
        learned = {name for name, _ in net.named_parameters()}
        assert {name for name in net.state_dict() if "norms." not in name} <= learned


def test_errors_name_the_key():
    with pytest.raises(UserError, match="residual, dcgan, mlp"):
        build("stylegan", (28, 28), 1, LATENT)
    with pytest.raises(UserError, match=r"model.widths has 3 numbers.*4 grids.*4×4, 7×7, 14×14, 28×28"):
        build("residual", (28, 28), 1, LATENT, widths=[64, 64, 32])
    with pytest.raises(UserError, match=r"model.widths has 4 numbers.*3 grids"):
        build("dcgan", (28, 28), 1, LATENT, widths=[64, 64, 64, 32])
    with pytest.raises(UserError, match="groups of 16 do not divide"):
        build("residual", (8, 8), 1, LATENT, widths=[20, 20])
    with pytest.raises(UserError, match="at least 7×7"):
        build("dcgan", (6, 28), 1, LATENT)


# Patches


@given(st.integers(4, 40), st.integers(4, 40), st.sampled_from([2, 4]))
@settings(max_examples=15, deadline=None)
def test_patches_fit_images_of_any_size(height, width, patch):
    torch.manual_seed(0)
    grids = len(stage_sizes((math.ceil(height / patch), math.ceil(width / patch))))
    generator, discriminator = build("residual", (height, width), 3, LATENT, widths=[16] * grids, patch=patch)
    images = generator(torch.randn(2, LATENT))
    assert images.shape == (2, 3, height, width)
    images = images.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(images).sum(), images)
    assert (slope.abs().sum((0, 1)) > 0).all()  # no pixel is out of the discriminator's sight


def test_patches_shrink_the_finest_grid():
    assert default_widths("residual", (28, 28), patch=2) == [128, 64, 32]
    generator, _ = build("residual", (28, 28), 1, LATENT, patch=2)
    assert generator.to_image.out_features == 4 and len(generator.stages) == 3
