"""Does the game help? The recipe text-gan beside the state before the game, over temperatures.

    python benchmarks/text_gan.py --data ../shared/data/trec --minutes 25
    python benchmarks/text_gan.py --data ../shared/data/sst2 --minutes 25 --set loss.likelihood=0
    python benchmarks/text_gan.py --data ../shared/data/trec --minutes 25 --control
    python benchmarks/text_gan.py --run runs/text-gan-0001

Prints the metrics of both at temperature 1 beside those of real texts, the points of both curves (BLEU, self-BLEU,
Fréchet distance of sentence embeddings, on the test set), the verdict, samples of both by the same random numbers, and
how fast texts are written with keys and values kept and without.

`--control` tells what is the game's from what more training at its learning rate would have brought: in its place the
generator goes on with likelihood alone, for the same minutes, and stands in all tables as GAN.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console

import adverb
from adverb import recipe as recipes
from adverb import training
from adverb.bert.sampling import Alphabet, sample, write
from adverb.context import Context
from adverb.metrics.curve import GAN, TWIN, points_of, verdict
from adverb.objectives.text_gan import TextGan
from adverb.run import Run

ROWS = 128  # of the measurement of speed
SHOWN = 6


class LikelihoodAlone(TextGan):
    """The control: what would be the game is the likelihood's loss, from the same state and at the game's rate."""

    def __init__(self, recipe, context, console):
        super().__init__(recipe, context, console)
        self.game_phases = self.likelihood_phases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data/trec")
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other values for the recipe")
    parser.add_argument("--control", action="store_true", help="likelihood alone in the game's place")
    parser.add_argument("--out", type=Path, help="the run folder")
    parser.add_argument("--run", type=Path, help="a run to tell of, instead of training one")
    options = parser.parse_args()
    if options.run:
        run = Run(options.run)
    else:
        out = options.out or Path(tempfile.mkdtemp()) / "run"
        told = {"data.path": options.data, "train.minutes": options.minutes, **recipes.parse_overrides(options.set)}
        spec, console = recipes.load("text-gan", told), Console()
        context = Context.create(spec.train)
        objective = (LikelihoodAlone if options.control else TextGan)(spec, context, console)
        run, _ = training.carry_out(objective, context, None, out=out, resume=False, console=console)
    rows = run.metrics()
    tests = {name.removeprefix("test/"): value for name, value in rows[-1].items() if name.startswith("test/")}
    share = run.recipe()["loss"]["pretrain"]
    played = [row for row in rows if row["progress"] > share]
    print(f"{run.recipe()['data']['path']}: {rows[-1]['step']:,} steps in {rows[-1]['seconds'] / 60:.1f} minutes, "
          f"{(rows[-1]['seconds'] - played[0]['seconds']) / 60:.1f} of them after the likelihood's part")  # fmt: skip
    print(f"\n{'at temperature 1':16s}    GAN   twin   real")
    print(f"{'token_loss':16s} {tests['token_loss']:6.3f} {tests['twin_token_loss']:6.3f}")
    for name in ("frechet", "bleu", "self_bleu", "copied_4grams", "copied_texts"):
        print(f"{name:16s} {tests[name]:6.3f} {tests[f'twin_{name}']:6.3f} {tests[f'{name}_floor']:6.3f}")
    print(f"\n{'':12s}{'GAN':>25s}{'twin':>25s}\n{'temperature':12s}" + 2 * f"{'BLEU':>9s}{'self':>8s}{'Fréchet':>8s}")
    points = {(p.model, p.temperature): p for p in points_of(tests)}
    for temperature in dict.fromkeys(t for _, t in points):
        both = (points[name, temperature] for name in (GAN, TWIN))
        scores = "".join(f"{p.bleu:9.3f}{p.self_bleu:8.3f}{p.frechet:8.3f}" for p in both)
        print(f"{temperature:<12g}{scores}")
    print(f"\n{verdict(tests)}\n")
    model = adverb.load(run.path)
    for name, writer in (("GAN", model), ("twin", model.twin)):
        print(f"{name}:", *(f"  {text}" for text in writer.generate(SHOWN, seed=0)), sep="\n")
    speed(model)


def speed(model) -> None:
    network, alphabet = model.model.network, Alphabet.of(model.tokenizer)
    uniforms = torch.rand(ROWS, network.config.max_position_embeddings - 2)
    found = {}
    for name, make in (("kept", write), ("computed again", write_again)):
        start = time.perf_counter()
        texts = make(network, alphabet, uniforms)
        found[name] = int((texts != alphabet.pad).sum()) / (time.perf_counter() - start)
    rates = ", ".join(f"{rate:,.0f} tokens/s with keys and values {name}" for name, rate in found.items())
    print(f"\n{ROWS} texts at a time: {rates}")


@torch.no_grad()
def write_again(network, alphabet: Alphabet, uniforms: torch.Tensor) -> torch.Tensor:
    """What `write` writes, by a whole pass for every token."""
    ids = torch.full((len(uniforms), 1), alphabet.start)
    for uniform in uniforms.T:
        tokens = sample(alphabet.scores(network, network.states(ids)[:, -1]), uniform)
        over = (ids[:, -1] == alphabet.end) | (ids[:, -1] == alphabet.pad)
        ids = torch.cat([ids, tokens.masked_fill(over, alphabet.pad)[:, None]], dim=1)
    return ids


if __name__ == "__main__":
    main()
