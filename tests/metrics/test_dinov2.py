from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from adverb.errors import UserError
from adverb.metrics.dinov2 import MEAN, STD, load_dinov2
from adverb.metrics.features import extractor_for

transformers = pytest.importorskip("transformers")


def save_reference(folder, **changes):
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=4, layerscale_value=0.7, **changes
    )
    model = transformers.Dinov2Model(config).eval()
    for parameter in model.parameters():  # away from their initial values, biases and scales too
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("swiglu", [False, True])
@pytest.mark.parametrize("image_size", [224, 518])  # 518: the published checkpoints, positions are interpolated
def test_parity_with_transformers(tmp_path, swiglu, image_size):
    reference = save_reference(tmp_path, use_swiglu_ffn=swiglu, image_size=image_size)
    network = load_dinov2(tmp_path)
    pixels = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected = reference(pixels).last_hidden_state
        torch.testing.assert_close(network.tokens(pixels), expected, rtol=1e-5, atol=1e-5)
        # Images already of the right size pass through the resize unchanged and are normalised as ImageNet's.
        images = torch.rand(2, 3, 224, 224) * 2 - 1
        mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
        expected = reference(((images + 1) / 2 - mean) / std).pooler_output
        torch.testing.assert_close(network(images), expected, rtol=1e-5, atol=1e-5)


def test_names_inside_a_larger_model_and_its_head(tmp_path):
    """Weights of Dinov2ForImageClassification carry a prefix, and more than is needed."""
    torch.manual_seed(0)
    config = transformers.Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=28)
    model = transformers.Dinov2ForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        expected = model.dinov2(pixels).last_hidden_state
        torch.testing.assert_close(load_dinov2(tmp_path).tokens(pixels), expected, rtol=1e-5, atol=1e-5)


def test_extractor_of_grey_images(tmp_path):
    save_reference(tmp_path, image_size=28)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    judge = extractor_for(f"dinov2:{tmp_path}", images)
    assert judge(images).shape == (3, 48) and judge.name == f"DINOv2 from {tmp_path}"
    torch.testing.assert_close(judge(images)[1:2], judge(images[1:2]), rtol=1e-5, atol=1e-5)


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(UserError, match="No config.json"):
        load_dinov2(tmp_path)
    save_reference(tmp_path, image_size=28)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"model_type": "vit"}, "model_type 'vit'"),
        ({"hidden_size": 96}, "do not fit"),
        ({"num_hidden_layers": 4}, "lacks 18 weights"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match=message):
            load_dinov2(tmp_path)
    with pytest.raises(UserError, match="No folder ./nowhere"):
        extractor_for("dinov2:./nowhere", np.zeros((1, 8, 8, 1), np.uint8))
