"""Few labels and many texts without: what the ways of learning from both have in common, and the plain one.

A held-out tenth of a hundred rows would tell nothing. Where the labelled rows are few, all of them are trained on, and
what is reported is what models of the other folds said of each row (cross-validation, Stone 1974).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from adverb.data.labelled import Labelled, load_labelled_parts
from adverb.data.parts import folds_of, held_out_rows
from adverb.data.unlabelled import Unlabelled, load_unlabelled
from adverb.errors import UserError
from adverb.objectives.classify import Classify
from adverb.objectives.finetune import Row
from adverb.pipelines.judging.classes import judge_logits
from adverb.pipelines.reader import Reader
from adverb.pipelines.torch_model import TorchModel
from adverb.schema.tasks import ClassifyRecipe

FEW = 1000  # labelled rows below which they are cross-validated
LEAST = 8  # rows below which there is nothing to validate by
STEPS = 200  # of fine-tuning at least, where the recipe counts in epochs: three of a hundred rows are ten steps


@dataclass
class Few:
    """What there is to learn from, and to measure on. valid None: `train` itself, out of fold."""

    train: Labelled
    valid: Labelled | None
    test: Labelled | None
    unlabelled: Unlabelled

    @property
    def texts(self) -> list[list[str]]:
        return [self.train.texts] if self.train.pairs is None else [self.train.texts, self.train.pairs]

    def folds(self, count: int) -> np.ndarray:
        """The fold of each labelled row, int64 [N]."""
        return folds_of(self.train.strata(), count, *self.texts)

    def trial(self, rest: np.ndarray) -> Few:
        """To learn from the labelled rows `rest`, int64 [M], alone."""
        return Few(self.train.take(rest), self.train, None, self.unlabelled)


def read_few(recipe: ClassifyRecipe) -> Few:
    """The data of a recipe with `data.unlabelled`. Raises UserError, also where rows have not one class each."""
    train, valid, test = load_labelled_parts(recipe.data)
    if train.kind != "single":
        has = "several labels a row" if train.kind == "multi" else "a number a row"
        raise UserError(f"data.unlabelled: {train.name} has {has}; texts without labels help with one class a row only")
    if len(train) < LEAST:
        raise UserError(
            f"{train.name} has {len(train)} rows with a label: label {LEAST} at least, to have some to test on"
        )
    known = [part for part in (train, valid, test) if part is not None]
    few = Few(train, valid, test, load_unlabelled(recipe.data, known, recipe.few.limit))
    if valid is None and (len(train) >= FEW or recipe.few.folds == 1):
        few.train, few.valid = train.split(held_out_rows(train.strata(), train.name, *few.texts))
    return few


class FromFew(Classify):
    """Plain fine-tuning on the labelled rows, and the base of what learns from the other texts, too.

    said: what was said out of fold, logits float32 [N, C], where that is known.
    """

    method = "plain"

    def __init__(self, recipe: ClassifyRecipe, context, console, few: Few, said: np.ndarray | None = None):
        self.few, self.said = few, said
        train, rows = recipe.train, len(few.train)
        train.batch_size = train.batch_size or 32
        self.own = self.own_rows(train.batch_size)
        if train.epochs is not None and train.steps is None:
            by_epochs = math.ceil(train.epochs * rows / self.own)
            train.steps, train.epochs = max(self.least_steps(train.batch_size), by_epochs), None
        super().__init__(recipe, context, console)
        self.folded = self.few.valid is None
        if self.folded:
            self.best = None  # what is said out of fold does not tell one epoch of this model from another
            self.networks["model"].config.adverb["out_of_fold"] = True

    def own_rows(self, batch_size: int) -> int:
        """How many labelled rows a batch has."""
        return batch_size

    def least_steps(self, batch_size: int) -> int:
        """How many steps are made at least, where the recipe counts in epochs."""
        return STEPS

    def splits(self) -> tuple[Labelled, Labelled, Labelled | None]:
        few = self.few
        return few.train, few.train if few.valid is None else few.valid, few.test

    def encode_unlabelled(self) -> list[Row]:
        data = self.few.unlabelled
        encodings = self.tokenizer.encode_batch(data.texts, data.pairs, self.max_length)
        return [{"input_ids": e.ids, "token_type_ids": e.type_ids} for e in encodings]

    def lengths_of(self, rows: list[Row]) -> np.ndarray:
        return np.fromiter(map(self.length, rows), np.int64, len(rows))

    def prepare(self) -> None:
        if self.folded and self.said is None:
            from adverb.objectives.few_choice import out_of_fold

            self.said = out_of_fold(self.method, self.recipe, self.context, self.few)

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        if not self.folded:
            return super().evaluate(networks, folder, step, final)
        reader = Reader(TorchModel(self.finished(networks["model"])), self.tokenizer)
        resamples = self.recipe.evaluate.resamples if final else 0
        metrics, details = judge_logits(reader, self.said, self.train, resamples, fit=True)
        if details is not None:
            details.split = "valid"
            details.write(folder)
        return metrics

    def state(self) -> dict[str, Any]:
        return {"said": None if self.said is None else torch.from_numpy(self.said)}

    def load_state(self, state: dict[str, Any]) -> None:
        self.said = None if state["said"] is None else state["said"].numpy()

    def plan(self) -> dict[str, str]:
        lines = super().plan()
        if self.folded:
            lines["held out"] = f"nothing; measured out of {self.recipe.few.folds} folds of the rows trained on"
        lines["unlabelled"] = "; ".join(self.few.unlabelled.report.lines())
        lines["method"] = self.method
        if self.trainings > 1:
            lines["method"] += f"; the last of at most {self.trainings} trainings, to choose and measure by"
        return lines
