"""Which way of learning from few labels: each is tried on the same folds, or the same held-out rows; the best wins.

Plain fine-tuning is among them, and wins where nothing is better: what is returned is never worse by that measure.
A choice takes minutes, before there is a run with checkpoints: what each trial said is kept until the last is done, so
that the same command goes on where it was killed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.stats import binomtest

import adverb
from adverb import recipe as recipes
from adverb.bert.checkpoint import locate
from adverb.data.labelled import Labelled
from adverb.engine import Engine
from adverb.errors import UserError
from adverb.metrics.bootstrap import interval
from adverb.objectives.contrast import Contrast
from adverb.objectives.few import Few, FromFew, read_few
from adverb.objectives.ganbert import GanBert
from adverb.pipelines.reader import Reader
from adverb.pipelines.stream import stamp
from adverb.pipelines.torch_model import TorchModel
from adverb.places import cache_folder
from adverb.run import write_atomically
from adverb.schema.tasks import ClassifyRecipe

METHODS: dict[str, type[FromFew]] = {kind.method: kind for kind in (FromFew, Contrast, GanBert)}


def build_few(recipe: ClassifyRecipe, context, console: Console, trial: bool = False) -> FromFew:
    """The objective of a recipe with `data.unlabelled`; chosen here and now where `few.method` is "auto".

    trial: nothing is going to be trained to its end, so nothing is chosen, and the longest way stands for all.
    """
    if context.world > 1:
        raise UserError("few labels are learnt by one worker, in minutes: leave torchrun or accelerate launch out")
    if recipe.loss.adversarial != "none" and recipe.few.method != "plain":
        raise UserError("loss.adversarial goes with few.method=plain only")
    if recipe.train.batch_size == 1 and recipe.few.method in ("auto", "contrast"):
        raise UserError("train.batch_size=1 has no room for a text with a label beside one without: give 2 or more")
    few = read_few(recipe)
    said, auto = None, recipe.few.method == "auto"
    if auto:
        recipe.few.method = "contrast"
        if not trial:
            recipe.few.method, said = choose(recipe, context, few, console)
    objective = METHODS[recipe.few.method](recipe, context, console, few, said if few.valid is None else None)
    objective.trainings = 1 + (len(METHODS) if auto else 1) * (recipe.few.folds if few.valid is None else auto)
    return objective


def choose(recipe: ClassifyRecipe, context, few: Few, console: Console) -> tuple[str, np.ndarray]:
    """(the method that is right most often, what it said: logits float32 [N, C]); the plain one of several equals.

    A race over the folds (Maron & Moore 1994): what is clearly behind is not tried on the next. The plain one always
    is, as the measure of the others.
    """
    judged = few.train if few.valid is None else few.valid
    how = f"out of {recipe.few.folds} folds" if few.valid is None else "held out"
    console.print(f"  [dim]choosing[/] by {len(judged):,} rows, {how}", highlight=False)
    said = {method: np.zeros((len(judged), len(judged.label_names)), np.float32) for method in METHODS}
    right = {method: np.full(len(judged), np.nan) for method in METHODS}  # NaN: not asked
    running, trials, kept = list(METHODS), list(trials_of(few, recipe.few.folds)), Trials(recipe, context, few)
    if before := kept.count():
        console.print(f"    going on after {before} trainings", highlight=False)
    for number, (trial, rows) in enumerate(trials, 1):
        for method in running:
            try:
                with console.status(f"{method}, fold {number} of {len(trials)}" if few.valid is None else method):
                    said[method][rows] = kept.said_by(method, number, trial, judged.take(rows))
            except KeyboardInterrupt:
                console.print(f"    stopped: the same command goes on after {kept.count()} trainings", highlight=False)
                raise
            right[method][rows] = said[method][rows].argmax(1) == judged.targets[rows]
        best = max(running, key=lambda method: np.nansum(right[method]))
        if number < len(trials):
            behind = [m for m in running if m != "plain" and clearly_behind(right[m], right[best])]
            running = [method for method in running if method not in behind]
            for method in behind:
                short = f"clearly behind {best} ({np.nanmean(right[best]):.1%}) after fold {number}: not tried further"
                console.print(f"    {method:10s} {np.nanmean(right[method]):6.1%}  {short}", highlight=False)
    for method in running:
        gain = f"  {_gain(right[method], right['plain'])}" if method != "plain" else ""
        console.print(f"    {method:10s} {right[method].mean():6.1%}{gain}", highlight=False)
    console.print(f"  [dim]chosen[/] [bold]{best}[/]", highlight=False)
    kept.forget()
    return best, said[best]


def clearly_behind(right: np.ndarray, best: np.ndarray) -> bool:
    """Whether one is right (1, else 0; NaN: not asked) too seldom for chance: the exact test of McNemar 1947, at 5%."""
    wins, losses = int((right > best).sum()), int((right < best).sum())
    return losses > wins and binomtest(wins, wins + losses).pvalue < 0.05


def _gain(right: np.ndarray, plain: np.ndarray) -> str:
    """How many points more, with the interval that a paired bootstrap over the rows gives."""
    gained = 100 * (right - plain)
    low, high = interval(lambda rows: gained[rows].mean(), len(gained))
    return f"{gained.mean():+.1f} points ({low:+.1f} to {high:+.1f}) over plain"


def trials_of(few: Few, folds: int) -> Iterator[tuple[Few, np.ndarray]]:
    """(what to learn from, which rows to measure on, int64 [M]): the held-out rows, or each fold of the labelled."""
    if few.valid is not None:
        yield few, np.arange(len(few.valid))
        return
    fold_of = few.folds(folds)
    for fold in np.unique(fold_of):
        yield few.trial(np.flatnonzero(fold_of != fold)), np.flatnonzero(fold_of == fold)


def out_of_fold(method: str, recipe: ClassifyRecipe, context, few: Few) -> np.ndarray:
    """Logits float32 [N, C] of the labelled rows, by models that have not seen them."""
    said, kept = np.zeros((len(few.train), len(few.train.label_names)), np.float32), Trials(recipe, context, few)
    for number, (trial, rows) in enumerate(trials_of(few, recipe.few.folds), 1):
        said[rows] = kept.said_by(method, number, trial, few.train.take(rows))
    kept.forget()
    return said


class Trials:
    """What was said in trials so far, in files: of one recipe, device precision, model and data, until `forget`."""

    def __init__(self, recipe: ClassifyRecipe, context, few: Few):
        self.recipe, self.context = recipe, context
        rows = [[part.texts, part.pairs] for part in (few.train, few.valid, few.unlabelled) if part is not None]
        key = stamp(locate(recipe.model.init), adverb.__version__, recipes.dump(recipe), context.precision,
                    few.train.targets.tolist(), rows)  # fmt: skip
        self.folder = cache_folder() / "trials" / key

    def count(self) -> int:
        return sum(1 for _ in self.folder.glob("[!.]*.npy"))

    def said_by(self, method: str, number: int, trial: Few, rows: Labelled) -> np.ndarray:
        """As the function below; number: of the trial."""
        path = self.folder / f"{method}-{number}.npy"
        with contextlib.suppress(OSError, ValueError):
            return np.load(path, allow_pickle=False)
        said = said_by(method, self.recipe, self.context, trial, rows)
        with contextlib.suppress(UserError):  # a full disk: then it will be computed again
            write_atomically(path, lambda beside: _save(beside, said))
        return said

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def said_by(method: str, recipe: ClassifyRecipe, context, few: Few, rows: Labelled) -> np.ndarray:
    """Logits of `rows` by a model trained on few.train, which is not kept."""
    objective = METHODS[method](recipe.model_copy(deep=True), context, Console(quiet=True), few)
    objective.prepare()
    if (ended := Engine(objective, None, context).train()) != "done":
        raise KeyboardInterrupt(ended)
    model = objective.finished(objective.networks["model"])
    return Reader(TorchModel(model), objective.tokenizer).logits(rows.texts, rows.pairs)
