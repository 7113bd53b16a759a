"""Language models that predict each token from one side: the baselines of BERT's paper, on the same text.

Judged by their own loss per token, and at the very positions at which a masked model is judged: by what they expect
there from the words before (and, for the LSTMs, from the words after). They see those words whole, where a masked
model has 15 % of them hidden.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from adverb.bert.baselines import KINDS, BaselineConfig, save_baseline
from adverb.errors import UserError
from adverb.objectives.base import Draw
from adverb.objectives.pretrain import SHOWN, Pretrain, hits, summary, token_losses


class Causal(Pretrain):
    headline = ("token_loss",)
    best = ("token_loss", "min")
    compiles = False

    def make_network(self, loaded) -> nn.Module:
        recipe, model = self.recipe, self.recipe.model
        if loaded is not None:
            raise UserError("model.init: a masked model can't become a left-to-right one")
        if self.pair_task:
            raise UserError(f"model.architecture={model.architecture} has no pair task: set objectives.nsp=0 and sop=0")
        self.tokenizer.max_length = model.max_length or recipe.data.sequence_length
        self.documents_apart = False
        return KINDS[model.architecture](
            BaselineConfig(
                kind=model.architecture,
                vocab_size=len(self.tokenizer.tokens()),
                hidden_size=model.hidden,
                num_hidden_layers=model.layers,
                num_attention_heads=model.heads,
                intermediate_size=model.intermediate or 4 * model.hidden,
                max_position_embeddings=self.tokenizer.max_length,
                dropout=model.dropout,
                initializer_range=model.initializer_range,
            )
        )

    def loss(self, batch: dict[str, Tensor], draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.networks["model"].loss(batch["input_ids"])
        return loss, {"token_loss": loss.detach()}

    def count_flops(self) -> float:
        config, length = self.networks["model"].config, self.recipe.data.sequence_length
        h, directions = config.hidden_size, 1 if config.kind == "gpt" else 2
        if config.kind == "gpt":
            layer = 2 * 4 * h * h + 2 * 2 * h * config.intermediate_size + 4 * h * length / 2
        else:
            layer = 2 * 8 * h * h
        a_token = directions * (config.num_hidden_layers * layer + 2 * h * config.vocab_size)
        return 3 * self.units_per_step * a_token

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        model = networks["model"]
        own, own_right, losses, right, shown = [], [], [], [], []
        for ids, masked in self.judged_masks(self.recipe.evaluate.rows * (4 if final else 1)):
            with self.context.autocast():
                for hidden, targets in model.predictions(ids):
                    for states, target in zip(hidden.split(4), targets.split(4), strict=True):  # [4, L, V] at a time
                        logits = model.logits(states).float()
                        own.append(token_losses(logits, target))
                        own_right.append(hits(logits, target))
                blanks = model.blanks(ids, masked.take.clamp(min=1)).float()  # [B, T, V]
            losses.append(token_losses(blanks, masked.labels))
            right.append(hits(blanks, masked.labels))
            if not shown:
                shown = list(zip(ids[:SHOWN], ids[:SHOWN], masked.take, masked.labels, blanks[:SHOWN], strict=False))
        (folder / f"step-{step:07d}.txt").write_text(self.page(shown), encoding="utf-8")
        blanks = summary(torch.cat(losses), torch.cat(right), "blank")
        return summary(torch.cat(own), torch.cat(own_right), "token") | blanks

    def save(self, networks: dict[str, nn.Module], folder: Path) -> None:
        save_baseline(networks["model"], self.tokenizer, folder)

    def describe(self) -> str:
        kind = {"gpt": "the next token, left to right", "lstm": "the next token, from the left and from the right"}
        rows = f"batch {self.recipe.train.batch_size} × {self.recipe.data.sequence_length} tokens"
        return f"{kind[self.recipe.model.architecture]}, {rows}"
