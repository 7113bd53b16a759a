"""An exported generator: images without torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adverb.data.grid import as_pixels
from adverb.errors import UserError
from adverb.pipelines import EXPORT
from adverb.pipelines.labels import EACH, labels_for
from adverb.pipelines.normal import normal
from adverb.pipelines.onnx_session import GRAPH, Session

AT_ONCE = 64  # images


class OnnxGenerator:
    """What `adverb export` wrote of a `Generator`, whose seeds draw the same images here.

    config, class_shares: as of `Generator`.
    """

    def __init__(self, folder: Path):
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        shares = config.pop("class_shares")
        self.folder, self.config = folder, config
        self.class_shares = None if shares is None else np.asarray(shares)
        self.session = Session(folder / GRAPH, config[EXPORT]["precision"])

    @property
    def label_names(self) -> list[str]:
        return self.config["label_names"]

    def latents(self, n: int, seed: int | Sequence[int] = 0) -> np.ndarray:
        """Standard normal float32 [n, Z], those of `Generator.latents`; of several seeds one each."""
        size = self.config["latent_size"]
        if isinstance(seed, int):
            return normal(n * size, seed).reshape(n, size)
        return np.concatenate([self.latents(1, one) for one in seed])

    def generate(
        self,
        n: int = 1,
        *,
        seed: int | Sequence[int] = 0,
        label: str | int | np.ndarray | None = None,
        truncation: float = 1.0,
        with_labels: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray | None]:
        """n images, uint8 [n, H, W, C], as `Generator.generate`. Raises UserError for a truncation other than 1."""
        if truncation != 1:
            raise UserError("an export draws without truncation: leave it out, or use the model it was made from")
        n = n if isinstance(seed, int) else len(seed)
        labels = labels_for(self.label_names, self.class_shares, n, seed, label)
        latents = self.latents(n, seed)
        if isinstance(label, str) and label == EACH:
            latents = np.repeat(latents, len(self.label_names), axis=0)[:n]
        images = self.draw(latents, labels)
        return (images, labels) if with_labels else images

    def draw(self, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """Images of the latents float32 [N, Z] and labels int64 [N]: uint8 [N, H, W, C]."""
        return as_pixels(self.images(latents, labels))

    def images(self, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        """As the network draws them, float32 [N, C, H, W] in about [-1, 1]."""
        parts = [slice(i, i + AT_ONCE) for i in range(0, len(latents), AT_ONCE)]
        return np.concatenate(
            [self.session(latent=latents[p], label=None if labels is None else labels[p])[0] for p in parts]
        )

    def save(self, folder: str | Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
