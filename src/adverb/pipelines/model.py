"""What a reader needs of a model: arrays in, arrays out, whatever computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from tokenizers import Encoding

from adverb.pipelines.batching import batches, pad

Outputs = np.ndarray | tuple[np.ndarray, ...]


class Model(Protocol):
    """One of `adverb.bert.heads`, or a baseline, behind NumPy: `TorchModel` and `OnnxModel`.

    config: a BertConfig, or what a baseline has in its place. task: of the head, such as "token_classification".
    max_length: tokens of a text that an embedder was trained on, or None. token_budget: of a batch, with padding.
    """

    config: Any
    task: str
    max_length: int | None
    token_budget: int

    def __call__(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray | None = None,
        token_type_ids: np.ndarray | None = None,
        take: np.ndarray | None = None,
        document_ids: np.ndarray | None = None,
    ) -> Outputs:
        """What the head says, float32. Arguments int64 [B, L], `take` [B, T], as those of the head's `forward`.

        Raises UserError for document_ids where the model is an export.
        """

    def deciding(self) -> Model:
        """The same model, in a lower precision where that is faster here and decides labels as well."""

    def embedding(self) -> Model:
        """The same encoder as a model of task "embedding". Raises UserError where it can't be had."""

    def to(self, device: Any) -> None:
        """Compute there; "auto": on the accelerator where there is one."""

    def save(self, tokenizer: Any, folder: Any) -> None:
        """Write a folder that `Reader.load` opens."""


def outputs_of(model: Model, encodings: Sequence[Encoding], pad_id: int) -> np.ndarray:
    """What the model says of each row, in their order: float32 [N, …]."""
    ids, types = [e.ids for e in encodings], [e.type_ids for e in encodings]
    outputs: np.ndarray | None = None
    for rows in batches([len(row) for row in ids], model.token_budget):
        output = model(*pad([ids[row] for row in rows], pad_id, [types[row] for row in rows]))
        if outputs is None:
            outputs = np.empty((len(ids), *output.shape[1:]), output.dtype)
        outputs[rows] = output
    return outputs
