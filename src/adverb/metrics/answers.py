"""Exact match and F1 of answers to questions, equal to the official evaluation of SQuAD v1.1 and v2.0.

Rajpurkar et al. 2016, 2018. `exact` and `f1` of one answer are fractions; the metrics of a set are per cent, as the
official scripts print them.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII only, as in the official scripts


def normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces, in this order."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact(prediction: str, truth: str) -> float:
    """1 if they are the same after `normalise`, else 0."""
    return float(normalise(prediction) == normalise(truth))


def f1(prediction: str, truth: str) -> float:
    """The F1 of the words that both have, after `normalise`; without words in one of them: 1 if in neither, else 0."""
    mine, theirs = normalise(prediction).split(), normalise(truth).split()
    if not mine or not theirs:
        return float(mine == theirs)
    common = sum((Counter(mine) & Counter(theirs)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(mine), common / len(theirs)
    return 2 * precision * recall / (precision + recall)


def answer_scores(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, tuple[float, float]]:
    """Of each question, in the order of `references`: (exact, f1) of the truth that the prediction is nearest to.

    A question without truths is impossible, "" the right answer. One that was not answered at all scores 0. Sets
    where a question is impossible go by v2.0, others by v1.1; the two differ only about truths without a word after
    `normalise` ("The", "?"): v1.1 gives them no F1, v2.0 drops them from the truths.
    """
    second = any(not truths for truths in references.values())
    scores = {}
    for name, truths in references.items():
        if name not in predictions:
            scores[name] = (0.0, 0.0)
            continue
        said = predictions[name]
        if second:
            truths = [truth for truth in truths if normalise(truth)] or [""]
        empty = not second and not normalise(said)
        scores[name] = (
            max(exact(said, truth) for truth in truths),
            0.0 if empty else max(f1(said, truth) for truth in truths),
        )
    return scores


def squad_metrics(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    no_answer_probability: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """The official metrics, in per cent, of answers by question (id -> text, "" for none; id -> true answers).

    Always: exact, f1, total (questions). Where there are impossible questions also HasAns_exact, HasAns_f1,
    HasAns_total and NoAns_… of the two kinds of questions. With `no_answer_probability` (id -> any number that grows
    with the belief that there is no answer) also best_exact, best_exact_thresh, best_f1, best_f1_thresh: what the same
    predictions score if questions above the best such threshold are not answered. 0 of an empty set.
    """
    scores = answer_scores(predictions, references)
    metrics = _averages(list(scores.values()))
    if any(not truths for truths in references.values()):
        for prefix, possible in (("HasAns", True), ("NoAns", False)):
            part = [scores[name] for name, truths in references.items() if bool(truths) == possible]
            if part:
                metrics |= {f"{prefix}_{name}": value for name, value in _averages(part).items()}
    if no_answer_probability is not None:
        for column, name in enumerate(("exact", "f1")):
            best, threshold = _best_threshold(
                predictions, references, {k: s[column] for k, s in scores.items()}, no_answer_probability
            )
            metrics |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
    return metrics


def _averages(scores: list[tuple[float, float]]) -> dict[str, float]:
    exact_, f1_ = 100 * np.mean(scores, axis=0) if scores else (0.0, 0.0)
    return {"exact": float(exact_), "f1": float(f1_), "total": len(scores)}


def _best_threshold(
    predictions: Mapping[str, str],
    references: Mapping[str, Sequence[str]],
    scores: dict[str, float],
    no_answer_probability: Mapping[str, float],
) -> tuple[float, float]:
    """The best average score in per cent, and the probability above which questions are not answered for it.

    Starts from answering nothing, which is right for all impossible questions, then answers one question after the
    other, the surest first.
    """
    score = best = float(sum(not truths for truths in references.values()))
    threshold = 0.0
    for name in sorted((n for n in no_answer_probability if n in scores), key=no_answer_probability.__getitem__):
        if references[name]:
            score += scores[name]
        elif predictions.get(name, ""):
            score -= 1
        if score > best:
            best, threshold = score, no_answer_probability[name]
    return 100 * best / max(len(scores), 1), threshold
