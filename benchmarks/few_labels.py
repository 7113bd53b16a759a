"""Few labels, and texts without: adverb beside plain fine-tuning, SetFit's procedure, and GAN-BERT's.

    python benchmarks/few_labels.py [--tasks trec-fine sst2] [--shares 0.01 0.02 0.05 0.1 0.5] [--seeds 5]
        [--methods plain auto contrast teacher gan-bert setfit gan-bert-authors] [--out few_labels.json]

From the training set a share of the rows is drawn that keeps its labels; the others lose theirs. Every method starts
from the same encoder (all-MiniLM-L6-v2), sees the same rows, and answers the same test rows.

    plain             adverb's recipe `classify` on all rows with a label: 200 steps, or 5 epochs where that is more
    auto              `adverb train classify --data few.csv data.unlabelled=more.csv`, which chooses by cross-validation
    contrast          what it chooses from, by itself (few.method=contrast)
    teacher           contrast's teacher: as setfit, it learns nothing from texts without labels
    gan-bert          likewise (few.method=gan-bert)
    fast-head         plain, the new layer at ten times the encoder's rate (optim.head_lr_ratio=10)
    smart             plain, and what is said must not change under small perturbations (loss.adversarial=smart)
    mlm-first         plain, from an encoder that `bert-classic` first taught masked words of all texts, for 4 minutes
    setfit            Tunstall et al. 2022, with sentence-transformers: of each row 20 pairs alike and 20 not (PAIRS in
                      all at most), the cosine loss, batches of 16, one epoch, a rate of 2e-5; then scikit-learn's
                      logistic regression. It does not use texts without labels
    gan-bert-authors  Croce et al. 2020, after the authors' code for PyTorch: their networks and losses on the pooled
                      output of transformers' model, labelled rows repeated as theirs (log2 of the ratio), batches of
                      64, 3 epochs over all rows; at adverb's learning rate, 1e-4

The JSON file holds a row for each (task, share, seed, method); what is in it already is not run again, so that the
table can be made in pieces. Seconds are wall-clock, of all that the method does up to its answers.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import nn

import adverb
from adverb import recipe as recipes
from adverb.bert.checkpoint import locate
from adverb.context import Context
from adverb.data.labelled import load_labelled
from adverb.objectives.contrast import Contrast
from adverb.objectives.few import read_few
from adverb.objectives.few_choice import METHODS as CHOICES
from adverb.objectives.few_choice import said_by
from adverb.run import write_atomically

ENCODER = "all-MiniLM-L6-v2"
PAIRS = 20_000
LR, GAN_EPOCHS, GAN_BATCH, NOISE = 1e-4, 3, 64, 100
TASKS = {"trec-fine": ("trec", "fine"), "sst2": ("sst2", "label")}


class Cell:
    """What all methods get: rows with labels, texts without, and the rows to answer."""

    def __init__(self, data: Path, task: str, share: float, seed: int):
        folder, label = TASKS[task]
        self.seed, self.folder = seed, Path(tempfile.mkdtemp())
        train = load_labelled(data / folder / "train.tsv", label=label)
        self.test = load_labelled(data / folder / "test.tsv", label=label, label_names=train.label_names)
        order = np.random.default_rng(seed).permutation(len(train))
        few = round(share * len(train))
        self.few, self.more = train.take(order[:few]), train.take(order[few:])
        names = train.label_names
        labels = [names[target] for target in self.few.targets]
        write(self.folder / "few.csv", ["text", "label"], zip(self.few.texts, labels, strict=True))
        write(self.folder / "more.csv", ["text"], [[text] for text in self.more.texts])
        files = {key: str(self.folder / name) for key, name in (("path", "few.csv"), ("unlabelled", "more.csv"))}
        self.told = files | {"label": "label"}

    def right(self, said: list[str]) -> float:
        truth = [self.test.label_names[target] for target in self.test.targets]
        return 100 * float(np.mean([a == b for a, b in zip(said, truth, strict=True)]))


def write(path: Path, columns: list[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


# -- adverb


def auto(cell: Cell) -> list[str]:
    run = adverb.train("classify", cell.told, out=cell.folder / "run", seed=cell.seed)
    cell.chose = run.recipe()["few"]["method"]
    return [classes[0][0] for classes in adverb.load(run.path).classify(cell.test.texts)]


def alone(method: str, **told: Any) -> Callable[[Cell], list[str]]:
    def run(cell: Cell) -> list[str]:
        overrides = {f"data.{key}": value for key, value in cell.told.items()}
        spec = recipes.load("classify", overrides | {"seed": cell.seed} | told)
        few = read_few(spec)
        few.train, few.valid = load_labelled(cell.told["path"], label="label"), few.train  # all rows are learnt from
        said = said_by(method, spec, Context.create(spec.train), few, cell.test)
        return [few.train.label_names[i] for i in said.argmax(1)]

    return run


def teacher(cell: Cell) -> list[str]:
    spec = recipes.load("classify", {f"data.{key}": value for key, value in cell.told.items()} | {"seed": cell.seed})
    few = read_few(spec)
    few.train, few.valid = load_labelled(cell.told["path"], label="label"), few.train
    few.unlabelled = replace(few.unlabelled, texts=cell.test.texts, pairs=None)  # of which it says what they are
    objective = Contrast(spec, Context.create(spec.train), Console(quiet=True), few)
    return [few.train.label_names[i] for i in objective.teach().argmax(1)]


def mlm_first(cell: Cell) -> list[str]:
    corpus = cell.folder / "corpus"
    corpus.mkdir()
    (corpus / "texts.txt").write_text("\n\n".join([*cell.few.texts, *cell.more.texts]), encoding="utf-8")
    told = {"model.init": ENCODER, "model.dropout": 0.0, "data.tokenizer": ENCODER, "data.sequence_length": 64,
            "objectives.nsp": 0.0, "optim.lr": LR, "train.minutes": 4, "seed": cell.seed}  # fmt: skip
    run = adverb.train("bert-classic", str(corpus), out=cell.folder / "mlm", **told)
    return alone("plain", **{"model.init": str(run.path)})(cell)


# -- the others


def setfit(cell: Cell) -> list[str]:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, losses
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sklearn.linear_model import LogisticRegression

    random, texts, targets = np.random.default_rng(cell.seed), cell.few.texts, cell.few.targets
    model = SentenceTransformer(str(locate(ENCODER)), device="cpu")
    rows: dict[str, list] = {"sentence1": [], "sentence2": [], "label": []}
    for _ in range(20):
        for i in range(len(texts)):
            alike = np.flatnonzero((targets == targets[i]) & (np.arange(len(texts)) != i))
            for among, label in ((alike, 1.0), (np.flatnonzero(targets != targets[i]), 0.0)):
                if len(among):
                    rows["sentence1"].append(texts[i])
                    rows["sentence2"].append(texts[random.choice(among)])
                    rows["label"].append(label)
    pairs = Dataset.from_dict(rows).shuffle(seed=cell.seed)
    told = Arguments(
        output_dir=str(cell.folder / "setfit"), num_train_epochs=1, per_device_train_batch_size=16, learning_rate=2e-5,
        warmup_steps=0.1, seed=cell.seed, save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
        logging_strategy="no",
    )  # fmt: skip
    pairs = pairs.select(range(min(PAIRS, len(pairs))))
    SentenceTransformerTrainer(model, told, train_dataset=pairs, loss=losses.CosineSimilarityLoss(model)).train()
    model.eval()
    known, asked = (model.encode(part, show_progress_bar=False) for part in (texts, cell.test.texts))
    said = LogisticRegression(max_iter=1000).fit(known, targets).predict(asked)
    return [cell.few.label_names[i] for i in said]


class Mlp(nn.Module):
    """The authors' generator and discriminator: one hidden layer, leaky ReLU, dropout. Returns what it says, and the
    hidden layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int, drop_input: bool):
        super().__init__()
        self.drop = nn.Dropout(0.2 if drop_input else 0.0)
        self.hidden = nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Dropout(0.2))
        self.out = nn.Linear(hidden, outputs)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.hidden(self.drop(features))
        return self.out(hidden), hidden


def gan_bert_authors(cell: Cell) -> list[str]:
    from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

    torch.manual_seed(cell.seed)
    random, classes = np.random.default_rng(cell.seed), len(cell.few.label_names)
    tokenizer, bert = AutoTokenizer.from_pretrained(locate(ENCODER)), AutoModel.from_pretrained(locate(ENCODER))
    size = bert.config.hidden_size
    generator, discriminator = Mlp(NOISE, size, size, False), Mlp(size, size, classes + 1, True)
    times = max(1, int(math.log2((len(cell.few) + len(cell.more)) / len(cell.few))))
    texts = cell.few.texts * times + cell.more.texts
    labels = torch.tensor([*cell.few.targets.tolist()] * times + [-1] * len(cell.more))
    steps = GAN_EPOCHS * math.ceil(len(texts) / GAN_BATCH)
    optimizers = [torch.optim.AdamW(group, lr=LR) for group in
                  (generator.parameters(), [*bert.parameters(), *discriminator.parameters()])]  # fmt: skip
    schedules = [get_linear_schedule_with_warmup(o, steps // 10, steps) for o in optimizers]

    def features(batch: list[str]) -> torch.Tensor:
        return bert(**tokenizer(batch, padding=True, truncation=True, max_length=64, return_tensors="pt")).pooler_output

    for module in (bert, generator, discriminator):
        module.train()
    for _ in range(GAN_EPOCHS):
        order = random.permutation(len(texts))
        for start in range(0, len(order), GAN_BATCH):
            rows = order[start : start + GAN_BATCH]
            made = generator(torch.rand(len(rows), NOISE))[0]
            both = torch.cat([features([texts[i] for i in rows]), made])
            logits, hidden = discriminator(both)
            (real, fake), (real_f, fake_f) = logits.split(len(rows)), hidden.split(len(rows))
            p_real, p_fake = real.softmax(-1)[:, -1], fake.softmax(-1)[:, -1]
            g_loss = -(1 - p_fake + 1e-8).log().mean() + (real_f.mean(0) - fake_f.mean(0)).square().mean()
            has = labels[rows] >= 0
            d_loss = -(1 - p_real + 1e-8).log().mean() - (p_fake + 1e-8).log().mean()
            if has.any():
                d_loss = d_loss + F.cross_entropy(real[has, :-1], labels[rows][has])
            for optimizer in optimizers:
                optimizer.zero_grad()
            g_loss.backward(retain_graph=True, inputs=[*generator.parameters()])
            d_loss.backward(inputs=[*bert.parameters(), *discriminator.parameters()])
            for one in (*optimizers, *schedules):
                one.step()
    bert.eval(), discriminator.eval()
    said = []
    with torch.no_grad():
        for start in range(0, len(cell.test), 64):
            said += discriminator(features(cell.test.texts[start : start + 64]))[0][:, :-1].argmax(1).tolist()
    return [cell.few.label_names[i] for i in said]


METHODS: dict[str, Callable[[Cell], list[str]]] = {
    "plain": alone("plain"),
    "auto": auto,
    **{name: alone(name) for name in CHOICES if name != "plain"},
    "teacher": teacher,
    "fast-head": alone("plain", **{"optim.head_lr_ratio": 10}),
    "smart": alone("plain", **{"loss.adversarial": "smart"}),
    "mlm-first": mlm_first,
    "setfit": setfit,
    "gan-bert-authors": gan_bert_authors,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--shares", nargs="+", type=float, default=[0.01, 0.02, 0.05, 0.1, 0.5])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("few_labels.json"))
    options = parser.parse_args()
    import transformers

    transformers.logging.set_verbosity_error()
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    done = {(row["task"], row["share"], row["seed"], row["method"]) for row in rows}
    cells = [(t, share, seed) for t in options.tasks for share in options.shares for seed in range(options.seeds)]
    for task, share, seed in cells:
        for method in options.methods:
            if (task, share, seed, method) in done:
                continue
            cell = Cell(options.data, task, share, seed)
            start = time.perf_counter()
            said = METHODS[method](cell)
            row = {"task": task, "share": share, "seed": seed, "method": method, "labels": len(cell.few),
                   "accuracy": cell.right(said), "seconds": time.perf_counter() - start,
                   "chose": getattr(cell, "chose", None)}  # fmt: skip
            rows.append(row)
            write_atomically(options.out, lambda beside: beside.write_text(json.dumps(rows, indent=1)))
            print(f"{task:10s}{share:6.0%} seed {seed} {method:17s}{row['accuracy']:6.1f}{row['seconds']:7.0f} s "
                  f"{row['chose'] or ''}", flush=True)  # fmt: skip
    table(rows, options)


def table(rows: list[dict], options: argparse.Namespace) -> None:
    for task in options.tasks:
        print(f"\n{task}, test accuracy in %, mean ± deviation over seeds; seconds")
        print(f"{'labels':>16s}" + "".join(f"{method:>20s}" for method in options.methods))
        for share in options.shares:
            line, labels = "", 0
            for method in options.methods:
                found = [r for r in rows if (r["task"], r["share"], r["method"]) == (task, share, method)]
                if not found:
                    line += f"{'–':>20s}"
                    continue
                labels, right = found[0]["labels"], [r["accuracy"] for r in found]
                spread = np.std(right, ddof=1) if len(right) > 1 else 0.0
                seconds = np.mean([r["seconds"] for r in found])
                line += f"{f'{np.mean(right):.1f} ± {spread:.1f}  {seconds:.0f}s':>20s}"
            print(f"{labels:9,} ({share:4.0%})" + line)


if __name__ == "__main__":
    main()
