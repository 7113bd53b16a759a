"""Classes of texts and of pairs of texts: one, several, or a number (Devlin et al. 2018, §4.1)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adverb.bert.checkpoint import Loaded
from adverb.data.labelled import Labelled, load_labelled_splits
from adverb.objectives.finetune import FineTune, Row
from adverb.schema.tasks import ClassifyRecipe

PROBLEMS = {
    "single": "single_label_classification",
    "multi": "multi_label_classification",
    "regression": "regression",
}
BEST = {"single": "accuracy", "multi": "micro_f1", "regression": "spearman"}


class Classify(FineTune):
    task = "sequence_classification"
    recipe: ClassifyRecipe
    train: Labelled
    valid: Labelled

    def splits(self) -> tuple[Labelled, Labelled, Labelled | None]:
        """(train, valid, test or None)"""
        return load_labelled_splits(self.recipe.data)

    def read(self) -> None:
        self.train, self.valid, self.test = self.splits()
        self.kind, targets = self.train.kind, self.train.targets
        self.labels = self.train.label_names or [self.train.report.columns["label"]]
        self.best = (BEST[self.kind], "max")
        self.headline = ("loss", BEST[self.kind])
        # A number is learnt as its distance from the mean in deviations, whatever its unit.
        self.mean, self.deviation = (targets.mean(), targets.std() or 1.0) if self.kind == "regression" else (0.0, 1.0)
        balanced = self.recipe.loss.class_weights == "balanced" and self.kind != "regression"
        self.class_weights = class_weights(targets, self.labels).to(self.context.device) if balanced else None

    def facts(self) -> dict[str, Any]:
        """Also which columns the texts were in, where they have names, and whether a row is two texts."""
        roles = self.train.report.columns
        columns = {role: roles[role] for role in ("text", "pair") if role in roles and not roles[role].isdigit()}
        return super().facts() | {"columns": columns, "pairs": self.train.pairs is not None}

    def config_changes(self) -> dict[str, Any]:
        return {"problem_type": PROBLEMS[self.kind]}

    def load(self) -> Loaded:
        loaded = super().load()
        if "classifier.weight" not in loaded.missing:  # a regression that goes on
            rescale(loaded.model.classifier, 1 / self.deviation, -self.mean / self.deviation)
        return loaded

    def encode(self, data: Labelled) -> list[Row]:
        encodings = self.tokenizer.encode_batch(data.texts, data.pairs, self.max_length)
        targets = (data.targets - self.mean) / self.deviation if self.kind == "regression" else data.targets
        return [
            {"input_ids": e.ids, "token_type_ids": e.type_ids, "label": target}
            for e, target in zip(encodings, targets, strict=True)
        ]

    def collate(self, rows: list[Row]) -> dict[str, Tensor]:
        return self.inputs(rows) | {"labels": torch.from_numpy(np.stack([row["label"] for row in rows]))}

    def row_loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        return model.loss(model(**inputs), batch["labels"], self.class_weights, self.recipe.loss.label_smoothing)

    def finished(self, model: nn.Module) -> nn.Module:
        """Of a regression, the model that says the number itself; it shares the encoder."""
        if self.kind != "regression":
            return model
        finished = copy.copy(model)
        finished._modules = model._modules | {"classifier": copy.deepcopy(model.classifier)}
        rescale(finished.classifier, self.deviation, self.mean)
        return finished


def class_weights(targets: np.ndarray, labels: list[str]) -> Tensor:
    """float32 [C]: N / (C n) for a class that n of N rows have, so that they weigh 1 on average.

    With several classes a row (targets [N, C]), how many rows lack the class for each that has it.
    """
    if targets.ndim == 2:
        have = targets.sum(0)
        weights = (len(targets) - have) / np.maximum(have, 1)
    else:
        have = np.bincount(targets, minlength=len(labels))
        weights = len(targets) / (len(labels) * np.maximum(have, 1))
    return torch.from_numpy(weights.astype(np.float32))


@torch.no_grad()
def rescale(layer: nn.Linear, factor: float, offset: float) -> None:
    """Make a layer say factor * what it says + offset."""
    layer.weight.mul_(factor)
    layer.bias.mul_(factor).add_(offset)
