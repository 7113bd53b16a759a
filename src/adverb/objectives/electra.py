"""ELECTRA: a small model fills the masks, the model says of every token whether it was replaced (Clark et al. 2020).

Both are trained together, on the sum of the generator's masked loss and 50 times the discriminator's (§3.3): no
gradient passes through the sampling. They share token and position embeddings (§3.2); the generator is narrower and
projects them. What is kept is the discriminator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert.checkpoint import save_pretrained
from adverb.bert.config import BertConfig
from adverb.bert.encoder import Bert, activation, initialise, layer_norm
from adverb.bert.heads import ReplacedToken, cross_entropy
from adverb.bert.sampling import sample
from adverb.objectives.base import Draw
from adverb.objectives.pretrain import SHOWN, Pretrain, encoder_flops, feed_forward_size, hits, summary, token_losses
from adverb.schema.text import ElectraRecipe


class Electra(Pretrain):
    headline = ("masked_loss", "replaced_loss")
    best = None  # the discriminator's loss says how good the generator is as much as how good it is itself
    recipe: ElectraRecipe

    pair_task = None
    task = "replaced_token"

    @property
    def encoder(self) -> nn.Module:
        return self.networks["model"].discriminator.bert

    def make_network(self, loaded) -> nn.Module:
        model, spec = self.recipe.model, self.recipe.generator
        discriminator = super().make_network(loaded)
        head_size = model.hidden // model.heads
        heads = max(1, round((spec.hidden or model.hidden / 4) / head_size))
        small = self.config(
            hidden_size=spec.hidden or heads * head_size,
            num_attention_heads=heads,
            num_hidden_layers=spec.layers or model.layers,
            intermediate_size=feed_forward_size(model.architecture, spec.hidden or heads * head_size),
        )
        return ReplacedTokenPair(ProposingLM(small, discriminator.bert), discriminator)

    def loss(self, batch: dict[str, Tensor], draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        pair = self.networks["model"]
        truth = batch["input_ids"]
        uniforms = draw.rand(truth.shape[1], 3)
        ids, take, labels = self.hide(self.masking, truth, uniforms)
        apart = self.apart(truth)
        logits = pair.generator(ids, take, **apart)  # [B, T, V]
        masked_loss = cross_entropy(logits, labels)
        proposals = sample(logits, draw.rand(take.shape[1]))
        corrupted = fill_in(truth, take, labels, proposals)
        replaced = (corrupted != truth).float()  # a proposal that is right counts as original
        verdict = pair.discriminator(corrupted, **apart)
        replaced_loss = pair.discriminator.loss(verdict, replaced, torch.ones_like(replaced))
        metrics = {
            "masked_loss": masked_loss,
            "replaced_loss": replaced_loss,
            "replaced_share": replaced.mean(),
        }
        loss = masked_loss + self.recipe.generator.weight * replaced_loss
        return loss, {name: value.detach() for name, value in metrics.items()}

    @staticmethod
    def hide(masking, ids: Tensor, uniforms: Tensor):
        """All of the chosen tokens become [MASK] (§3.1), none a random one."""
        return masking(ids, uniforms * uniforms.new_tensor([1.0, 0.0, 1.0]))

    def count_flops(self) -> float:
        length, masked = self.recipe.data.sequence_length, self.masking.columns(self.recipe.data.sequence_length)
        pair = self.networks["model"]
        small, large = pair.generator.bert.config, pair.discriminator.config
        generator = encoder_flops(small, length, masked, masked)
        generator += 2 * length * large.hidden_size * small.hidden_size
        generator += 2 * masked * large.vocab_size * (large.hidden_size - small.hidden_size)
        discriminator = encoder_flops(large, length, length, 0) + 2 * length * large.hidden_size**2
        return 3 * self.recipe.train.batch_size * (generator + discriminator)

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        """The generator by its masked loss; the discriminator by how many replaced tokens it finds, and how surely."""
        pair = networks["model"]
        losses, right, verdicts, answers, shown = [], [], [], [], []
        for ids, masked in self.judged_masks(self.recipe.evaluate.rows * (4 if final else 1)):
            hidden = fill_in(ids, masked.take, masked.labels, torch.full_like(masked.take, self.tokenizer.mask_id))
            apart = self.apart(ids)
            uniforms = torch.rand(masked.take.shape, generator=torch.Generator().manual_seed(len(losses)))
            with self.context.autocast():
                logits = pair.generator(hidden, masked.take, **apart).float()
                corrupted = fill_in(ids, masked.take, masked.labels, sample(logits, uniforms.to(ids.device)))
                verdicts.append(pair.discriminator(corrupted, **apart).float())
            answers.append(corrupted != ids)
            losses.append(token_losses(logits, masked.labels))
            right.append(hits(logits, masked.labels))
            if not shown:
                shown = list(zip(ids[:SHOWN], hidden, masked.take, masked.labels, logits, strict=False))
        (folder / f"step-{step:07d}.txt").write_text(self.page(shown), encoding="utf-8")
        verdict, answer = torch.cat(verdicts), torch.cat(answers)
        found, flagged = verdict[answer] > 0, verdict > 0
        return {
            "replaced_loss": F.binary_cross_entropy_with_logits(verdict, answer.float()).item(),
            "replaced_found": found.float().mean().item(),
            "replaced_precision": (answer & flagged).sum().item() / max(1, flagged.sum().item()),
            **summary(torch.cat(losses), torch.cat(right), "generator"),
        }

    def save(self, networks: dict[str, nn.Module], folder: Path) -> None:
        save_pretrained(networks["model"].discriminator, self.tokenizer, folder)

    def describe(self) -> str:
        small = self.networks["model"].generator.bert.config
        return (
            super().describe().replace("masked tokens", "replaced tokens")
            + f", generator {small.num_hidden_layers} layers × {small.hidden_size}"
        )


class ReplacedTokenPair(nn.Module):
    def __init__(self, generator: ProposingLM, discriminator: ReplacedToken):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator


class ProposingLM(nn.Module):
    """A masked language model of `config` on the embeddings of a wider encoder."""

    def __init__(self, config: BertConfig, wide: Bert):
        super().__init__()
        self.bert = Bert(config)
        self.bert.embeddings = ProjectedEmbeddings(wide, config)
        size = wide.config.hidden_size
        self.dense = nn.Linear(config.hidden_size, size)
        self.activation, self.norm = activation(config.hidden_act), layer_norm(wide.config)
        self.bias = nn.Parameter(torch.zeros(wide.config.vocab_size))
        initialise(self.dense, config)

    def forward(self, input_ids: Tensor, take: Tensor, document_ids: Tensor | None = None) -> Tensor:
        """Logits [B, T, V] at the positions `take` int64 [B, T]."""
        hidden = self.bert(input_ids, document_ids=document_ids, take=take)
        hidden = self.norm(self.activation(self.dense(hidden)))  # [B, T, H of the wide one]
        return F.linear(hidden, self.bert.embeddings.wide.word.weight, self.bias)


class ProjectedEmbeddings(nn.Module):
    def __init__(self, wide: Bert, config: BertConfig):
        super().__init__()
        self.wide = wide.embeddings
        self.project = nn.Linear(wide.config.hidden_size, config.hidden_size)
        initialise(self.project, config)

    @property
    def position(self) -> Any:
        return self.wide.position

    def forward(self, *inputs: Tensor | None) -> Tensor:
        return self.project(self.wide(*inputs))


def fill_in(truth: Tensor, take: Tensor, labels: Tensor, proposals: Tensor) -> Tensor:
    """`truth` with the proposals at the positions `take` whose label counts: int64 [B, L]."""
    length = truth.shape[1]
    place = torch.where(labels >= 0, take, length)  # fill-ups go to a column of their own, then away
    return F.pad(truth, (0, 1)).scatter(1, place, proposals)[:, :length]
