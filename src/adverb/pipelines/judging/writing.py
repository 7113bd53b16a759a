"""How good, how varied and how new the texts of a `Writer` are, beside what real texts score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from adverb.metrics import text as of_text
from adverb.metrics.curve import CURVE, GAN, TWIN, Point, means, summary
from adverb.metrics.distances import frechet_distance
from adverb.pipelines.reader import Reader
from adverb.pipelines.writer import Writer


class WritingJudge:
    """Measures against held-out texts; what depends on these is computed once.

    reader: whose embeddings the Fréchet distance compares. train, held_out: texts as the writer spells them (see
    `Writer.respell`). samples: texts judged, at most as many as are held out, since all that is measured depends on
    their number.
    """

    def __init__(self, reader: Reader, train: list[str], held_out: list[str], samples: int, seed: int = 0):
        self.reader, self.seed = reader, seed
        self.samples = min(samples, len(held_out), len(train))
        reference, real = (_draw(texts, self.samples, seed) for texts in (held_out, train))
        self.known = of_text.all_ngrams(map(of_text.words, train))
        self.known_texts = {tuple(of_text.words(text)) for text in train}
        self.reference = [of_text.words(text) for text in reference]
        self.features = self._embed(reference)
        other = [of_text.words(text) for text in real]
        # The floor: training texts stand for texts of a perfect generator, but to say how much is copied, and how
        # alike texts are, held-out ones do, as no one trained on them.
        self.floor = {
            "frechet": self.frechet(real),
            "bleu": of_text.bleu(other, self.reference),
            **self._alone(self.reference),
        }

    def __call__(self, writer: Writer) -> dict[str, float]:
        """At temperature 1, each with its `_floor`:

        frechet: distance of the embeddings from those of held-out texts (Semeniuta et al. 2018, §5; the FED of de
            Masson d'Autume et al. 2019). bleu: against the held-out texts, in [0, 1]. self_bleu: against each other.
        copied_4grams, copied_texts: shares that are in the training texts.
        """
        texts = writer.generate(self.samples, seed=self.seed + 1)
        split = [of_text.words(text) for text in texts]
        found = {
            "frechet": self.frechet(texts), "bleu": of_text.bleu(split, self.reference), **self._alone(split)
        }  # fmt: skip
        floors = {f"{name}_floor": value for name, value in self.floor.items()}
        return found | floors | {"samples": float(self.samples)}

    def curves(self, gan: Writer, twin: Writer, temperatures: Sequence[float], repeats: int) -> list[list[Point]]:
        """The points of both models at all temperatures, so many times, each of new texts.

        Both write by the same random numbers, so that their difference varies less. The distance, which takes longest,
        is measured the first time.
        """
        return [
            [
                self._point(name, writer, temperature, 1000 + self.seed * repeats + repeat, repeat == 0)
                for name, writer in ((GAN, gan), (TWIN, twin))
                for temperature in temperatures
            ]
            for repeat in range(repeats)
        ]

    def frechet(self, texts: Sequence[str]) -> float:
        return frechet_distance(self.features, self._embed(texts))

    def _point(self, name: str, writer: Writer, temperature: float, seed: int, whole: bool) -> Point:
        texts = writer.generate(self.samples, seed=seed, temperature=temperature)
        split = [of_text.words(text) for text in texts]
        distance = self.frechet(texts) if whole else float("nan")
        return Point(name, temperature, of_text.bleu(split, self.reference), of_text.self_bleu(split), distance)

    def _alone(self, split: list[list[str]]) -> dict[str, float]:
        return {
            "self_bleu": of_text.self_bleu(split),
            "copied_4grams": of_text.copied_share(split, self.known),
            "copied_texts": float(np.mean([tuple(one) in self.known_texts for one in split])),
        }

    def _embed(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.from_numpy(self.reader.embed(list(texts)))  # [n, E]


def conclusion(judge: WritingJudge, writer: Writer, temperatures: Sequence[float], repeats: int) -> dict[str, float]:
    """All that is said of a GAN at the end, for metrics.jsonl: the judge's metrics, those of its twin at temperature 1
    under `twin_…`, the `adverb.metrics.curve.summary`, and the curves as `curve/MODEL/TEMPERATURE/METRIC`."""
    found = judge(writer)
    twin = {f"twin_{name}": value for name, value in judge(writer.twin).items() if name in judge.floor}
    repeated = judge.curves(writer, writer.twin, temperatures, repeats)
    points = {
        f"{CURVE}{p.model}/{p.temperature:g}/{name}": getattr(p, name)
        for p in means(repeated)
        for name in ("bleu", "self_bleu", "frechet")
    }
    return found | twin | summary(repeated) | points


def _draw(texts: list[str], n: int, seed: int) -> list[str]:
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(texts))[:n]
    return [texts[i] for i in np.sort(order)]
