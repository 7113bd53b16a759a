from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from adverb.errors import UserError
from adverb.metrics.features import extractor_for
from adverb.metrics.inception import Inception, average, load_inception


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Weights anyone can make again from the names and shapes alone."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Inception().state_dict().items()}
    rng = np.random.Generator(np.random.PCG64(0))
    out = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if name.endswith("num_batches_tracked"):
            continue  # the published file, being old, has none
        if len(shape) > 1:
            value = rng.standard_normal(shape).astype(np.float32) * (2 / np.prod(shape[1:])) ** 0.5
        else:
            value = rng.random(shape, dtype=np.float32)
            value = value + 0.5 if name.endswith(("running_var", "bn.weight")) else value - 0.5
        out[name] = torch.from_numpy(value.astype(np.float32))
    return out


@pytest.fixture(scope="module")
def file(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(weights, path)
    return path


def test_features_are_those_of_pytorch_fid(file):
    """The expected values were computed by pytorch-fid 0.3's network with these weights and this input."""
    images = torch.from_numpy(np.random.Generator(np.random.PCG64(1)).random((2, 3, 40, 48), dtype=np.float32))
    with torch.no_grad():
        found = load_inception(file)(2 * images - 1)
    expected = [
        [2.12019, 0.0, 0.22858, 1.34653, 0.0, 1.97227, 0.19686, 13.07875],
        [1.97349, 0.0, 0.28676, 1.26775, 0.0, 1.89889, 0.22215, 13.17115],
    ]
    assert found.shape == (2, 2048)
    torch.testing.assert_close(found[:, ::256], torch.tensor(expected), rtol=1e-4, atol=1e-4)
    assert found.mean().item() == pytest.approx(5.30468, rel=1e-4)
    assert found.std().item() == pytest.approx(7.35765, rel=1e-4)


def test_size_of_the_network():
    """torchvision's Inception-v3 without its auxiliary classifier has 23,834,568 parameters for 1000 classes."""
    with torch.device("meta"):
        network = Inception()
    assert sum(p.numel() for p in network.parameters()) == 23_834_568 + 8 * (2048 + 1)


def test_average_leaves_the_padding_out():
    torch.testing.assert_close(average(torch.ones(1, 1, 5, 5)), torch.ones(1, 1, 5, 5))


def test_grey_images_and_safetensors(weights, file, tmp_path):
    save_file(weights, tmp_path / "inception.safetensors")
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    judge = extractor_for(f"inception:{tmp_path / 'inception.safetensors'}", images)
    assert judge.name == f"Inception-v3 from {tmp_path / 'inception.safetensors'}"
    colour = extractor_for(f"inception:{file}", images)(images.repeat(3, axis=3))
    torch.testing.assert_close(judge(images), colour)


def test_files_that_cannot_be_used(weights, tmp_path):
    with pytest.raises(UserError, match="No Inception weights at .*nowhere.pth"):
        load_inception(tmp_path / "nowhere.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="cannot be read|can be read safely"):
        load_inception(tmp_path / "text.pth")
    torch.save({**weights, "fc.weight": torch.zeros(1000, 2048)}, tmp_path / "torchvision.pth")
    with pytest.raises(UserError, match="1 of its 472 weights .* such as fc.weight"):
        load_inception(tmp_path / "torchvision.pth")
