"""A generator as a folder that draws without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from adverb.data.grid import as_pixels
from adverb.errors import UserError
from adverb.export.compare import milliseconds
from adverb.export.graph import write_generator
from adverb.pipelines import EXPORT, load
from adverb.pipelines.generator import KIND, Generator
from adverb.pipelines.onnx_session import GRAPH

COUNT = 64  # images that are compared
LARGEST = 1e-3  # difference of two pixels in [-1, 1]
EQUAL = 0.999  # share of pixels with the same value of 256


def write(generator: Generator, folder: Path) -> tuple[float, float, float, float]:
    """(largest difference, share of equal pixels, milliseconds of an image before, and after)

    Raises UserError past a bound.
    """
    folder.mkdir(parents=True)
    shares = None if generator.class_shares is None else [float(share) for share in generator.class_shares]
    values = {"model_type": KIND, **generator.config, "class_shares": shares, EXPORT: {"precision": "fp32"}}
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    classes = len(generator.label_names or ())
    network = generator.network.to("cpu", memory_format=torch.contiguous_format)
    write_generator(network, generator.config["latent_size"], classes, folder / GRAPH)
    written = load(folder)
    latents, labels = written.latents(COUNT), np.arange(COUNT) % classes if classes else None
    with torch.inference_mode():
        told = None if labels is None else torch.from_numpy(labels)
        before = network(torch.from_numpy(latents), told).float().numpy()
    after = written.images(latents, labels)
    largest, equal = float(abs(before - after).max()), float((as_pixels(before) == as_pixels(after)).mean())
    if not (largest <= LARGEST and equal >= EQUAL):
        raise UserError(
            f"the export's pixels differ from the model's by up to {largest:.2g}, and {equal:.2%} are equal: nothing "
            "was written"
        )
    one = [milliseconds(lambda each=each: each.generate(1)) for each in (generator, written)]
    return largest, equal, *one
