"""Exported generators: images without torch."""

from __future__ import annotations

import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from adverb.errors import UserError
from adverb.pipelines import EXPORT
from adverb.pipelines.caption_sampler import CaptionSampler
from adverb.pipelines.onnx_session import GRAPH, Session
from adverb.pipelines.sampler import Sampler

DIRECTIONS = "directions.npy"  # float32 [Z, Z], see `Sampler.directions`


class OnnxGenerator(Sampler):
    """What `adverb export` wrote of a `Generator`, whose seeds draw the same images here."""

    at_once = 64

    def __init__(self, folder: Path):
        self.folder, self.config = folder, json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.session = Session(folder / GRAPH, self.config[EXPORT]["precision"])
        self._take_known(self.config)

    def _take_known(self, config: dict[str, Any]) -> None:
        """What the config says of the training data."""
        shares = config.pop("class_shares")
        self.class_shares = None if shares is None else np.asarray(shares)

    def images(self, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        return self.session(latent=latents, label=labels, caption=labels)[0]  # it takes one of the two, or neither

    @cached_property
    def all_directions(self) -> np.ndarray:
        try:
            return np.load(self.folder / DIRECTIONS, allow_pickle=False)
        except (OSError, ValueError):
            raise UserError(f"{self.folder} has no readable {DIRECTIONS}: export the model again") from None

    def save(self, folder: str | Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)


class OnnxTextGenerator(CaptionSampler, OnnxGenerator):
    """What `adverb export` wrote of a `TextGenerator`; the BERT in its reader/ is an export too."""

    def _take_known(self, config: dict[str, Any]) -> None:
        self._know(*self.captions_in(config, self.folder))
