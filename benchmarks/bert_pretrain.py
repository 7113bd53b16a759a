"""adverb's pre-training beside the Trainer of transformers: same tokenizer, same text, same shape of network.

    python benchmarks/bert_pretrain.py speed [--shape small|base] [--rounds 5] [--seconds 20]
    python benchmarks/bert_pretrain.py quality [--minutes 15] [--seeds 1] [--out DIR]
    python benchmarks/bert_pretrain.py tokenise

speed: tokens per second, the sides alternating in one process so that a drift of the machine meets all of them;
ratios are taken round by round. "compiled" is what runs of 30 minutes and more do by themselves. quality: each side
trains from scratch for the same minutes, then one function judges them on the same held-out rows with the same masks.
tokenise: text to a data set on disk.

The quality part trains the shipped bert-fast as a user would, evaluations on the clock, and leaves its run in --out.

"Trainer as it comes" has transformers' defaults: batch 8, dropout 0.1, AdamW at 5e-5 with linear decay, float32.
"Trainer, tuned by hand" has what its documents and options offer: bf16, no dropout, fused AdamW, batch and learning
rate of ours. Its run of the quality part is told beforehand how many steps fit, so that its decay ends in time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from datasets import Dataset
from datasets import logging as datasets_logging
from rich.console import Console

import adverb
from adverb import machine
from adverb import recipe as recipes
from adverb.bert.checkpoint import load_pretrained
from adverb.bert.tokenizer import Tokenizer
from adverb.context import Context
from adverb.data.corpus import load_corpus
from adverb.data.rows import Chunks
from adverb.data.text import find_text, paragraphs
from adverb.engine import Engine
from adverb.objectives.pretrain import Pretrain, encoder_flops, hits, summary, token_losses
from adverb.places import cache_folder
from rounds import as_many, turns

SHAPES = {"small": (4, 256, 4), "base": (12, 768, 12)}
LENGTH = 128
QUIET = Console(quiet=True)


def tokenizer_folder(data: str, vocab_size: int) -> Path:
    """One tokenizer for both sides, kept in the cache."""
    folder = cache_folder() / "benchmark" / f"tokenizer-{vocab_size}"
    if not (folder / "tokenizer.json").is_file():
        texts = (p for p in paragraphs(find_text(data)) if p)
        Tokenizer.train(texts, vocab_size, max_length=512).save_pretrained(folder)
    return folder


def ours(data: str, tokenizer: Path, shape: str, precision: str = "auto", **overrides) -> Pretrain:
    layers, hidden, heads = SHAPES[shape]
    fixed = {
        "data.path": data, "data.tokenizer": str(tokenizer), "data.sequence_length": LENGTH, "model.layers": layers,
        "model.hidden": hidden, "model.heads": heads, "train.precision": precision,
    }  # fmt: skip
    spec = recipes.load("bert-fast", fixed | overrides)
    return Pretrain(spec, Context.create(spec.train), QUIET)


class Stopwatch(transformers.TrainerCallback):
    """Stops after `seconds` beyond the first `skip` steps, which set things up, and counts."""

    def __init__(self, seconds: float, skip: int = 2):
        self.seconds, self.skip, self.started, self.steps, self.took = seconds, skip, None, 0, 0.0

    def on_train_begin(self, args, state, control, **_):
        self.started = time.perf_counter() if self.skip == 0 else None

    def on_step_end(self, args, state, control, **_):
        if self.started is None:
            if state.global_step >= self.skip:
                self.started = time.perf_counter()
            return
        self.steps, self.took = state.global_step - self.skip, time.perf_counter() - self.started
        if self.took > self.seconds:
            control.should_training_stop = True


def trainer(rows: Dataset, tokenizer: Path, shape: str, tuned: bool, batch: int, stopwatch: Stopwatch, **options):
    """transformers' Trainer on a new BertForMaskedLM."""
    fast = transformers.AutoTokenizer.from_pretrained(tokenizer)
    layers, hidden, heads = SHAPES[shape]
    torch.manual_seed(options.get("seed", 0))
    model = transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=len(fast), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
            intermediate_size=4 * hidden, max_position_embeddings=LENGTH,
            hidden_dropout_prob=0.0 if tuned else 0.1, attention_probs_dropout_prob=0.0 if tuned else 0.1,
        )
    )  # fmt: skip
    if tuned:
        bf16 = machine.peaks(torch.device("cpu")).bf16_profits
        options = {"bf16": bf16, "optim": "adamw_torch_fused"} | options
    arguments = transformers.TrainingArguments(
        tempfile.mkdtemp(), per_device_train_batch_size=batch, use_cpu=True, report_to="none", save_strategy="no",
        logging_strategy="no", disable_tqdm=True, **{"max_steps": 10**6, "lr_scheduler_type": "constant"} | options,
    )  # fmt: skip
    collator = transformers.DataCollatorForLanguageModeling(fast, mlm_probability=0.15)
    return transformers.Trainer(model, arguments, collator, rows, callbacks=[stopwatch])


def trainer_rows(objective: Pretrain) -> Dataset:
    """The rows that adverb trains on, cut at fixed places, as a data set."""
    chunks: Chunks = objective.rows
    every = chunks.rows(np.arange(len(chunks)) * chunks.width).numpy().astype(np.int32)
    return Dataset.from_dict({"input_ids": list(every)})


# -- speed


def speed(options: argparse.Namespace) -> None:
    folder = tokenizer_folder(options.data, options.vocab_size)
    batch = options.batch or (64 if options.shape == "small" else 16)
    flops_a_token = {}
    sides: dict[str, Callable[[], float]] = {}
    for architecture, compiled in (("bert", False), ("modern", False), ("bert", True)):
        same = {"train.batch_size": batch, "model.architecture": architecture, "masking.rate": 0.15}
        objective = ours(options.data, folder, options.shape, **same, **{"train.compile": compiled})
        engine = Engine(objective, None, objective.context)
        engine.one_step(0.5)
        name = f"adverb, {architecture}{', compiled' if compiled else ''}"
        sides[name] = lambda engine=engine: our_rate(engine, options.seconds)
        flops_a_token[name] = objective.flops_per_step / objective.units_per_step, objective.context.precision
        if architecture == "bert" and not compiled:
            rows, config = trainer_rows(objective), objective.networks["model"].config
    everywhere = 3 * encoder_flops(config, LENGTH, LENGTH, LENGTH) / LENGTH
    for name, tuned, size in (("Trainer as it comes", False, 8), ("Trainer, tuned by hand", True, batch)):
        sides[name] = lambda t=tuned, s=size: their_rate(rows, folder, options.shape, t, s, options.seconds)
        bf16 = tuned and machine.peaks(torch.device("cpu")).bf16_profits
        flops_a_token[name] = everywhere, "bf16" if bf16 else "fp32"
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for name in turns(sides, options.rounds):
        rates[name].append(sides[name]())
    peaks = machine.peaks(torch.device("cpu"))
    layers, hidden, _ = SHAPES[options.shape]
    print(f"\n{layers} layers × {hidden}, vocabulary {options.vocab_size:,}, {LENGTH} tokens a row, "
          f"{torch.get_num_threads()} threads, {options.rounds} rounds of {options.seconds:g} s")  # fmt: skip
    print(f"{'':24s} {'tok/s':>8s} {'of peak':>8s}   as many times as the Trainer: as it comes, tuned")
    for name, values in rates.items():
        flops, precision = flops_a_token[name]
        ratios = [as_many(values, rates[other]) for other in ("Trainer as it comes", "Trainer, tuned by hand")]
        print(
            f"{name:24s} {np.median(values):8,.0f} {np.median(values) * flops / getattr(peaks, precision):8.0%}   "
            + ", ".join(ratios)
        )


def our_rate(engine: Engine, seconds: float) -> float:
    steps, start = 0, time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        engine.one_step(0.5)
        steps += 1
    return steps * engine.objective.units_per_step / took


def their_rate(rows: Dataset, folder: Path, shape: str, tuned: bool, batch: int, seconds: float) -> float:
    stopwatch = Stopwatch(seconds)
    trainer(rows, folder, shape, tuned, batch, stopwatch).train()
    return stopwatch.steps * batch * LENGTH / stopwatch.took


# -- quality


def quality(options: argparse.Namespace) -> None:
    folder = tokenizer_folder(options.data, options.vocab_size)
    table: dict[str, list[dict[str, float]]] = {}
    for seed in range(options.seeds):
        fixed = {"seed": seed, "train.minutes": options.minutes, "data.tokenizer": str(folder)}
        objective = ours(options.data, folder, options.shape, **fixed)  # for its rows and its masks
        if "adverb" in options.sides:
            out = (options.out or Path(tempfile.mkdtemp())) / f"bert-fast-{seed}"
            run = adverb.train("bert-fast", options.data, out=out, quiet=False, **fixed)
            network = load_pretrained(run.model).model
            found = judged(objective, lambda ids, take, network=network: network(ids, take=take))
            tokens = run.metrics()[-1]["step"] * objective.units_per_step
            table.setdefault("adverb bert-fast", []).append(found | {"tokens": tokens})
        rows = trainer_rows(objective)
        for name, tuned, batch, extra in (
            ("Trainer as it comes", False, 8, {}),
            ("Trainer, tuned by hand", True, options.batch or objective.recipe.train.batch_size,
             {"learning_rate": options.trainer_lr, "warmup_steps": 0.06, "weight_decay": 0.01, "adam_beta2": 0.98}),
        ):  # fmt: skip
            if ("tuned" if tuned else "trainer") not in options.sides:
                continue
            rate = their_rate(rows, folder, options.shape, tuned, batch, min(20.0, 6 * options.minutes))
            steps = max(10, int(rate * 60 * options.minutes / (batch * LENGTH)))
            if "warmup_steps" in extra:
                extra["warmup_steps"] = int(extra["warmup_steps"] * steps)
            stopwatch = Stopwatch(60 * options.minutes, skip=0)
            theirs = trainer(rows, folder, options.shape, tuned, batch, stopwatch, max_steps=steps, seed=seed,
                             lr_scheduler_type="linear", **extra)  # fmt: skip
            theirs.train()
            model = theirs.model.eval()
            found = judged(objective, lambda ids, take, model=model: torch.take_along_dim(
                model(input_ids=ids).logits, take[..., None], 1))  # fmt: skip
            table.setdefault(name, []).append(found | {"tokens": stopwatch.steps * batch * LENGTH})
    print(f"\nheld-out masked loss after {options.minutes:g} minutes, {torch.get_num_threads()} threads")
    print(f"{'':28s} {'loss':>6s} {'±':>6s} {'accuracy':>9s} {'tokens':>12s}")
    for name, found in table.items():
        mean = {key: np.mean([f[key] for f in found]) for key in found[0]}
        print(f"{name:28s} {mean['masked_loss']:6.3f} {mean['masked_loss_se']:6.3f} {mean['masked_accuracy']:9.1%} "
              f"{mean['tokens']:12,.0f}")  # fmt: skip


@torch.no_grad()
def judged(objective: Pretrain, logits: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> dict[str, float]:
    """The one function that judges every side, in float32: logits(corrupted ids, positions) -> [B, T, V]."""
    losses, right = [], []
    for _, masked in objective.judged_masks(1024):
        found = logits(masked.input_ids, masked.take).float()
        losses.append(token_losses(found, masked.labels))
        right.append(hits(found, masked.labels))
    return summary(torch.cat(losses), torch.cat(right))


# -- tokenising


def tokenise(options: argparse.Namespace) -> None:
    folder = tokenizer_folder(options.data, options.vocab_size)
    tokenizer = Tokenizer.from_pretrained(folder)
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    lines = [p for p in paragraphs(find_text(options.data)) if p]
    characters = sum(map(len, lines))
    rates: dict[str, list[float]] = {"adverb": [], "datasets.map": []}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["ADVERB_CACHE"] = cache
            start = time.perf_counter()
            corpus = load_corpus(find_text(options.data), tokenizer)
            rates["adverb"].append(characters / (time.perf_counter() - start))
            del os.environ["ADVERB_CACHE"]
        rows = Dataset.from_dict({"text": lines})
        start = time.perf_counter()
        rows = rows.map(lambda batch: fast(batch["text"], add_special_tokens=False, return_attention_mask=False,
                                           return_token_type_ids=False), batched=True, remove_columns=["text"],
                        cache_file_name=str(Path(tempfile.mkdtemp()) / "tokens.arrow"))  # fmt: skip
        rates["datasets.map"].append(characters / (time.perf_counter() - start))
        if number == 0:
            theirs = sum(map(len, rows["input_ids"]))
            assert theirs == len(corpus) - corpus.document_count, "the two disagree about the tokens"
    print(
        f"\n{characters / 1e6:.1f} million characters to tokens on disk, {len(corpus):,} tokens, {os.cpu_count()} cores"
    )
    for name, values in rates.items():
        print(f"{name:14s} {np.median(values) / 1e6:6.1f} million characters a second")
    print(f"{as_many(rates['adverb'], rates['datasets.map'])}; ours reads the files and splits sentences too")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("speed", "quality", "tokenise"))
    parser.add_argument("--data", default="../shared/data/books")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument(
        "--batch", type=int, help="rows a step: of all but the Trainer as it comes; quality: of the one tuned"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a folder for the runs of the quality part")
    parser.add_argument("--sides", nargs="*", default=["adverb", "trainer", "tuned"], help="of the quality part")
    parser.add_argument("--trainer-lr", type=float, default=1e-3)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    datasets_logging.disable_progress_bar()
    {"speed": speed, "quality": quality, "tokenise": tokenise}[options.part](options)


if __name__ == "__main__":
    main()
