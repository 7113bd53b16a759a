"""Helping the person who labels: which texts next, which labels to look at again, what more labels would bring.

Everything is judged by a linear classifier on sentence embeddings, which are computed once: folds and subsets then
cost a second each, where fine-tuning would cost minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape

from adverb.data.labelled import load_labelled_parts
from adverb.data.parts import folds_of
from adverb.data.unlabelled import load_unlabelled
from adverb.errors import UserError
from adverb.labelling.curve import Curve, learning_curve
from adverb.labelling.doubts import Doubt, find_doubts
from adverb.labelling.next import Next, next_texts
from adverb.metrics.linear import out_of_fold
from adverb.schema.tasks import ClassifyData

FOLDS, ROUNDS = 5, 3  # of cross-validation, each with folds of its own, averaged
LEAST = 10  # labelled rows


@dataclass
class Advice:
    """texts: to label next, the most useful first. doubts: of labels, the most doubtful first. curve: of accuracy over
    labels; None where there are too few to tell."""

    texts: list[Next]
    doubts: list[Doubt]
    curve: Curve | None


def label_next(
    data: ClassifyData, n: int, model: str, console: Console, out: Path | None = None, wrong: Path | None = None
) -> Advice:
    """Print and return the advice.

    data: labelled rows, and maybe `unlabelled` ones to choose `n` from. model: makes the embeddings.
    out: a CSV file to fill in, that `data.more` of a training reads. wrong: a CSV file of doubtful labels.
    Raises UserError for data that can't be read, or has too few labels.
    """
    from adverb.labelling.show import show, write_next, write_wrong
    from adverb.pipelines import load

    for path in (out, wrong):
        if path is not None and path.exists() and path.stat().st_size:
            raise UserError(f"{path} is there already, maybe with labels filled in: name another file")
    labelled, valid, test = load_labelled_parts(data)
    if labelled.kind != "single":
        raise UserError(f"{labelled.name}: label-next helps with one class a row; these are of kind {labelled.kind}")
    if len(labelled) < LEAST:
        raise UserError(f"{labelled.name} has {len(labelled)} labelled rows: label {LEAST} at least to start from")
    known = [part for part in (labelled, valid, test) if part is not None]
    unlabelled = load_unlabelled(data, known) if data.unlabelled is not None else None
    reader = load(model)
    if not hasattr(reader, "embed"):
        raise UserError(f"{model} makes no sentence embeddings: name a model that reads, such as all-MiniLM-L6-v2")
    reader.to("auto")

    def vectors_of(part) -> np.ndarray:
        texts = part.texts if part.pairs is None else [" ".join(p) for p in zip(part.texts, part.pairs, strict=True)]
        vectors = reader.embed(texts)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    with console.status("reading the texts"):
        vectors = vectors_of(labelled)
        others = vectors_of(unlabelled) if unlabelled is not None else None
    targets, classes = labelled.targets, len(labelled.label_names)
    with console.status("looking at the labels"):
        folds = [folds_of(targets, FOLDS, labelled.texts, seed=seed) for seed in range(ROUNDS)]
        said = np.mean([out_of_fold(vectors, targets, fold, classes) for fold in folds], axis=0)
        doubts = find_doubts(said, targets)
        told = [labelled.texts] if labelled.pairs is None else [labelled.texts, labelled.pairs]
        curve = learning_curve(vectors, targets, classes, *told)
    texts = next_texts(vectors, targets, others, classes, n) if others is not None else []
    advice = Advice(texts, doubts, curve)
    show(advice, labelled, unlabelled, console)
    if out is not None:
        write_next(out, texts, labelled, unlabelled)
        path = escape(str(out))
        console.print(f"[cyan]{path}[/] {len(texts)} texts to label; then: adverb train classify … data.more={path}",
                      highlight=False)  # fmt: skip
    if wrong is not None:
        write_wrong(wrong, doubts, labelled)
        console.print(f"[cyan]{escape(str(wrong))}[/] {len(doubts)} labels to look at", highlight=False)
    return advice
