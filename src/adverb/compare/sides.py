"""Runs as a comparison sees them: what was recorded of each, and which of them differ in nothing but the seed."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adverb.errors import UserError
from adverb.metrics.details import Details
from adverb.run import Run

ASIDE = ("name", "description", "seed")  # keys of a recipe that say nothing about how it trains
HEAD = ("step", "progress", "seconds")
KINDS = {  # of objectives that share metrics; else the objective's own name
    "gan": "images", "text-to-image": "images", "vae": "images", "pretrain": "text", "electra": "text"
}  # fmt: skip
GAMES = ("gan", "text-to-image")
ONE_SIDED = ("gpt", "lstm")


class Record:
    """One run folder, read once."""

    def __init__(self, path: str | Path):
        self.run = opened(path)
        try:
            self.recipe = self.run.recipe()
            self.objective = self.recipe["objective"]
        except (yaml.YAMLError, KeyError, TypeError):
            raise UserError(f"{self.run.path / 'recipe.yaml'} is damaged: it says no objective") from None
        if self.objective == "tokenizer":
            raise UserError(f"{self.run.path} made a tokenizer, of which there is nothing to compare: leave it out")
        self.keys = flat(self.recipe)
        self.rows = [row for row in self.run.metrics() if all(name in row for name in HEAD)]
        self.facts = self.run.facts()
        self.details = Details.read(self.run.samples)
        self.evaluations = [row for row in self.rows if has(row, "eval/")]
        self.tests = [row for row in self.rows if has(row, "test/")]
        self.looks = [row for row in self.rows if has(row, "health/")]
        self.training = [row for row in self.rows if not any("/" in name for name in row)]

    @property
    def kind(self) -> str:
        """Runs of one kind share metrics: images, text, or a task of fine-tuning."""
        return KINDS.get(self.objective, self.objective)

    @property
    def seed(self) -> int:
        return self.recipe.get("seed", 0)

    @property
    def finished(self) -> bool:
        """Whether the training came to its end, by its budget or by its patience."""
        whole = bool(self.rows) and self.rows[-1]["progress"] >= 1
        return whole or bool(self.tests) or self.facts.get("ended") == "done"

    @property
    def one_sided(self) -> bool:
        return self.objective == "pretrain" and self.keys.get("model.architecture") in ONE_SIDED

    @property
    def steps(self) -> int:
        return self.rows[-1]["step"] if self.rows else 0

    @property
    def seconds(self) -> float:
        return self.rows[-1]["seconds"] if self.rows else 0.0

    @property
    def flops(self) -> float | None:
        """Of the whole training, where the objective counts them."""
        each = self.facts.get("flops_per_step")
        return each * self.steps if each else None

    @property
    def vocabulary(self) -> str | None:
        """A few hex digits that change with the tokenizer; None for a model that has none."""
        try:
            return hashlib.blake2b((self.run.model / "tokenizer.json").read_bytes(), digest_size=4).hexdigest()
        except OSError:
            return None


@dataclass
class Side:
    """A column: one run, or several that differ in the seed only."""

    records: list[Record]
    label: str = ""

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def seeds(self) -> list[int]:
        return [record.seed for record in self.records]


def read_sides(paths: list[str]) -> list[Side]:
    """The runs, in the order given, those of equal recipes together. Raises UserError for less than two runs."""
    records = {os.path.realpath(path): Record(path) for path in paths}
    if len(records) < 2:
        given = "the same run twice" if len(paths) > 1 else "one run"
        raise UserError(f"nothing to compare: this is {given}, give two or more run folders")
    groups = defaultdict(list)
    for record in records.values():
        groups[repr(sorted(signature(record.keys).items()))].append(record)
    sides = [Side(sorted(group, key=lambda r: r.seed)) for group in groups.values()]
    for side, label in zip(sides, labels([side.first.run.path for side in sides]), strict=True):
        side.label = label if len(side.records) == 1 else f"{label} +{len(side.records) - 1}"
    return sides


def differences(sides: list[Side]) -> dict[str, list[Any]]:
    """Every key of the recipes that differs -> its value on each side, None where a side has no such key."""
    kept = [signature(side.first.keys) for side in sides]
    names = dict.fromkeys(name for keys in kept for name in keys)
    values = {name: [keys.get(name) for keys in kept] for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def signature(keys: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in keys.items() if name not in ASIDE}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optim": {"lr": 1}} -> {"optim.lr": 1}"""
    found = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def has(row: dict[str, Any], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in row)


def opened(path: str | Path) -> Run:
    """A run folder. Raises UserError that says what is there instead."""
    run = Run(path)
    if run.exists():
        return run
    if (run.path / "config.json").is_file():
        raise UserError(f"{path} is a saved model, not a run folder: its curves and cost are in the run that made it")
    if run.path.exists():
        raise UserError(f"{path} is not a run folder: there is no recipe.yaml in it")
    beside = run.path.parent
    runs = [p.name for p in beside.iterdir() if Run(p).exists()] if beside.is_dir() else []
    near = difflib.get_close_matches(run.path.name, runs, n=1, cutoff=0.6)
    hint = f"did you mean {beside / near[0]}?" if near else f"runs in {beside}/: {', '.join(sorted(runs)) or 'none'}"
    raise UserError(f"no run at {path}: {hint}")


def labels(paths: list[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(p[-length:]) for p in parts]
        if len(set(ends)) == len(ends):
            return ends
    return [str(path) for path in paths]
