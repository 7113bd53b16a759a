"""Rows of unlike documents without a mask: the variable-length kernel of FlashAttention, on CUDA where torch has it.

A mask [B, 1, L, L] makes attention compute what it then throws away, and keeps it from the flash kernels. Here the
tokens of all rows stand end to end, in runs that see only themselves (Dao, 2023, FlashAttention-2, §3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HALVES = (torch.float16, torch.bfloat16)  # what the kernel computes in


@dataclass(frozen=True)
class Runs:
    """starts: int32 [N + 1], where each run begins among the B·L tokens, and B·L. longest: tokens of the longest."""

    starts: Tensor
    longest: int


def kernel():
    """torch's `varlen_attn`, or None where this torch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def available(device: torch.device) -> bool:
    """Ampere and later, a torch that has the kernel, and nothing being compiled (the runs' number is not known)."""
    if device.type != "cuda" or torch.compiler.is_compiling() or kernel() is None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def runs_of(attention_mask: Tensor | None, document_ids: Tensor | None) -> Runs | None:
    """The runs of a batch, of int64 [B, L] as `encoder.Bert` takes them; None where a row is one run: no mask either.

    Padding is a run of its own. Costs one synchronisation with the device.
    """
    if attention_mask is None and document_ids is None:
        return None
    ids = torch.zeros_like(attention_mask) if document_ids is None else document_ids
    if attention_mask is not None:
        ids = torch.where(attention_mask.bool(), ids, ids.min() - 1)
    begins = torch.ones_like(ids, dtype=torch.bool)  # [B, L], the first of each row always
    begins[:, 1:] = ids[:, 1:] != ids[:, :-1]
    starts = begins.flatten().nonzero()[:, 0]
    starts = torch.cat([starts, starts.new_tensor([ids.numel()])])
    return Runs(starts.int(), int(starts.diff().max()))


def attend_runs(q: Tensor, k: Tensor, v: Tensor, runs: Runs, reach: int | None) -> Tensor:
    """softmax(q k' / sqrt(d)) v inside of each run, [B, L, h, d] all four; reach: tokens to each side, None for all."""
    window = (-1, -1) if reach is None else (reach, reach)
    flat = (x.flatten(0, 1).contiguous() for x in (q, k, v))  # [B·L, h, d]
    mixed = kernel()(*flat, runs.starts, runs.starts, runs.longest, runs.longest, window_size=window)
    return mixed.unflatten(0, q.shape[:2])
