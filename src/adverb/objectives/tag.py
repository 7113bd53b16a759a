"""A tag for every word: entities and other spans, or parts of speech (Devlin et al. 2018, §5.3).

The label of a word stands at its first piece, and the head is computed there only.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from adverb.bert.heads import IGNORED
from adverb.data.tagged import Tagged, load_tagged_splits
from adverb.data.windows import tag_rows
from adverb.objectives.finetune import FineTune, Row
from adverb.pipelines.batching import pad
from adverb.schema.tasks import TagRecipe


class Tag(FineTune):
    task = "token_classification"
    recipe: TagRecipe
    train: Tagged
    valid: Tagged

    def read(self) -> None:
        self.train, self.valid, self.test = load_tagged_splits(self.recipe.data)
        types = self.train.types
        self.spans = self.train.scheme == "spans"
        self.labels = ["O", *(f"{place}-{type_}" for type_ in types for place in "BI")] if self.spans else types
        self.best = ("f1" if self.spans else "accuracy", "max")
        self.headline = ("loss", self.best[0])

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"stride": self.recipe.data.stride, "scheme": self.train.scheme}

    def encode(self, data: Tagged) -> list[Row]:
        number = {label: index for index, label in enumerate(self.labels)}
        rows = tag_rows(self.tokenizer, data.texts, data.words, self.max_length, self.recipe.data.stride)
        return [
            {
                "input_ids": row.input_ids,
                "token_type_ids": [0] * len(row.input_ids),
                "take": row.take,
                "labels": [number[data.tags[row.text][word]] for word in row.words],
            }
            for row in rows
            if len(row.take)
        ]

    def collate(self, rows: list[Row]) -> dict[str, Tensor]:
        take, _, _ = pad([row["take"] for row in rows], 0)
        labels, _, _ = pad([row["labels"] for row in rows], IGNORED)
        return self.inputs(rows) | {"take": torch.from_numpy(take), "labels": torch.from_numpy(labels)}

    @cached_property
    def words_a_row(self) -> float:
        return sum(len(row["labels"]) for row in self.rows) / len(self.rows)

    def share(self, batch: dict[str, Tensor]) -> Tensor:
        """A word counts the same in every batch: rows come by length, and a mean over the words of each batch would
        make those of short texts count several times."""
        labels = batch["labels"]
        return (labels != IGNORED).sum() / len(labels) / self.words_a_row

    def row_loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        return model.loss(model(**inputs), batch["labels"]) * self.share(batch)
