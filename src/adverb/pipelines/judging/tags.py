"""Entities, and tags of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adverb.data.tagged import Tagged
from adverb.metrics.bootstrap import intervals
from adverb.metrics.calibration import ece, fit_temperature, reliability
from adverb.metrics.details import MISTAKES, Details, classification_details, mistake, table
from adverb.metrics.entities import entity_counts, entity_metrics, entity_scores, per_type, spans_of
from adverb.metrics.labels import classification_metrics
from adverb.pipelines.judging import RESAMPLES, Judged
from adverb.pipelines.reader import Reader
from adverb.pipelines.scores import softmax
from adverb.pipelines.tagger import UNSEEN, best_tags, word_logits

Said = tuple[list[str], np.ndarray]  # of a text: the tags of its words, and their probabilities
Certain = tuple[np.ndarray, np.ndarray]  # probabilities of what was said, and whether it is so: [N, 1] each


def judge_tags(reader: Reader, data: Tagged, resamples: int = RESAMPLES, fit: bool = False) -> Judged:
    """f1, precision, recall of whole entities; accuracy, macro_f1, … of words where each has a tag of its own.

    Both with ece and ece_uncalibrated, of the entities that are said, or of the words.
    """
    logits = word_logits(reader.model.deciding(), reader.tokenizer, data.texts, data.words)
    labels = list(dict.fromkeys([*reader.model.config.labels, *(tag for tags in data.tags for tag in tags)]))
    scores, targets, texts = flat(logits, data.tags, labels)
    if fit:
        reader.facts["temperature"] = fit_temperature(scores, targets, "single")
    temperature = reader.facts.get("temperature", 1.0)
    if data.scheme == "spans":
        return _judge_spans(reader, data, logits, temperature, resamples)
    before, after = (softmax(scores / t) for t in (1.0, temperature))
    metrics = classification_metrics(targets, after, "single")
    metrics |= {"ece": ece(after, targets), "ece_uncalibrated": ece(before, targets)}
    if not resamples:
        return metrics, None
    details = classification_details(
        targets, after, "single", labels, texts=[data.texts[text] for text in texts], lines=data.lines[texts].tolist(),
        resamples=resamples, uncalibrated=before, temperature=temperature,
    )  # fmt: skip
    return metrics, details


def flat(
    logits: Sequence[np.ndarray], tags: Sequence[Sequence[str]], labels: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of all words that have scores: the scores [N, C], the tags' numbers and the texts', int64 [N] each.

    labels: the model's, and after them those that it does not know, which score as little as a float can.
    """
    number = {label: index for index, label in enumerate(labels)}
    scores = np.concatenate(logits)
    unknown = np.full((len(scores), len(labels) - scores.shape[1]), -1e30, scores.dtype)
    scores = np.concatenate([scores, unknown], axis=1)
    targets = np.array([number[tag] for row in tags for tag in row], dtype=np.int64)
    texts = np.repeat(np.arange(len(tags)), [len(row) for row in tags])
    seen = ~np.isnan(scores[:, 0])
    return scores[seen], targets[seen], texts[seen]


def _judge_spans(reader: Reader, data: Tagged, logits, temperature: float, resamples: int) -> Judged:
    before, after = (_said(reader, logits, t) for t in (1.0, temperature))
    tags = [tags for tags, _ in after]
    trained, mended = (_certainty(data, said) for said in (before, after))
    metrics = entity_metrics(data.tags, tags) | {"ece": ece(*mended), "ece_uncalibrated": ece(*trained)}
    if not resamples:
        return metrics, None
    counts = entity_counts(data.tags, tags)
    details = Details(
        rows=len(data),
        intervals=intervals(lambda rows: entity_scores(counts[rows].sum(0)), len(data), resamples),
        tables=[table("Entities", per_type(data.tags, tags))],
        calibration={
            "temperature": temperature,
            "before": metrics["ece_uncalibrated"],
            "after": metrics["ece"],
            "bins": {"before": reliability(*trained), "after": reliability(*mended)},
        },
        mistakes=_mistakes(data, after),
    )
    return metrics, details


def _said(reader: Reader, logits: Sequence[np.ndarray], temperature: float) -> list[Said]:
    """Tags and their probabilities; what nobody can see is outside of all entities."""
    tagged = best_tags(reader.model, logits, temperature)
    return [(["O" if tag == UNSEEN else tag for tag in tags], probabilities) for tags, probabilities in tagged]


def _certainty(data: Tagged, said: Sequence[Said]) -> Certain:
    sure, right = [], []
    for truth, (tags, probabilities) in zip(data.tags, said, strict=True):
        true = spans_of(truth)
        for span in spans_of(tags):
            sure.append(probabilities[span[1] : span[2]].mean())
            right.append(span in true)
    return np.array(sure, np.float32)[:, None], np.array(right, bool)[:, None]


def _mistakes(data: Tagged, said: Sequence[Said]) -> list[dict[str, Any]]:
    """The texts with wrong tags, those first of which the model was surest of a wrong one."""
    wrong = []
    for row, (truth, (tags, probabilities)) in enumerate(zip(data.tags, said, strict=True)):
        sure = [p for true, tag, p in zip(truth, tags, probabilities, strict=True) if true != tag]
        if sure:
            wrong.append((max(sure), row))
    wrong.sort(key=lambda pair: (-pair[0], pair[1]))
    return [
        mistake(data.texts[row], _listed(data, row, data.tags[row]), _listed(data, row, said[row][0]), float(sure),
                int(data.lines[row]))
        for sure, row in wrong[:MISTAKES]
    ]  # fmt: skip


def _listed(data: Tagged, row: int, tags: Sequence[str]) -> str:
    """The entities of a text in words: "Redondo Beach (location), …"."""
    text, words = data.texts[row], data.words[row]
    spans = sorted((start, end, type_) for type_, start, end in spans_of(tags))
    return ", ".join(f"{text[words[a][0] : words[b - 1][1]]} ({type_})" for a, b, type_ in spans) or "nothing"
