"""The default recipe beside the DCGAN script of well-known collections, after the same wall-clock on the same cores.

    python benchmarks/gan_quality.py [--data ../shared/data/mnist] [--minutes 10] [--size 32] [--eps 0.8 1e-5]
        [--set data.label=none]

Both start from scratch on the same images at 32×32 and stop by the clock, one after the other, alone on the machine.
Both are judged once, at the end, by the features of a classifier trained on the images' labels, 10,000 samples each,
beside the floor: 10,000 other real images. The script's clock stops before it is judged; adverb's runs on through
its evaluations. The recipe is told the images' labels unless `--set data.label=none`; the script never is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import adverb
from adverb import recipe as recipes
from adverb.data.grid import save_grid
from adverb.data.images import load_images
from adverb.metrics.judge import Judge
from plain_dcgan import PlainLoop

SHOWN = ("frechet", "kernel", "precision", "recall", "density", "coverage", "label_agreement")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data/mnist")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--eps", type=float, nargs="*", default=[0.8], help="the script's BatchNorm eps")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other values for the recipe")
    parser.add_argument("--out", type=Path, help="a folder for sample grids and the numbers")
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)

    run = adverb.train(
        "image-gan",
        data=options.data,
        out=out / "run",
        quiet=False,
        **{"data.size": options.size, "train.minutes": options.minutes, "train.evaluations": 2},
        **recipes.parse_overrides(options.set),
    )
    models = {"adverb image-gan": adverb.load(run.path)}
    plain = load_images(options.data).images[..., 0]
    for eps in options.eps:
        loop = PlainLoop(plain, eps=eps)
        rate = loop.train(60 * options.minutes)
        models[f"DCGAN script, eps {eps:g} ({rate:.0f} img/s)"] = loop

    judge = Judge(load_images(options.data, size=options.size), "classifier", 10_000)
    results = {name: judge(model) for name, model in models.items()}
    for name, model in models.items():
        save_grid(model.generate(100, seed=1), out / f"{name.split(' (')[0].replace(' ', '-')}.png", columns=10)
    ours, *scripts = results.values()
    (out / "quality.json").write_text(json.dumps(results, indent=1))
    print(f"MNIST {options.size}×{options.size}, {options.minutes:g} minutes each, judged by {judge.name}")
    print(f"{'':44s}" + "".join(f"{name:>13s}" for name in SHOWN))
    for name, metrics in results.items():
        print(f"{name:44s}" + "".join(f"{metrics[m]:13.3f}" if m in metrics else f"{'':13s}" for m in SHOWN))
    floor = "".join(f"{ours[f'{m}_floor']:13.3f}" if f"{m}_floor" in ours else f"{'':13s}" for m in SHOWN)
    print(f"{'floor (other real images)':44s}{floor}")
    for metrics in scripts:
        print(f"Fréchet distance of the script over adverb's: × {metrics['frechet'] / ours['frechet']:.1f}")


if __name__ == "__main__":
    main()
