"""Sentence embeddings: texts that belong together come close, others stay apart (Reimers & Gurevych 2019).

Pairs learn by contrast with the other rows of their batch; graded pairs by the order of their grades.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert.checkpoint import Loaded
from adverb.bert.heads import cross_entropy
from adverb.data.pairs import TextPairs, load_pair_splits
from adverb.errors import UserError
from adverb.objectives.finetune import FineTune, Row
from adverb.schema.tasks import EmbedRecipe


class Embed(FineTune):
    task = "embedding"
    recipe: EmbedRecipe
    train: TextPairs
    valid: TextPairs
    unit = "pairs"

    def read(self) -> None:
        if self.context.world * self.recipe.train.accumulate > 1:
            raise UserError(
                "embed compares the texts of a batch with each other, so a batch can't be cut up: leave "
                "train.accumulate, torchrun or accelerate launch out, or give a smaller train.batch_size"
            )
        self.train, self.valid, self.test = load_pair_splits(self.recipe.data)
        self.graded = self.train.scores is not None
        self.best = ("spearman" if self.graded else "mrr", "max")
        self.headline = ("loss", self.best[0])

    def row_limit(self, loaded: Loaded) -> int:
        asked = self.recipe.data.max_length or loaded.model.max_length
        loaded.model.max_length = min(asked or loaded.config.max_position_embeddings, super().row_limit(loaded))
        return loaded.model.max_length

    def encode(self, data: TextPairs) -> list[Row]:
        """input_ids and types of the first text, second_ids and second_types; a number for each different text."""
        sides = [self.tokenizer.encode_batch(texts, None, self.max_length) for texts in (data.first, data.second)]
        texts = np.array([*data.first, *data.second], dtype=object)  # else all are padded
        numbers = np.unique(texts, return_inverse=True)[1].reshape(2, -1)
        scores = np.zeros(len(data), np.float32) if data.scores is None else data.scores
        return [
            {
                "input_ids": a.ids,
                "token_type_ids": a.type_ids,
                "second": {"input_ids": b.ids, "token_type_ids": b.type_ids},
                "number": number,
                "score": score,
            }
            for a, b, number, score in zip(*sides, numbers.T, scores, strict=True)
        ]

    def length(self, row: Row) -> int:
        return len(row["input_ids"]) + len(row["second"]["input_ids"])

    def collate(self, rows: list[Row]) -> dict[str, dict[str, Tensor] | Tensor]:
        return {
            "first": self.inputs(rows),
            "second": self.inputs([row["second"] for row in rows]),
            "numbers": torch.from_numpy(np.stack([row["number"] for row in rows])),  # int64 [B, 2]
            "scores": torch.from_numpy(np.stack([row["score"] for row in rows])),
        }

    def row_loss(self, model: nn.Module, batch: dict[str, dict[str, Tensor] | Tensor]) -> Tensor:
        first, second = (F.normalize(model(**batch[side]), dim=-1) for side in ("first", "second"))  # [B, H] each
        temperature = self.recipe.loss.temperature
        if self.graded:
            return order_loss((first * second).sum(-1), batch["scores"], temperature)
        return contrastive_loss(first, second, temperature, alike(batch["numbers"]))


def contrastive_loss(first: Tensor, second: Tensor, temperature: float, alike: Tensor | None = None) -> Tensor:
    """In-batch cross-entropy: among all second texts, which belongs to this first one, and the other way round.

    first, second: [B, H] of length 1. alike: bool [B, B], pairs of rows that are no negatives of each other.
    Henderson et al. 2017, eq. 3 (multiple negatives ranking); the form with both directions and a temperature is
    InfoNCE as in CLIP (van den Oord et al. 2018, eq. 4; Radford et al. 2021, fig. 3).
    """
    scores = first.float() @ second.float().T / temperature  # [B, B]
    if alike is not None:
        others = alike & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        scores = scores.masked_fill(others, -torch.inf)
    own = torch.arange(len(scores), device=scores.device)
    return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2


def order_loss(cosines: Tensor, scores: Tensor, temperature: float) -> Tensor:
    """log(1 + Σ exp((cos_j - cos_i) / temperature)) over all i, j of the batch with score_i > score_j; [B] each.

    CoSENT (Su 2022; eq. 4 in Li & Li 2023, "AnglE-optimized text embeddings"). Only the order of grades counts, so
    that their unit does not.
    """
    apart = (cosines[None, :] - cosines[:, None]).float() / temperature  # [i, j]: cos_j - cos_i
    wanted = scores[:, None] > scores[None, :]
    return torch.logsumexp(F.pad(apart[wanted], (1, 0)), dim=0)  # exp(0) is the 1


def alike(numbers: Tensor) -> Tensor:
    """Which rows share a text, on either side: bool [B, B]. numbers: int64 [B, 2], equal where texts are."""
    return (numbers[:, None, :, None] == numbers[None, :, None, :]).flatten(2).any(-1)
