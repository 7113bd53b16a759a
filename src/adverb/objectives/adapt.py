"""Masked words of the texts at hand, before anything is learnt from labels: domain-adaptive pre-training.

An encoder knows much of language and little of how these texts speak. Those without a label are first read as BERT was
pre-trained (Devlin et al. 2018, §3.1; Gururangan et al. 2020, "Don't stop pretraining", §3 and 4).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from adverb.bert.checkpoint import load_pretrained
from adverb.bert.masking import UNIFORMS, Masking
from adverb.bert.tokenizer import Tokenizer
from adverb.data.length_order import LengthOrder
from adverb.objectives.few import FromFew
from adverb.objectives.finetune import Row
from adverb.optim import adamw, lr_factor, set_lr
from adverb.pipelines.batching import pad
from adverb.schema.tasks import ClassifyRecipe

PASSES = 4  # over the texts
TOKENS = 400_000  # read at most: minutes on a laptop
ROWS = 64  # of a batch


class Adapted(FromFew):
    """Fine-tuning on the labelled rows, from an encoder that has read the other texts."""

    method = "adapt"
    adapts = True


def adapt(recipe: ClassifyRecipe, context, rows: list[Row], tokenizer: Tokenizer) -> dict[str, Tensor]:
    """The weights of the recipe's encoder after masked words of `rows`, by the recipe's optimiser and learning rate."""
    model = load_pretrained(
        recipe.model.init, "masked_lm", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    ).model.to(context.device)
    model.train()
    masking = Masking(tokenizer).to(context.device)
    optimizer, random = adamw(model, recipe.optim), torch.Generator().manual_seed(recipe.seed)
    lengths = np.array([len(row["input_ids"]) for row in rows])
    order = LengthOrder(lengths, ROWS, recipe.seed)
    steps = math.ceil(min(PASSES * len(rows), TOKENS / lengths.mean()) / ROWS)
    for step in range(steps):
        set_lr(optimizer, recipe.optim.lr * lr_factor(recipe.optim, step / steps))
        batch = [rows[i] for i in order.batch(step)]
        ids, mask, types = (
            None if array is None else torch.from_numpy(array).to(context.device)
            for array in pad([r["input_ids"] for r in batch], tokenizer.pad_id, [r["token_type_ids"] for r in batch])
        )
        masked = masking(ids, torch.rand(*ids.shape, UNIFORMS, generator=random).to(context.device))
        with context.autocast():
            loss = model(masked.input_ids, mask, types, take=masked.take, labels=masked.labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return {name: weight.detach() for name, weight in model.bert.state_dict().items()}
