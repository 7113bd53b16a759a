"""What a data set is for: pictures to draw, text to pre-train on, or rows with classes, tags, answers or partners."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

from adverb.data import columns, conll, spans
from adverb.data.decoding import Lines
from adverb.data.delimited import Delimited
from adverb.data.pairs import PARTNERS, find_pair_splits, parallel_files
from adverb.data.records import FORMS, Records, Where, suffix_of
from adverb.data.sources import EMBEDDED, existing, kind_of
from adverb.data.splits import SUFFIXES, TAGGED, find_splits, is_data
from adverb.data.squad import ANSWERS, CONTEXTS, is_squad
from adverb.errors import UserError

TASKS = ("image", "pretrain", "classify", "tag", "answer", "embed")
SPAN_TAG = re.compile(r"(?i)O|[BIESLUMW][-_].+")
SAMPLE = 200  # rows or lines looked at


def recognise(path: str | Path) -> str:
    """One of TASKS: what training would most likely use the data for. Raises UserError where nothing is known."""
    if str(path) in EMBEDDED and not Path(path).exists():
        return EMBEDDED[str(path)]
    if not Path(path).expanduser().is_dir() and parallel_files(Path(path).expanduser()):
        return "embed"
    where = existing(path)
    try:
        kind = kind_of(path)
    except UserError:  # suffixes that are not known there
        if where is None or not (suffix_of(where) in SUFFIXES or (where.is_dir() and _tables(where))):
            if where is not None and where.is_dir() and parallel_files(find_pair_splits(where).train):
                return "embed"
            raise
        kind = "text"
    if kind != "text":
        return kind
    files = [] if where is None else _tables(where) if where.is_dir() else [where]
    if any(suffix_of(file) in TAGGED for file in files):
        return "tag"
    if files and all(FORMS.get(suffix_of(file)) == "text" for file in files):
        return _of_text(files[0]) if len(files) <= 3 else "pretrain"
    try:
        return of_rows(find_splits(path).train if where is None or where.is_dir() else where)
    except UserError:
        if len(files) > 1 and of_rows(min(files)) == "pretrain":  # a corpus may lie in any number of files
            return "pretrain"
        raise


def _tables(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and is_data(file)]


def of_rows(where: Where) -> str:
    """The task that rows of a table are for, by the names of their columns and what they hold."""
    if not isinstance(where, tuple) and is_squad(where):
        return "answer"
    sample = [row for _, row in islice(Records(where), SAMPLE)]
    first: dict[str, Any] = {}
    for row in sample:
        for name, value in row.items():
            if first.get(name) is None or first[name] == []:
                first[name] = value
    lower = {name.lower().replace(" ", "_") for name in first}
    if "question" in lower and not lower.isdisjoint(CONTEXTS) and not lower.isdisjoint(ANSWERS):
        return "answer"
    lists = {name.lower(): value for name, value in first.items() if isinstance(value, list) and value}
    if any(name in spans.WORDS and isinstance(value[0], str) for name, value in lists.items()) and len(lists) > 1:
        return "tag"
    if any(name in spans.SPANS and _is_span(value[0]) for name, value in lists.items()):
        return "tag"
    if any(first.get(name) == [] for name in ("spans", "entities")):
        return "tag"
    try:
        found = columns.choose_columns(sample, list(first), "")
    except UserError as error:
        if any(a in lower and b in lower for a, b in PARTNERS):
            return "embed"
        texts = [name for name in first if columns.text_length(sample, name)]
        if len(texts) == 1 and (len(first) == 1 or "several columns" not in str(error)):
            return "pretrain"
        return "embed" if len(texts) == len(first) == 2 else "classify"
    return "embed" if (found.text.lower(), str(found.pair).lower()) in PARTNERS[len(columns.PAIRS) :] else "classify"


def _of_text(file: Path) -> str:
    """Plain text to pre-train on, unless its lines have columns: words with tags, or a table."""
    lines = [line.rstrip("\r\n") for _, line in islice(Lines(file), SAMPLE)]
    try:
        cut, width = conll.find_columns(lines, str(file))
        tags = [cells[-1].strip() for line in lines if line.strip() and len(cells := cut(line)) == width]
        if sum(bool(SPAN_TAG.fullmatch(tag)) for tag in tags) > 0.9 * len(tags):
            return "tag"
    except UserError:
        pass
    table = Delimited(Lines(file), lambda line, reason: None)
    return "classify" if table.separator == "\t" else "pretrain"


def _is_span(value: Any) -> bool:
    if isinstance(value, dict):
        return any(key in value for key in spans.STARTS)
    return isinstance(value, list) and len(value) >= 3 and isinstance(value[0], int) and isinstance(value[1], int)
