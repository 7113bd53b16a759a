"""Cross-entropy over the vocabulary without keeping float32 logits.

In a small BERT the loss over 30,000 words costs as much as the encoder, and most of that is not arithmetic but
reading and writing [N, V] numbers in float32: logits, log-probabilities, their gradients. Here there is one [N, V]
array, in the precision of the matmul: logits first, turned in place, a few rows at a time in float32, into the
gradient of the loss with respect to them, softmax - onehot. (Wijmans et al., 2024, "Cut Your Losses in
Large-Vocabulary Language Models", go further and keep none.)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CPU_ROWS = 64  # rows turned at a time on a CPU: 64 x 30,522 float32 are 8 MB


def vocabulary_loss(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    """Mean cross-entropy in nats of logits hidden @ weight' + bias: float32 scalar, 0 when no label counts.

    hidden [..., H], weight [V, H], bias [V], labels int64 [...], of which those equal to `ignored` do not count.
    The matmuls run in autocast's precision where it is on. Cannot be differentiated twice.
    """
    hidden, labels = hidden.flatten(0, -2), labels.flatten()
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        inputs = (t.to(dtype) for t in (hidden, weight, bias))
        return _VocabularyLoss.apply(*inputs, labels, ignored)


class _VocabularyLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, ignored: int) -> Tensor:
        slopes = hidden @ weight.t()  # [N, V], logits without the bias until the loop has passed
        counted = labels != ignored  # [N]
        targets = torch.where(counted, labels, 0)[:, None]  # [N, 1]
        share = counted / counted.sum().clamp(min=1)  # float32 [N], what a row adds to the mean
        loss, bias = torch.zeros((), device=hidden.device), bias.float()
        rows = CPU_ROWS if hidden.device.type == "cpu" else len(slopes)
        for start in range(0, len(slopes), max(rows, 1)):
            part = slice(start, start + rows)
            logits = slopes[part] + bias  # [n, V]; added here, because addmm would first write it N times
            top, mine = logits.amax(-1), logits.gather(1, targets[part])[:, 0]
            p = logits.softmax(-1)
            # log of the sum of exponentials, from the largest p: at least 1 / V, so nothing is lost to underflow
            normaliser = top - p.amax(-1).log()
            loss += ((normaliser - mine) * share[part]).sum()
            if any(ctx.needs_input_grad):
                p.scatter_add_(1, targets[part], torch.full_like(p[:, :1], -1.0))
                torch.mul(p, share[part, None], out=slopes[part])
        ctx.save_for_backward(hidden, weight, slopes)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        hidden, weight, slopes = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        grad = grad.to(slopes.dtype)
        to_hidden = (slopes @ weight) * grad if need_hidden else None
        to_weight = slopes.t() @ (hidden * grad) if need_weight else None
        to_bias = slopes.sum(0) * grad if need_bias else None
        return to_hidden, to_weight, to_bias, None, None
