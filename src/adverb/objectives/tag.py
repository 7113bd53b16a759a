"""A tag for every word: entities and other spans, or parts of speech (Devlin et al. 2018, §5.3).

The label of a word stands at its first piece, and the head is computed there only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adverb.bert.heads import IGNORED
from adverb.data.tagged import Tagged, load_tagged_splits
from adverb.data.windows import tag_rows
from adverb.metrics.bootstrap import intervals
from adverb.metrics.calibration import ece, fit_temperature, reliability
from adverb.metrics.details import MISTAKES, Details, classification_details, mistake, table
from adverb.metrics.entities import entity_counts, entity_metrics, entity_scores, per_type, spans_of
from adverb.metrics.labels import classification_metrics
from adverb.objectives.finetune import FineTune, Row
from adverb.pipelines.batching import pad
from adverb.pipelines.scores import log_softmax
from adverb.pipelines.tagger import UNSEEN, best_tags, word_logits
from adverb.pipelines.torch_model import TorchModel
from adverb.schema.tasks import TagRecipe

Said = tuple[list[str], np.ndarray]  # of a text: the tags of its words, and their probabilities


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

    def row_loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        batch = dict(batch)
        labels = batch.pop("labels")
        return model.loss(model(**batch), labels)

    # -- judging

    def judge(self, model: nn.Module, data: Tagged, folder: Path, final: bool) -> dict[str, float]:
        deciding = TorchModel(model).deciding()
        logits = word_logits(deciding, self.tokenizer, data.texts, data.words)
        scores, targets, texts = self.flat(logits, data)
        if data is self.valid:
            model.config.adverb["temperature"] = fit_temperature(scores, targets, "single")
        if self.spans:
            return self.judge_spans(model, data, logits, folder if final else None)
        before, after = (np.exp(log_softmax(scores / t)) for t in (1.0, model.config.adverb["temperature"]))
        metrics = classification_metrics(targets, after, "single")
        metrics |= {"ece": ece(after, targets), "ece_uncalibrated": ece(before, targets)}
        if final:
            classification_details(
                targets,
                after,
                "single",
                self.labels,
                texts=[data.texts[text] for text in texts],
                lines=data.lines[texts],
                split="valid" if data is self.valid else "test",
                resamples=self.recipe.evaluate.resamples,
                uncalibrated=before,
                temperature=model.config.adverb["temperature"],
            ).write(folder)
        return metrics

    def flat(self, logits: list[np.ndarray], data: Tagged) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of all words that have scores: the scores [N, C], the tags' numbers and the texts', int64 [N] each."""
        number = {label: index for index, label in enumerate(self.labels)}
        scores = np.concatenate(logits)
        targets = np.array([number[tag] for tags in data.tags for tag in tags], dtype=np.int64)
        texts = np.repeat(np.arange(len(data)), [len(tags) for tags in data.tags])
        seen = ~np.isnan(scores[:, 0])
        return scores[seen], targets[seen], texts[seen]

    def judge_spans(self, model, data: Tagged, logits: list[np.ndarray], folder: Path | None) -> dict[str, float]:
        temperature = model.config.adverb["temperature"]
        before, after = (self.said(model, data, logits, t) for t in (1.0, temperature))
        tags = [tags for tags, _ in after]
        metrics = entity_metrics(data.tags, tags)
        metrics |= {"ece": ece(*certainty(data, after)), "ece_uncalibrated": ece(*certainty(data, before))}
        if folder is not None:
            counts, resamples = entity_counts(data.tags, tags), self.recipe.evaluate.resamples
            Details(
                "valid" if data is self.valid else "test",
                len(data),
                intervals(lambda rows: entity_scores(counts[rows].sum(0)), len(data), resamples),
                [table("Entities", per_type(data.tags, tags))],
                calibration={
                    "temperature": temperature,
                    "before": metrics["ece_uncalibrated"],
                    "after": metrics["ece"],
                    "bins": {
                        "before": reliability(*certainty(data, before)),
                        "after": reliability(*certainty(data, after)),
                    },
                },
                mistakes=mistakes(data, after),
            ).write(folder)
        return metrics

    def said(self, model, data: Tagged, logits: list[np.ndarray], temperature: float) -> list[Said]:
        """Tags and their probabilities; what nobody can see is outside of all entities."""
        tagged = best_tags(model, logits, temperature)
        return [(["O" if tag == UNSEEN else tag for tag in tags], probabilities) for tags, probabilities in tagged]


def certainty(data: Tagged, said: list[Said]) -> tuple[np.ndarray, np.ndarray]:
    """Of each entity that was said: its probability, and whether it is one; float32 and bool, [N, 1] each."""
    sure, right = [], []
    for truth, (tags, probabilities) in zip(data.tags, said, strict=True):
        true = spans_of(truth)
        for span in spans_of(tags):
            sure.append(probabilities[span[1] : span[2]].mean())
            right.append(span in true)
    return np.array(sure, np.float32)[:, None], np.array(right, bool)[:, None]


def mistakes(data: Tagged, said: list[Said]) -> list[dict[str, Any]]:
    """The texts with wrong tags, those first of which the model was surest of a wrong one."""
    wrong = []
    for row, (truth, (tags, probabilities)) in enumerate(zip(data.tags, said, strict=True)):
        sure = [p for true, tag, p in zip(truth, tags, probabilities, strict=True) if true != tag]
        if sure:
            wrong.append((max(sure), row))
    wrong.sort(key=lambda pair: (-pair[0], pair[1]))
    return [
        mistake(data.texts[row], listed(data, row, data.tags[row]), listed(data, row, said[row][0]), float(sure),
                int(data.lines[row]))
        for sure, row in wrong[:MISTAKES]
    ]  # fmt: skip


def listed(data: Tagged, row: int, tags: Sequence[str]) -> str:
    """The entities of a text in words: "Redondo Beach (location), …"."""
    text, words = data.texts[row], data.words[row]
    spans = sorted((start, end, type_) for type_, start, end in spans_of(tags))
    return ", ".join(f"{text[words[a][0] : words[b - 1][1]]} ({type_})" for a, b, type_ in spans) or "nothing"
