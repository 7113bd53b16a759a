"""Contrast, then teaching: from a few labels to a sentence encoder, from it to labels for the other texts.

The teacher is a sentence encoder, tuned so that texts of one class lie close and others apart (Khosla et al. 2020, eq.
2): a hundred rows make thousands of pairs, where a new head has a hundred targets (as SetFit, Tunstall et al. 2022). A
logistic regression on its vectors says how probable each class is of each text without a label. The student, an
ordinary classifier, starts from the teacher's encoder and learns from the labels and from what the teacher said
(self-training; Xie et al. 2020, §2; soft, as Hinton et al. 2015).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert.checkpoint import load_pretrained
from adverb.bert.heads import Embedder
from adverb.data.labelled import Labelled
from adverb.data.length_order import LengthOrder
from adverb.data.unlabelled import Unlabelled
from adverb.metrics.linear import fitted
from adverb.objectives.few import FromFew
from adverb.optim import adamw, lr_factor, set_lr
from adverb.pipelines.model import outputs_of
from adverb.pipelines.torch_model import TorchModel

TEACHER_STEPS = 100
TEACHER_ROWS = 64  # of a batch; each row meets all the others
TEMPERATURE = 0.1
LEAST_SHARE = 0.25  # of a batch that has true labels
PASSES, ENOUGH = 2, 500  # a student that hears less of its teacher knows less: passes over the texts, or steps


class Contrast(FromFew):
    method = "contrast"
    taught: np.ndarray | None = None  # float32 [U, C], what the teacher says of the texts without a label

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.more_rows = self.encode_unlabelled()
        others = self.recipe.train.batch_size - self.own
        self.own_order = LengthOrder(self.lengths_of(self.rows), self.own, self.recipe.seed)
        self.more_order = LengthOrder(self.lengths_of(self.more_rows), others, self.recipe.seed + 1)

    def own_rows(self, batch_size: int) -> int:
        """A quarter at least; more where more than a quarter of all texts have a label."""
        share = max(LEAST_SHARE, len(self.few.train) / (len(self.few.train) + len(self.few.unlabelled)))
        return min(max(1, round(share * batch_size)), batch_size - 1)

    def least_steps(self, batch_size: int) -> int:
        others = batch_size - self.own
        return max(super().least_steps(batch_size), min(ENOUGH, math.ceil(PASSES * len(self.few.unlabelled) / others)))

    # -- the teacher

    def prepare(self) -> None:
        super().prepare()
        if self.taught is None:
            self.taught = self.teach()

    def teach(self) -> np.ndarray:
        """What the teacher says of the texts without a label; the student's encoder becomes the teacher's."""
        spec, random = self.recipe, torch.Generator().manual_seed(self.recipe.seed)
        loaded = load_pretrained(spec.model.init, "embedding", hidden_dropout_prob=spec.model.encoder_dropout,
                                 attention_probs_dropout_prob=spec.model.encoder_dropout)  # fmt: skip
        teacher: Embedder = loaded.model.to(self.context.device).train()
        optimizer = adamw(teacher, spec.optim)
        targets, size = torch.from_numpy(self.train.targets), min(TEACHER_ROWS, len(self.rows))
        for step in range(TEACHER_STEPS):
            set_lr(optimizer, spec.optim.lr * lr_factor(spec.optim, step / TEACHER_STEPS))
            chosen = torch.randperm(len(self.rows), generator=random)[:size]
            inputs = {k: v.to(self.context.device) for k, v in self.inputs([self.rows[i] for i in chosen]).items()}
            with self.context.autocast():
                vectors = teacher(**inputs)
            loss = class_contrast(vectors, targets[chosen].to(vectors.device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        model = TorchModel(teacher.eval().requires_grad_(False)).deciding()

        def vectors_of(data: Labelled | Unlabelled) -> np.ndarray:
            encodings = self.tokenizer.encode_batch(data.texts, data.pairs, self.max_length)
            vectors = outputs_of(model, encodings, self.tokenizer.pad_id)
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

        student = self.networks["model"].bert
        student.load_state_dict(teacher.bert.state_dict(), strict=False)  # all but the pooler, which a teacher lacks
        known, unknown = vectors_of(self.train), vectors_of(self.few.unlabelled)
        return fitted(known, self.train.targets, unknown, len(self.labels))

    # -- a training step of the student

    def batch(self, index: int, start: int, stop: int) -> dict[str, Tensor]:
        """Texts, and `wanted` float32 [B, C]: the labels of `own` rows, what the teacher said of the others."""
        known, more = self.own_order.batch(index), self.more_order.batch(index)
        rows = [self.rows[i] for i in known] + [self.more_rows[i] for i in more]
        classes = np.eye(len(self.labels), dtype=np.float32)
        taught = classes.mean(0)[None].repeat(len(more), 0) if self.taught is None else self.taught[more]  # a dry run
        wanted = np.concatenate([classes[self.train.targets[known]], taught])
        return self.inputs(rows[start:stop]) | {"wanted": torch.from_numpy(wanted[start:stop])}

    def row_loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        inputs = {name: tensor for name, tensor in batch.items() if name != "wanted"}
        return soft_loss(model(**inputs), batch["wanted"], self.class_weights, self.recipe.loss.label_smoothing)

    # -- the whole state

    def state(self) -> dict[str, Any]:
        return super().state() | {"taught": None if self.taught is None else torch.from_numpy(self.taught)}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.taught = None if state["taught"] is None else state["taught"].numpy()


def class_contrast(vectors: Tensor, targets: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Khosla et al. 2020, eq. 2: over rows, the mean of -log softmax(cos / temperature) over the others of their class.

    vectors float [B, H], targets int64 [B]. Rows that no other row of the batch is alike count as others only; 0, with
    a gradient of 0, where all are so.
    """
    vectors = F.normalize(vectors.float(), dim=-1)
    itself = torch.eye(len(targets), dtype=torch.bool, device=vectors.device)
    scores = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)  # [B, B]
    alike = (targets[:, None] == targets[None, :]) & ~itself
    each = scores.log_softmax(-1).masked_fill(~alike, 0).sum(-1) / alike.sum(-1).clamp(min=1)
    return -each.sum() / alike.any(-1).sum().clamp(min=1)


def soft_loss(
    logits: Tensor, wanted: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy in nats of softmax(logits [B, C]) where distributions `wanted` [B, C] are the truth.

    class_weights [C], label_smoothing: as in `SequenceClassifier.loss`.
    """
    wanted = wanted * (1 - label_smoothing) + label_smoothing / wanted.shape[-1]
    if class_weights is not None:
        wanted = wanted * class_weights
    return -(wanted * logits.float().log_softmax(-1)).sum(-1).mean()
