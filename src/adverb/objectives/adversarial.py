"""Training on the worst small change of the word embeddings: of a text's loss, or of what is said of it.

`fgm` is adversarial training (Miyato et al. 2017, "Adversarial training methods for semi-supervised text
classification", eq. 2 and 5); `smart` the smoothness of SMART (Jiang et al. 2020, eq. 2), which needs no labels, with
the perturbation found by one step of power iteration as in virtual adversarial training (Miyato et al. 2018, §3.3).
Of both, a perturbation r [B, L, H] is epsilon times as long as the word embeddings of its text, over all tokens: it
means the same for long texts and short ones, and for models whose embeddings are large or small.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert.heads import IGNORED
from adverb.objectives.base import Draw

Outputs = Tensor | tuple[Tensor, ...]

# length at which `smart` looks for the direction: small beside a text's embeddings, not beside bf16's steps
PROBE = 0.1


class Perturbed:
    """While entered, `delta` [B, L, H] is added to the word embeddings, and `outputs` is what the model last said."""

    def __init__(self, model: nn.Module):
        self.model, self.delta, self.outputs, self.embedded = model, None, None, None

    def __enter__(self) -> Perturbed:
        words = self.model.bert.embeddings.word
        self.hooks = [words.register_forward_hook(self._add), self.model.register_forward_hook(self._keep)]
        return self

    def __exit__(self, *_) -> None:
        for hook in self.hooks:
            hook.remove()

    def _add(self, module: nn.Module, inputs: tuple, embedded: Tensor) -> Tensor:
        if self.delta is None:
            self.delta, self.embedded = torch.zeros_like(embedded, requires_grad=True), embedded.detach()
        return embedded + self.delta

    def _keep(self, module: nn.Module, inputs: tuple, outputs: Outputs) -> None:
        self.outputs = outputs

    def along(self, direction: Tensor, epsilon: float) -> Tensor:
        """`direction` [B, L, H], in each text epsilon times as long as its embeddings, of tokens where it is not 0."""
        moved = (direction != 0).any(-1, keepdim=True)  # not padding: nothing depends on it
        length = (self.embedded * moved).flatten(1).norm(dim=1) / direction.flatten(1).norm(dim=1).clamp(min=1e-30)
        return (epsilon * length)[:, None, None] * direction


def fgm(model: nn.Module, row_loss: Callable[[], Tensor], epsilon: float, weight: float) -> tuple[Tensor, Tensor]:
    """(L(x) + weight L(x + r), L(x + r) alone), with r along the gradient of L(x)."""
    with Perturbed(model) as perturbed:
        clean = row_loss()
        (gradient,) = torch.autograd.grad(clean, perturbed.delta, retain_graph=True)
        perturbed.delta = perturbed.along(gradient, epsilon)
        rough = row_loss()
    return clean + weight * rough, rough


def smart(
    model: nn.Module,
    row_loss: Callable[[], Tensor],
    labels: Tensor | None,
    epsilon: float,
    weight: float,
    draw: Draw,
    attention_mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(L(x) + weight D, D alone): D is the divergence between f(x) and f(x + r), where r makes it large.

    labels: of a token classifier, int64 [B, T]; where they are -100, nothing is compared. attention_mask: int64 [B, L],
    0 at padding, which is not perturbed and which a question answerer can't choose; None: there is none.
    """
    problem = model.config.problem_type
    with Perturbed(model) as perturbed:
        clean = row_loss()
        said = perturbed.outputs
        _, length, size = perturbed.delta.shape
        # position by position: what a text gets must not depend on how long the others of its micro-batch are
        noise = torch.stack([draw.randn(size) for _ in range(length)], dim=1)
        if attention_mask is not None:
            noise = noise * attention_mask[..., None]
        perturbed.delta = perturbed.along(noise, PROBE).requires_grad_()
        row_loss()
        away = divergence(_detached(said), perturbed.outputs, problem, labels, attention_mask)
        (gradient,) = torch.autograd.grad(away, perturbed.delta)
        perturbed.delta = perturbed.along(gradient, epsilon)
        row_loss()
        rough = divergence(said, perturbed.outputs, problem, labels, attention_mask)
    return clean + weight * rough, rough


def divergence(
    a: Outputs,
    b: Outputs,
    problem: str | None = None,
    labels: Tensor | None = None,
    attention_mask: Tensor | None = None,
) -> Tensor:
    """How differently two outputs of a model decide, a scalar, the mean over what is decided.

    The symmetric Kullback-Leibler divergence KL(p, q) + KL(q, p) = Σ (p - q)(log p - log q) over classes, or over the
    positions of a question answerer, summed over start and end; of each class apart in a multi-label model; of a
    regression the squared difference (Jiang et al. 2020, §3.1).
    """
    if isinstance(a, tuple):
        if attention_mask is not None:  # a probability of padding would depend on how long the other texts are
            a, b = ([x.masked_fill(attention_mask == 0, torch.finfo(x.dtype).min) for x in side] for side in (a, b))
        return sum(divergence(x, y, problem) for x, y in zip(a, b, strict=True))
    a, b = a.float(), b.float()
    if problem == "regression":
        return F.mse_loss(a, b)
    if problem == "multi_label_classification":
        return ((a.sigmoid() - b.sigmoid()) * (a - b)).sum(-1).mean()  # log p/(1-p) is the logit
    apart = ((a.softmax(-1) - b.softmax(-1)) * (a.log_softmax(-1) - b.log_softmax(-1))).sum(-1)  # [B] or [B, T]
    if labels is None or labels.shape != apart.shape or apart.ndim < 2:
        return apart.mean()
    counted = labels != IGNORED
    return (apart * counted).sum() / counted.sum().clamp(min=1)


def _detached(outputs: Outputs) -> Outputs:
    return tuple(x.detach() for x in outputs) if isinstance(outputs, tuple) else outputs.detach()
