"""Images from captions: the loss, that the caption decides what is drawn, and the way to the command line and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch.nn.functional import softplus

import adverb
from adverb import recipe
from adverb.context import Context
from adverb.data.grid import GAP
from adverb.data.order import indices_of_batch
from adverb.engine import Engine
from adverb.errors import UserError
from adverb.gan.networks import build
from adverb.gan.networks.common import spread
from adverb.objectives.base import Draw
from adverb.objectives.text_to_image import NOISE, TextToImage
from adverb.pipelines import load
from adverb.pipelines.evaluate import evaluate
from adverb.pipelines.text_generator import TextGenerator

CPU = Context(torch.device("cpu"))
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def objective(**overrides) -> TextToImage:
    overrides = {"train.steps": 100, "train.batch_size": 16, "evaluate.features": "random", **overrides}
    return TextToImage(recipe.load("text-to-image", overrides), CPU, Console(quiet=True))


def draw(rows=16) -> Draw:
    return Draw((0, 0, "test", 0), rows, 0, rows, CPU.device)


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """Squares of three colours, dark to bright, with captions that name them."""
    path = tmp_path_factory.mktemp("colours")
    random, rows = np.random.Generator(np.random.PCG64(0)), []
    for i in range(240):
        name = list(COLOURS)[i % 3]
        pixels = np.full((8, 8, 3), COLOURS[name]) * random.uniform(0.4, 1) * random.uniform(0.9, 1, (8, 8, 1))
        Image.fromarray(pixels.astype(np.uint8)).save(path / f"{i}.png")
        text = (f"a {name} square", f"{name}", f"something {name}")[i // 3 % 3]
        rows.append({"file_name": f"{i}.png", "text": text})
    (path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("network", ["residual", "dcgan", "mlp"])
def test_networks_take_features_for_labels(network):
    generator, discriminator = build(network, (8, 8), 1, 16, caption_size=12)
    features = torch.randn(5, 3, 12)
    images = generator(torch.randn(5, 16), features[:, 0])
    assert images.shape == (5, 1, 8, 8)
    several = discriminator(images, features)
    assert several.shape == (5, 3)
    for k in range(3):
        torch.testing.assert_close(several[:, k], discriminator(images, features[:, k]))
    assert (several[:, 0] - several[:, 1]).abs().max() > 1e-4
    with pytest.raises(UserError, match="drawn by caption"):
        generator(torch.randn(5, 16), None)


def test_the_start_does_not_depend_on_how_long_or_where_the_features_are():
    torch.manual_seed(0)
    generator, discriminator = build("residual", (8, 8), 1, 64, caption_size=384)
    features = 5 + 30 * torch.randn(500, 384)
    width = discriminator.head.linear.in_features
    for part, deviation in ((generator.input.embedding, 0.2), (discriminator.head.embedding, width**-0.5)):
        part.fit(features)
        out = part(features)
        assert 0.7 * deviation < out.std() < 1.3 * deviation


def test_the_discriminators_loss_is_its_formula(minilm):
    one = objective(**{"loss.wrong_caption": 0.3})
    one.schedule(0.0, 0)
    images, captions = one.batch(0, 0, 16)
    loss, metrics = one.discriminator_loss((images, captions), draw())
    real, _ = one.real_images((images, None), draw())
    discriminator = one.networks["discriminator"]
    own, wrong = captions.unbind(1)
    same = draw()
    same.randn(*captions.shape[1:])  # of the noise on captions, which has no length yet
    fake = one.networks["generator"](same.randn(64), own).detach()
    right = discriminator(real, own)
    expected = softplus(discriminator(fake, own) - right).mean()
    expected = expected + 0.3 * softplus(discriminator(real, wrong) - right).mean()
    for pictures in (real, fake):
        pictures = pictures.clone().requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(pictures, own).sum(), pictures)
        expected = expected + one.r1 / 2 * slope.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    assert one.r1 == one.r2 > 0 and metrics["match_loss"] > 0


def test_micro_batches_are_pieces_of_the_batch(minilm):
    one = objective()
    images, captions = one.batch(5, 0, 16)
    part = one.batch(5, 4, 10)
    assert torch.equal(part[0], images[4:10]) and torch.equal(part[1], captions[4:10])
    assert not torch.equal(one.batch(6, 0, 16)[1], captions)
    assert (captions[:, 0] != captions[:, 1]).any(1).all()


def test_captions_are_blurred_more_and_more_and_are_still_told_apart(minilm):
    one = objective()
    exact = one.batch(0, 0, 16)[1]
    one.schedule(0.0, 0)
    assert NOISE[0] == 0 and torch.equal(one.blurred(exact, draw()), exact)
    one.schedule(1.0, 100)
    captions = one.blurred(exact, draw())
    assert not torch.equal(captions, one.blurred(exact, Draw((0, 1, "test", 0), 16, 0, 16, CPU.device)))
    known = [torch.cdist(captions[:, k], one.features) for k in (0, 1)]
    for distances in known:
        length = distances.min(1).values / spread(one.features)
        assert length.mean() == pytest.approx(NOISE[1], rel=0.1) and length.std() < 0.1
    own, wrong = (one.captions.groups[distances.argmin(1)] for distances in known)
    rows = indices_of_batch(len(one.data), 16, one.recipe.seed, 0)
    assert (own == one.groups[rows]).all() and (own != wrong).all()


def test_the_caption_decides_what_is_drawn(minilm, colours):
    """A generator that ignores its caption is right in a third of the images; so is one that is not taught to match."""
    steps = 120
    one = objective(**{"data.path": str(colours), "train.steps": steps, "train.batch_size": 24, "model.network": "mlp"})
    engine = Engine(one, None, CPU)
    for step in range(steps):
        engine.one_step(step / steps)
    model = one._pipeline(engine.current())
    right = []
    for i, name in enumerate(COLOURS):
        for text in (f"a {name} square", f"something {name}", f"a square that is {name}"):  # the last: never trained on
            right.append((model.generate(20, text=text, seed=3).mean((1, 2)).argmax(1) == i).mean())
    assert min(right) > 0.6 and np.mean(right) > 0.9, right


def test_a_saved_model_draws_the_same_without_what_it_was_made_of(minilm, tmp_path):
    one = objective()
    one.save(one.networks, tmp_path / "model")
    model, direct = load(tmp_path / "model"), one._pipeline(one.networks)
    assert isinstance(model, TextGenerator) and (tmp_path / "model" / "reader" / "model.safetensors").is_file()
    for text in ("a seven", "nobody ever said this"):
        assert np.array_equal(model.generate(3, text=text, seed=5), direct.generate(3, text=text, seed=5))
    assert not np.array_equal(model.generate(3, text="a seven"), model.generate(3, text="a two"))
    both = model.generate(3, text=["a seven", "a two"], seed=1)  # the same noise for each caption
    assert np.array_equal(both[:3], model.generate(3, text="a seven", seed=1))
    assert np.array_equal(both[3:], model.generate(3, text="a two", seed=1))
    images, labels = model.generate(300, seed=1, with_labels=True)
    assert images.shape == (300, 8, 8, 1) and (np.bincount(labels, minlength=10) > 10).all()
    with pytest.raises(UserError, match="empty caption"):
        model.generate(1, text=" ")


def test_a_stronger_caption_is_farther_from_what_all_captions_have_in_common(minilm, tmp_path):
    one = objective()
    one.save(one.networks, tmp_path / "model")
    model = load(tmp_path / "model")
    (known,), (strong,) = model.read(["a seven"]), model.with_strength(1.5).read(["a seven"])
    centre = one.features.mean(0).numpy()
    np.testing.assert_array_equal(model.centre, centre)
    np.testing.assert_allclose(strong - centre, 1.5 * (known - centre), rtol=1e-4, atol=1e-6)
    weak, strong = model.with_strength(1.0), model.with_strength(2.0)
    assert model.strength == 1 and strong.reader is model.reader
    np.testing.assert_array_equal(weak.generate(4, text="a seven"), model.generate(4, text="a seven"))
    stronger = strong.generate(4, text=["a two", "a seven"])
    assert not np.array_equal(stronger[4:], model.generate(4, text="a seven"))
    np.testing.assert_array_equal(stronger[4:], strong.generate(4, text="a seven"))
    asked = dict(n=4, label="a seven")
    np.testing.assert_array_equal(strong.walk(0, 3, 4, **asked)[[0, -1]], strong.generate(**asked)[[0, 3]])
    assert not np.array_equal(strong.walk(0, 3, 4, **asked), model.walk(0, 3, 4, **asked))
    for strength in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="above 0"):
            model.with_strength(strength)


class Copyist:
    """Draws scans of what a caption says: a known share of them, and of the other images the digit after."""

    label_names = ()

    def __init__(self, one: TextToImage, share: float):
        captions, images = one.captions, one.images
        known = zip([*captions.texts, *captions.unseen], [*captions.groups, *captions.unseen_groups], strict=True)
        self.digits, self.share, self.random = dict(known), share, np.random.default_rng(0)
        self.scans = [images.batch(np.flatnonzero(images.labels == digit)) for digit in range(10)]

    def latents(self, n, seed):
        return None

    def read(self, texts):
        return np.array([self.digits[text] for text in texts])

    def draw(self, latents, digits):
        drawn = np.where(self.random.random(len(digits)) < self.share, digits, (digits + 1) % 10)
        return np.stack([self.random.choice(self.scans[digit]) for digit in drawn])

    def generate(self, n, seed=0, text=None, with_labels=False):
        digits = np.arange(n) % 10 if text is None else np.repeat(self.read(text), n)
        images = self.draw(None, digits)
        return (images, digits) if with_labels else images


def test_evaluation_measures_known_and_unseen_wordings(minilm, tmp_path, monkeypatch):
    monkeypatch.setattr("adverb.metrics.matching.IMAGES", 400)
    one = objective(**{"evaluate.features": "auto", "evaluate.samples": 400})
    one.prepare()
    untrained = one.evaluate(one.networks, tmp_path, 0, final=False)
    assert (tmp_path / "step-0000000.png").is_file()
    for share in (1.0, 0.4):
        monkeypatch.setattr(one, "_pipeline", lambda networks, share=share: Copyist(one, share))
        metrics = one.evaluate(one.networks, tmp_path, 1, final=False)
        assert metrics.keys() == untrained.keys()
        for name in ("label_agreement", "unseen_agreement"):
            assert metrics[name] == pytest.approx(share, abs=0.08) and untrained[name] < 0.35


def test_a_run_on_captions_of_the_data_is_measured_alike_while_it_trains_and_afterwards(minilm, tmp_path):
    """200 captions of one image each: 20 of them are kept, and found again among the 20 images by chance at first."""
    pixels, rows = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8), []
    (tmp_path / "data").mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / "data" / f"{i:03d}.png")
        rows.append({"file_name": f"{i:03d}.png", "text": f"picture number {i}"})
    (tmp_path / "data" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"model.network": "mlp", "train.steps": 2, "train.batch_size": 16, "train.evaluations": 1,
                "train.precision": "fp32", "evaluate.features": "random", "evaluate.samples": 60}  # fmt: skip
    run = adverb.train("text-to-image", tmp_path / "data", out=tmp_path / "run", **settings)
    logged = {name.removeprefix("eval/"): value for name, value in run.metrics()[-1].items()}
    found = {f"recall_{k}": k / 20 for k in (1, 5, 10)}
    assert [logged[f"{name}_floor"] for name in found] == pytest.approx(list(found.values()))
    assert all(0 <= logged[name] <= 1 for name in found) and "unseen_agreement" not in logged
    measured = evaluate(str(run.path), samples=60, console=Console(quiet=True))
    for name in (*found, *(f"{name}_floor" for name in found)):
        assert measured[name] == pytest.approx(logged[name], abs=2e-3), name


def test_from_training_to_pictures_on_the_command_line(adverb, minilm, tmp_path):
    small = ["train.steps=4", "train.evaluations=1", "evaluate.samples=60", "evaluate.features=random"]
    run = adverb("train", "text-to-image", *small, "--out", "run")
    assert run.returncode == 0, run.stderr
    assert "the number" in run.stdout or "made from the labels" in run.stdout
    run = adverb("generate", "run", "--text", "a red heart", "-n", "8", "--out", "x.png")
    assert run.returncode == 0 and Image.open(tmp_path / "x.png").width > 8 * 8, run.stderr
    run = adverb("generate", "run", "--text", "a two", "--text", "a three", "-n", "5", "--out", "folder")
    assert run.returncode == 0 and len(list((tmp_path / "folder").glob("0*.png"))) == 10, run.stderr
    assert Image.open(tmp_path / "folder" / "grid.png").width == 5 * (64 + GAP) + GAP  # a row a caption
    for strength in ("1", "3"):
        words = ("--text", "a two", "--strength", strength, "-n", "4", "--out", f"{strength}.png")
        run = adverb("generate", "run", *words)
        assert run.returncode == 0, run.stderr
        run = adverb("generate", "run", *words[:-3], "1", "--out", f"{strength}.gif")
        assert run.returncode == 0, run.stderr
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "3.png").read_bytes()
    assert (tmp_path / "1.gif").read_bytes() != (tmp_path / "3.gif").read_bytes()
    for words, message in (
        (("--label", "7"), "--text"),
        (("--text", "a two", "--strength", "0"), "above 0"),
    ):
        run = adverb("generate", "run", *words)
        assert run.returncode == 2 and message in run.stderr, run.stderr


def test_captions_are_refused_by_a_generator_without(adverb, tmp_path):
    from adverb.pipelines.generator import Generator

    config = {"network": "mlp", "image_size": [8, 8], "channels": 1, "latent_size": 4, "classes": 0}
    Generator(build(**config)[0], config | {"label_names": []}).save(tmp_path / "plain")
    for words in (("--text", "a seven"), ("--strength", "2")):
        run = adverb("generate", "plain", *words)
        assert run.returncode == 2 and f"without captions: leave {words[0]} out" in run.stderr


def test_data_without_captions_is_refused(minilm):
    with pytest.raises(UserError, match="has no captions"):
        objective(**{"data.label": "none"})
