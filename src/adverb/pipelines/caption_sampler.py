"""What can be asked of a generator that draws captions, whatever computes its images."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from adverb.errors import UserError
from adverb.pipelines import GENERATORS, READER
from adverb.pipelines.sampler import Sampler

if TYPE_CHECKING:
    from adverb.pipelines.reader import Reader

KIND = GENERATORS[1]
MOST_CAPTIONS = 2000  # kept with the model, to draw from where none is given
MOST_FEATURES = 20_000  # captions of which those of the BERT are kept in memory


class CaptionSampler(Sampler):
    """What `TextGenerator` and `OnnxTextGenerator` have in common.

    config: the arguments of `adverb.gan.networks.build`, and `label_names`, which are none.
    reader: the BERT whose `embed` makes features of captions, or the folder to load it from when it is needed.
    texts: captions of the training, drawn where none is asked for. shares: float [T], how often. labels: int64 [T],
        what each shows, or None where there are no labels. centre: mean of the features of all of them, float32 [E].
    """

    class_shares = None
    strength = 1.0  # of captions

    def _know(
        self,
        reader: Reader | Path,
        texts: list[str],
        shares: np.ndarray,
        labels: np.ndarray | None,
        centre: np.ndarray,
    ) -> None:
        self._reader, self.texts, self.shares, self.labels, self.centre = reader, texts, shares, labels, centre
        self.features_of: dict[str, np.ndarray] = {}  # what the BERT made of captions so far

    @staticmethod
    def captions_in(
        config: dict[str, Any], folder: Path
    ) -> tuple[Path, list[str], np.ndarray, np.ndarray | None, np.ndarray]:
        """(reader, texts, shares, labels, centre) of a folder.

        Takes them out of its config, as `saved_captions` wrote them. Raises UserError where the BERT is missing.
        """
        known = config.pop("captions")
        labels = None if known["labels"] is None else np.asarray(known["labels"], dtype=np.int64)
        if not (folder / READER).is_dir():
            raise UserError(f"{folder} has no {READER}/: the BERT that reads captions is missing")
        centre = np.asarray(known["centre"], dtype=np.float32)
        return folder / READER, known["texts"], np.asarray(known["shares"]), labels, centre

    def saved_captions(self) -> dict[str, Any]:
        """For config.json: captions of the training, MOST_CAPTIONS at most, evenly over all of them."""
        chosen = np.arange(len(self.texts))
        if len(chosen) > MOST_CAPTIONS:
            chosen = np.linspace(0, len(chosen) - 1, MOST_CAPTIONS).astype(np.int64)
        return {
            "texts": [self.texts[i] for i in chosen],
            "shares": self.shares[chosen].tolist(),
            "labels": None if self.labels is None else self.labels[chosen].tolist(),
            "centre": self.centre.tolist(),
        }

    @cached_property
    def reader(self) -> Reader:
        if not isinstance(self._reader, Path):
            return self._reader
        from adverb.pipelines.reader import Reader  # with its tokenizer, when a caption is to be read

        return Reader.load(self._reader)

    def with_strength(self, strength: float) -> Self:
        """The same generator, whose captions are so much farther from the mean of the training's than they are.

        Above 1 a caption counts for more than it says, as in classifier-free guidance (Ho & Salimans 2022, eq. 6),
        which extrapolates what a diffusion model predicts; here it is what the generator is told. Raises UserError for
        a strength that is not above 0.
        """
        if not strength > 0:
            raise UserError(f"strength={strength:g}: expected a number above 0, such as 1.5")
        stronger = copy.copy(self)
        stronger.strength, stronger._reader = strength, self.reader  # which is not loaded twice
        return stronger

    def generate(
        self,
        n: int = 1,
        *,
        text: str | Sequence[str] | None = None,
        seed: int | Sequence[int] = 0,
        label: str | None = None,
        truncation: float = 1.0,
        with_labels: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray | None]:
        """n images of a caption, or of each of several: uint8 [n · captions, H, W, C], the same for the same seed.

        text: what to draw, in words; None draws captions of the training, each image its own. Several captions are
            drawn from the same n latents, one caption after the other; so are several seeds, the first image of each.
        label: the same as text, as the other verbs call it. truncation: as of every generator.
        with_labels: also return int64 [N], the labels that drawn captions of the training stand for, else None.
        Raises UserError for an empty caption.
        """
        text, n = label if text is None else text, n if isinstance(seed, Integral) else len(seed)
        latents, labels = self.latents(n, seed, truncation), None
        if text is None:
            drawn = self._known(n, seed)
            texts, labels = [self.texts[i] for i in drawn], None if self.labels is None else self.labels[drawn]
        else:
            several = [text] if isinstance(text, str) else list(text)
            texts, latents = [caption for caption in several for _ in range(n)], np.tile(latents, (len(several), 1))
        images = self.draw(latents, self.read(texts))
        return (images, labels) if with_labels else images

    def read(self, texts: Sequence[str]) -> np.ndarray:
        """The features of captions, float32 [N, E]; each is read once. Raises UserError for an empty one."""
        if any(not text.strip() for text in texts):
            raise UserError("an empty caption: say in words what to draw")
        known = self.features_of
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            read = dict(zip(new, self.reader.embed(new), strict=True))
            if len(known) < MOST_FEATURES:
                known |= read
        features = np.stack([known[text] if text in known else read[text] for text in texts])
        return features if self.strength == 1 else self.centre + np.float32(self.strength) * (features - self.centre)

    def labels_for(self, n: int, seed: int | Sequence[int], label: str | None) -> np.ndarray:
        """What stands in the labels' place: the features of a caption, or of captions of the training, [n, E]."""
        return self.read(self.titles(n, seed, label))

    def titles(self, n: int, seed: int | Sequence[int], label: str | None) -> list[str]:
        """The captions of n images: one for all, or those of the training that are drawn where there is none."""
        return [self.texts[i] for i in self._known(n, seed)] if label is None else [label] * n

    def _between(self, first: np.ndarray, second: np.ndarray, frames: int) -> np.ndarray:
        """Features on the way from one to another, [frames, E]: on a straight line."""
        t = np.linspace(0, 1, frames, dtype=np.float32)[:, None]
        return (1 - t) * first + t * second

    def _one_label(self, label: str | None) -> str:
        return self.texts[int(np.argmax(self.shares))] if label is None else label

    def _known(self, n: int, seed: int | Sequence[int]) -> np.ndarray:
        """Indices of captions of the training as often as they occur there, int64 [n]."""
        if not isinstance(seed, Integral):
            return np.concatenate([self._known(1, one) for one in seed])
        random = np.random.Generator(np.random.PCG64(seed))
        return random.choice(len(self.texts), size=n, p=self.shares / self.shares.sum())
