"""Ways to learn from plain text, for equal minutes: hidden tokens, replaced tokens, the next token, both directions.

    python benchmarks/pretraining_ways.py [--data ../shared/data/books] [--minutes 15] [--out runs/ways]
        [--ways nothing mlm rtd gpt lstm] [--tasks sst2 trec] [--seeds 1]

Every way trains from nothing on the same text with the same vocabulary and 4 layers of 256, by the recipe that is
shipped: mlm is bert-fast, rtd bert-electra (Clark et al. 2020), gpt and lstm the baselines of before BERT. "nothing" is
bert-fast after one step.

Two tables. What the language models expect at the same hidden tokens of the same held-out rows, 15% of them; and what
the BERTs are worth where it counts: fine-tuned by the recipe classify, the accuracy on the test set; ± is the deviation
over seeds. Runs that are in --out already are not trained again, so that the tables can be made in pieces.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import adverb
from adverb.run import Run
from bert_pretrain import tokenizer_folder

VOCABULARY = 8192
WAYS = {
    "nothing": ("bert-fast", {"train.steps": 1}),
    "mlm": ("bert-fast", {}),
    "rtd": ("bert-electra", {}),
    "gpt": ("bert-fast", {"model.architecture": "gpt"}),
    "lstm": ("bert-fast", {"model.architecture": "lstm"}),
}
TASKS = {"sst2": "label", "trec": "coarse"}
BERTS = ("nothing", "mlm", "rtd")


def pretrained(way: str, seed: int, options: argparse.Namespace) -> Run:
    recipe, told = WAYS[way]
    out = options.out / f"{way}-{seed}"
    if finished(Run(out)):
        return Run(out)
    fixed = {"seed": seed, "data.tokenizer": str(tokenizer_folder(options.data, VOCABULARY))}
    budget = {} if "train.steps" in told else {"train.minutes": options.minutes}
    return adverb.train(recipe, options.data, out=out, quiet=False, **fixed, **budget, **told)


def fine_tuned(run: Run, task: str, seed: int, options: argparse.Namespace) -> Run:
    out = run.path.with_name(f"{run.path.name}-{task}")
    if finished(Run(out)):
        return Run(out)
    told = {"model.init": str(run.path), "data.label": TASKS[task], "seed": seed}
    return adverb.train("classify", options.data.parent / task, out=out, quiet=False, **told)


def finished(run: Run) -> bool:
    return run.exists() and run.metrics()[-1]["progress"] >= 1.0


def last(run: Run, *names: str) -> float | None:
    """The last value of the first of these metrics that the run has."""
    for name in names:
        for row in reversed(run.metrics()):
            if name in row:
                return row[name]
    return None


def mean(values: list[float], scale: float = 1.0) -> str:
    said = f"{scale * statistics.fmean(values):.2f}"
    return said + (f" ± {scale * statistics.stdev(values):.2f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/books"))
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--tasks", nargs="*", choices=TASKS, default=list(TASKS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/ways"))
    options = parser.parse_args()
    runs = {way: [pretrained(way, seed, options) for seed in range(options.seeds)] for way in options.ways}
    tuned = {
        (way, task): [fine_tuned(run, task, seed, options) for seed, run in enumerate(runs[way])]
        for way in options.ways
        if way in BERTS
        for task in options.tasks
    }
    print(f"\n{options.minutes:g} minutes each on {options.data}")
    print(f"{'':10s}{'steps':>10s}{'hidden loss':>16s}{'hidden accuracy':>18s}")
    for way, some in runs.items():
        losses = [last(run, "eval/masked_loss", "eval/blank_loss") for run in some]
        if None not in losses:
            right = [last(run, "eval/masked_accuracy", "eval/blank_accuracy") for run in some]
            steps = statistics.fmean(run.metrics()[-1]["step"] for run in some)
            print(f"{way:10s}{steps:10,.0f}{mean(losses):>16s}{mean(right, 100):>17s}%")
    print(f"\n{'':10s}" + "".join(f"{task:>16s}" for task in options.tasks))
    for way in (way for way in options.ways if way in BERTS):
        right = [[last(run, "test/accuracy") for run in tuned[way, task]] for task in options.tasks]
        print(f"{way:10s}" + "".join(f"{mean(some, 100):>15s}%" for some in right))


if __name__ == "__main__":
    main()
