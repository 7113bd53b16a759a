"""Rows with spans by character offsets, or with lists of words and tags, as texts of tagged words."""

from __future__ import annotations

import re
from typing import Any

from adverb.data.columns import as_text, peek
from adverb.data.conll import Words, join
from adverb.data.records import Numbered, Records, Report, find_column
from adverb.errors import UserError

TEXTS = ("text", "sentence", "content", "document", "body")
SPANS = ("spans", "entities", "labels", "label", "annotations", "ner", "tags")
WORDS = ("tokens", "words", "token", "word")
TAGS = ("ner_tags", "tags", "labels", "ner", "bio_tags", "pos_tags", "upos", "tag", "label")
STARTS = ("start", "start_offset", "begin")
ENDS = ("end", "end_offset", "stop")
TYPES = ("label", "type", "tag", "entity", "entity_group", "class", "name")
EXPECTED = '{"text": …, "spans": [[start, end, "TYPE"], …]} or {"tokens": […], "tags": […]}'
IDEOGRAPH = re.compile("([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ebef])")  # words of their own

Found = tuple[list[str], list[Words], list[list[str]], list[list[int]]]
Span = tuple[int, int, str]


def read_spans(records: Records, word: str | int | None, tag: str | int | None) -> tuple[*Found, Report]:
    """(texts, words, tags, the line of each word, what was found). word: the column of the lists of words. tag: that
    of their tags, or of the spans. Raises UserError where there are no such columns."""
    sample, names, rows = peek(records)
    first = {name: next((row[name] for row in sample if row.get(name)), None) for name in names}
    in_words = word is not None or _known([n for n in names if _is_strings(first[n])], WORDS)
    read = _read_words if in_words else _read_offsets
    texts, words, tags, lines = read(rows, names, first, records.report, word, tag)
    return texts, words, tags, [[line] * len(row) for line, row in zip(lines, tags, strict=True)], records.report


def _read_words(rows: Numbered, names: list[str], first: dict[str, Any], report: Report, word, tag):
    at_word = find_column(word, names, report.name, "data.word") if word is not None else _known(names, WORDS)
    lists = [name for name in names if name != at_word and isinstance(first[name], list)]
    at_tag = find_column(tag, names, report.name, "data.tag") if tag is not None else _known(lists, TAGS)
    if at_tag is None:
        raise UserError(
            f"{report.name} has words ('{at_word}') but no list of tags (columns: {', '.join(names)}): "
            "name it, data.tag=…"
        )
    report.columns = {"word": at_word, "tag": at_tag}
    texts, words, tags, lines = [], [], [], []
    for line, row in rows:
        found, marks = row.get(at_word), row.get(at_tag)
        if not isinstance(found, list) or not isinstance(marks, list):
            report.skipped.append((line, "no words" if not isinstance(found, list) else "no tags"))
            continue
        if len(found) != len(marks):
            report.skipped.append((line, f"{len(found)} words, but {len(marks)} tags"))
            continue
        kept = [(as_text(w), str(t)) for w, t in zip(found, marks, strict=True) if as_text(w).strip() and t is not None]
        if not kept:
            report.skipped.append((line, "no words"))
            continue
        text, places = join(w for w, _ in kept)
        texts.append(text)
        words.append(places)
        tags.append([t for _, t in kept])
        lines.append(line)
    return texts, words, tags, lines


def _read_offsets(rows: Numbered, names: list[str], first: dict[str, Any], report: Report, _, tag):
    strings = [name for name in names if isinstance(first[name], str)]
    lists = [name for name in names if isinstance(first[name], list) or first[name] is None]
    at_text = _known(strings, TEXTS) or (strings[0] if strings else None)
    at_spans = find_column(tag, names, report.name, "data.tag") if tag is not None else _known(lists, SPANS)
    if at_text is None or at_spans is None:
        raise UserError(f"{report.name} has columns {', '.join(names)}: tagged words are {EXPECTED}")
    report.columns = {"text": at_text, "tag": at_spans}
    texts, words, tags, lines = [], [], [], []
    widened, overlapping = [], []
    for line, row in rows:
        text = row.get(at_text)
        if not isinstance(text, str) or not text.strip():
            report.skipped.append((line, "no text"))
            continue
        try:
            spans = [_span(value, text) for value in row.get(at_spans) or []]
        except ValueError as error:
            report.skipped.append((line, str(error)))
            continue
        places = cut_words(text)
        marks, wider, dropped = tag_words(places, spans)
        widened += [line] * wider
        overlapping += [line] * dropped
        texts.append(text)
        words.append(places)
        tags.append(marks)
        lines.append(line)
    report.note(f"{len(widened):,} spans begin or end inside a word and are widened to it", widened)
    report.note(f"{len(overlapping):,} spans overlap a longer one and are left out", overlapping)
    return texts, words, tags, lines


def cut_words(text: str) -> Words:
    """The words of BERT's pre-tokenizer: cut at white space, and around punctuation and ideographs."""
    from tokenizers.pre_tokenizers import BertPreTokenizer

    places = []
    for word, (start, _) in BertPreTokenizer().pre_tokenize_str(text):
        for part in IDEOGRAPH.split(word):
            if part:
                places.append((start, start + len(part)))
            start += len(part)
    return places


def tag_words(places: Words, spans: list[Span]) -> tuple[list[str], int, int]:
    """(BIO2 tags of the words, spans widened to whole words, spans left out because a longer one is there)"""
    tags = ["O"] * len(places)
    widened = dropped = 0
    for start, end, kind in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):  # the longest first
        inside = [i for i, (a, b) in enumerate(places) if a < end and b > start]
        if not inside:
            continue
        if any(tags[i] != "O" for i in inside):
            dropped += 1
            continue
        widened += places[inside[0]][0] < start or places[inside[-1]][1] > end
        for i in inside:
            tags[i] = f"{'B' if i == inside[0] else 'I'}-{kind}"
    return tags, widened, dropped


def _span(value: Any, text: str) -> Span:
    """(start, end, type), without white space around it. Raises ValueError with the reason."""
    said = None
    if isinstance(value, dict):
        start, end, kind = (next((value[k] for k in keys if k in value), None) for keys in (STARTS, ENDS, TYPES))
        kind = kind[0] if isinstance(kind, list) and kind else kind
        said = value.get("text", value.get("word"))
    else:
        start, end, kind = value[:3] if isinstance(value, list) and len(value) >= 3 else (None, None, None)
    if not isinstance(start, int) or not isinstance(end, int) or not isinstance(kind, str) or not kind:
        raise ValueError(f"a span is [start, end, type], not {str(value)[:40]}")
    if not 0 <= start < end <= len(text):
        raise ValueError(f"the span [{start}, {end}] is not within the {len(text)} characters of the text")
    if isinstance(said, str) and said.strip() != text[start:end].strip():
        raise ValueError(f"the span [{start}, {end}] is '{text[start:end][:30]}' and not '{said[:30]}'")
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end, kind


def _is_strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


def _known(names: list[str], known: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in names}
    return next((by_lower[name] for name in known if name in by_lower), None)
