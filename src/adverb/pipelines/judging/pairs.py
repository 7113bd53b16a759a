"""Embeddings of texts that belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adverb.data.pairs import TextPairs
from adverb.metrics.bootstrap import intervals
from adverb.metrics.details import Details
from adverb.metrics.labels import classification_metrics
from adverb.pipelines.judging import RESAMPLES, Judged
from adverb.pipelines.reader import Reader
from adverb.pipelines.search import QUERIES

SAME = 1e-6  # between cosines: equal texts come out so far apart in batches of other lengths


def judge_pairs(reader: Reader, data: TextPairs, resamples: int = RESAMPLES, fit: bool = False) -> Judged:
    """Of graded pairs spearman and pearson of the cosine and the grade; of others accuracy (the second text of a pair
    is the nearest to its first among all second texts), recall_at_10 and mrr (the mean of 1 / its rank).

    There is nothing to fit.
    """
    first, second = _unit(reader.embed(data.first)), _unit(reader.embed(data.second))
    if data.scores is not None:
        cosines = (first * second).sum(1)

        def score(rows: np.ndarray) -> dict[str, float]:
            found = classification_metrics(data.scores[rows], cosines[rows], "regression")
            return {name: found[name] for name in ("spearman", "pearson")}
    else:
        ranks = _ranks(first, second, data.second)

        def score(rows: np.ndarray) -> dict[str, float]:
            found = ranks[rows]
            return {"accuracy": np.mean(found == 1), "recall_at_10": np.mean(found <= 10), "mrr": np.mean(1 / found)}

    metrics = {name: float(value) for name, value in score(np.arange(len(data))).items()}
    if not resamples:
        return metrics, None
    return metrics, Details(rows=len(data), intervals=intervals(score, len(data), resamples))


def _ranks(first: np.ndarray, second: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """The rank of each row's second vector among all, 1 for the nearest, float [N].

    Equal texts count as one. Of other texts with as near a vector, half are before it: an encoder that tells nothing
    apart is as good as chance.
    """
    _, distinct, same = np.unique(np.array(texts, dtype=object), return_index=True, return_inverse=True)
    ranks = []
    for start in range(0, len(first), QUERIES):
        cosines = first[start : start + QUERIES] @ second[distinct].T
        own = np.take_along_axis(cosines, same[start : start + QUERIES, None], axis=1)
        nearer, as_near = cosines > own + SAME, np.abs(cosines - own) <= SAME
        ranks.append(1 + nearer.sum(1) + (as_near.sum(1) - 1) / 2)
    return np.concatenate(ranks)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
