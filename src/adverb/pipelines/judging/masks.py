"""Masked tokens of held-out text."""

from __future__ import annotations

import math

import numpy as np
import torch

from adverb.bert.heads import IGNORED
from adverb.bert.masking import Masking
from adverb.data.corpus import Corpus
from adverb.data.rows import Chunks, documents_of
from adverb.metrics.bootstrap import intervals
from adverb.metrics.details import Details
from adverb.pipelines.judging import RESAMPLES
from adverb.pipelines.reader import Reader
from adverb.pipelines.scores import log_softmax

RATE = 0.15  # of masks, whatever the training's: losses at different rates can't be compared
MASKED_AT_ONCE = 32


def judge_masks(
    reader: Reader, corpus: Corpus, length: int, rows: int = 1024, resamples: int = RESAMPLES
) -> tuple[dict[str, float], Details]:
    """masked_loss (nats), masked_perplexity and masked_accuracy of up to `rows` rows of `length` tokens, at fixed
    places of the text and with fixed masks on 15 % of the tokens; the intervals draw among the rows.

    Documents of a row do not see each other where they did not in training.
    """
    chunks = Chunks(corpus, reader.tokenizer, length, MASKED_AT_ONCE, 0)
    rows = min(rows, len(chunks))
    starts = np.linspace(0, len(corpus), rows, endpoint=False).astype(np.int64)
    masking = Masking(reader.tokenizer, RATE)
    apart = reader.model.config.adverb.get("documents_apart", False)
    sums = []  # loss, right, count of each row
    for i in range(0, rows, MASKED_AT_ONCE):
        ids = chunks.rows(starts[i : i + MASKED_AT_ONCE])
        uniforms = torch.rand(*ids.shape, 3, generator=torch.Generator().manual_seed(i))
        masked = masking(ids, uniforms)
        labels = masked.labels.numpy()  # [B, T]
        documents = documents_of(ids, reader.tokenizer.sep_id).numpy() if apart else None
        logits = reader.model(masked.input_ids.numpy(), take=masked.take.numpy(), document_ids=documents)
        logits = logits[0] if isinstance(logits, tuple) else logits  # [B, T, V]
        right, counted = logits.argmax(-1) == labels, labels != IGNORED
        losses = -np.take_along_axis(log_softmax(logits), np.where(counted, labels, 0)[..., None], axis=-1)[..., 0]
        sums.append(np.stack([(losses * counted).sum(1), right.sum(1), counted.sum(1)], axis=1))
    totals = np.concatenate(sums).astype(np.float64)  # [rows, 3]

    def score(chosen: np.ndarray) -> dict[str, float]:
        loss, right, count = totals[chosen].sum(0)
        mean = loss / max(count, 1)
        return {
            "masked_loss": mean, "masked_perplexity": math.exp(min(mean, 50)), "masked_accuracy": right / max(count, 1)
        }  # fmt: skip

    return score(np.arange(rows)), Details(rows=rows, intervals=intervals(score, rows, resamples))
