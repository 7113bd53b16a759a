"""From a saved BERT to filled masks and embeddings. No training code is imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from adverb.bert import baselines
from adverb.bert.checkpoint import load_pretrained, locate, save_pretrained
from adverb.bert.fill import Fill, fill_mask
from adverb.bert.heads import Embedder, MaskedLM, Pretraining
from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError

MODEL_TYPES = ("bert", "adverb-modern", *baselines.MODEL_TYPES)


class Reader:
    """A model that reads, with its tokenizer.

    model: any of `adverb.bert.heads.MODELS`, or one of the baselines of pre-training, which only fill masks.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer):
        self.model, self.tokenizer = model.eval().requires_grad_(False), tokenizer
        self._embedder = model if isinstance(model, Embedder) else None

    @classmethod
    def load(cls, source: str | Path) -> Reader:
        """Open a folder in the layout of transformers or sentence-transformers, or a model of the hub.

        Raises UserError where there is no such model, or it comes without a tokenizer.
        """
        folder = locate(source)
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind in baselines.MODEL_TYPES:
            return cls(*baselines.load_baseline(folder))
        loaded = load_pretrained(folder)
        if loaded.tokenizer is None:
            raise UserError(f"{source} has no tokenizer: put its tokenizer.json or vocab.txt into the folder")
        return cls(loaded.model, loaded.tokenizer)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def fills_masks(self) -> bool:
        return isinstance(self.model, MaskedLM | Pretraining | baselines.Baseline)

    def to(self, device: str | torch.device) -> Reader:
        self.model.to(device)
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder that `load`, and transformers, open."""
        if isinstance(self.model, baselines.Baseline):
            baselines.save_baseline(self.model, self.tokenizer, Path(folder))
        else:
            save_pretrained(self.model, self.tokenizer, folder)

    def fill_mask(self, text: str, top_k: int = 5, candidates: Sequence[str] | None = None) -> list[Fill]:
        """The `top_k` most probable fillings of the [MASK]s of `text`, best first; `adverb.bert.fill.fill_mask`.

        Raises UserError without a mask, for a text that is too long, an unknown candidate, and for a model that has
        no head over the vocabulary.
        """
        if not self.fills_masks:
            raise UserError(
                f"this model has no words to fill in (it was saved for {self.model.task.replace('_', ' ')}): "
                "use one pre-trained as a masked language model"
            )
        model = _Blanks(self.model) if isinstance(self.model, baselines.Baseline) else self.model
        return fill_mask(model, self.tokenizer, text, top_k, candidates)

    def embed(self, texts: str | Sequence[str], batch_size: int = 32) -> np.ndarray:
        """One vector a text, float32 [N, H], or [H] for a single str: for similarity, their dot product.

        The mean of the last states, of length 1, or what the files of sentence-transformers say; texts longer than
        the model reads are cut. Raises UserError for a baseline.
        """
        if isinstance(texts, str):
            return self.embed([texts], batch_size)[0]
        model = self._embedding_model()
        limit = min(model.max_length or self.model.config.max_position_embeddings,
                    self.model.config.max_position_embeddings)  # fmt: skip
        encodings = self.tokenizer.encode_batch(list(texts), max_length=limit)
        order = sorted(range(len(encodings)), key=lambda i: -len(encodings[i]))  # like lengths together: less padding
        vectors = np.empty((len(encodings), self.model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                width = len(encodings[rows[0]])
                ids = torch.full((len(rows), width), self.tokenizer.pad_id)
                mask = torch.zeros_like(ids)
                for i, row in enumerate(rows):
                    ids[i, : len(encodings[row])] = torch.tensor(encodings[row].ids)
                    mask[i, : len(encodings[row])] = 1
                vectors[rows] = model(ids.to(self.device), mask.to(self.device)).float().cpu().numpy()
        return vectors

    def _embedding_model(self) -> Embedder:
        if isinstance(self.model, baselines.Baseline):
            raise UserError("a one-sided language model makes no embeddings: use a BERT")
        if self._embedder is None:
            with torch.device("meta"):  # its encoder is replaced, so it needs no numbers
                self._embedder = Embedder(self.model.config)
            self._embedder.bert = self.model.bert
            self._embedder.eval()
        return self._embedder


class _Blanks(nn.Module):
    """A baseline behind the call of a masked language model."""

    def __init__(self, model: baselines.Baseline):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, input_ids: torch.Tensor, take: torch.Tensor) -> torch.Tensor:
        return self.model.blanks(input_ids, take)
