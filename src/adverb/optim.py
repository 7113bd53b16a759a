"""Optimisers and schedules of models that read."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import nn

from adverb.errors import UserError
from adverb.schema.base import AdamWSpec, Ramp

if TYPE_CHECKING:
    from adverb.schema.tasks import TaskOptim


def adamw(network: nn.Module, spec: AdamWSpec) -> torch.optim.AdamW:
    """AdamW, fused; weight decay on matrices only, not on biases and norms (Devlin et al. 2018, the authors' code)."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": spec.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=spec.lr, betas=(spec.beta1, spec.beta2), eps=spec.eps, fused=True)


def layerwise_adamw(
    network: nn.Module, spec: TaskOptim, new: Collection[str] = (), by_rows: nn.Embedding | None = None
) -> torch.optim.AdamW:
    """`adamw` of a fine-tuned model, in which deeper layers may learn more slowly.

    With n layers, a layer i from 0 learns at `layer_decay` ** (n - i) of the rate, the embeddings at ** (n + 1), heads
    and pooler at the whole rate (Howard & Ruder 2018, §3.2; Clark et al. 2020, the authors' code). new: names of
    parameters that did not come with the checkpoint; they learn at `head_lr_ratio` of the rate. by_rows: an embedding
    of which a step updates the rows it used, see `RowwiseAdamW`.
    """
    depth = len(network.bert.layers)
    groups = defaultdict(list)
    for name, p in network.named_parameters():
        layer = re.match(r"bert\.layers\.(\d+)\.", name)
        below = depth - int(layer[1]) if layer else depth + 1 if name.startswith("bert.embeddings.") else 0
        ratio = spec.layer_decay**below * (spec.head_lr_ratio if name in new else 1.0)
        groups[ratio, spec.weight_decay if p.ndim >= 2 else 0.0].append(p)
    groups = [{"params": p, "lr_ratio": ratio, "weight_decay": decay} for (ratio, decay), p in groups.items()]
    options = dict(lr=spec.lr, betas=(spec.beta1, spec.beta2), eps=spec.eps, fused=True)
    return torch.optim.AdamW(groups, **options) if by_rows is None else RowwiseAdamW(groups, by_rows, **options)


class RowwiseAdamW(torch.optim.AdamW):
    """AdamW that updates, of one embedding, the rows that a step used.

    A batch of 800 tokens uses some 400 of 30,522 rows; a gradient and an update of all of them are a fifth of a step
    of a small BERT on a CPU. In AdamW a gradient g moves its row for ten steps and more, by beta1^i (1 - beta1) of the
    whole, also where later batches don't use the row. Here the row makes all of that way at once, as with beta1 = 0,
    and its second moment decays by beta2 for each step that went by, used or not: the same way, sooner. Weight decay
    meets a row when it is used.

    The gradient is sparse, and is taken out of `.grad` as soon as it is there: a gradient norm does not count it.
    """

    def __init__(self, groups: list[dict], embedding: nn.Embedding, **options):
        super().__init__(groups, **options)
        embedding.sparse = True
        self.rows, self.gradients = embedding.weight, []
        self.rows.register_post_accumulate_grad_hook(self._take)

    def _take(self, rows: nn.Parameter) -> None:
        self.gradients.append(rows.grad)
        rows.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        self.gradients.clear()

    @torch.no_grad()
    def step(self, closure=None):
        super().step(closure)
        if not self.gradients:
            return
        total = sum(self.gradients[1:], self.gradients[0]).coalesce()
        used, gradient = total.indices()[0], total.values()  # int64 [R], each row once; float32 [R, H]
        group = next(g for g in self.param_groups if any(p is self.rows for p in g["params"]))
        beta2, state = group["betas"][1], self.state[self.rows]
        if not state:
            state["step"] = torch.zeros(())
            state["used_at"] = torch.zeros(len(self.rows), 1, device=self.rows.device)
            state["exp_avg_sq"] = torch.zeros_like(self.rows)
        state["step"] += 1
        step = float(state["step"])
        kept = beta2 ** (step - state["used_at"][used])  # [R, 1]
        square = state["exp_avg_sq"][used].mul_(kept).addcmul_(gradient, gradient, value=1 - beta2)
        state["exp_avg_sq"].index_copy_(0, used, square)
        state["used_at"][used] = step
        root = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])
        rows = self.rows[used].mul_(1 - group["lr"] * group["weight_decay"])
        self.rows.index_copy_(0, used, rows.addcdiv_(gradient, root, value=-group["lr"]))


def restore(optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Load what `optimizer.state_dict()` was, but for the options, such as the weight decay: those are the recipe's.

    An embedding's moments that the other one of `RowwiseAdamW` and AdamW kept, on another machine or under another
    recipe, start anew. Raises UserError where the weights were grouped otherwise.
    """
    options = [{name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups]
    try:
        optimizer.load_state_dict(state)
    except ValueError:
        raise UserError(
            "can't be resumed: the optimiser groups the weights otherwise now. Give optim.weight_decay and "
            "optim.layer_decay as the run had them"
        ) from None
    for group, own in zip(optimizer.param_groups, options, strict=True):
        group.update(own)
    rows = optimizer.rows if isinstance(optimizer, RowwiseAdamW) else None
    for parameter, moments in list(optimizer.state.items()):
        if ("used_at" in moments) != (parameter is rows):
            del optimizer.state[parameter]


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """The learning rate of all groups, times the `lr_ratio` of those that have one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_ratio", 1.0)


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
