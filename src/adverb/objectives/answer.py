"""Answers as spans of a passage: where one starts and where it ends (Devlin et al. 2018, §4.2 and §4.3).

As in the authors' code, a window that does not hold the answer learns to point at [CLS], and so does a question
without answers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adverb.data.squad import Questions, load_question_splits
from adverb.data.windows import encode_passages, question_rows
from adverb.objectives.finetune import FineTune, Row
from adverb.schema.tasks import AnswerRecipe


class Answer(FineTune):
    task = "question_answering"
    recipe: AnswerRecipe
    train: Questions
    valid: Questions
    best = ("f1", "max")
    headline = ("loss", "f1")

    def read(self) -> None:
        self.train, self.valid, self.test = load_question_splits(self.recipe.data)

    def facts(self) -> dict[str, Any]:
        spec = self.recipe.data
        facts = super().facts() | {"stride": spec.stride, "max_question": spec.max_question}
        return facts if all(self.train.answers) else facts | {"null_threshold": 0.5}

    def encode(self, data: Questions) -> list[Row]:
        spec = self.recipe.data
        passages = encode_passages(self.tokenizer, data.contexts)
        of = [passages[context] for context in data.context_of]
        rows = []
        for row in question_rows(self.tokenizer, data.questions, of, self.max_length, spec.stride, spec.max_question):
            start, end = row.target(of[row.question], data.answers[row.question])
            rows.append({"input_ids": row.input_ids, "token_type_ids": row.token_type_ids, "start": start, "end": end})
        return rows

    def collate(self, rows: list[Row]) -> dict[str, Tensor]:
        return self.inputs(rows) | {key: torch.tensor([row[key] for row in rows]) for key in ("start", "end")}

    def row_loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        batch = dict(batch)
        start, end = batch.pop("start"), batch.pop("end")
        logits = model(**batch)
        if "attention_mask" in batch:  # the loss of a row must not depend on how long the others are
            padding = batch["attention_mask"] == 0
            logits = tuple(side.masked_fill(padding, torch.finfo(side.dtype).min) for side in logits)
        return model.loss(logits, start, end)
