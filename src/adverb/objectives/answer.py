"""Answers as spans of a passage: where one starts and where it ends (Devlin et al. 2018, §4.2 and §4.3).

As in the authors' code, a window that does not hold the answer learns to point at [CLS], and so does a question
without answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adverb.data.squad import Questions, load_question_splits
from adverb.data.windows import encode_passages, question_rows
from adverb.metrics.answers import answer_scores, exact, squad_metrics
from adverb.metrics.bootstrap import intervals
from adverb.metrics.calibration import ece, fit_temperature, reliability
from adverb.metrics.details import MISTAKES, Details, mistake, table
from adverb.objectives.finetune import FineTune, Row
from adverb.pipelines.answerer import CANDIDATES, Candidates, choose, find_candidates
from adverb.pipelines.answerer import Answer as Found
from adverb.pipelines.torch_model import TorchModel
from adverb.schema.tasks import AnswerRecipe

AROUND = 150  # characters of a passage shown to each side of an answer
KINDS = ("what", "who", "when", "where", "which", "why", "how many", "how much", "how")


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

    # -- judging

    def judge(self, model: nn.Module, data: Questions, folder: Path, final: bool) -> dict[str, float]:
        contexts = [data.contexts[context] for context in data.context_of]
        truths = [[text for text, _ in answers] for answers in data.answers]
        deciding = TorchModel(model).deciding()
        found = find_candidates(deciding, self.tokenizer, data.questions, contexts)
        facts = model.config.adverb
        if data is self.valid:
            facts["temperature"] = fitted_temperature(found, truths, contexts)
            if "null_threshold" in facts:
                facts["null_threshold"] = best_threshold(found, truths, contexts)
        before, after = (
            [choose(each, context, 1, facts.get("null_threshold"), t)[0]
             for each, context in zip(found, contexts, strict=True)]
            for t in (1.0, facts["temperature"])
        )  # fmt: skip
        references = dict(zip(data.ids, truths, strict=True))
        said = {name: answer.text for name, answer in zip(data.ids, after, strict=True)}
        scores = 100 * np.array(list(answer_scores(said, references).values()))  # [N, 2]: exact, f1
        trained, mended = (certainty(answers, scores[:, 0] == 100) for answers in (before, after))
        metrics = squad_metrics(said, references) | {"ece": ece(*mended), "ece_uncalibrated": ece(*trained)}
        if final:
            Details(
                "valid" if data is self.valid else "test",
                len(data),
                intervals(lambda rows: averages(scores[rows]), len(data), self.recipe.evaluate.resamples),
                [table("Kinds of questions", by_kind(data.questions, scores))],
                calibration={
                    "temperature": facts["temperature"],
                    "before": metrics["ece_uncalibrated"],
                    "after": metrics["ece"],
                    "bins": {"before": reliability(*trained), "after": reliability(*mended)},
                },
                mistakes=mistakes(data, contexts, after, scores[:, 1]),
            ).write(folder)
        return metrics


def fitted_temperature(found: list[Candidates], truths: list[list[str]], contexts: list[str]) -> float:
    """That which makes the right candidate most likely, over the questions where it is one."""
    logits, right = [], []
    for each, texts, context in zip(found, truths, contexts, strict=True):
        said = [context[start:end] for start, end in each.spans]
        hits = [any(exact(text, truth) for truth in texts) for text in said] + [not texts]
        if any(hits):
            scores = [*each.spans.values(), each.none]
            logits.append(scores + [min(scores)] * (CANDIDATES + 1 - len(scores)))
            right.append(hits.index(True))
    return fit_temperature(np.array(logits), np.array(right, np.int64), "single")


def best_threshold(found: list[Candidates], truths: list[list[str]], contexts: list[str]) -> float:
    """The `Candidates.no_answer` above which a question is best not answered, by F1."""
    said, no_answer, references = {}, {}, {}
    for name, (each, texts, context) in enumerate(zip(found, truths, contexts, strict=True)):
        said[name] = choose(each, context, 1, 1.0)[0].text  # nothing is above 1
        no_answer[name], references[name] = each.no_answer, texts
    return squad_metrics(said, references, no_answer)["best_f1_thresh"]


def certainty(answers: list[Found], right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the answers and which are right, float32 and bool, [N, 1] each."""
    return np.array([[answer.probability] for answer in answers], np.float32), right[:, None]


def averages(scores: np.ndarray) -> dict[str, float]:
    return dict(zip(("exact", "f1"), scores.mean(0).tolist(), strict=True))


def by_kind(questions: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """How well questions are answered by the word that asks, the most frequent kind first."""
    rows: dict[str, list[int]] = {}
    for row, question in enumerate(questions):
        padded = f" {question.lower()} "
        places = {kind: padded.find(f" {kind} ") for kind in KINDS}
        asked = [kind for kind in KINDS if places[kind] >= 0]
        rows.setdefault(min(asked, key=places.__getitem__, default="other"), []).append(row)
    return [
        {"question": kind} | averages(scores[members]) | {"questions": len(members)}
        for kind, members in sorted(rows.items(), key=lambda item: -len(item[1]))
    ]


def mistakes(data: Questions, contexts: list[str], said: list[Found], f1: np.ndarray) -> list[dict[str, Any]]:
    """The answers without a word in common with the truth, those first of which the model was surest."""
    wrong = sorted(np.flatnonzero(f1 == 0).tolist(), key=lambda row: -said[row].probability)
    shown = []
    for row in wrong[:MISTAKES]:
        start = data.answers[row][0][1] if data.answers[row] else said[row].start
        around = contexts[row][max(0, start - AROUND) : start + AROUND]
        truth = " / ".join(text for text, _ in data.answers[row]) or "no answer"
        text = f"{data.questions[row]} … {around} …"
        shown.append(mistake(text, truth, said[row].text or "no answer", said[row].probability))
    return shown
