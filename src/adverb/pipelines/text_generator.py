"""From a caption to images: a generator with the BERT that reads for it. No training code is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from torch import nn

from adverb.errors import UserError
from adverb.pipelines import READER
from adverb.pipelines.caption_sampler import KIND, CaptionSampler
from adverb.pipelines.generator import Generator, load_network, save_network

if TYPE_CHECKING:
    from adverb.pipelines.reader import Reader


class TextGenerator(CaptionSampler, Generator):
    """A generator that draws captions.

    network: forward(latent [N, Z], features [N, E]) -> images [N, C, H, W] in about [-1, 1].
    The other arguments: see `CaptionSampler`.
    """

    def __init__(
        self,
        network: nn.Module,
        config: dict[str, Any],
        reader: Reader | Path,
        texts: list[str],
        shares: np.ndarray,
        labels: np.ndarray | None,
        centre: np.ndarray,
        folder: Path | None = None,
    ):
        Generator.__init__(self, network, config, folder=folder)
        self._know(reader, texts, shares, labels, centre)

    @classmethod
    def load(cls, folder: str | Path) -> TextGenerator:
        """Open what `save` wrote. Raises UserError where the folder holds something else."""
        folder = Path(folder)
        network, config = load_network(folder, KIND)
        return cls(network, config, *cls.captions_in(config, folder), folder)

    def save(self, folder: str | Path) -> None:
        """model.safetensors, config.json, and the BERT in reader/: all that is needed to draw."""
        save_network(self.network, {"model_type": KIND, **self.saved_config()}, folder)
        self.reader.save_pretrained(Path(folder) / READER)

    def saved_config(self) -> dict[str, Any]:
        return {**self.config, "captions": self.saved_captions()}

    def project(self, *args: Any, **options: Any) -> NoReturn:
        raise UserError("the search for an image is for generators without captions")
