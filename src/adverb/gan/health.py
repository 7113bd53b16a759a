"""Whether a GAN's training is healthy: what the signals of `adverb.gan.probe` amount to, in one word.

docs/health.md says what every threshold means, and where it comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from adverb.gan.augment import MOST

EVERY = 100  # steps between two looks
WORDS = ("healthy", "diverging", "vanishing", "saturating", "collapsing", "memorising", "overfitting")
IN_A_ROW = 3  # looks that must agree before a finding counts
COVERED = 0.3  # coverage from which on losing half of it means something
AVERAGED = 0.75  # what an average over looks keeps of itself

THRESHOLDS = {
    "overshoot": 2.0,
    "distance": 1.25,  # samples are still further from the data than the data from itself
    "gradient": 0.01,
    "gradient_share": 0.01,
    "undecided": 0.01,
    "variety": 0.2,  # conditional generators are at 0.27 while they cover more and more
    "coverage_share": 0.5,
    "missing": 0.25,
    "copies": 0.1,
    "overfitting": 0.7,
}
"""Where each signal becomes a sign of something: see `findings`, and docs/health.md for their sources."""

MEANINGS = {
    "diverging": "weights or samples run away",
    "vanishing": "the discriminator gives the generator no direction to go",
    "saturating": "the discriminator is certain of every image",
    "collapsing": "the samples show less and less of the data",
    "memorising": "samples are copies of training images",
    "overfitting": "the discriminator knows its training images by heart",
}
"""Every finding in a few words, for a person."""


@dataclass
class Health:
    """What the looks so far amount to. All of it is in `state`."""

    word: str = "healthy"
    early_gradient: float = 0.0  # the largest of the first looks
    coverages: list[float] = field(default_factory=list)  # of the last IN_A_ROW looks
    best_coverage: float = 0.0  # the best mean of as many
    looks: int = 0  # since the start, or since a remedy
    memory: float = 0.0  # averages over looks, of the logits' difference between training and held-out images,
    noise: float = 0.0  # of its standard error,
    gap: float = 0.0  # and of their difference between training and generated images
    in_a_row: dict[str, int] = field(default_factory=dict)  # finding -> looks in a row that show it

    @property
    def overfitting(self) -> float:
        """(E D(train) - E D(held out)) / (E D(train) - E D(generated)), from 0 to 1 (Karras et al. 2020, eq. 1).

        Averaged over some looks, and 0 while it is not told from noise: a discriminator that can't tell generated
        from real has a denominator near 0.
        """
        if self.memory <= 2 * self.noise or self.gap <= 0:
            return 0.0
        return min(self.memory / self.gap, 1.0)

    @property
    def all_is_well(self) -> bool:
        """Healthy, and the last look showed nothing that might soon be a finding."""
        return self.word == "healthy" and not self.in_a_row

    def judge(self, signals: dict[str, float], broken: bool = False) -> str:
        """Take in one look's signals, to which it adds what is known from several; returns the word for the run now.

        broken: the training's gradients have not been finite for some time.
        """
        self.looks += 1
        gradient = signals.get("gradient", math.nan)
        if self.looks <= IN_A_ROW and math.isfinite(gradient):
            self.early_gradient = max(self.early_gradient, gradient)
        if "memory" in signals:
            self._average(signals)
            signals["overfitting"] = self.overfitting
        signals["gradient_share"] = gradient / self.early_gradient if self.early_gradient else math.nan
        if "coverage" in signals:
            self._compare_coverage(signals)
        shown = findings(signals, broken)
        self.in_a_row = {name: self.in_a_row.get(name, 0) + 1 for name in shown}
        long_enough = [name for name, looks in self.in_a_row.items() if looks >= (1 if broken else IN_A_ROW)]
        self.word = min(long_enough, key=WORDS.index, default="healthy")
        return self.word

    def _average(self, signals: dict[str, float]) -> None:
        """Of Adam's kind: the first looks count in full, and old ones fade."""
        new = max(1 - AVERAGED, 1 / self.looks)
        self.memory += new * (signals["memory"] - self.memory)
        self.gap += new * (signals["gap"] - self.gap)
        self.noise += new * (signals["memory_se"] - self.noise)

    def _compare_coverage(self, signals: dict[str, float]) -> None:
        """Of means: 256 images of a young run cover twice as much at one look as at the next."""
        self.coverages = [*self.coverages, signals["coverage"]][-IN_A_ROW:]
        if len(self.coverages) == IN_A_ROW:
            covered = sum(self.coverages) / IN_A_ROW
            self.best_coverage = max(self.best_coverage, covered)
            if self.best_coverage >= COVERED:
                signals["coverage_share"] = covered / self.best_coverage

    def forget(self) -> None:
        """Start anew, after a remedy: what was measured before was measured of another game."""
        self.__init__()

    def state(self) -> dict[str, Any]:
        return dict(vars(self))  # what is in it is replaced, never changed

    def load_state(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def findings(signals: dict[str, float], broken: bool = False) -> list[str]:
    """What one look's signals show, worst first; each must show IN_A_ROW times before it counts."""

    def below(name: str) -> bool:
        return signals.get(name, math.nan) < THRESHOLDS[name]  # false with NaN: what is not measured shows nothing

    def above(name: str) -> bool:
        return signals.get(name, math.nan) > THRESHOLDS[name]

    finite = all(math.isfinite(signals.get(name, math.nan)) for name in ("gradient", "gap"))
    copies = above("copies") and signals["copies"] > THRESHOLDS["copies"] + 2 * signals["copies_floor"]
    shows = {
        "diverging": broken or not finite or above("overshoot"),
        "vanishing": above("distance") and (below("gradient") or below("gradient_share")),
        "saturating": below("undecided"),
        # of samples far from all data, the nearest image says nothing of their class
        "collapsing": below("variety") or below("coverage_share") or (above("missing") and not above("distance")),
        "memorising": copies,
        # as long as adaptive augmentation has room, it is the answer to overfitting
        "overfitting": above("overfitting") and signals.get("p", MOST) >= MOST,
    }
    return [name for name, shown in shows.items() if shown]
