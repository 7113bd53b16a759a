"""GAN-BERT (Croce, Castellucci & Basili 2020): a classifier that must also tell texts from made-up features.

A generator makes features like the encoder's state of the first token, h, out of noise. The discriminator, a network
with one hidden layer on h, has a class more than the data, k + 1, for what is made up. Texts without labels teach it,
and through it the encoder, what real features look like (§3; Salimans et al. 2016, §5):

    L_D = - E_labelled log p(y | h, y ≤ k) - E_real log (1 - p(k + 1 | h)) - E_made log p(k + 1 | h)
    L_G = - E_made log (1 - p(k + 1 | h)) + || E_real f(h) - E_made f(h) ||²

f is the hidden layer. Here it is BERT's pooler, so that the discriminator without its last class is the same model
that others open: its activation is the tanh of the pooler, where the authors have a leaky ReLU.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert.heads import cross_entropy
from adverb.data.length_order import LengthOrder
from adverb.objectives.base import Draw, Phase
from adverb.objectives.few import FromFew
from adverb.optim import adamw, lr_factor, set_lr

MADE_UP = "(made up)"
NOISE = 100  # dimensions, as the authors


class FeatureGenerator(nn.Module):
    """Noise float [B, NOISE] to features [B, H]: one hidden layer, leaky ReLU, dropout (§3)."""

    def __init__(self, hidden: int, dropout: float):
        super().__init__()
        self.dense, self.out, self.dropout = nn.Linear(NOISE, hidden), nn.Linear(hidden, hidden), dropout

    def forward(self, noise: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.dense(noise), 0.2)
        return self.out(F.dropout(hidden, self.dropout, self.training))


class GanBert(FromFew):
    method = "gan-bert"

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.headline = ("supervised", "unsupervised", "matching")
        model, recipe = self.networks["model"], self.recipe
        self.more_rows = self.encode_unlabelled()
        self.more_order = LengthOrder(self.lengths_of(self.more_rows), recipe.train.batch_size, recipe.seed + 1)
        generator = FeatureGenerator(model.config.hidden_size, model.config.head_dropout).to(self.context.device)
        self.networks["generator"] = generator
        self.optimizers["generator"] = adamw(generator, recipe.optim)
        self.phases = [Phase("model", self.discriminator_loss), Phase("generator", self.generator_loss)]
        self.units_per_step = 2 * recipe.train.batch_size

    @property
    def head_labels(self) -> list[str]:
        return [*self.labels, MADE_UP]

    def batch(self, index: int, start: int, stop: int) -> dict[str, Tensor]:
        """`labels` int64 [B], and 2B texts, of which the first B have them."""
        known = [self.rows[i] for i in self.order.batch(index)[start:stop]]
        more = [self.more_rows[i] for i in self.more_order.batch(index)[start:stop]]
        return self.inputs(known + more) | {"labels": torch.tensor([row["label"] for row in known])}

    # -- a training step

    def discriminator_loss(self, batch: dict[str, Tensor], draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        model, spec = self.networks["model"], self.recipe.loss
        supervised, unsupervised = discriminator_losses(
            model.classify(self.real(batch)), batch["labels"], model.classify(self.made_up(draw)),
            self.class_weights, spec.label_smoothing,
        )  # fmt: skip
        return supervised + unsupervised, {"supervised": supervised.detach(), "unsupervised": unsupervised.detach()}

    def generator_loss(self, batch: dict[str, Tensor], draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        made_up = self.made_up(draw)
        caught, matching = generator_losses(self.networks["model"].classify(made_up), self.real(batch), made_up)
        return caught + matching, {"caught": caught.detach(), "matching": matching.detach()}

    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """f(h) of the texts, [2B, H]."""
        return self.networks["model"].features(**{name: tensor for name, tensor in batch.items() if name != "labels"})

    def made_up(self, draw: Draw) -> Tensor:
        """f of as many made-up features as there are texts, [2B, H]."""
        noise = draw.rand(2, NOISE).flatten(0, 1)  # uniform, as the authors
        return self.networks["model"].bert.pooler(self.networks["generator"](noise))

    def schedule(self, progress: float, step: int) -> None:
        super().schedule(progress, step)
        set_lr(self.optimizers["generator"], self.recipe.optim.lr * lr_factor(self.recipe.optim, progress))

    def finished(self, model: nn.Module) -> nn.Module:
        """The discriminator without the class of what is made up; it shares the encoder."""
        finished = copy.copy(model)
        finished.config = replace(model.config, id2label=dict(enumerate(self.labels)))
        classifier = nn.Linear(model.config.hidden_size, len(self.labels), device=self.context.device)
        with torch.no_grad():
            classifier.weight.copy_(model.classifier.weight[:-1])
            classifier.bias.copy_(model.classifier.bias[:-1])
        finished._modules = model._modules | {"classifier": classifier}
        return finished


def discriminator_losses(
    real: Tensor, labels: Tensor, made_up: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """(supervised, unsupervised) of logits real [R, k + 1], made_up [M, k + 1]; labels int64 [B] of the first B.

    class_weights [k], label_smoothing: of the supervised part, as in `SequenceClassifier.loss`.
    """
    supervised = cross_entropy(real[: len(labels), :-1], labels, class_weights, label_smoothing)
    unsupervised = -log_real(real).mean() - made_up.float().log_softmax(-1)[:, -1].mean()
    return supervised, unsupervised


def generator_losses(logits: Tensor, real: Tensor, made_up: Tensor) -> tuple[Tensor, Tensor]:
    """(how well it is caught, feature matching): logits [M, k + 1] of made-up features; f of both, [R, H], [M, H]."""
    return -log_real(logits).mean(), (real.float().mean(0) - made_up.float().mean(0)).square().sum()


def log_real(logits: Tensor) -> Tensor:
    """log (1 - p(k + 1)) [N] of logits [N, k + 1], without the rounding of 1 - p."""
    logits = logits.float()
    return logits[:, :-1].logsumexp(-1) - logits.logsumexp(-1)
