"""Answers to questions, by the official scores of SQuAD."""

from __future__ import annotations

from typing import Any

import numpy as np

from adverb.data.squad import Questions
from adverb.metrics.answers import answer_scores, exact, squad_metrics
from adverb.metrics.bootstrap import intervals
from adverb.metrics.calibration import ece, fit_temperature, reliability
from adverb.metrics.details import MISTAKES, Details, mistake, table
from adverb.pipelines.answerer import CANDIDATES, Answer, Candidates, choose, find_candidates
from adverb.pipelines.judging import RESAMPLES, Judged
from adverb.pipelines.reader import Reader

AROUND = 150  # characters of a passage shown to each side of an answer
KINDS = ("what", "who", "when", "where", "which", "why", "how many", "how much", "how")


def judge_answers(reader: Reader, data: Questions, resamples: int = RESAMPLES, fit: bool = False) -> Judged:
    """exact and f1 in per cent as the official scripts, HasAns_… and NoAns_… where some have no answer; ece and
    ece_uncalibrated of the answers' probabilities."""
    contexts = [data.contexts[context] for context in data.context_of]
    truths = [[text for text, _ in answers] for answers in data.answers]
    found = find_candidates(reader.model.deciding(), reader.tokenizer, data.questions, contexts)
    facts = reader.facts
    if fit:
        facts["temperature"] = fitted_temperature(found, truths, contexts)
        if "null_threshold" in facts:
            facts["null_threshold"] = best_threshold(found, truths, contexts)
    temperature = facts.get("temperature", 1.0)
    before, after = (
        [choose(each, context, 1, facts.get("null_threshold"), t)[0]
         for each, context in zip(found, contexts, strict=True)]
        for t in (1.0, temperature)
    )  # fmt: skip
    references = dict(zip(data.ids, truths, strict=True))
    said = {name: answer.text for name, answer in zip(data.ids, after, strict=True)}
    scores = 100 * np.array(list(answer_scores(said, references).values()))  # [N, 2]: exact, f1
    trained, mended = (_certainty(answers, scores[:, 0] == 100) for answers in (before, after))
    unsure = None if all(truths) else {name: each.no_answer for name, each in zip(data.ids, found, strict=True)}
    metrics = squad_metrics(said, references, unsure) | {"ece": ece(*mended), "ece_uncalibrated": ece(*trained)}
    if not resamples:
        return metrics, None
    details = Details(
        rows=len(data),
        intervals=intervals(lambda rows: _averages(scores[rows]), len(data), resamples),
        tables=[table("Kinds of questions", _by_kind(data.questions, scores))],
        calibration={
            "temperature": temperature,
            "before": metrics["ece_uncalibrated"],
            "after": metrics["ece"],
            "bins": {"before": reliability(*trained), "after": reliability(*mended)},
        },
        mistakes=_mistakes(data, contexts, after, scores[:, 1]),
    )
    return metrics, details


def fitted_temperature(found: list[Candidates], truths: list[list[str]], contexts: list[str]) -> float:
    """That which makes the right candidate most likely, over the questions where it is one."""
    logits, right = [], []
    for each, texts, context in zip(found, truths, contexts, strict=True):
        said = [context[start:end] for start, end in each.spans]
        hits = [any(exact(text, truth) for truth in texts) for text in said] + [not texts]
        if any(hits):
            scores = [*each.spans.values(), each.none]
            logits.append(scores + [-np.inf] * (CANDIDATES + 1 - len(scores)))
            right.append(hits.index(True))
    return fit_temperature(np.array(logits), np.array(right, np.int64), "single")


def best_threshold(found: list[Candidates], truths: list[list[str]], contexts: list[str]) -> float:
    """The `Candidates.no_answer` above which a question is best not answered, by F1."""
    said, no_answer, references = {}, {}, {}
    for name, (each, texts, context) in enumerate(zip(found, truths, contexts, strict=True)):
        said[name] = choose(each, context, 1, 1.0)[0].text  # nothing is above 1
        no_answer[name], references[name] = each.no_answer, texts
    return squad_metrics(said, references, no_answer)["best_f1_thresh"]


def _certainty(answers: list[Answer], right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the answers and which are right, float32 and bool, [N, 1] each."""
    return np.array([[answer.probability] for answer in answers], np.float32), right[:, None]


def _averages(scores: np.ndarray) -> dict[str, float]:
    return dict(zip(("exact", "f1"), scores.mean(0).tolist(), strict=True))


def _by_kind(questions: list[str], scores: np.ndarray) -> list[dict[str, Any]]:
    """How well questions are answered by the word that asks, the most frequent kind first."""
    rows: dict[str, list[int]] = {}
    for row, question in enumerate(questions):
        padded = f" {question.lower()} "
        places = {kind: padded.find(f" {kind} ") for kind in KINDS}
        asked = [kind for kind in KINDS if places[kind] >= 0]
        rows.setdefault(min(asked, key=places.__getitem__, default="other"), []).append(row)
    return [
        {"question": kind} | _averages(scores[members]) | {"questions": len(members)}
        for kind, members in sorted(rows.items(), key=lambda item: -len(item[1]))
    ]


def _mistakes(data: Questions, contexts: list[str], said: list[Answer], f1: np.ndarray) -> list[dict[str, Any]]:
    """The answers without a word in common with the truth, those first of which the model was surest."""
    wrong = sorted(np.flatnonzero(f1 == 0).tolist(), key=lambda row: -said[row].probability)
    shown = []
    for row in wrong[:MISTAKES]:
        start = data.answers[row][0][1] if data.answers[row] else said[row].start
        around = contexts[row][max(0, start - AROUND) : start + AROUND]
        truth = " / ".join(dict.fromkeys(text for text, _ in data.answers[row])) or "no answer"
        text = f"{data.questions[row]} … {around} …"
        shown.append(mistake(text, truth, said[row].text or "no answer", said[row].probability))
    return shown
