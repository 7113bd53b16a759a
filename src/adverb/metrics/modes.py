"""Which classes a generator makes, as a classifier sees its samples, and how often."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def class_shares(labels: Tensor, classes: int) -> Tensor:
    """The share of each class, float64 [classes], among int64 labels [N] in {0, …, classes - 1}."""
    if len(labels) == 0:
        raise ValueError("no samples to count classes of")
    return torch.bincount(labels, minlength=classes).double() / len(labels)


def mode_metrics(shares: Tensor, real_shares: Tensor) -> dict[str, float]:
    """Compare the class shares of generated samples with the real ones, both [classes] and summing to 1.

    modes: real classes of which at least one sample was generated; modes_floor: how many there are.
    share_error: the largest |p - q| / q over the real classes (1 when a class is missing).
    reverse_kl: KL(p || q), the one reported on Stacked MNIST (Metz et al. 2017; Srivastava et al. 2017), in nats;
        infinite if a class was generated that is not among the real ones. A perfect generator does not score 0: the
        counting noise of N samples adds about (classes - 1) / 2N.
    """
    p, q = shares.double(), real_shares.double()
    real = q > 0
    made = p > 0
    kl = (p[made] * (p[made] / q[made]).log()).sum().item()  # p log(p / 0) = inf, as it should be
    return {
        "modes": float((made & real).sum()),
        "modes_floor": float(real.sum()),
        "share_error": ((p - q).abs()[real] / q[real]).max().item(),
        "reverse_kl": max(kl, 0.0) if math.isfinite(kl) else math.inf,
    }


def agreement(logits: Tensor, labels: Tensor) -> float:
    """How often the classifier (logits [N, classes]) sees in a sample the class it was generated for (int64 [N])."""
    if len(logits) != len(labels):
        raise ValueError(f"{len(logits)} rows of logits for {len(labels)} labels")
    return (logits.argmax(dim=1) == labels).double().mean().item()
