"""Fine-tuning: a pre-trained encoder, a new head, rows with targets (Devlin et al. 2018, §4; Howard & Ruder 2018).

What the tasks share: where the model comes from, the order of the rows, the optimiser, the step, the test at the end.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adverb.bert.checkpoint import Loaded, load_pretrained, save_pretrained
from adverb.data.length_order import LengthOrder
from adverb.errors import UserError
from adverb.objectives.adversarial import fgm, smart
from adverb.objectives.base import Draw, Objective, Phase
from adverb.optim import layerwise_adamw, lr_factor, set_lr
from adverb.pipelines.batching import pad
from adverb.pipelines.judging import judge_of
from adverb.pipelines.reader import Reader
from adverb.pipelines.torch_model import TorchModel
from adverb.schema.tasks import TaskRecipe

Row = dict[str, Any]  # input_ids, token_type_ids: list[int], and what the task needs


class FineTune(Objective):
    """Base of the tasks. A subclass sets `task` and `best` and defines `read`, `encode` and `row_loss`.

    read() sets train, valid and test (None where there is none), which have a length and a report, and `labels`, the
    classes of the head (None where it has none). It is called before there is a model.
    """

    task: str  # a key of heads.MODELS
    headline = ("loss",)
    recipe: TaskRecipe
    train: Any
    valid: Any
    test: Any = None
    labels: list[str] | None = None

    def __init__(self, recipe: TaskRecipe, context, console):
        self.context, self.console = context, console
        recipe.train.batch_size = recipe.train.batch_size or 32
        self.recipe = recipe
        self.adversarial = getattr(recipe.loss, "adversarial", "none")
        self.read()
        torch.manual_seed(recipe.seed)
        loaded = self.load()
        self.tokenizer, model = loaded.tokenizer, loaded.model
        self.max_length = self.row_limit(loaded)
        model.config.adverb = self.facts()
        self.rows = self.encode(self.train)
        lengths = np.fromiter(map(self.length, self.rows), np.int64, len(self.rows))
        self.order = LengthOrder(lengths, recipe.train.batch_size, recipe.seed)
        if recipe.train.epochs is not None:
            steps = math.ceil(recipe.train.epochs * len(self.rows) / recipe.train.batch_size)
            recipe.train.steps = min(steps, recipe.train.steps or steps)
        self.networks = {"model": model.to(context.device)}
        self.compiles = self.adversarial == "none"  # what is compiled would not notice a perturbation
        if self.compiles:
            context.compile(model.bert, lambda line: console.print(f"  [dim]{line}[/]"))
        alone = context.device.type == "cpu" and context.world == 1 and not recipe.train.clip
        words = model.bert.embeddings.word if alone else None  # where no one else asks for their gradient
        self.optimizers = {"model": layerwise_adamw(model, recipe.optim, loaded.missing, by_rows=words)}
        self.phases = [Phase("model", self.loss)]
        self.units_per_step = recipe.train.batch_size

    # -- what a task defines

    def read(self) -> None:
        raise NotImplementedError

    def encode(self, data: Any) -> list[Row]:
        """Training rows, windows of a long text each a row of its own, at most `self.max_length` tokens."""
        raise NotImplementedError

    def length(self, row: Row) -> int:
        """Tokens of a row; rows of like lengths come together."""
        return len(row["input_ids"])

    def collate(self, rows: list[Row]) -> dict[str, Tensor]:
        """A batch: what `inputs` makes, and targets. Called in a background thread."""
        raise NotImplementedError

    def row_loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss to train on, a scalar, the mean over the rows."""
        raise NotImplementedError

    def share(self, batch: dict[str, Tensor]) -> Tensor | float:
        """What a mean over all that is decided in a batch counts, so that each of it counts the same in any batch."""
        return 1.0

    def facts(self) -> dict[str, Any]:
        """What prediction has to know, for the key "adverb" of the saved config."""
        return {"max_length": self.max_length}

    def config_changes(self) -> dict[str, Any]:
        """Values of the config that the task decides."""
        return {}

    # -- the model and its rows

    @property
    def head_labels(self) -> list[str] | None:
        """The classes of the head while it is trained."""
        return self.labels

    def load(self) -> Loaded:
        spec = self.recipe.model
        loaded = load_pretrained(
            spec.init,
            self.task,
            self.head_labels,
            hidden_dropout_prob=spec.encoder_dropout,
            attention_probs_dropout_prob=spec.encoder_dropout,
            classifier_dropout=spec.dropout,
            **self.config_changes(),
        )
        if loaded.tokenizer is None:
            raise UserError(f"{spec.init} has no tokenizer: adverb can't train it")
        return loaded

    def row_limit(self, loaded: Loaded) -> int:
        """Tokens of a row: as many as asked for, or as the model reads."""
        limit, asked = loaded.config.max_position_embeddings, self.recipe.data.max_length
        if asked is not None and asked > limit:
            raise UserError(f"data.max_length={asked}: {self.recipe.model.init} reads {limit} tokens")
        return asked or limit

    def inputs(self, rows: list[Row]) -> dict[str, Tensor]:
        """input_ids and, where they say anything, attention_mask and token_type_ids, int64 [B, L]."""
        ids, mask, types = pad(
            [row["input_ids"] for row in rows], self.tokenizer.pad_id, [row["token_type_ids"] for row in rows]
        )
        named = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: torch.from_numpy(array) for name, array in named.items() if array is not None}

    # -- a training step

    def batch(self, index: int, start: int, stop: int) -> dict[str, Tensor]:
        return self.collate([self.rows[i] for i in self.order.batch(index)[start:stop]])

    def loss(self, batch: dict[str, Tensor], draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        model, spec = self.networks["model"], self.recipe.loss

        def row_loss() -> Tensor:
            return self.row_loss(model, batch)

        if self.adversarial == "none":
            loss = row_loss()
            return loss, {"loss": loss.detach()}
        weight = spec.adversarial_weight
        if self.adversarial == "fgm":
            loss, rough = fgm(model, row_loss, spec.epsilon, weight)
        else:
            weight = weight * self.share(batch)
            told = (spec.epsilon, weight, draw, batch.get("attention_mask"))
            loss, rough = smart(model, row_loss, batch.get("labels"), *told)
        return loss, {"loss": (loss - weight * rough).detach(), "adversarial_loss": rough.detach()}

    def schedule(self, progress: float, step: int) -> None:
        set_lr(self.optimizers["model"], self.recipe.optim.lr * lr_factor(self.recipe.optim, progress))

    # -- judging and keeping

    def finished(self, model: nn.Module) -> nn.Module:
        """The model as it is judged and kept."""
        return model

    def judge(self, model: nn.Module, data: Any, folder: Path, final: bool) -> dict[str, float]:
        """Metrics of the model on `data`, which is self.valid or self.test.

        final: of the best model, at the end; details then go to `folder`. What is fitted on the held-out rows is noted
        in model.config.adverb.
        """
        reader, held_out = Reader(TorchModel(model), self.tokenizer), data is self.valid
        resamples = self.recipe.evaluate.resamples if final else 0
        metrics, details = judge_of(reader.verb)(reader, data, resamples, fit=held_out)
        if details is not None:
            details.split = "valid" if held_out else "test"
            details.write(folder)
        return metrics

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        return self.judge(self.finished(networks["model"]), self.valid, folder, final=False)

    def conclude(self, best: Path, folder: Path) -> dict[str, float]:
        """The metrics of the best model on the test set; without one its details on the held-out rows, once more."""
        if self.test is None and self.best is None:
            return {}
        model = load_pretrained(best, self.task).model.to(self.context.device)
        metrics = self.judge(model, self.valid if self.test is None else self.test, folder, final=True)
        return {} if self.test is None else metrics

    def save(self, networks: dict[str, nn.Module], folder: Path) -> None:
        save_pretrained(self.finished(networks["model"]), self.tokenizer, folder)

    def plan(self) -> dict[str, str]:
        sets = {"train": self.train, "held out": self.valid, "test": self.test}
        said = {name: "; ".join(data.report.lines()) for name, data in sets.items() if data is not None}
        spec = self.recipe.train
        rows = f"{len(self.rows):,} rows of up to {self.max_length} tokens, in batches of {spec.batch_size}"
        passes = f", {spec.steps * spec.batch_size / len(self.rows):.3g} times" if spec.steps else ""
        return said | {"task": rows + passes, "from": self.recipe.model.init}
