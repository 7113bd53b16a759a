"""Exports: they say what the model says, without torch, or they are not written."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from adverb import machine
from adverb.bert.checkpoint import load_pretrained, save_pretrained
from adverb.bert.config import BertConfig
from adverb.bert.heads import MODELS
from adverb.bert.tokenizer import Tokenizer
from adverb.data.grid import save_images
from adverb.errors import UserError
from adverb.export import compare, export, samples
from adverb.gan.networks import build
from adverb.pipelines import load
from adverb.pipelines.draw import draw_to
from adverb.pipelines.generator import Generator
from adverb.pipelines.randn import randn
from adverb.pipelines.text_generator import TextGenerator

pytest.importorskip("onnxscript")
pytest.importorskip("openvino")

TEXTS = [
    "Terrible.",
    "a stirring , funny and finally transporting re-imagining of beauty and the beast",
    "",
    "It was a dark and stormy night; the rain fell in torrents, except at occasional intervals. " * 4,
    "Ångström met Dr. Müller in Zürich 🙂 today .",
]
QUIET = Console(quiet=True)
BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    """A machine on which bf16 is no faster: the model that an export is compared with computes in float32."""
    monkeypatch.setattr(machine, "peaks", lambda device: machine.Peaks(fp32=1.0, bf16=1.0))


@pytest.fixture(scope="module")
def words(minilm) -> Tokenizer:
    return Tokenizer.from_pretrained(minilm)


@pytest.fixture
def make(words, tmp_path):
    """make(task, …) -> a folder with a small network that has large weights, and MiniLM's words."""

    def build(task: str, architecture: str = "bert", **config) -> Path:
        torch.manual_seed(0)
        sizes = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64)
        model = MODELS[task](BertConfig(**sizes, initializer_range=0.3, architecture=architecture, **config)).eval()
        save_pretrained(model, words, tmp_path / "model")
        return tmp_path / "model"

    return build


# -- every head says the same


HEADS = {
    "one class": ("sequence_classification", {"id2label": {0: "a", 1: "b", 2: "c"}}),
    "several classes": (
        "sequence_classification",
        {"id2label": {0: "a", 1: "b", 2: "c"}, "problem_type": "multi_label_classification"},
    ),
    "a number": ("sequence_classification", {"id2label": {0: "stars"}, "problem_type": "regression"}),
    "entities": ("token_classification", {"id2label": dict(enumerate(BIO)), "adverb": {"scheme": "spans"}}),
    "answers": ("question_answering", {}),
    "masks": ("masked_lm", {}),
    "masks and pairs": ("pretraining", {}),
    "vectors": ("embedding", {}),
    "vectors of a discriminator": ("replaced_token", {}),
}


@pytest.mark.parametrize(
    ("head", "architecture"),
    [
        *((head, "bert") for head in HEADS),
        *((head, "modern") for head in ("one class", "entities", "masks", "vectors")),
    ],
)
def test_an_export_says_what_the_model_says(make, tmp_path, head, architecture):
    task, config = HEADS[head]
    changes = {"type_vocab_size": 0, "local_attention": 16} if architecture == "modern" else {}
    folder = make(task, architecture, **config, **changes)
    model, exported = load(folder), load(export(str(folder), "onnx", tmp_path / "out", console=QUIET))
    assert exported.verb == model.verb and exported.max_length == model.max_length
    if model.verb == "classify":
        close(exported.logits(TEXTS), model.logits(TEXTS))
        np.testing.assert_allclose(exported.probabilities(TEXTS), model.probabilities(TEXTS), atol=1e-4)
        assert [c[0][0] for c in exported.classify(TEXTS)] == [c[0][0] for c in model.classify(TEXTS)]
    elif model.verb == "entities":
        ours, theirs = exported.entities(TEXTS), model.entities(TEXTS)
        assert any(ours)
        for one, other in zip(sum(ours, []), sum(theirs, []), strict=True):
            assert (one.type, one.start, one.end, one.text) == (other.type, other.start, other.end, other.text)
            assert one.probability == pytest.approx(other.probability, abs=1e-4)
    elif model.verb == "answer":
        ours, theirs = (one.answer(["Who?", "What night?"], TEXTS[3]) for one in (exported, model))
        for one, other in zip(sum(ours, []), sum(theirs, []), strict=True):
            assert (one.start, one.end) == (other.start, other.end)
            assert one.probability == pytest.approx(other.probability, abs=1e-4)
    elif model.verb == "fill_mask":
        ours, theirs = (one.fill_mask("the [MASK] sat on [MASK] mat") for one in (exported, model))
        assert [fill.tokens for fill in ours] == [fill.tokens for fill in theirs]
        assert [fill.probability for fill in ours] == pytest.approx([f.probability for f in theirs], rel=1e-3)
    else:
        np.testing.assert_allclose(exported.embed(TEXTS), model.embed(TEXTS), atol=1e-4)
        assert [hit.index for hit in exported.search("night rain", TEXTS)] == [
            hit.index for hit in model.search("night rain", TEXTS)
        ]


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(1.0, abs(theirs).max()))


def test_the_temperature_and_the_cut_are_kept(make, tmp_path):
    folder = make("sequence_classification", adverb={"temperature": 2.5, "max_length": 16})
    model, exported = load(folder), load(export(str(folder), "onnx", tmp_path / "out", console=QUIET))
    assert exported.max_length == 16
    np.testing.assert_allclose(exported.probabilities(TEXTS), model.probabilities(TEXTS), atol=1e-4)


def test_onnxruntime_reads_the_graph_as_well(make, tmp_path):
    folder = make("sequence_classification")
    out = export(str(folder), "onnx", tmp_path / "out", console=QUIET)
    ids = np.array([[101, 2023, 3185, 102], [101, 2919, 102, 0]])
    feed = {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    session = pytest.importorskip("onnxruntime").InferenceSession(out / "model.onnx")
    close(load(out).model(*feed.values()), session.run(None, feed)[0])


# -- int8, hf


@pytest.fixture(scope="module")
def sentences(shared_data, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "sentences.txt"
    lines = (shared_data / "sst2/dev.tsv").read_text(encoding="utf-8").splitlines()[1:65]
    path.write_text("\n".join(line.split("\t")[0] for line in lines) + "\n", encoding="utf-8")
    return path


def test_texts_to_compare_by_are_read_as_predict_reads_them(make, tmp_path):
    kept = {"columns": {"text": "subject", "pair": "reply"}, "pairs": True}
    reader = load(make("sequence_classification", adverb=kept))
    rows = [{"body": "not this one, though it is long", "subject": f"cat {i}", "reply": f"dog {i}"} for i in range(9)]
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = samples.sample_of(reader, None, str(file))
    assert sorted(zip(found.texts, found.pairs, strict=True)) == [(f"cat {i}", f"dog {i}") for i in range(9)]
    named = samples.sample_of(reader, None, str(file), "body", "subject")
    assert set(named.texts) == {rows[0]["body"]} and sorted(named.pairs) == sorted(row["subject"] for row in rows)


def test_what_is_said_of_columns_can_be_done(make, adverb, tmp_path):
    folder = make("sequence_classification", adverb={"pairs": True})
    (tmp_path / "in.jsonl").write_text(json.dumps({"body": "a cat", "other": "a dog"}) + "\n")
    with pytest.raises(UserError, match="columns of the file that --data names"):
        export(str(folder), "onnx", tmp_path / "out", pair="other", console=QUIET)
    command = ("export", folder, "--to", "onnx", "--out", tmp_path / "out", "--data", tmp_path / "in.jsonl")
    done = adverb(*command)
    assert done.returncode == 2 and "name the column of the second one by --pair" in done.stderr
    done = adverb(*command, "--pair", "other")
    assert done.returncode == 0, done.stderr


def test_int8_of_a_real_model(minilm, sentences, tmp_path):
    exported = load(export(str(minilm), "onnx-int8", tmp_path / "out", data=str(sentences), console=QUIET))
    texts = sentences.read_text(encoding="utf-8").splitlines()
    ours, theirs = exported.embed(texts), load(minilm).embed(texts)
    cosines = (ours * theirs).sum(1)
    assert 0.97 < cosines.min() and cosines.max() < 0.99999  # near, and not float32 under another name
    graph, weights = (tmp_path / "out/model.onnx").stat().st_size, (minilm / "model.safetensors").stat().st_size
    assert graph < 0.4 * weights
    alone = np.stack([exported.embed(text) for text in texts[:8]])  # ranges are fixed: neighbours do not matter
    np.testing.assert_allclose(alone, exported.embed(texts)[:8], atol=0.02)


def test_hf_is_the_model_bit_by_bit(make, tmp_path):
    folder = make("token_classification", id2label=dict(enumerate(BIO)))
    out = export(str(folder), "hf", tmp_path / "out", console=QUIET)
    before, after = (load_pretrained(where).model.state_dict() for where in (folder, out))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert load(out).entities(TEXTS) == load(folder).entities(TEXTS)
    transformers = pytest.importorskip("transformers")
    transformers.AutoModelForTokenClassification.from_pretrained(out)


def test_hf_tells_others_where_to_cut_and_how_to_calibrate(make, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = make("sequence_classification", adverb={"max_length": 24, "temperature": 1.7})
    said = io.StringIO()
    out = export(str(folder), "hf", tmp_path / "out", console=Console(file=said, width=200))
    assert "for the same probabilities elsewhere, divide the logits by 1.7" in said.getvalue()
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(out)
    inputs = transformers.AutoTokenizer.from_pretrained(out)(TEXTS[3], truncation=True, return_tensors="pt")
    assert inputs["input_ids"].shape == (1, 24)
    with torch.no_grad():
        expected = (theirs(**inputs).logits / 1.7).softmax(-1)[0].numpy()
    np.testing.assert_allclose(load(folder).probabilities(TEXTS[3:4])[0], expected, atol=1e-5)
    said = io.StringIO()
    export(str(make("sequence_classification")), "hf", tmp_path / "plain", console=Console(file=said, width=200))
    assert "bit by bit" in said.getvalue() and "logits" not in said.getvalue()
    config = json.loads((tmp_path / "plain/tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["model_max_length"] == load(tmp_path / "plain").model.config.max_position_embeddings


# -- generators


@pytest.mark.parametrize(("network", "classes"), [("residual", 3), ("dcgan", 3), ("mlp", 0)])
def test_a_generator_draws_the_same_images(tmp_path, network, classes):
    torch.manual_seed(0)
    config = dict(network=network, image_size=(12, 10), channels=3, latent_size=9, classes=classes)
    drawing, _ = build(**config)
    with torch.no_grad():
        for parameter in drawing.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # zeros, as a network begins, would hide mistakes
    names = ["a", "b", "c"][:classes]
    shares = np.array([0.5, 0.3, 0.2]) if classes else None
    Generator(drawing.eval(), {**config, "label_names": names}, shares).save(tmp_path / "model")
    model = load(tmp_path / "model")
    exported = load(export(str(tmp_path / "model"), "onnx", tmp_path / "out", console=QUIET))
    for n, seed in ((1, 0), (5, 3), (70, 2**31)):  # one by one, in blocks, in several batches
        images, labels = exported.generate(n, seed=seed, with_labels=True)
        theirs, told = model.generate(n, seed=seed, with_labels=True)
        assert images.dtype == np.uint8 and images.shape == (n, 12, 10, 3)
        assert abs(images.astype(int) - theirs).max() <= 1 and (images == theirs).mean() > 0.999
        np.testing.assert_array_equal(labels, told)
    if classes:
        np.testing.assert_array_equal(exported.generate(4, label="b"), exported.generate(4, label=1))
        assert not np.array_equal(exported.generate(4, label="b"), exported.generate(4, label="c"))
        with pytest.raises(UserError, match="unknown label 'd'"):
            exported.generate(1, label="d")
    asked_alike(exported, model, dict(label="b") if classes else {}, tmp_path / "photos")
    (tmp_path / "photo.png").write_bytes(draw_to(exported, tmp_path / "grid.png", n=4)[0].read_bytes())
    with pytest.raises(UserError, match="--like searches by gradients, which an export lacks"):
        draw_to(exported, tmp_path / "like.png", like=tmp_path / "photo.png")
    with pytest.raises(UserError, match="int8 is for models that read"):
        export(str(tmp_path / "model"), "onnx-int8", tmp_path / "small", console=QUIET)


def asked_alike(exported, model, label: dict, photos: Path) -> None:
    """All that can be asked of both: truncated samples, walks, directions, neighbours."""
    both = [
        [
            one.generate(6, seed=4, truncation=0.5, **label),
            one.generate(seed=[4, 9]),
            one.interpolate(3, 4, seed=1, truncation=0.7, **label),
            one.walk(0, 2, 5, n=3, seed=2, **label),
            one.traverse(one.directions(2), seed=1, **label),
            one.traverse(one.directions(1), (0.0, 2.0)),
        ]
        for one in (exported, model)
    ]
    for ours, theirs in zip(*both, strict=True):
        assert ours.shape == theirs.shape and abs(ours.astype(int) - theirs).max() <= 1
    assert exported.titles(4, 3, None) == model.titles(4, 3, None)
    samples = exported.generate(30, seed=8)
    save_images(samples, photos)
    near = exported.neighbours(samples[7:8], 2, data=photos)
    assert near.names[0][0] == "00007.png" and near.distances[0, 0] < 1e-3


def test_a_generator_of_captions_is_exported_with_its_reader(make, tmp_path):
    reader = load(make("masked_lm"))  # its words are read by the encoder, not by its head
    torch.manual_seed(0)
    config = dict(network="mlp", image_size=(6, 6), channels=1, latent_size=5, caption_size=32, widths=[16])
    drawing, _ = build(**config)
    captions = ["a cat", "a dog on a mat", "nothing at all"]
    drawing.input.embedding.fit(torch.from_numpy(reader.embed(captions)))
    with torch.no_grad():
        drawing.to_image.weight.mul_(5)
    shares, labels = np.array([0.5, 0.3, 0.2]), np.array([0, 1, 2])
    told = (reader, captions, shares, labels, reader.embed(captions).mean(0))
    TextGenerator(drawing.eval(), {**config, "label_names": []}, *told).save(tmp_path / "drawer")
    model = load(tmp_path / "drawer")
    exported = load(export(str(tmp_path / "drawer"), "onnx", tmp_path / "out", console=QUIET))
    for text in ("a big cat", ["a cat", "nothing at all"], None):
        images, labels = exported.generate(20, seed=3, text=text, truncation=0.8, with_labels=True)
        theirs, told = model.generate(20, seed=3, text=text, truncation=0.8, with_labels=True)
        assert images.shape == theirs.shape and abs(images.astype(int) - theirs).max() <= 1
        np.testing.assert_array_equal(labels, told)
    assert not np.array_equal(exported.generate(4, text="a cat"), exported.generate(4, text="a dog"))
    strong = [one.with_strength(3.0).generate(4, text="a dog on a mat").astype(int) for one in (exported, model)]
    assert abs(strong[0] - strong[1]).max() <= 1
    assert abs(strong[0] - exported.generate(4, text="a dog on a mat")).max() > 1
    assert exported.titles(5, 2, None) == model.titles(5, 2, None) and exported.titles(2, 0, "it") == ["it", "it"]
    ways = [[one.interpolate(2, 3, label="a dog"), one.walk(1, 4, 6, n=5), one.traverse(one.directions(2))]
            for one in (exported, model)]  # fmt: skip
    for ours, theirs in zip(*ways, strict=True):
        assert ours.shape == theirs.shape and abs(ours.astype(int) - theirs).max() <= 1
    ends = model.generate(5)[[1, 4]]  # each of a caption of its own, which the way leads from and to
    assert model.titles(5, 0, None)[1] != model.titles(5, 0, None)[4]
    assert abs(ways[1][1][[0, -1]].astype(int) - ends).max() <= 1
    with pytest.raises(UserError, match="empty caption"):
        exported.generate(1, text=" ")


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 100, 4096])
def test_seeds_are_those_of_torch(n):
    for seed in (0, 12345, 2**32 - 1):
        theirs = torch.randn(n, generator=torch.Generator().manual_seed(seed))
        np.testing.assert_allclose(randn(n, seed), theirs, atol=1e-5)


# -- without torch, as a user runs it


def test_prediction_imports_no_torch(make, tmp_path):
    folder = make("sequence_classification", id2label={0: "bad", 1: "good"})
    out = export(str(folder), "onnx", tmp_path / "out", console=QUIET)
    (tmp_path / "texts.txt").write_text("\n".join(text for text in TEXTS if text) + "\n", encoding="utf-8")
    code = f"""
import sys
import adverb
model = adverb.load({str(out)!r})
print(model.classify("a fine film")[0][0])
from adverb import cli
for words in (["a fine film", "a bad one"], ["--file", "texts.txt", "--out", "answers.jsonl", "--top-k", "2"]):
    sys.argv = ["adverb", "predict", {str(out)!r}, *words]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code
bad = [name for name in ("torch", "transformers", "sklearn", "onnx", "nncf") if name in sys.modules]
assert not bad, bad
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    model = load(folder)
    assert first == model.classify("a fine film")[0][0]
    said = [json.loads(line) for line in lines[:2]]
    assert [one["label"] for one in said] == [c[0][0] for c in model.classify(["a fine film", "a bad one"])]
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [text for text in TEXTS if text]
    assert [one["label"] for one in answers] == [c[0][0] for c in model.classify(texts)]


def test_drawing_imports_no_torch(make, tmp_path):
    torch.manual_seed(0)
    reader = load(make("embedding"))
    shape = dict(network="mlp", image_size=(6, 6), channels=1, latent_size=5, widths=[16])
    plain, by_caption = build(**shape)[0].eval(), build(**shape, caption_size=32)[0].eval()
    Generator(plain, shape | {"classes": 0, "label_names": []}).save(tmp_path / "plain")
    captions = (["a cat", "a dog"], np.array([0.5, 0.5]), None, np.zeros(32))
    TextGenerator(by_caption, shape | {"caption_size": 32, "label_names": []}, reader, *captions).save(
        tmp_path / "drawer"
    )
    for name in ("plain", "drawer"):
        export(str(tmp_path / name), "onnx", tmp_path / f"{name}-out", console=QUIET)
    code = """
import sys
from adverb import cli
for model, *words in (
    ["plain-out", "-n", "4", "--truncation", "0.6", "--out", "samples"],
    ["plain-out", "-n", "2", "--out", "walk.gif"],
    ["plain-out", "--directions", "2", "--out", "directions.png"],
    ["drawer-out", "--text", "a cat", "--text", "a dog", "--out", "captions.png"],
):
    sys.argv = ["adverb", "generate", model, *words]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code
bad = [name for name in ("torch", "transformers", "sklearn", "onnx") if name in sys.modules]
assert not bad, bad
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    written = ("samples/grid.png", "samples/00003.png", "walk.gif", "directions.png", "captions.png")
    assert all((tmp_path / name).stat().st_size > 100 for name in written)


def test_export_as_a_user_runs_it(make, adverb, tmp_path):
    folder = make("sequence_classification")
    done = adverb("export", folder, "--to", "onnx", "--out", "out", timeout=300)
    assert done.returncode == 0, done.stderr
    for word in ("size", "one text", "largest difference", "equal predictions", "100.00%"):
        assert word in done.stdout
    again = adverb("export", folder, "--to", "onnx", "--out", "out", timeout=300)
    assert again.returncode == 2 and "out exists: name another --out" in again.stderr


# -- what can go wrong


def test_what_can_not_be_exported_is_told(make, tmp_path, monkeypatch):
    folder = make("sequence_classification")
    out = tmp_path / "out"
    with pytest.raises(UserError, match="--to gguf: expected hf, onnx, onnx-int8"):
        export(str(folder), "gguf", out, console=QUIET)
    with pytest.raises(UserError, match="no model at"):
        export(str(tmp_path / "nowhere"), "onnx", out, console=QUIET)
    export(str(folder), "onnx", out, console=QUIET)
    with pytest.raises(UserError, match="is an export already"):
        export(str(out), "onnx", tmp_path / "again", console=QUIET)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match=r"pip install 'adverb\[onnx\]'"):
        load(out)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install 'adverb\[onnx\]'"):
        export(str(folder), "onnx", tmp_path / "again", console=QUIET)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


@pytest.mark.parametrize("bound", [compare.Bounds(0.0, 0.0), compare.Bounds(1.0, 1.1)])
def test_an_export_past_a_bound_is_not_kept(make, tmp_path, monkeypatch, bound):
    folder = make("sequence_classification")
    monkeypatch.setitem(compare.BOUNDS, "fp32", bound)
    with pytest.raises(UserError, match="nothing was written"):
        export(str(folder), "onnx", tmp_path / "out", console=QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(("after", "rows", "kept"), [(0.896, 1000, True), (0.894, 1000, False), (0.89, 100, True)])
def test_an_export_may_lose_half_a_point(make, tmp_path, monkeypatch, after, rows, kept):
    said = iter([("accuracy", 0.9, rows), ("accuracy", after, rows)])
    monkeypatch.setattr("adverb.export._judgeable", lambda reader, recipe: True)
    monkeypatch.setattr("adverb.export._judged", lambda *asked: next(said))
    folder = make("sequence_classification")
    if kept:
        export(str(folder), "onnx", tmp_path / "out", console=QUIET)
        return
    with pytest.raises(UserError, match="loses 0.60 points of accuracy, more than 0.50"):
        export(str(folder), "onnx", tmp_path / "out", console=QUIET)
    assert not (tmp_path / "out").exists()


def test_the_distance_counts_what_differs(make):
    reader = load(make("token_classification", id2label=dict(enumerate(BIO))))
    feeds = samples.feeds_of(reader, samples.Sample(TEXTS, None, "texts"), 64)

    class Wrong:
        """Says of every third word something else, and of padding nonsense."""

        task, config = reader.model.task, reader.model.config

        def __call__(self, *inputs):
            logits = reader.model(*inputs).copy()
            logits[:, 1::3, 0] += 1000.0
            return logits

    exact = compare.distance(reader.model, reader.model, feeds)
    assert (exact.largest, exact.equal) == (0.0, 1.0)
    wrong = compare.distance(reader.model, Wrong(), feeds)
    assert wrong.largest == pytest.approx(1000.0, rel=1e-3) and 0.5 < wrong.equal < 0.9
    with pytest.raises(UserError, match="differs from the model by"):
        wrong.must_be_within("fp32", reader.model.task)
    with pytest.raises(UserError, match="says the same as the model in"):
        wrong.must_be_within("int8", reader.model.task)
