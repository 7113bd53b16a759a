"""How far an export is from the model that it was made from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adverb.errors import UserError
from adverb.pipelines.model import Model

Feed = dict[str, np.ndarray]

TIMED = 30  # calls, of which the median counts
CLOSE = 0.1  # deviations of a regression's values within which two are called equal


@dataclass
class Bounds:
    """What an export must keep to.

    largest: difference of two outputs, as a share of the largest output where that is above 1. equal: share of equal
    predictions. points: of the metric, in per cent, that may be lost.
    """

    largest: float
    equal: float
    points: float = 0.5


BOUNDS = {"fp32": Bounds(1e-4, 0.999), "int8": Bounds(float("inf"), 0.95)}
# The best of thirty thousand words, or of all other texts, is often one of several that are as good; and so is
# everything that is said of words without a meaning.
NEAR_TIES, TIED = 0.85, ("masked_lm", "pretraining", "embedding")


@dataclass
class Distance:
    """largest: difference of two outputs. scale: the largest output, at least 1. equal: share of equal predictions."""

    largest: float
    scale: float
    equal: float

    def must_be_within(self, precision: str, task: str, real: bool = True) -> None:
        """Raises UserError, which says by how much, past a bound. real: whether people wrote the texts."""
        bounds = BOUNDS[precision]
        tied = precision == "int8" and (task in TIED or not real)
        equal = min(bounds.equal, NEAR_TIES) if tied else bounds.equal
        most = bounds.largest * self.scale
        if not self.largest <= most:
            raise UserError(
                f"the export differs from the model by {self.largest:.2g}, more than {most:.2g}: nothing was written"
            )
        if not self.equal >= equal:
            raise UserError(
                f"the export says the same as the model in {self.equal:.1%} of cases, less than {equal:.1%}: nothing "
                "was written"
            )


def distance(before: Model, after: Model, feeds: Sequence[Feed]) -> Distance:
    """Of two models of one task on the same batches."""
    largest, scale, said = 0.0, 1.0, []
    for feed in feeds:
        one, other = (_outputs(model, feed) for model in (before, after))
        for a, b in zip(one, other, strict=True):
            if not np.isfinite(b).all():
                raise UserError("the export computes infinities: nothing was written")
            kept = _kept(before.task, feed, a)
            largest = max(largest, float(abs(a - b)[kept].max()))
            scale = max(scale, float(abs(a)[kept].max()))
        said.append([predictions(before, feed, outputs) for outputs in (one, other)])
    first, second = (np.concatenate(side) for side in zip(*said, strict=True))
    if before.task == "embedding":
        first, second = map(_nearest, (first, second))
    elif before.config.problem_type == "regression" and before.task == "sequence_classification":
        return Distance(largest, scale, float((abs(first - second) <= CLOSE * first.std(0)).mean()))
    return Distance(largest, scale, float((first == second).mean()))


def predictions(model: Model, feed: Feed, outputs: Sequence[np.ndarray]) -> np.ndarray:
    """What one would take the outputs to say, one thing a row of the array.

    The class of each text or word, the word in each blank; start and end of an answer; classes above one half of a
    multi-label model; of a regression, or of an embedder, the numbers.
    """
    scores = outputs[0]
    if model.task == "question_answering":
        inside = feed["attention_mask"] > 0
        return np.concatenate([np.where(inside, side, -np.inf).argmax(-1) for side in outputs])
    if model.task == "sequence_classification":
        if model.config.problem_type == "regression":
            return scores
        multi = model.config.problem_type == "multi_label_classification" or scores.shape[-1] == 1
        return (scores > 0).ravel() if multi else scores.argmax(-1)
    if model.task == "embedding":
        return scores
    return scores.argmax(-1)[feed["take"] > 0]  # [CLS] is no word, and 0 fills up


def _outputs(model: Model, feed: Feed) -> tuple[np.ndarray, ...]:
    outputs = model(*(feed.get(name) for name in ("input_ids", "attention_mask", "token_type_ids", "take")))
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _kept(task: str, feed: Feed, output: np.ndarray) -> np.ndarray:
    """Which numbers of an output mean something: those of padding do not."""
    if task == "question_answering":
        return feed["attention_mask"] > 0
    return np.ones(output.shape, dtype=bool)


def _nearest(vectors: np.ndarray) -> np.ndarray:
    """Which other text each is most similar to, int64 [N]."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines.argmax(1)


def milliseconds(call: Callable[[], object]) -> float:
    """The median of TIMED calls."""
    call()
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def megabytes(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
