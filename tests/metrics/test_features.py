from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from adverb.errors import UserError
from adverb.metrics import classifier
from adverb.metrics.distances import judge
from adverb.metrics.features import FeatureExtractor, RandomFeatures, extractor_for
from adverb.metrics.images import as_float, as_rgb
from adverb.metrics.modes import agreement


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return (data.images * 255 / 16).round().astype(np.uint8)[..., None], data.target


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADVERB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield classifier.cache_folder()


@pytest.fixture(scope="module")
def trained(digits, cache) -> FeatureExtractor:
    return extractor_for("auto", *digits)


# -- images --


def test_float_and_uint8_images_are_the_same_to_a_judge():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = as_float(levels)
    assert x.shape == (1, 1, 16, 16) and x.min() == -1 and x.max() == 1
    between = x + torch.linspace(-0.49, 0.49, 256).reshape(x.shape) / 127.5  # what no 8-bit file keeps
    assert torch.equal(as_float(between), x)
    assert torch.equal(as_float(torch.tensor([-3.0, 3.0]).reshape(1, 1, 1, 2)).flatten(), torch.tensor([-1.0, 1.0]))
    assert as_float(torch.full((1, 1, 2, 2), torch.nan)).isnan().all()


def test_transparent_colours_are_not_seen():
    pixels = np.array([[[[255, 0, 0, 0], [255, 0, 0, 255], [255, 255, 255, 51]]]], np.uint8)
    x = as_float(pixels)[0, :, 0].T  # [pixel, RGBA]
    torch.testing.assert_close(x[0], torch.tensor([-1.0, -1, -1, -1]))
    torch.testing.assert_close(x[1], torch.tensor([1.0, -1, -1, 1]))
    torch.testing.assert_close(x[2, :3], torch.full((3,), 2 * 0.2 - 1))
    on_white = as_rgb(as_float(pixels))[0, :, 0].T
    torch.testing.assert_close(on_white, torch.tensor([[1.0, 1, 1], [1, -1, -1], [1, 1, 1]]))


@pytest.mark.parametrize("wrong", [np.zeros((2, 8, 8, 1), np.float32), np.zeros((8, 8, 1), np.uint8)])
def test_images_in_another_form(wrong):
    with pytest.raises(ValueError, match="expected uint8"):
        as_float(wrong)
    with pytest.raises(ValueError, match="channels"):
        as_float(np.zeros((2, 8, 8, 2), np.uint8))


# -- the classifier --


def test_the_classifier_knows_its_digits(digits, trained):
    images, labels = digits
    assert trained.kind == "classifier"
    assert trained.name.startswith("classifier trained on the labelled data (held-out accuracy 9")
    assert float(trained.name.split()[-1].rstrip("%)")) >= 97  # 98 to 99 in general; 299 images are held out
    assert agreement(trained.classify(images), torch.from_numpy(labels)) > 0.99
    features = trained(images)
    assert features.shape == (1797, 96) and features.dtype == torch.float32
    torch.testing.assert_close(features[300:303], trained(as_float(images[300:303])), rtol=1e-4, atol=1e-4)


def test_the_classifier_is_kept(digits, trained, cache, monkeypatch):
    images, labels = digits
    assert len(list(cache.iterdir())) == 1  # and nothing half-written beside it

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(classifier, "train_classifier", refuse)
    again = extractor_for("classifier", images, labels)
    assert again.name == trained.name
    assert torch.equal(again(images[:50]), trained(images[:50]))
    with pytest.raises(AssertionError, match="trained again"):  # other labels, another judge
        extractor_for("classifier", images, (labels + 1) % 10)
    with pytest.raises(AssertionError, match="trained again"):
        extractor_for("classifier", 255 - images, labels)


def test_a_broken_cache_is_mended(digits, trained, cache, monkeypatch):
    images, labels = digits
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    network = trained.network
    monkeypatch.setattr(classifier, "train_classifier", lambda *_: (network, 0.5))
    assert "50.0%" in extractor_for("classifier", images, labels).name
    monkeypatch.setenv("ADVERB_CACHE", str(path))  # a file where the folder should be
    with pytest.warns(UserWarning, match="could not be kept"):
        extractor_for("classifier", images, labels)
    path.write_bytes(whole)


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 20, 3), (28, 28, 1), (33, 33, 4), (64, 64, 3), (128, 96, 4)])
def test_any_size_and_channels(shape):
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    height, width, channels = shape
    for kind, network in (
        ("classifier", classifier.Classifier(channels, height, width, 5)),
        ("random", RandomFeatures(channels, height, width)),
    ):
        features = FeatureExtractor(kind, kind, network)(images)
        assert len(features) == 3 and features.isfinite().all() and features.std(dim=0).max() > 0


def test_training_is_the_same_every_time():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 130)
    images = (rng.integers(0, 40, (130, 8, 8, 3)) + 200 * labels[:, None, None, None]).astype(np.uint8)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, accuracy = classifier.train_classifier(images, labels)
    assert torch.equal(torch.get_rng_state(), before) and accuracy == 1.0
    torch.manual_seed(6)
    second, _ = classifier.train_classifier(images, labels)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


# -- what the distances see --


@pytest.mark.parametrize("kind", ["classifier", "random"])
def test_worse_images_are_further_away(digits, trained, kind):
    images = np.random.default_rng(0).permutation(digits[0])  # the data are in order of the writers
    extract = trained if kind == "classifier" else extractor_for("random", images)
    real_a, real_b, rest = (extract(part) for part in np.split(images, 3))
    sharp = images[1198:].astype(np.float32)
    noise = np.random.default_rng(0).standard_normal(sharp.shape)

    def frechets(changed):
        to_levels = (x.round().clip(0, 255).astype(np.uint8) for x in changed)
        return [judge(real_a, real_b, extract(x))["frechet"] for x in to_levels]

    clean = judge(real_a, real_b, rest)
    noisy = frechets(sharp + strength * noise for strength in (20, 40, 80))
    blurred = frechets(gaussian_filter(sharp, (0, strength, strength, 0)) for strength in (0.4, 0.6, 1.0))
    for series in (noisy, blurred):
        assert sorted(series) == series and series[0] > clean["frechet"] * 1.02 and series[-1] > 5 * clean["frechet"]


@pytest.mark.parametrize("kind", ["classifier", "random"])
def test_dropped_modes_are_seen(digits, trained, kind):
    images, labels = digits
    extract = trained if kind == "classifier" else extractor_for("random", images)
    order = np.random.default_rng(0).permutation(len(images))
    real_a, real_b, rest = np.split(order, 3)
    few = rest[labels[rest] < 5]
    result = judge(*(extract(images[rows]) for rows in (real_a, real_b, few)))
    assert result["coverage"] < 0.75 * result["coverage_floor"] and result["frechet"] > 2 * result["frechet_floor"]
    assert result["recall"] < 0.85 * result["recall_floor"]
    assert result["precision"] == pytest.approx(result["precision_floor"], abs=0.1)  # what it makes is good


# -- the spec --


def test_what_auto_chooses(digits, cache):
    images, labels = digits
    assert extractor_for("auto", images).kind == "random"
    assert extractor_for("auto", images, np.zeros(len(images), int)).kind == "random"
    assert extractor_for("auto", images, np.arange(len(images)) % 200).kind == "random"
    random = extractor_for("random", images, labels)
    assert torch.equal(random(images[:9]), extractor_for("random", images)(images[:9]))
    with pytest.raises(UserError, match="needs a classifier"):
        random.classify(images)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("classifier", "no labels"),
        ("inception", "Unknown image features 'inception'"),
        ("vgg", "Unknown image features 'vgg'"),
        ("inception:missing.pth", "No Inception weights at missing.pth"),
        ("dinov2:missing", "No folder missing"),
    ],
)
def test_specs_that_cannot_be_used(digits, spec, message):
    with pytest.raises(UserError, match=message):
        extractor_for(spec, digits[0])


def test_images_of_another_size(digits):
    extract = extractor_for("random", digits[0])
    with pytest.raises(UserError, match="images of 8×8×1 .* not 16×8×3"):
        extract(torch.zeros(2, 3, 16, 8))
