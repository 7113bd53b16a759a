"""Folders that answer without torch: a graph, its config, its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.export.compare import Distance, Feed, distance
from adverb.export.graph import write_reader
from adverb.export.int8 import quantise
from adverb.pipelines import EXPORT
from adverb.pipelines.onnx_session import GRAPH
from adverb.pipelines.reader import Reader
from adverb.pipelines.torch_model import TorchModel


def network_of(reader: Reader):
    """The pipelines' model to export: what its verb calls. Raises UserError for a baseline."""
    if reader.model.task == "language_model":
        raise UserError("one-sided language models are baselines of pre-training: only BERTs are exported")
    return reader.model.embedding() if reader.verb == "embed" else reader.model


def write(reader: Reader, folder: Path, precision: str, feeds: list[Feed], real: bool) -> Distance:
    """Write the folder, open it again, and say how far it is from the model.

    precision: "fp32" or "int8". feeds: batches by which both are compared. real: whether people wrote them.
    """
    model = network_of(reader)
    save(model, reader.tokenizer, folder, precision)
    found = distance(model, Reader.load(folder).model, feeds)
    found.must_be_within(precision, model.task, real)
    return found


def save(model: TorchModel, tokenizer: Tokenizer, folder: Path, precision: str) -> None:
    """The folder alone, which has to be compared."""
    facts = {"precision": precision}
    if model.max_length:
        facts["max_length"] = model.max_length
    values = model.config.to_dict() | {"adverb_task": model.task, EXPORT: facts}
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_reader(model.network, folder / GRAPH)
    if precision == "int8":
        quantise(folder / GRAPH)
