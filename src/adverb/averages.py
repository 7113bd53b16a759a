"""Averages of weights over training (EMA): what GANs and masked language models are judged and saved by."""

from __future__ import annotations

import copy

import torch
from torch import nn


def frozen_copy(network: nn.Module) -> nn.Module:
    """To evaluate by, without gradients."""
    return copy.deepcopy(network).requires_grad_(False).eval()


@torch.no_grad()
def move_towards(average: nn.Module, live: nn.Module, weight: float) -> None:
    """average += weight · (live - average); buffers (batch statistics) are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(live.parameters()), weight)
    for a, b in zip(average.buffers(), live.buffers(), strict=True):
        a.copy_(b)
