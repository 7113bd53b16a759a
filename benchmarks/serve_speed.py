"""Prediction on a CPU as it is deployed: adverb's exports beside other engines, the same weights, texts and cut.

    OMP_NUM_THREADS=2 python benchmarks/serve_speed.py [--tasks classify-minilm …] [--rounds 3] [--texts 600]

Texts of mixed length, as in predict_speed.py: sentences, questions, paragraphs of up to 256 tokens, shuffled. Each side
gets the whole list and does with it what it does; then each text alone, for the latency of a single request. Sides
take turns in one process, so that what disturbs one round disturbs all of them; ratios are taken round by round.

classify: MiniLM with a head fitted to SST-2, and the same function in BERT-base's shape (see predict_speed.py). embed:
all-MiniLM-L6-v2. "equal" is the share of labels that are those of the pipeline of transformers, or of texts whose
nearest other text is that of sentence-transformers.

    transformers pipeline   transformers.pipeline(…)(texts, batch_size=32), float32, as its documentation has it
    sentence-transformers   SentenceTransformer.encode(texts), batches of 32, sorted by length; with backend="onnx"
                            where optimum is installed
    onnxruntime             transformers' model by torch.onnx.export, batches of 32, sorted; then quantised
                            dynamically by onnxruntime, with the defaults of quantize_dynamic
    CTranslate2             its converter, compute_type int8, batches of 32, sorted
    OpenVINO, NNCF          openvino.convert_model of transformers' model, nncf.quantize, batches of 32, sorted
    adverb                  adverb.load of the model, and of what adverb export wrote

A side whose package is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")  # for all sides
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from rich.console import Console
from torch import nn

import adverb
from adverb.export import export
from adverb.pipelines import model_folder
from predict_speed import classifier, mixed
from rounds import as_many, turns

LENGTH, BATCH = 256, 32
THREADS = int(os.environ["OMP_NUM_THREADS"])
CALIBRATED_ON = 256  # texts, of OpenVINO as of adverb
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
Side = Callable[[Sequence[str]], np.ndarray]  # to labels [N], or vectors [N, H]
Runs = Callable[[dict[str, np.ndarray]], np.ndarray]  # input_ids, attention_mask, token_type_ids [B, L] -> [B, …]


class Theirs(nn.Module):
    """A model of transformers from arrays to logits, or to the mean of the last states, of length 1."""

    def __init__(self, folder: Path, task: str):
        super().__init__()
        self.task = task
        kind = transformers.AutoModelForSequenceClassification if task == "classify" else transformers.AutoModel
        self.model = kind.from_pretrained(folder, attn_implementation="eager").eval()

    def forward(self, input_ids, attention_mask, token_type_ids):
        output = self.model(input_ids, attention_mask, token_type_ids)
        if self.task == "classify":
            return output.logits
        weight = attention_mask[..., None].float()
        pooled = (output.last_hidden_state * weight).sum(1) / weight.sum(1)
        return nn.functional.normalize(pooled, dim=-1)


class Batched:
    """What a careful user writes around an engine: texts sorted by length, batches of 32, padding."""

    def __init__(self, folder: Path, task: str, runs: Runs):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.task, self.runs = task, runs

    def feed(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        return dict(self.tokenizer(list(texts), padding=True, truncation=True, max_length=LENGTH, return_tensors="np"))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        parts = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        found = np.concatenate([self.runs(self.feed([texts[i] for i in part])) for part in parts])
        outputs = np.empty_like(found)
        outputs[order] = found
        return outputs.argmax(-1) if self.task == "classify" else outputs


# -- the sides


def sides_of(task: str, folder: Path, calibration: Path, scratch: Path) -> Iterator[tuple[str, Callable[[], Side]]]:
    """(name, what makes it), the one that others are compared with first."""
    if task == "classify":
        yield "transformers pipeline", lambda: _pipeline(folder)
    else:
        yield "sentence-transformers", lambda: _sentence_transformers(folder, "torch")
        yield "sentence-transformers, onnx", lambda: _sentence_transformers(folder, "onnx")
    yield "onnxruntime", lambda: _onnxruntime(folder, task, scratch, int8=False)
    yield "onnxruntime, int8", lambda: _onnxruntime(folder, task, scratch, int8=True)
    yield "CTranslate2, int8", lambda: _ctranslate2(folder, task, scratch)
    yield "OpenVINO", lambda: _openvino(folder, task, None)
    yield "OpenVINO, NNCF int8", lambda: _openvino(folder, task, calibration)
    yield "adverb", lambda: _adverb(folder, task)
    for to in ("onnx", "onnx-int8"):
        yield f"adverb, {to}", lambda to=to: _adverb(_exported(folder, to, calibration, scratch), task)


def _pipeline(folder: Path) -> Side:
    pipeline = transformers.pipeline("text-classification", str(folder), device="cpu")
    number = pipeline.model.config.label2id

    def side(texts: Sequence[str]) -> np.ndarray:
        found = pipeline(list(texts), batch_size=BATCH, truncation=True, max_length=LENGTH)
        return np.array([number[one["label"]] for one in found])

    return side


def _sentence_transformers(folder: Path, backend: str) -> Side:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", backend=backend)
    model.max_seq_length = LENGTH
    return lambda texts: model.encode(list(texts), show_progress_bar=False)


def _onnxruntime(folder: Path, task: str, scratch: Path, int8: bool) -> Side:
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = scratch / "transformers.onnx"
    if not path.is_file():
        model = Theirs(folder, task)
        feed = Batched(folder, task, None).feed(["two texts", "of unlike length, the second"])
        arguments = {name: torch.from_numpy(feed[name]) for name in INPUTS}  # names go by place
        axes = dict.fromkeys(INPUTS, {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC})
        program = torch.onnx.export(model, (), kwargs=arguments, dynamic_shapes=axes, input_names=list(INPUTS),
                                    dynamo=True, verbose=False)  # fmt: skip
        program.save(path, external_data=False)
    if int8:
        quantised = path.with_suffix(".int8.onnx")
        quantize_dynamic(path, quantised, weight_type=QuantType.QInt8)
        path = quantised
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(path, options)
    return Batched(folder, task, lambda feed: session.run(None, feed)[0])


def _ctranslate2(folder: Path, task: str, scratch: Path) -> Side:
    import ctranslate2

    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder) if task == "classify" else None
    converted = scratch / "ctranslate2"
    encoder_only = scratch / "encoder"  # the converter opens a BertModel; the head of a classifier is added below
    transformers.AutoModel.from_pretrained(folder).save_pretrained(encoder_only)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(encoder_only)
    ctranslate2.converters.TransformersConverter(str(encoder_only)).convert(str(converted), quantization="int8")
    encoder = ctranslate2.Encoder(str(converted), compute_type="int8", intra_threads=THREADS)

    def runs(feed: dict[str, np.ndarray]) -> np.ndarray:
        mask = feed["attention_mask"]
        rows = [ids[:length].tolist() for ids, length in zip(feed["input_ids"], mask.sum(1), strict=True)]
        output = encoder.forward_batch(rows)
        if model is not None:
            first = np.array(output.pooler_output)  # [B, H]
            return first @ model.classifier.weight.detach().numpy().T + model.classifier.bias.detach().numpy()
        states = np.array(output.last_hidden_state)  # [B, L, H]
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    return Batched(folder, task, runs)


def _openvino(folder: Path, task: str, calibration: Path | None) -> Side:
    import openvino

    side = Batched(folder, task, None)
    feed = side.feed(["a text"])
    model = openvino.convert_model(
        Theirs(folder, task), example_input={name: torch.from_numpy(array) for name, array in feed.items()}
    )
    if calibration is not None:
        import nncf

        nncf.set_log_level(logging.ERROR)
        texts = calibration.read_text(encoding="utf-8").splitlines()
        feeds = nncf.Dataset([side.feed([text]) for text in texts])
        model = nncf.quantize(model, feeds, subset_size=len(texts), model_type=nncf.ModelType.TRANSFORMER)
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": THREADS}
    if calibration is not None:
        options["INFERENCE_PRECISION_HINT"] = "f32"
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    side.runs = lambda feed: np.array(request.infer(feed)[0])
    return side


def _exported(folder: Path, to: str, calibration: Path, scratch: Path) -> Path:
    out = scratch / f"adverb-{to}"
    return export(str(folder), to, out, data=str(calibration), console=Console(quiet=True))


def _adverb(folder: Path, task: str) -> Side:
    reader = adverb.load(folder)
    if task == "embed":
        return lambda texts: reader.embed(list(texts))
    return lambda texts: reader.probabilities(list(texts)).argmax(-1)


# -- measuring


def measure(name: str, options: argparse.Namespace, scratch: Path) -> None:
    task, shape = name.split("-")
    data = Path(options.data)
    folder = classifier(shape, data) if task == "classify" else model_folder("all-MiniLM-L6-v2")
    texts, others = mixed(data, options.texts), mixed(data, options.texts + 4 * CALIBRATED_ON)
    calibration = scratch / "calibration.txt"
    chosen = [text for text in others if text not in set(texts)][:CALIBRATED_ON]
    calibration.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    sides: dict[str, Side] = {}
    for side, make in sides_of(task, folder, calibration, scratch):
        try:
            sides[side] = make()
            sides[side](texts[:BATCH])
        except Exception as error:  # a package that is not there, or not for this version of another
            print(f"{side} is left out: {str(error).strip().splitlines()[0]}", file=sys.stderr)
    said: dict[str, np.ndarray] = {}
    times: dict[str, list[float]] = {side: [] for side in sides}
    singles: dict[str, list[float]] = {side: [] for side in sides}
    for side in turns(sides, options.rounds):
        start = time.perf_counter()
        said[side] = sides[side](texts)
        times[side].append(time.perf_counter() - start)
        for text in texts[: options.singles]:
            start = time.perf_counter()
            sides[side]([text])
            singles[side].append(1000 * (time.perf_counter() - start))
    first = next(iter(sides))
    print(f"\n{name}: {len(texts)} texts, {THREADS} threads, {options.rounds} rounds")
    print(f"{'':28s} {'texts/s':>8s}   as many times as {first:22s} {'p50 ms':>7s} {'p99 ms':>7s}   equal")
    for side, seconds in times.items():
        half, most = np.percentile(singles[side], (50, 99))
        print(
            f"{side:28s} {len(texts) / np.median(seconds):8.1f}   {as_many(times[first], seconds)} {'':20s} "
            f"{half:7.2f} {most:7.2f}   {agreement(said[side], said[first]):6.1%}"
        )


def agreement(said: np.ndarray, truth: np.ndarray) -> float:
    """The share of equal labels, or of texts with the same nearest other text."""
    if said.ndim == 2:
        said, truth = (np.argmax(v @ v.T - 2 * np.eye(len(v)), axis=1) for v in (said, truth))
    return float(np.mean(said == truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--tasks", nargs="+", default=["classify-minilm", "embed-minilm", "classify-base"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--singles", type=int, default=200, help="texts that are also sent one by one")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_num_threads(THREADS)
    for name in options.tasks:
        with tempfile.TemporaryDirectory() as scratch, torch.no_grad():
            measure(name, options, Path(scratch))


if __name__ == "__main__":
    main()
