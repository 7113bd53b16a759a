"""The names of parameters: ours, and those of transformers."""

from __future__ import annotations

import re

import torch
from torch import Tensor

# (ours, theirs): prefixes of parameter names; `{}` stands for the number of a layer.
PAIRS = [
    ("bert.embeddings.word", "bert.embeddings.word_embeddings"),
    ("bert.embeddings.position", "bert.embeddings.position_embeddings"),
    ("bert.embeddings.segment", "bert.embeddings.token_type_embeddings"),
    ("bert.embeddings.norm", "bert.embeddings.LayerNorm"),
    ("bert.layers.{}.attention.qkv", "bert.encoder.layer.{}.attention.self"),  # theirs: .query, .key, .value
    ("bert.layers.{}.attention.out", "bert.encoder.layer.{}.attention.output.dense"),
    ("bert.layers.{}.attention_norm", "bert.encoder.layer.{}.attention.output.LayerNorm"),
    ("bert.layers.{}.feed_forward.up", "bert.encoder.layer.{}.intermediate.dense"),
    ("bert.layers.{}.feed_forward.down", "bert.encoder.layer.{}.output.dense"),
    ("bert.layers.{}.feed_forward_norm", "bert.encoder.layer.{}.output.LayerNorm"),
    ("bert.pooler.dense", "bert.pooler.dense"),
    ("mlm.dense", "cls.predictions.transform.dense"),
    ("mlm.norm", "cls.predictions.transform.LayerNorm"),
    ("pair", "cls.seq_relationship"),
    ("classifier", "classifier"),
    ("span", "qa_outputs"),
    ("discriminator.dense", "discriminator_predictions.dense"),
    ("discriminator.out", "discriminator_predictions.dense_prediction"),
]
PARTS = ("query", "key", "value")  # the rows of our qkv, in this order


def _table(pairs: list[tuple[str, str]]) -> list[tuple[re.Pattern, str]]:
    return [
        (re.compile(re.escape(old).replace(r"\{\}", r"(\d+)") + r"(?=\.)"), new.replace("{}", r"\1"))
        for old, new in pairs
    ]


TO_THEIRS = _table(PAIRS)
TO_OURS = _table([(theirs, ours) for ours, theirs in PAIRS])


def _rename(name: str, table: list[tuple[re.Pattern, str]]) -> str | None:
    for pattern, new in table:
        match = pattern.match(name)
        if match:
            return match.expand(new) + name[match.end() :]
    return None


def to_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict under their names, q, k and v apart. Without the tied decoder, as transformers writes it."""
    theirs = {}
    for name, tensor in state.items():
        if name == "mlm.bias":
            theirs["cls.predictions.bias"] = tensor
            if "mlm.weight" in state:  # untied, transformers 5 reads this one
                theirs["cls.predictions.decoder.bias"] = tensor.clone()
        elif name == "mlm.weight":  # only there when untied
            theirs["cls.predictions.decoder.weight"] = tensor
        elif ".attention.qkv." in name:
            base, kind = _rename(name, TO_THEIRS).rsplit(".", 1)
            theirs |= {f"{base}.{part}.{kind}": t for part, t in zip(PARTS, tensor.chunk(3), strict=True)}
        else:
            theirs[_rename(name, TO_THEIRS)] = tensor
    return {name: tensor.contiguous() for name, tensor in theirs.items()}


def from_transformers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their state dict under our names, q, k and v as one; what has no place here keeps its name.

    Takes the names of every age: gamma and beta, with or without `bert.`, a `position_ids` buffer, the bias of the
    decoder under either name.
    """
    ours = {}
    for name, tensor in state.items():
        name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
        if re.match(r"(embeddings|encoder|pooler)\.", name):
            name = "bert." + name
        if name.endswith("embeddings.position_ids"):
            continue
        if name in ("cls.predictions.bias", "cls.predictions.decoder.bias"):
            ours["mlm.bias"] = tensor
        elif name == "cls.predictions.decoder.weight":
            ours["mlm.weight"] = tensor
        else:
            ours[_rename(name, TO_OURS) or name] = tensor
    for name in [n for n in ours if re.search(r"\.attention\.qkv\.query\.", n)]:
        names = [name.replace(".query.", f".{part}.") for part in PARTS]
        if all(n in ours for n in names):
            ours[name.replace(".query.", ".")] = torch.cat([ours.pop(n) for n in names])
    return ours
