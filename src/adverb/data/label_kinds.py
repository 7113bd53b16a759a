"""One class, several, or a number: what the values of a label column are."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, field
from typing import Any

MOST_CLASSES_OF_FLOATS = 10  # different numbers with fractions: more are a quantity
MOST_CLASSES_OF_INTS = 50  # the same for whole numbers, unless they count up from 0 or 1
SEPARATORS = (";", "|")
WHOLE = re.compile(r"-?[0-9]+\.0+")
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


@dataclass
class Guess:
    kind: str  # single, multi, regression
    separator: str | None = None
    notes: list[str] = field(default_factory=list)


def plain(value: Any) -> str:
    """A label as a name, the same one from a table of strings and from typed values: without white space around it,
    1.0 as 1, True as true."""
    text = str(value).strip()
    if WHOLE.fullmatch(text):
        return text.partition(".")[0]
    return text.lower() if text.lower() in ("true", "false") else text


def as_flag(value: Any) -> bool | None:
    """What 0, 1.0, "True" and the like say; None where a value is no flag."""
    return FLAGS.get(str(value).strip().lower())


def split_label(value: Any, separator: str | None) -> list[str]:
    """The names in a value that holds several: a list, a list written as text, or names with a separator."""
    listed = as_list(value)
    if listed is None:
        listed = plain(value).split(separator) if separator else [value]
    return list(dict.fromkeys(name for part in listed if (name := plain(part))))


def as_list(value: Any) -> list[Any] | None:
    """The list that a value is, or spells: ["a", "b"], ['a', 'b']. None where it is none."""
    if isinstance(value, list):
        return value
    if isinstance(value, str) and value.startswith("[") and value.rstrip().endswith("]"):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(value)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return found if isinstance(found, list) else None
    return None


def guess_kind(values: list[Any]) -> Guess:
    """values: the labels as they stand in the file, none missing."""
    if all(as_list(value) is not None for value in values):
        return Guess("multi")
    names = [plain(value) for value in values]
    for separator in SEPARATORS:
        rows = [[part.strip() for part in name.split(separator)] for name in names]
        parts = {part for row in rows for part in row}
        if len({len(row) for row in rows}) > 1 and len(parts) < max(3, len(set(names))):
            return Guess("multi", separator, [f"labels with '{separator}' between them: taken as several of one row"])
    separator = next((s for s in (*SEPARATORS, ",") if any(s in name for name in names)), None)
    numbers = [_number(name) for name in names]
    if any(number is None for number in numbers):
        return Guess("single", separator)
    different = set(numbers)
    if any(not number.is_integer() for number in different):
        if len(different) > MOST_CLASSES_OF_FLOATS:
            return Guess("regression", separator)
        note = (
            f"numbers, but only {len(different)} different ones: taken as classes; as a quantity: data.kind=regression"
        )
        return Guess("single", separator, [note])
    counted = min(different) in (0, 1) and max(different) - min(different) + 1 == len(different)
    if len(different) > MOST_CLASSES_OF_INTS and not counted:
        return Guess("regression", separator, ["many different numbers: taken as a quantity"])
    return Guess("single", separator)


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
