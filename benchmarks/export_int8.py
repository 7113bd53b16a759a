"""What an export to int8 loses: the test sets of SST-2 and WNUT-17, before and after.

    python benchmarks/export_int8.py [--tasks sst2 wnut17] [--runs sst2=RUN …] [--train-rows N]

A run of the shipped recipe is fine-tuned from MiniLM on the train set, as in finetune.py, or given by --runs;
--train-rows trains on fewer rows, to see that it works. The model, in float32 and as `adverb predict` computes it on
this machine (bf16 where that is faster), and what `adverb export` wrote of it answer the same test rows, which none of
them saw.

"points" is how much more an export scores than the model in float32, with the interval that a paired bootstrap over
the test rows gives (95%, 2,000 draws). At most 0.5 may be lost: else the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import transformers
from datasets import disable_progress_bars
from rich.console import Console

import adverb
from adverb import machine
from adverb.export import export
from adverb.export.compare import BOUNDS, megabytes
from adverb.metrics.bootstrap import interval
from adverb.pipelines import model_folder
from finetune import CHECKPOINT, TASKS, Task

DRAWS = 2000


def run_of(task: Task, scratch: Path, rows: int | None) -> Path:
    few = {} if rows is None else {"data.limit": rows}
    return adverb.train(task.recipe, out=scratch / "run", **task.overrides, **few, **{"model.init": CHECKPOINT}).path


def measure(name: str, task: Task, run: Path, scratch: Path) -> bool:
    """Print the table of a task; whether int8 kept to the bound."""
    peaks = machine.peaks
    machine.peaks = lambda device: machine.Peaks(fp32=1.0, bf16=1.0)
    exact = task.ours(run)
    machine.peaks = peaks
    sides = {"model, float32": (model_folder(run), exact), "model, as it computes here": (run, task.ours(run))}
    for to in ("onnx", "onnx-int8"):
        folder = export(str(run), to, scratch / to, console=Console(quiet=True))
        sides[to] = folder, task.ours(folder)
    print(f"\n{name}: {task.metric} on {len(exact):,} test rows")
    print(f"{'':27s}{task.metric:>10s}   points (95%)              size, MB")
    for side, (folder, counts) in sides.items():
        points = task.score(counts) - task.score(exact)
        low, high = interval(
            lambda rows, counts=counts: task.score(counts[rows]) - task.score(exact[rows]), len(exact), DRAWS
        )
        size = "" if folder is run else f"{megabytes(folder):8.1f}"
        between = f"{points:+.2f} ({low:+.2f} to {high:+.2f})"
        print(f"{side:27s}{task.score(counts):10.2f}   {between:27s}{size}", flush=True)
    lost = task.score(exact) - task.score(sides["onnx-int8"][1])
    return bool(np.round(lost, 6) <= BOUNDS["int8"].points)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["sst2", "wnut17"])
    parser.add_argument("--runs", nargs="+", default=[], metavar="TASK=RUN", help="runs that are fine-tuned already")
    parser.add_argument("--train-rows", type=int)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    disable_progress_bars()
    given = dict(one.split("=", 1) for one in options.runs)
    kept = True
    for name in options.tasks:
        with tempfile.TemporaryDirectory() as folder:
            task, scratch = TASKS[name](options.data), Path(folder)
            run = Path(given[name]) if name in given else run_of(task, scratch, options.train_rows)
            kept &= measure(name, task, run, scratch)
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
