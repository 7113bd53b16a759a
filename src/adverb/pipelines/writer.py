"""From a left-to-right model to new texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from adverb.bert.sampling import Alphabet, write
from adverb.errors import UserError
from adverb.pipelines.reader import Reader

AT_ONCE = 256  # texts
TWIN = "twin"  # its folder in that of the model


class Writer(Reader):
    """A left-to-right language model: it fills masks from what is left of them, as every baseline, and writes."""

    folder: Path | None = None  # where it was loaded from, if it was

    @classmethod
    def load(cls, source: str | Path) -> Writer:
        from adverb.pipelines import model_folder

        folder = model_folder(source)
        writer = super().load(folder)
        writer.folder = folder
        return writer

    @cached_property
    def twin(self) -> Writer | None:
        """Of a text GAN, the state before the game, which maximum likelihood alone made; None for other models."""
        folder = None if self.folder is None else self.folder / TWIN
        return Writer.load(folder) if folder is not None and folder.is_dir() else None

    def generate(self, n: int = 1, *, seed: int = 0, temperature: float = 1.0) -> list[str]:
        """n texts, the same for the same seed; the first of them are the same whatever n is.

        temperature: below 1, likely words get likelier: texts are more typical and less varied.
        Raises UserError for a temperature that is not above 0.
        """
        if not temperature > 0:
            raise UserError(f"temperature={temperature}: expected a number above 0")
        network, rows = self.model.network, []
        uniforms = _uniforms(n, network.config.max_position_embeddings - 2, seed)
        alphabet = Alphabet.of(self.tokenizer, self.model.device)
        for start in range(0, n, AT_ONCE):
            part = torch.from_numpy(uniforms[start : start + AT_ONCE]).to(self.model.device)
            rows += write(network, alphabet, part, temperature).tolist()
        return [self.tokenizer.decode(row) for row in rows]

    def respell(self, texts: Sequence[str]) -> list[str]:
        """Texts as this model would write them, in its letters and spaces: what it writes compares with these. Those
        that are longer than it can write are left out."""
        rows, most = (e.ids for e in self.tokenizer.encode_batch(texts)), self.model.config.max_position_embeddings
        return [self.tokenizer.decode(row) for row in rows if len(row) <= most]


def _uniforms(n: int, length: int, seed: int) -> np.ndarray:
    """Uniform on [0, 1), float32 [n, length]: the upper 24 bits of PCG64's words, which no version of NumPy changes."""
    words = np.random.PCG64(seed).random_raw(n * length).reshape(n, length)
    return (words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
