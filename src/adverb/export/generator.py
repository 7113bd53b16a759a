"""A generator as a folder that draws without torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from adverb.data.grid import as_pixels
from adverb.errors import UserError
from adverb.export import onnx
from adverb.export.compare import milliseconds
from adverb.export.graph import write_generator
from adverb.pipelines import EXPORT, GENERATORS, READER, load
from adverb.pipelines.caption_sampler import CaptionSampler
from adverb.pipelines.generator import Generator
from adverb.pipelines.onnx_generator import DIRECTIONS
from adverb.pipelines.onnx_model import OnnxModel
from adverb.pipelines.onnx_session import GRAPH
from adverb.pipelines.reader import Reader

COUNT = 64  # images that are compared
LARGEST = 1e-3  # difference of two pixels in [-1, 1]
EQUAL = 0.999  # share of pixels with the same value of 256


def write(generator: Generator, folder: Path) -> tuple[float, float, float, float]:
    """(largest difference, share of equal pixels, milliseconds of an image before, and after)

    Of a generator that draws captions, the BERT that reads them is exported too, and compared as part of it.
    Raises UserError past a bound.
    """
    captions = isinstance(generator, CaptionSampler)
    folder.mkdir(parents=True)
    values = {"model_type": GENERATORS[captions], **generator.saved_config(), EXPORT: {"precision": "fp32"}}
    (folder / "config.json").write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    np.save(folder / DIRECTIONS, generator.all_directions)
    if captions:
        _write_reader(generator.reader, folder / READER)
    generator.network.to("cpu", memory_format=torch.contiguous_format)
    write_generator(generator.network, folder / GRAPH)
    written = load(folder)
    latents, label = generator.latents(COUNT), "each" if generator.label_names else None
    before, after = (one.images(latents, one.labels_for(COUNT, 0, label)) for one in (generator, written))
    largest, equal = float(abs(before - after).max()), float((as_pixels(before) == as_pixels(after)).mean())
    if not (largest <= LARGEST and equal >= EQUAL):
        raise UserError(
            f"the export's pixels differ from the model's by up to {largest:.2g}, and {equal:.2%} are equal: nothing "
            "was written"
        )
    one = [milliseconds(lambda each=each: each.generate(1)) for each in (generator, written)]
    return largest, equal, *one


def _write_reader(reader: Reader, folder: Path) -> None:
    """The encoder alone, whatever head the BERT has: captions are read by `embed`."""
    if isinstance(reader.model, OnnxModel):
        reader.save_pretrained(folder)
        return
    onnx.save(reader.model.embedding(), reader.tokenizer, folder, "fp32")
