"""Optimisers and schedules of models that read."""

from __future__ import annotations

import math

import torch
from torch import nn

from adverb.schema import AdamWSpec, Ramp


def adamw(network: nn.Module, spec: AdamWSpec) -> torch.optim.AdamW:
    """AdamW, fused; weight decay on matrices only, not on biases and norms (Devlin et al. 2018, the authors' code)."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": spec.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=spec.lr, betas=(spec.beta1, spec.beta2), eps=spec.eps, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def lr_factor(spec: AdamWSpec, progress: float) -> float:
    """The share of the peak learning rate at `progress` in [0, 1], from `warmup` up to 1 and down again to 0.

    linear: as BERT; cosine; wsd: flat, then down over the last `decay` of the run as 1 - sqrt (Hägele et al. 2024).
    """
    if progress < spec.warmup:
        return max(progress, 1e-3 * spec.warmup) / spec.warmup
    left = (1 - progress) / (1 - spec.warmup) if spec.warmup < 1 else 0.0
    if spec.schedule == "linear":
        return left
    if spec.schedule == "cosine":
        return (1 - math.cos(math.pi * left)) / 2
    return 1.0 if 1 - progress > spec.decay else 1 - math.sqrt(1 - (1 - progress) / spec.decay)


def ramp(value: Ramp, done: float) -> float:
    """A number as it is; a pair by a cosine from its first to its second as `done` goes from 0 to 1."""
    if isinstance(value, int | float):
        return float(value)
    start, end = value
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2
