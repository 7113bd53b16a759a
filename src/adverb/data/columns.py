"""Which column of a table is the text, its pair, the label: by what the columns are called and what they hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from adverb.data.delimited import NUMBER
from adverb.data.label_kinds import as_flag
from adverb.data.records import Records, find_column
from adverb.errors import UserError

SAMPLE = 1000  # rows looked at
PAIRS = (
    ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text_a", "text_b"),
    ("text1", "text2"), ("sentence_a", "sentence_b"), ("text_1", "text_2"), ("sentence_1", "sentence_2"),
    ("question", "sentence"), ("question", "passage"), ("query", "passage"), ("query", "document"), ("query", "answer"),
)  # fmt: skip
TEXTS = (
    "text", "sentence", "review", "content", "tweet", "comment", "message", "document", "utterance", "query", "body",
    "comment_text", "review_text", "question", "description", "verse_text", "headline", "title",
)  # fmt: skip
LABELS = (
    "label", "labels", "label_text", "class", "category", "categories", "target", "sentiment", "intent", "emotion",
    "gold_label", "gold", "topic", "topics", "genre", "genres", "stars", "rating", "score", "similarity", "relatedness",
    "similarity_score", "tags", "y", "output",
)  # fmt: skip
NEVER = frozenset(
    "id idx index uid guid row line number nr no. date time timestamp user user_id username author source split lang "
    "language url link pairid promptid __index_level_0__ unnamed:0".split()
)
HALVES = re.compile("[\ud800-\udfff]")
FEW = 0.2  # different values over rows, of a label


@dataclass
class Columns:
    text: str
    pair: str | None
    labels: list[str]

    def roles(self) -> dict[str, str]:
        pair = {"pair": self.pair} if self.pair else {}
        return {"text": self.text, **pair, "label": ",".join(self.labels)}


def as_text(value: Any) -> str:
    """A cell as text: lists of words joined, nothing for null, U+FFFD for halves of characters (JSON can hold them,
    tokenizers can't)."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, list):
        return " ".join(map(as_text, value))
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else HALVES.sub("\ufffd", text)


def choose_columns(
    sample: list[dict[str, Any]],
    names: list[str],
    where: str,
    *,
    text: str | int | None = None,
    pair: str | int | None = None,
    label: str | int | None = None,
) -> Columns:
    """The columns for classification: those told by name or number, the others guessed. label: several as "a,b".

    sample, names: of `peek`. Raises UserError where a column isn't there, or can't be guessed.
    """
    told = [] if label is None else [str(label)] if str(label) in names else str(label).split(",")
    labels = [find_column(one.strip(), names, where, "data.label") for one in told]
    text = find_column(text, names, where, "data.text") if text is not None else None
    pair = find_column(pair, names, where, "data.pair") if pair is not None else None
    if text is None:
        text, second = guess_texts(sample, [n for n in names if n not in labels and n != pair], where)
        pair = pair or second
    labels = labels or _guess_labels(sample, [n for n in names if n not in (text, pair)], where, text)
    used = [text, *labels, *([pair] if pair else [])]
    twice = next((name for name in used if used.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{where}: the column '{twice}' can't be two things at once (data.text, data.pair, data.label)")
    return Columns(text, pair, labels)


def peek(records: Records) -> tuple[list[dict[str, Any]], list[str], Iterator[tuple[int, dict[str, Any]]]]:
    """The first rows, the names of their columns in the order they appear (JSON rows may each have their own), and
    an iterator over all rows. Raises UserError where there is none."""
    first = list(islice(records, SAMPLE))
    if not first:
        records.report.refuse_empty("rows")
    sample = [row for _, row in first]
    return sample, list(dict.fromkeys(name for row in sample for name in row)), chain(first, records)


def guess_texts(sample: list[dict[str, Any]], names: list[str], where: str) -> tuple[str, str | None]:
    """(text, pair or None): a known pair of names, a known name, else the column of the longest strings."""
    by_lower = {name.lower().replace(" ", "_"): name for name in names}
    lengths = {name: text_length(sample, name) for name in names}
    for first, second in PAIRS:
        if first in by_lower and second in by_lower and lengths[by_lower[first]] and lengths[by_lower[second]]:
            return by_lower[first], by_lower[second]
    texts = [name for name in names if lengths[name]]
    if not texts:
        raise UserError(f"{where} has no column of text (columns: {', '.join(names) or 'none'}): name it, data.text=…")
    varied = [name for name in texts if name.lower() not in LABELS and not _classes(sample, name)] or texts
    longest = max(varied, key=lengths.__getitem__)
    known = next((by_lower[name] for name in TEXTS if by_lower.get(name) in varied), None)
    return known if known is not None and 4 * lengths[known] >= lengths[longest] else longest, None


def text_length(sample: list[dict[str, Any]], name: str) -> float:
    """Characters of a value on average; 0 for numbers, identifiers and the like."""
    values = [row.get(name) for row in sample]
    strings = [v for v in values if isinstance(v, str) and v.strip()]
    if 2 * len(strings) < len(values) or all(NUMBER.fullmatch(v) for v in strings[:50]) or name.lower() in NEVER:
        return 0.0
    return sum(map(len, strings)) / len(values)


def _guess_labels(sample: list[dict[str, Any]], names: list[str], where: str, text: str) -> list[str]:
    by_lower = {name.lower().replace(" ", "_"): name for name in names}
    known = next((by_lower[name] for name in LABELS if name in by_lower), None)
    if known is not None:
        return [known]
    flags = [name for name in names if name.lower() not in NEVER and _is_flag(sample, name)]
    if len(flags) > 1:
        return flags
    candidates = {name: found for name in names if name.lower() not in NEVER and (found := _classes(sample, name))}
    if len(candidates) == 1:
        return list(candidates)
    if not candidates:
        others = f"the other columns are {', '.join(names)}" if names else f"the only column is '{text}'"
        raise UserError(f"{where} has no column that looks like a label ({others}): name it, data.label=…")
    listed = ", ".join(f"{name} ({found} values)" for name, found in candidates.items())
    first = next(iter(candidates))
    raise UserError(f"{where} has several columns that could be the label: {listed}. Choose one: data.label={first}")


def _is_flag(sample: list[dict[str, Any]], name: str) -> bool:
    return all(as_flag(row.get(name)) is not None for row in sample)


def _classes(sample: list[dict[str, Any]], name: str) -> int:
    """How many different values a column has, if so few that they may be classes; else 0."""
    values = [_hashable(row.get(name)) for row in sample]
    values = [v for v in values if v not in (None, "")]
    different = len(set(values))
    most = max(2, FEW * len(values)) if len(values) >= 10 else len(values) - 1
    return different if 2 <= different <= most else 0


def _hashable(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else str(value)
