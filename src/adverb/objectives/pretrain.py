"""BERT's pre-training: guess masked tokens, and whether one segment follows another (Devlin et al. 2018, §3.1).

Rows are full of text unless a pair task is on; the last layer and the head are computed at the masked positions
only. RoBERTa (Liu et al. 2019) is this without the pair task; a masking rate that falls from 0.3 follows Wettig et
al. 2023 and Ankner et al. 2024; pairs in order or swapped are ALBERT's (Lan et al. 2019).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.markup import escape
from torch import Tensor, nn

from adverb.bert.checkpoint import load_pretrained, locate, save_pretrained
from adverb.bert.config import BertConfig
from adverb.bert.heads import IGNORED, MODELS, cross_entropy
from adverb.bert.masking import Masking
from adverb.bert.tokenizer import Tokenizer
from adverb.data.corpus import Corpus, fingerprint, load_corpus
from adverb.data.rows import Chunks, Pairs, documents_of
from adverb.data.text import find_text, find_valid, paragraphs
from adverb.errors import UserError
from adverb.objectives.base import Draw, Objective, Phase
from adverb.optim import adamw, lr_factor, ramp, set_lr
from adverb.pipelines.judging.masks import RATE
from adverb.places import cache_folder
from adverb.run import write_atomically
from adverb.schema.text import PretrainRecipe

JUDGED_AT_ONCE = 32
SHORT_DOCUMENTS = 4  # rows that hold documents shorter than so many rows need a mask between them
SHOWN = 6


class Pretrain(Objective):
    headline = ("masked_loss", "pair_loss")
    best = ("masked_loss", "min")
    unit = "tok"
    compiles = True
    recipe: PretrainRecipe

    def __init__(self, recipe: PretrainRecipe, context, console):
        self.context, self.console = context, console
        recipe.train.batch_size = recipe.train.batch_size or 64
        self.recipe = recipe
        self.tokenizer, loaded = self.make_tokenizer()
        self.train_text, self.valid_text = self.read_text()
        self.make_rows()
        self.masking = Masking(self.tokenizer, ramp(recipe.masking.rate, 0.0), recipe.masking.whole_words)
        self.masking.to(context.device)
        torch.manual_seed(recipe.seed)
        self.networks = {"model": self.make_network(loaded).to(context.device)}
        if self.compiles:
            context.compile(self.encoder, lambda line: console.print(f"  [dim]{line}[/]"))
        self.optimizers = {"model": adamw(self.networks["model"], recipe.optim)}
        self.phases = [Phase("model", self.loss)]
        self.units_per_step = recipe.train.batch_size * recipe.data.sequence_length
        self.flops_per_step = self.count_flops()

    # -- what is trained on what

    @property
    def pair_task(self) -> str | None:
        tasks = self.recipe.objectives
        return "next" if tasks.nsp else "order" if tasks.sop else None

    @property
    def task(self) -> str:
        return "pretraining" if self.pair_task else "masked_lm"

    @property
    def encoder(self) -> nn.Module:
        """What is compiled: the most of the work."""
        return self.networks["model"].bert

    def make_tokenizer(self) -> tuple[Tokenizer, Any]:
        """The tokenizer, and the model to go on from where there is one."""
        spec, init = self.recipe.data, self.recipe.model.init
        if spec.path is None:
            raise UserError("no text to learn from: name it by --data (a file, a folder, a hub name)")
        if init is not None:
            loaded = load_pretrained(init, self.task, hidden_dropout_prob=self.recipe.model.dropout,
                                     attention_probs_dropout_prob=self.recipe.model.dropout)  # fmt: skip
            if loaded.tokenizer is None:
                raise UserError(f"{init} has no tokenizer: adverb can't go on from it")
            self._record_sizes(loaded.config)
            return loaded.tokenizer, loaded
        if spec.tokenizer is not None:
            return Tokenizer.from_pretrained(locate(spec.tokenizer)), None
        source = find_text(spec.path, spec.column, spec.limit, [spec.valid])
        key = fingerprint(source, "tokenizer", spec.vocab_size, spec.lowercase)
        folder = cache_folder() / "tokenizers" / key
        if not (folder / "tokenizer.json").is_file():
            line = escape(f"counting words of {source.name} for a vocabulary, once")
            self.console.print(f"  [dim]{line}[/]", highlight=False)
            made = Tokenizer.train((p for p in paragraphs(source) if p), spec.vocab_size, spec.lowercase)
            write_atomically(folder / "tokenizer.json", lambda beside: made.backend.save(str(beside)))
        return Tokenizer.from_pretrained(folder), None

    def read_text(self) -> tuple[Corpus, Corpus]:
        """The text to train on and the held-out text."""
        spec = self.recipe.data

        def load(source) -> Corpus:
            return load_corpus(source, self.tokenizer, lambda line: self.console.print(f"  [dim]{escape(line)}[/]"))

        source = find_text(spec.path, spec.column, spec.limit, [spec.valid])
        train = load(source)
        for note in source.notes():
            self.console.print(f"  [dim]{escape(note)}[/]", highlight=False)
        valid = find_valid(spec.path, spec.column, spec.valid)
        return train.hold_out() if valid is None else (train, load(valid))

    def make_rows(self) -> None:
        spec, seed, size = self.recipe.data, self.recipe.seed, self.recipe.train.batch_size
        shape = (self.tokenizer, spec.sequence_length)
        self.judged_rows = Chunks(self.valid_text, *shape, JUDGED_AT_ONCE, 0)
        average = len(self.train_text) / self.train_text.document_count
        self.documents_apart = not self.pair_task and average < SHORT_DOCUMENTS * spec.sequence_length
        if self.pair_task:
            self.rows = Pairs(self.train_text, *shape, size, seed, self.pair_task)
            self.judged_pairs = Pairs(self.valid_text, *shape, JUDGED_AT_ONCE, 0, self.pair_task)
        else:
            self.rows = Chunks(self.train_text, *shape, size, seed)

    def make_network(self, loaded) -> nn.Module:
        if loaded is not None:
            limit = loaded.config.max_position_embeddings
            if self.recipe.data.sequence_length > limit:
                raise UserError(f"data.sequence_length={self.recipe.data.sequence_length}: the model reads {limit}")
        model = MODELS[self.task](self.config()) if loaded is None else loaded.model
        model.config.adverb = {"documents_apart": True} if self.documents_apart else {}  # so will it be judged
        return model

    def config(self, **changes: Any) -> BertConfig:
        model = self.recipe.model
        length = model.max_length or self.recipe.data.sequence_length
        self.tokenizer.max_length = length
        return BertConfig(
            **{
                "vocab_size": len(self.tokenizer.tokens()),
                "hidden_size": model.hidden,
                "num_hidden_layers": model.layers,
                "num_attention_heads": model.heads,
                "intermediate_size": model.intermediate or feed_forward_size(model.architecture, model.hidden),
                "initializer_range": model.initializer_range,
                "hidden_act": model.activation,
                "hidden_dropout_prob": model.dropout,
                "attention_probs_dropout_prob": model.dropout,
                "max_position_embeddings": length,
                "pad_token_id": self.tokenizer.pad_id,
                "architecture": model.architecture,
            }
            | changes
        )

    def _record_sizes(self, config: BertConfig) -> None:
        model = self.recipe.model
        model.architecture, model.max_length = config.architecture, config.max_position_embeddings
        model.layers, model.hidden = config.num_hidden_layers, config.hidden_size
        model.heads, model.intermediate = config.num_attention_heads, config.intermediate_size

    # -- a training step

    def batch(self, index: int, start: int, stop: int) -> dict[str, Tensor]:
        rows = self.rows.batch(index, start, stop)
        return rows if isinstance(rows, dict) else {"input_ids": rows}

    def loss(self, batch: dict[str, Tensor], draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        model, weights = self.networks["model"], self.recipe.objectives
        ids, take, labels = self.masking(batch["input_ids"], draw.rand(batch["input_ids"].shape[1], 3))
        if not self.pair_task:
            loss = model(ids, take=take, labels=labels, **self.apart(batch["input_ids"]))
            return weights.mlm * loss, {"masked_loss": loss.detach()}
        mlm, pair_logits = model(ids, batch["attention_mask"], batch["token_type_ids"], take=take, labels=labels)
        pair = cross_entropy(pair_logits, batch["pair_labels"])
        right = (pair_logits.argmax(-1) == batch["pair_labels"]).float().mean()
        metrics = {"masked_loss": mlm.detach(), "pair_loss": pair.detach(), "pair_accuracy": right}
        return weights.mlm * mlm + (weights.nsp + weights.sop) * pair, metrics

    def apart(self, input_ids: Tensor) -> dict[str, Tensor]:
        """Which document of its row a token is in, document_ids int64 [B, L]; nothing where documents are so long
        that few rows hold two, as the mask costs time."""
        if not self.documents_apart:
            return {}
        return {"document_ids": documents_of(input_ids, self.tokenizer.sep_id)}

    def schedule(self, progress: float, step: int) -> None:
        spec = self.recipe
        set_lr(self.optimizers["model"], spec.optim.lr * lr_factor(spec.optim, progress))
        done = min(1.0, progress / spec.train.burn_in) if spec.train.burn_in else 1.0
        self.masking.rate = ramp(spec.masking.rate, done)

    def count_flops(self) -> float:
        """Of the matmuls of a step, forward and backward, as they are computed: the last layer at the masks only."""
        length, masked = self.recipe.data.sequence_length, self.masking.columns(self.recipe.data.sequence_length)
        taken = masked + (1 if self.pair_task else 0)
        config = self.networks["model"].config
        return 3 * self.recipe.train.batch_size * encoder_flops(config, length, taken, masked)

    # -- judging and keeping

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        model = networks["model"]
        losses, right, shown = [], [], []
        for ids, masked in self.judged_masks(self.recipe.evaluate.rows * (4 if final else 1)):
            with self.context.autocast():
                logits = model(masked.input_ids, take=masked.take, **self.apart(ids))
            logits = (logits[0] if isinstance(logits, tuple) else logits).float()  # [B, T, V]
            losses.append(token_losses(logits, masked.labels))
            right.append(hits(logits, masked.labels))
            if not shown:
                shown = list(zip(ids[:SHOWN], *(x[:SHOWN] for x in masked), logits[:SHOWN], strict=True))
        (folder / f"step-{step:07d}.txt").write_text(self.page(shown), encoding="utf-8")
        metrics = summary(torch.cat(losses), torch.cat(right))
        if self.pair_task:
            metrics |= {f"{'nsp' if self.pair_task == 'next' else 'sop'}_accuracy": self.judge_pairs(model, final)}
        return metrics

    def judged_masks(self, rows: int):
        """(rows int64 [B, L], the same masked), on fixed rows of the held-out text with fixed masks at 15 %."""
        count = min(rows, len(self.judged_rows))
        starts = np.linspace(0, len(self.valid_text), count, endpoint=False).astype(np.int64)
        masking = Masking(self.tokenizer, RATE).to(self.context.device)
        for i in range(0, count, JUDGED_AT_ONCE):
            ids = self.judged_rows.rows(starts[i : i + JUDGED_AT_ONCE])
            uniforms = torch.rand(*ids.shape, 3, generator=torch.Generator().manual_seed(i))
            yield (ids := ids.to(self.context.device)), masking(ids, uniforms.to(self.context.device))

    def judge_pairs(self, model: nn.Module, final: bool) -> float:
        right = []
        for index in range(math.ceil(self.recipe.evaluate.rows * (4 if final else 1) / JUDGED_AT_ONCE)):
            batch = {k: v.to(self.context.device) for k, v in self.judged_pairs.batch(index, 0, JUDGED_AT_ONCE).items()}
            labels = batch.pop("pair_labels")
            with self.context.autocast():
                _, logits = model(**batch, take=torch.zeros_like(batch["input_ids"][:, :1]))
            right.append(logits.argmax(-1) == labels)
        return torch.cat(right).float().mean().item()

    def page(self, shown: list) -> str:
        """A few held-out rows with their masks and the most probable words there."""
        vocabulary, lines = self.tokenizer.tokens(), []
        for truth, ids, take, labels, logits in shown:
            probabilities = logits.softmax(-1)
            lines.append(self.tokenizer.decode(ids.tolist(), skip_special_tokens=False))
            for position, label, p in zip(take.tolist(), labels.tolist(), probabilities, strict=True):
                if label == IGNORED:
                    continue
                top = ", ".join(f"{vocabulary[i]} {p[i]:.2f}" for i in p.topk(min(4, len(p))).indices.tolist())
                lines.append(f"  {position:4d}  {vocabulary[truth[position]]:16s} {top}")
            lines.append("")
        return "\n".join(lines)

    def save(self, networks: dict[str, nn.Module], folder: Path) -> None:
        save_pretrained(networks["model"], self.tokenizer, folder)

    def plan(self) -> dict[str, str]:
        train, valid, data, model = self.train_text, self.valid_text, self.recipe.data, self.recipe.model
        undecodable = train.about.get("undecodable", 0)
        passes = ""
        if self.recipe.train.steps:
            passes = f", {self.recipe.train.steps * self.recipe.train.batch_size / len(self.rows):.1f} times"
        return {
            "data": f"{len(train):,} tokens in {train.document_count:,} documents{passes} · {data.path}"
            + (f" · {undecodable:,} undecodable characters replaced" if undecodable else ""),
            "held out": f"{len(valid):,} tokens" + (f" · {data.valid}" if data.valid else ""),
            "task": self.describe(),
            "model": f"{model.architecture}, {model.layers} layers × {model.hidden}, "
            f"vocabulary {self.tokenizer.vocab_size:,}",
        }

    def describe(self) -> str:
        rate = self.recipe.masking.rate
        percent = "→".join(f"{100 * r:g}%" for r in (rate if isinstance(rate, tuple) else (rate,)))
        pair = {None: "", "next": ", next sentence", "order": ", sentence order"}[self.pair_task]
        rows = f"batch {self.recipe.train.batch_size} × {self.recipe.data.sequence_length} tokens"
        return f"masked tokens, {percent}{pair}, {rows}" + (", documents kept apart" if self.documents_apart else "")


def feed_forward_size(architecture: str, hidden: int) -> int:
    """4 × hidden; a gated layer has three matrices, so 8/3 × hidden, in sixty-fours, is as large (Shazeer 2020)."""
    return 64 * max(1, round(hidden / 24)) if architecture == "modern" else 4 * hidden


def token_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropies in nats of logits [..., V] at labels [...] that are not -100: float32 [n]."""
    counted = labels != IGNORED
    return F.cross_entropy(logits[counted].float(), labels[counted], reduction="none")


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    counted = labels != IGNORED
    return (logits[counted].argmax(-1) == labels[counted]).float()


def summary(losses: Tensor, right: Tensor, name: str = "masked") -> dict[str, float]:
    """Mean loss with its standard error, perplexity, accuracy."""
    mean = losses.mean().item()
    return {
        f"{name}_loss": mean,
        f"{name}_loss_se": losses.std().item() / math.sqrt(len(losses)) if len(losses) > 1 else 0.0,
        f"{name}_accuracy": right.mean().item(),
        f"{name}_perplexity": math.exp(min(mean, 50)),
    }


def encoder_flops(config: BertConfig, length: int, taken: int, masked: int) -> float:
    """Of the matmuls of one row, forward; the last layer at `taken` positions, the head at `masked` ones."""
    h, wide = config.hidden_size, config.intermediate_size * (3 if config.architecture == "modern" else 2)
    a_token = 2 * h * h * 2 + 2 * h * wide + 4 * h * length  # query, output; feed-forward; scores and mixing
    keys = 2 * h * h * 2
    layers = (config.num_hidden_layers - 1) * length * (a_token + keys) + taken * a_token + length * keys
    return layers + masked * (2 * h * h + 2 * h * config.vocab_size)
