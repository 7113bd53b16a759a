"""Scores to probabilities, of arrays."""

from __future__ import annotations

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    logits = logits - logits.max(-1, keepdims=True, initial=-np.inf)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    return np.exp(log_softmax(logits))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -logits))
