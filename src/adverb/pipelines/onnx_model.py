"""An exported reader as the pipelines' model, without torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from adverb.bert.config import BertConfig
from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines import EXPORT
from adverb.pipelines.batching import TOKEN_BUDGET
from adverb.pipelines.model import Outputs
from adverb.pipelines.onnx_session import GRAPH, Session


class OnnxModel:
    """`adverb.pipelines.model.Model` of a folder that `adverb export` wrote."""

    token_budget = TOKEN_BUDGET

    def __init__(self, folder: Path):
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.folder, self.config, self.task = folder, BertConfig.from_dict(values), values["adverb_task"]
        self.max_length: int | None = values[EXPORT].get("max_length")
        self.session = Session(folder / GRAPH, values[EXPORT]["precision"])

    @classmethod
    def load(cls, folder: Path) -> tuple[OnnxModel, Tokenizer]:
        """Raises UserError where an engine is missing, or a file."""
        return cls(folder), Tokenizer.from_pretrained(folder)

    def __call__(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray | None = None,
        token_type_ids: np.ndarray | None = None,
        take: np.ndarray | None = None,
        document_ids: np.ndarray | None = None,
    ) -> Outputs:
        if document_ids is not None:
            raise UserError("an export reads one document a row: name the model it was made from")
        if take is None and "take" in self.session.inputs:
            take = np.broadcast_to(np.arange(input_ids.shape[1]), input_ids.shape).copy()
        outputs = self.session(
            input_ids=input_ids,
            attention_mask=np.ones_like(input_ids) if attention_mask is None else attention_mask,
            token_type_ids=np.zeros_like(input_ids) if token_type_ids is None else token_type_ids,
            take=take,
        )
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def deciding(self) -> OnnxModel:
        return self

    def embedding(self) -> OnnxModel:
        if self.task != "embedding":
            raise UserError(
                f"this export is of {self.task.replace('_', ' ')} only: embed by the model it was made from"
            )
        return self

    def to(self, device: Any) -> None:
        if str(device) not in ("auto", "cpu"):
            raise UserError(f"an export computes on the CPU, not on {device}")

    def save(self, tokenizer: Tokenizer, folder: str | Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
