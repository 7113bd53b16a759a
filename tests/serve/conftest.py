"""Small models of each kind, with random weights, and servers that are processes of their own."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adverb import machine
from adverb.bert.baselines import BaselineConfig, LeftToRight, save_baseline
from adverb.bert.checkpoint import save_pretrained
from adverb.bert.config import BertConfig
from adverb.bert.heads import MODELS
from adverb.bert.tokenizer import Tokenizer
from adverb.gan.networks import build
from adverb.pipelines.generator import Generator
from adverb.pipelines.reader import Reader
from adverb.pipelines.text_generator import TextGenerator

WORDS = "the cat dog sat ran on in a mat house saw big small red blue it was who where what good bad film".split()
LENGTH = 48  # tokens that the small models read
KINDS = {  # name -> (task, labels)
    "fill": ("masked_lm", None),
    "classes": ("sequence_classification", ("bad", "good", "so-so")),
    "tags": ("token_classification", ("O", "B-animal", "I-animal", "B-place", "I-place")),
    "answers": ("question_answering", None),
    "vectors": ("embedding", None),
}


@dataclass
class Server:
    """A running `adverb serve`."""

    process: subprocess.Popen
    port: int
    headers: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, timeout: float = 60) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, path: str, body: Any = None, method: str | None = None, **headers: str):
        """(status, JSON or bytes, headers); a body that is not bytes is sent as JSON."""
        connection = self.connect()
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | self.headers | headers
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, sent, headers)
            response = connection.getresponse()
            said = response.read()
            if "json" in (response.getheader("Content-Type") or ""):
                said = json.loads(said)
            return response.status, said, dict(response.getheaders())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ".", "?", ",", "##s", *"abcdefghijklmnopqrstuvwxyz"]
    return Tokenizer.from_vocabulary({piece: i for i, piece in enumerate(dict.fromkeys(pieces))})


@pytest.fixture(scope="session")
def small(tokenizer, tmp_path_factory) -> dict[str, Path]:
    """Folders of models: those of KINDS, and "draws", a generator of three classes."""
    folder = tmp_path_factory.mktemp("models")
    for name, (task, labels) in KINDS.items():
        torch.manual_seed(1)
        config = BertConfig(
            vocab_size=tokenizer.vocab_size, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=48, max_position_embeddings=LENGTH, initializer_range=0.4,
            id2label=None if labels is None else dict(enumerate(labels)),
        )  # fmt: skip
        save_pretrained(MODELS[task](config).eval(), tokenizer, folder / name)
    torch.manual_seed(1)
    shape = dict(network="mlp", image_size=[8, 8], channels=3, latent_size=6, classes=3, widths=[16])
    network, _ = build(**shape)
    for parameter in network.parameters():
        parameter.data.mul_(3)
    labels = {"label_names": ["zero", "one", "two"]}
    Generator(network.eval(), shape | labels, np.array([0.5, 0.25, 0.25])).save(folder / "draws")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="session")
def captioned(small, tmp_path_factory) -> Path:
    """A generator that draws what it is told in words, which the model "vectors" reads."""
    torch.manual_seed(1)
    shape = dict(network="mlp", image_size=[8, 8], channels=1, latent_size=6, caption_size=32, widths=[16])
    network, _ = build(**shape)
    for parameter in network.parameters():
        parameter.data.mul_(3)
    texts = [f"the {one} {other}" for one in ("big", "small", "red") for other in ("cat", "dog", "house")]
    known = (Reader.load(small["vectors"]), texts, np.full(9, 1 / 9), np.arange(9) % 3, np.zeros(32))
    folder = tmp_path_factory.mktemp("captioned") / "drawer"
    TextGenerator(network.eval(), shape | {"label_names": []}, *known).save(folder)
    return folder


@pytest.fixture(scope="session")
def writer(tokenizer, tmp_path_factory) -> Path:
    """A model that writes texts."""
    torch.manual_seed(1)
    config = BaselineConfig("gpt", tokenizer.vocab_size, 16, 1, 2, 32, 12, initializer_range=0.5)
    folder = tmp_path_factory.mktemp("writer") / "writes"
    save_baseline(LeftToRight(config).eval(), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def start() -> Callable[..., Server]:
    """start(models…, key=…, limits={…}, code="…") -> Server, by the command line, or by `serve` where there are limits.

    code: Python to run first, such as what slows a model down. Encoders compute in float32, so that an answer does not
    depend on its batch. torch: False: the server can't import it.
    """
    pytest.importorskip("uvicorn")
    running: list[subprocess.Popen] = []

    def run(
        *models: Any,
        key: str | None = None,
        limits: dict[str, float] | None = None,
        code: str = "",
        torch: bool = True,
    ) -> Server:
        lines = ["from adverb import machine", "machine.peaks = lambda device: machine.Peaks(1.0, 1.0)", code]
        if not torch:
            lines = ["import sys", "sys.modules['torch'] = None", code]
        if limits is None:
            lines += ["from adverb.cli import main", "main()"]
        else:
            lines += ["import sys; from rich.console import Console; from adverb.serve.limits import Limits"]
            lines += ["from adverb.serve.server import serve"]
            lines += [f"serve(sys.argv[2:-2], port=0, limits=Limits(**{limits}), console=Console())"]
        process = subprocess.Popen(
            [sys.executable, "-c", "\n".join(lines), "serve", *map(str, models), "--port", "0"],
            env=os.environ | ({"ADVERB_API_KEY": key} if key else {}) | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("http://"):
                port = int(line.split()[0].rsplit(":", 1)[1])
                return Server(process, port, {"Authorization": f"Bearer {key}"} if key else {})
        raise AssertionError(f"no server: {''.join(said)}")

    yield run
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def server(start, small) -> Server:
    """One with all small models."""
    return start(*small.values())


@pytest.fixture(scope="session")
def locked(start, small) -> Server:
    """One that asks for a key, and is given it by `ask` unless told otherwise."""
    return start(small["classes"], key="s3cret")


@pytest.fixture
def in_float32(monkeypatch):
    """A machine on which bf16 is no faster, as that of `start`."""
    monkeypatch.setattr(machine, "peaks", lambda device: machine.Peaks(fp32=1.0, bf16=1.0))
