"""The networks of `adverb.bert` as the pipelines' models: tensors inside, arrays outside."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from adverb import machine
from adverb.bert import baselines
from adverb.bert.checkpoint import load_pretrained, save_pretrained
from adverb.bert.heads import Embedder
from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines.batching import TOKEN_BUDGET, TOKEN_BUDGET_ACCELERATOR
from adverb.pipelines.model import Outputs


class TorchModel:
    """`adverb.pipelines.model.Model` of a network on any device.

    network: any of `adverb.bert.heads.MODELS`, or one of the baselines of pre-training, which only fill masks. It
    answers as in eval mode, and is left in the mode it was in.
    """

    def __init__(self, network: nn.Module):
        self.network, self.config = network, network.config
        self.task = getattr(network, "task", "language_model")
        self._light: TorchModel | None = None
        self._embedder: TorchModel | None = self if self.task == "embedding" else None

    @classmethod
    def load(cls, folder: Path) -> tuple[TorchModel, Tokenizer]:
        """Raises UserError where the folder holds no model, or one without a head, or comes without a tokenizer."""
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind in baselines.MODEL_TYPES:
            network, tokenizer = baselines.load_baseline(folder)
            return cls(network), tokenizer
        loaded = load_pretrained(folder)
        if loaded.tokenizer is None:
            raise UserError(f"{folder} has no tokenizer: put its tokenizer.json or vocab.txt into the folder")
        if loaded.missing:
            task = loaded.model.task.replace("_", " ")
            raise UserError(
                f"{folder} is to do {task} and has no weights for it, such as {loaded.missing[0]}: train it"
            )
        return cls(loaded.model.requires_grad_(False)), loaded.tokenizer

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @property
    def token_budget(self) -> int:
        return TOKEN_BUDGET if self.device.type == "cpu" else TOKEN_BUDGET_ACCELERATOR

    @property
    def max_length(self) -> int | None:
        return getattr(self.network, "max_length", None)

    @torch.inference_mode()
    def __call__(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray | None = None,
        token_type_ids: np.ndarray | None = None,
        take: np.ndarray | None = None,
        document_ids: np.ndarray | None = None,
    ) -> Outputs:
        if self.network.training:
            self.network.eval()
            try:
                return self(input_ids, attention_mask, token_type_ids, take, document_ids)
            finally:
                self.network.train()
        ids, mask, types, take = map(self._tensor, (input_ids, attention_mask, token_type_ids, take))
        if isinstance(self.network, baselines.Baseline):
            outputs = self.network.blanks(ids, take)
        else:
            more = {"take": take, "document_ids": self._tensor(document_ids)}
            outputs = self.network(ids, mask, types, **{k: v for k, v in more.items() if v is not None})
        return tuple(map(_array, outputs)) if isinstance(outputs, tuple) else _array(outputs)

    def _tensor(self, array: np.ndarray | None) -> Tensor | None:
        return None if array is None else torch.from_numpy(array).to(self.device)

    def deciding(self) -> TorchModel:
        """The model, or its copy with an encoder in bf16 where that is faster. The same one each time."""
        if not machine.peaks(self.device).bf16_profits:
            return self
        if self._light is None:
            self._light = TorchModel(with_bf16_encoder(self.network))
        return self._light

    def embedding(self) -> TorchModel:
        if isinstance(self.network, baselines.Baseline):
            raise UserError("a one-sided language model makes no embeddings: use a BERT")
        if self._embedder is None:
            with torch.device("meta"):  # its encoder is replaced, so it needs no numbers
                embedder = Embedder(self.config)
            embedder.bert = self.network.bert
            self._embedder = TorchModel(embedder.eval())
        return self._embedder

    def to(self, device: str | torch.device) -> None:
        self.network.to(machine.pick_device(str(device)))
        self._light = None

    def save(self, tokenizer: Tokenizer, folder: str | Path) -> None:
        if isinstance(self.network, baselines.Baseline):
            baselines.save_baseline(self.network, tokenizer, Path(folder))
        else:
            save_pretrained(self.network, tokenizer, folder)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()


def with_bf16_encoder(network: nn.Module) -> nn.Module:
    """A copy whose layers compute in bf16 and hand float32 states to the head: labels are decided in float32."""
    light = copy.deepcopy(network)
    for part in (light.bert.embeddings, light.bert.layers, light.bert.norm):
        if part is not None:
            part.to(torch.bfloat16)
    light.bert.register_forward_hook(lambda module, inputs, hidden: hidden.float())
    return light
