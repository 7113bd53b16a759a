"""Networks to ONNX graphs that take any number of rows of any length."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adverb.errors import UserError

OPSET = 20  # the first with GELU
MOST_BYTES = 1_900_000_000  # a graph is one protocol buffer, which holds less than 2 GB
OUTPUTS = {  # task -> the names of what the head says; its inputs are those of its `forward`
    "masked_lm": ["logits"],
    "pretraining": ["logits", "pair"],
    "sequence_classification": ["logits"],
    "token_classification": ["logits"],
    "question_answering": ["start", "end"],
    "embedding": ["vectors"],
}
TAKEN = ("masked_lm", "pretraining", "token_classification")  # tasks whose head reads the positions `take` only


def write_reader(network: nn.Module, path: Path) -> None:
    """One of `adverb.bert.heads`: inputs input_ids, attention_mask, token_type_ids int64 [B, L], take [B, T].

    What a network has no use for is not an input: segments of one without segment embeddings, `take` of a head that
    is not among TAKEN. Outputs: OUTPUTS, as `forward` returns them.
    """
    ids = torch.tensor([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]) % network.config.vocab_size
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    if not network.config.type_vocab_size:
        del inputs["token_type_ids"]
    if network.task in TAKEN:
        inputs["take"] = torch.tensor([[1, 2, 3], [2, 1, 0]])
    shapes = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in inputs}
    _write(network, inputs, shapes, OUTPUTS[network.task], path)


def write_generator(network: nn.Module, path: Path) -> None:
    """A generator: input latent float32 [N, Z], output images float32 [N, C, H, W].

    With classes also label int64 [N], with captions their features, caption float32 [N, E].
    """
    classes, features = network.input.classes, network.input.caption_size
    inputs: dict[str, Tensor] = {"latent": torch.zeros(3, network.input.latent_size)}
    if classes or features:
        inputs["label"] = torch.zeros(3, features) if features else torch.zeros(3, dtype=torch.int64)
    shapes = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
    names = ["latent", "caption" if features else "label"][: len(inputs)]
    _write(network, inputs, shapes, ["images"], path, names)


def _write(
    network: nn.Module,
    inputs: dict[str, Tensor],
    shapes: dict[str, Any],
    outputs: list[str],
    path: Path,
    names: list[str] | None = None,
) -> None:
    """names: what the inputs are called, where not as `forward` calls them."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > MOST_BYTES:
        raise UserError(f"the weights are {size / 1e9:.1f} GB: an ONNX file holds less than 2 GB")
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError("to write ONNX needs pip install 'adverb[onnx]'") from None
    with _quietly():
        program = torch.onnx.export(
            network.float().cpu().eval(), (), kwargs=inputs, dynamic_shapes=shapes, input_names=names or list(inputs),
            output_names=outputs, opset_version=OPSET, dynamo=True, verbose=False,
        )  # fmt: skip
        program.save(path, external_data=False)


@contextlib.contextmanager
def _quietly():
    """The exporter reports its progress, and that torchvision is not there, to a user who asked for neither."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
