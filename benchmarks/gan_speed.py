"""adverb's loop beside the plain PyTorch loop: the same DCGAN networks, batch and images (MNIST at 32×32).

    python benchmarks/gan_speed.py [--data ../shared/data/mnist] [--rounds 5] [--seconds 10]

The two alternate in one process and on the same cores, so that a drift of the machine meets both; the ratio is
taken round by round, and its median is the figure to quote.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from rich.console import Console

from adverb import recipe as recipes
from adverb.context import Context
from adverb.data.images import load_images
from adverb.engine import Engine
from adverb.objectives.gan import Gan
from plain_dcgan import BATCH, LATENT, PlainDiscriminator, PlainGenerator, PlainLoop, initialise
from rounds import as_many, turns


class Unlabelled(torch.nn.Module):
    """The script's networks with the signature of adverb's."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network.apply(initialise)

    def forward(self, x: torch.Tensor, label: None) -> torch.Tensor:
        return self.network(x).squeeze(1) if isinstance(self.network, PlainDiscriminator) else self.network(x)


class SameNetworks(Gan):
    def make_networks(self):
        return {"generator": Unlabelled(PlainGenerator(0.8)), "discriminator": Unlabelled(PlainDiscriminator(0.8))}


def adverb_engine(data: str, precision: str) -> Engine:
    spec = recipes.load(
        "dcgan",
        {
            "data.path": data,
            "data.size": 32,
            "model.latent_size": LATENT,
            "model.conditional": False,
            "train.batch_size": BATCH,
            "train.precision": precision,
        },
    )
    context = Context.create(spec.train)
    return Engine(SameNetworks(spec, context, Console(quiet=True)), None, context)


def rate(engine: Engine, seconds: float) -> float:
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        engine.one_step(0.0)
        steps += 1
    return steps * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="../shared/data/mnist")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    plain = PlainLoop(load_images(options.data).images[..., 0])
    engines = {f"adverb {p}": adverb_engine(options.data, p) for p in ("fp32", "bf16")}
    plain.train(2)
    for engine in engines.values():
        rate(engine, 2)
    rates: dict[str, list[float]] = {name: [] for name in ("plain loop", *engines)}
    for name in turns(rates, options.rounds):
        engine = engines.get(name)
        rates[name].append(rate(engine, options.seconds) if engine else plain.train(options.seconds))
    print(f"DCGAN, MNIST 32×32, batch {BATCH}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    for name, values in rates.items():
        print(f"{name:12s} {np.median(values):7.0f} img/s   {as_many(values, rates['plain loop'])}")


if __name__ == "__main__":
    main()
