"""What augmentation is worth when images are few: a recipe on 100 and 500 images of MNIST.

    python benchmarks/gan_little_data.py [--data ../shared/data/mnist] [--images 100 500] [--steps 3000] [--size 28]
        [--policies none ada diff] [--recipe image-gan] [--seeds 1] [--out FILE.jsonl]

Every run trains the same networks on the same few images for the same number of steps. Judged at the end, by 5,000
samples of the averaged generator against 5,000 images of MNIST's test split, in the features of a classifier of
MNIST: what a run knows by heart does not help it there. The floor is what 5,000 other test images score.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console

from adverb import recipe as recipes
from adverb.context import Context
from adverb.data.grid import save_grid
from adverb.data.images import load_images
from adverb.engine import Engine
from adverb.metrics.judge import Judge
from adverb.objectives.gan import Gan

SHOWN = ("frechet", "precision", "recall", "density", "coverage")


def train(policy: str, images: int, seed: int, options: argparse.Namespace) -> tuple[Gan, Engine]:
    overrides = {
        "data.path": str(options.data),
        "data.size": options.size,
        "data.limit": images,
        "augment.policy": policy,
        "train.steps": options.steps,
        "seed": seed,
    }
    objective = Gan(recipes.load(options.recipe, overrides), Context(torch.device("cpu")), Console(quiet=True))
    engine = Engine(objective, None, objective.context)
    while engine.step < options.steps:
        engine.one_step(engine.step / options.steps)
        objective.look(engine.step / options.steps, engine.step, False)  # which steers adaptive augmentation
    return objective, engine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/mnist"))
    parser.add_argument("--images", type=int, nargs="*", default=[100, 500])
    parser.add_argument("--policies", nargs="*", default=["none", "ada", "diff"])
    parser.add_argument("--recipe", default="image-gan")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the numbers go, one JSON object a line, and samples beside it")
    options = parser.parse_args()
    judge = Judge(load_images(options.data, split="test", size=options.size), "classifier", 5000)
    print(f"MNIST {options.size}×{options.size}, {options.recipe}, {options.steps:,} steps, judged by {judge.name}")
    print(f"{'images':>6s} {'augment':8s} {'p':>4s}" + "".join(f"{name:>11s}" for name in SHOWN) + "   than none")
    for images in options.images:
        plain = None
        for policy in options.policies:
            runs, p = [], 0.0
            for seed in range(options.seeds):
                start = time.perf_counter()
                objective, engine = train(policy, images, seed, options)
                generator, p = objective._pipeline(engine.current()), objective.p
                generator.network.eval()
                runs.append(judge(generator))
                if options.out:
                    row = {"images": images, "policy": policy, "seed": seed, "p": p, **runs[-1]}
                    row |= {"recipe": options.recipe, "steps": options.steps}
                    row |= {"seconds": round(time.perf_counter() - start)}
                    with open(options.out, "a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    grid = generator.generate(64, seed=1)
                    save_grid(grid, options.out.with_name(f"little-{images}-{policy}-{seed}.png"), columns=8)
            means = {name: statistics.fmean(run[name] for run in runs) for name in SHOWN}
            plain = means["frechet"] if policy == "none" else plain
            shown = "".join(f"{means[name]:11.3f}" for name in SHOWN)
            gain = f"{1 - means['frechet'] / plain:+.0%}" if plain else ""  # "none" comes first, or isn't asked for
            print(f"{images:6d} {policy:8s} {p:4.2f}{shown}   {gain}", flush=True)
    floor = "".join(f"{runs[0][f'{m}_floor']:11.3f}" if f"{m}_floor" in runs[0] else " " * 11 for m in SHOWN)
    print(f"{'floor':20s}{floor}")


if __name__ == "__main__":
    main()
