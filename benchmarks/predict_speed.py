"""adverb's prediction beside the pipeline of transformers: the same checkpoint, the same texts, the same cut.

    python benchmarks/predict_speed.py [--shape minilm base] [--rounds 5] [--texts 600] [--threads 2]

The texts are of mixed length, as they come: film-review sentences, questions, paragraphs of novels of up to 256
tokens, shuffled. The sides alternate in one process; ratios are taken round by round.

"pipeline, batch 32" is `transformers.pipeline("text-classification", …)(texts, batch_size=32)`. "sorted by hand" is
the same on texts that somebody has sorted by length for it. "adverb, float32" is adverb on a machine without bf16.

The classifier is MiniLM with a head fitted to SST-2, so that its labels mean something and its margins are those of a
real task. "base" has the shape of BERT-base and computes what MiniLM does: each hidden unit of MiniLM twice, its six
layers, then six that add nothing. Its time is that of BERT-base, and its labels are worth comparing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from adverb import machine
from adverb.bert.checkpoint import load_pretrained, save_pretrained
from adverb.bert.heads import SequenceClassifier
from adverb.data.labelled import load_labelled
from adverb.data.records import read_records
from adverb.pipelines.model import outputs_of
from adverb.pipelines.reader import Reader
from adverb.pipelines.torch_model import TorchModel
from adverb.places import cache_folder
from rounds import as_many, turns

LENGTH = 256
BATCH = 32
FITTED_ON = 3000  # sentences
SHARES = {"sentences": 0.6, "questions": 0.2, "paragraphs": 0.2}


# -- the classifiers


def classifier(shape: str, data: Path) -> Path:
    """A folder that both sides open; made once, kept in the cache."""
    folder = cache_folder() / "benchmark" / f"classifier-{shape}"
    if not (folder / "model.safetensors").is_file():
        train = load_labelled(data / "sst2/train.tsv", limit=FITTED_ON)
        loaded = load_pretrained("all-MiniLM-L6-v2", "sequence_classification", train.label_names)
        model = loaded.model
        torch.manual_seed(0)
        nn.init.eye_(model.bert.pooler.dense.weight)  # tanh of the state itself: MiniLM comes without a useful pooler
        nn.init.zeros_(model.bert.pooler.dense.bias)
        if shape == "base":
            model = widened(model)
        encodings = loaded.tokenizer.encode_batch(train.texts, max_length=LENGTH)
        features = outputs_of(TorchModel(Features(model)), encodings, loaded.tokenizer.pad_id)
        head = LogisticRegression(C=0.3, max_iter=300).fit(features, train.targets)
        weight = torch.tensor(head.coef_[0] / 2, dtype=torch.float32)
        bias = torch.tensor(head.intercept_[0] / 2, dtype=torch.float32)
        model.classifier.weight.data = torch.stack([-weight, weight])
        model.classifier.bias.data = torch.stack([-bias, bias])
        model.config.adverb["max_length"] = LENGTH
        save_pretrained(model, loaded.tokenizer, folder)
    return folder


class Features(nn.Module):
    """What a classifier sees, as a network of its own."""

    def __init__(self, model: SequenceClassifier):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, *inputs: Tensor | None) -> Tensor:
        return self.model.features(*inputs)


@torch.no_grad()
def widened(small: SequenceClassifier) -> SequenceClassifier:
    """MiniLM's function in BERT-base's shape: 768 hidden units, 12 heads of 64, 12 layers."""
    config = replace(small.config, hidden_size=768, intermediate_size=3072, num_hidden_layers=12)
    large = SequenceClassifier(config).eval()

    def both(x: Tensor) -> Tensor:  # outputs, each twice
        return torch.cat([x, x])

    def halved(x: Tensor) -> Tensor:  # inputs that come twice count half
        return torch.cat([x, x], dim=1) / 2

    def heads(x: Tensor) -> Tensor:  # [3 · 12 · 32, …] to [3 · 12 · 64, …]: inside of each head, each unit twice
        x = x.unflatten(0, (3, 12, 32))
        x = torch.cat([x, x], dim=2)
        x[0] *= 0.5**0.5  # q'k' is twice qk, divided by √64 in place of √32
        return x.flatten(0, 2)

    for name in ("word", "position", "segment"):
        getattr(large.bert.embeddings, name).weight.copy_(
            torch.cat([getattr(small.bert.embeddings, name).weight] * 2, dim=1)
        )
    norms = [(small.bert.embeddings.norm, large.bert.embeddings.norm)]
    for source, layer in zip(small.bert.layers, large.bert.layers, strict=False):
        layer.attention.qkv.weight.copy_(heads(halved(source.attention.qkv.weight)))
        layer.attention.qkv.bias.copy_(heads(source.attention.qkv.bias))
        out = source.attention.out.weight.unflatten(1, (12, 32))  # [384, 12, 32]
        layer.attention.out.weight.copy_(both(torch.cat([out, out], dim=2).flatten(1) / 2))
        layer.attention.out.bias.copy_(both(source.attention.out.bias))
        for part in ("up", "down"):
            getattr(layer.feed_forward, part).weight.copy_(both(halved(getattr(source.feed_forward, part).weight)))
            getattr(layer.feed_forward, part).bias.copy_(both(getattr(source.feed_forward, part).bias))
        norms += [(source.attention_norm, layer.attention_norm), (source.feed_forward_norm, layer.feed_forward_norm)]
    for source, norm in norms:
        norm.weight.copy_(both(source.weight))
        norm.bias.copy_(both(source.bias))
    for layer in large.bert.layers[len(small.bert.layers) :]:  # x = norm(x + 0)
        for linear in (layer.attention.out, layer.feed_forward.down):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
    nn.init.eye_(large.bert.pooler.dense.weight)
    nn.init.zeros_(large.bert.pooler.dense.bias)
    return large


# -- the texts


def mixed(data: Path, count: int) -> list[str]:
    """Sentences, questions and paragraphs in the shares above, in a fixed random order."""
    books = [p for p in sorted((data / "books/valid").glob("*.txt"))]
    paragraphs = [row["text"] for book in books for _, row in read_records(book) if len(row["text"]) > 300]
    pools = {
        "sentences": load_labelled(data / "sst2/test.tsv").texts,
        "questions": load_labelled(data / "trec/train.tsv", label="coarse").texts,
        "paragraphs": paragraphs,
    }
    random = np.random.default_rng(0)
    texts = [text for name, pool in pools.items() for text in random.permutation(pool)[: int(count * SHARES[name])]]
    return [str(text) for text in random.permutation(texts)]


# -- the sides


def measure(shape: str, options: argparse.Namespace) -> None:
    data = Path(options.data)
    folder, texts = classifier(shape, data), mixed(data, options.texts)
    reader, pipeline = Reader.load(folder), transformers.pipeline("text-classification", str(folder), device="cpu")
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))

    def theirs(order: list[int]) -> list[str]:
        found = pipeline([texts[i] for i in order], batch_size=BATCH, truncation=True, max_length=LENGTH)
        said = {i: one["label"] for i, one in zip(order, found, strict=True)}
        return [said[i] for i in range(len(texts))]

    def ours(bf16: bool | None = None) -> list[str]:
        peaks = machine.peaks
        if bf16 is not None:
            machine.peaks = lambda device: machine.Peaks(fp32=1.0, bf16=2.0 if bf16 else 1.0)
        try:
            return [classes[0][0] for classes in reader.classify(texts)]
        finally:
            machine.peaks = peaks

    default = "pipeline, batch 32"
    sides: dict[str, Callable[[], list[str]]] = {
        "adverb": ours,
        "adverb, float32": lambda: ours(bf16=False),
        default: lambda: theirs(list(range(len(texts)))),
        "sorted by hand": lambda: theirs(by_length),
    }
    said, times = {}, {name: [] for name in sides}
    reader.classify(texts[:64])
    pipeline(texts[:8], batch_size=8)
    for name in turns(sides, options.rounds):
        start = time.perf_counter()
        said[name] = sides[name]()
        times[name].append(time.perf_counter() - start)
    lengths = [len(e) for e in reader.tokenizer.encode_batch(texts, max_length=LENGTH)]
    print(f"\n{shape}: {len(texts)} texts of {min(lengths)}–{max(lengths)} tokens, median {np.median(lengths):.0f}, "
          f"mean {np.mean(lengths):.0f}; {torch.get_num_threads()} threads, {options.rounds} rounds; "
          f"bf16 {'profits' if machine.peaks(torch.device('cpu')).bf16_profits else 'does not profit'}")  # fmt: skip
    print(f"{'':20s} {'texts/s':>8s} {'tok/s':>8s}   as many times as {default}   labels as there")
    for name, seconds in times.items():
        equal = np.mean([a == b for a, b in zip(said[name], said[default], strict=True)])
        print(f"{name:20s} {len(texts) / np.median(seconds):8.1f} {sum(lengths) / np.median(seconds):8,.0f}   "
              f"{as_many(times[default], seconds)} {'':14s} {equal:8.2%}")  # fmt: skip
    test = load_labelled(data / "sst2/test.tsv", label_names=reader.model.config.labels).take(np.arange(500))
    right = np.mean(reader.probabilities(test.texts).argmax(1) == test.targets)
    print(f"the head is right on {right:.1%} of 500 test sentences of SST-2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--shape", nargs="+", choices=("minilm", "base"), default=["minilm", "base"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    for shape in options.shape:
        measure(shape, options)


if __name__ == "__main__":
    main()
