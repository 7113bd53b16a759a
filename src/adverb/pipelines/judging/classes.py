"""Classes of texts, numbers, and how sure the model may be of them."""

from __future__ import annotations

import numpy as np

from adverb.data.labelled import Labelled
from adverb.metrics.calibration import ece, fit_temperature
from adverb.metrics.details import classification_details
from adverb.metrics.labels import classification_metrics
from adverb.pipelines.judging import RESAMPLES, Judged
from adverb.pipelines.reader import Reader


def judge_classes(reader: Reader, data: Labelled, resamples: int = RESAMPLES, fit: bool = False) -> Judged:
    """accuracy, macro_f1, mcc, … as `classification_metrics`; ece with the temperature, ece_uncalibrated without.

    data.label_names must be the model's labels, in their order.
    """
    return judge_logits(reader, reader.logits(data.texts, data.pairs), data, resamples, fit)


def judge_logits(reader: Reader, logits: np.ndarray, data: Labelled, resamples: int, fit: bool) -> Judged:
    """`judge_classes` of logits [N, C], which other models than the reader's may have said: those of a fold each."""
    if fit and data.kind != "regression":
        reader.facts["temperature"] = fit_temperature(logits, data.targets, data.kind)
    said, plain = reader.calibrated(logits), reader.calibrated(logits, 1.0)
    metrics = classification_metrics(data.targets, said, data.kind)
    if data.kind != "regression":
        metrics |= {"ece": ece(said, data.targets), "ece_uncalibrated": ece(plain, data.targets)}
    if not resamples:
        return metrics, None
    texts = data.texts
    if data.pairs is not None:
        texts = [" | ".join(pair) for pair in zip(texts, data.pairs, strict=True)]
    details = classification_details(
        data.targets, said, data.kind, reader.model.config.labels, texts=texts, lines=data.lines.tolist(),
        resamples=resamples, uncalibrated=plain, temperature=reader.facts.get("temperature", 1.0),
    )  # fmt: skip
    return metrics, details
