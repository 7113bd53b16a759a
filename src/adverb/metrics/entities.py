"""Precision, recall and F1 of whole entities, as seqeval counts them in its default mode.

An entity is right when its type, its first and its last word are. Tags may be BIO, IO, BIOES or a mixture: nothing is
an invalid sequence, an entity just starts where it can't be the continuation of the one before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Span = tuple[str, int, int]  # type, first word, the word after the last


def spans_of(tags: Sequence[str]) -> set[Span]:
    """The entities of one sentence: (type, start, end) in words, `end` exclusive.

    "B-" and "S-" start an entity; "I-" and "E-" continue one of their type, and start one where there is none to
    continue; after "E-" and "S-" there is none. "B-PER I-LOC" are two entities. A tag without a prefix counts as
    "I-" of the type that it is.
    """
    spans, start, before, type_before = set(), 0, "O", ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, type_ = _parts(tag)
        inside = before in ("B", "I") and prefix in ("I", "E") and type_ == type_before
        if not inside:
            if before != "O":
                spans.add((type_before, start, place))
            start = place
        before, type_before = prefix, type_
    return spans


def entity_counts(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """Of each sentence: entities found, entities said, entities there are; int64 [N, 3].

    `entity_scores(counts[rows].sum(axis=0))` are the metrics of any choice of sentences, as a bootstrap needs them.
    ValueError if there are more tags of one than of the other.
    """
    counts = []
    for gold, said in _pairs(true, predicted):
        counts.append((len(gold & said), len(said), len(gold)))
    return np.array(counts, dtype=np.int64).reshape(-1, 3)


def entity_scores(counts: Sequence[int] | np.ndarray) -> dict[str, float]:
    """f1, precision and recall, fractions, of (found, said, there are); what is 0/0 counts as 0."""
    found, said, there = (int(count) for count in counts)
    return {
        "f1": 2 * found / max(said + there, 1),
        "precision": found / max(said, 1),
        "recall": found / max(there, 1),
    }


def entity_metrics(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """f1, precision and recall over all entities of all sentences (micro average); 0 where there are none."""
    return entity_scores(entity_counts(true, predicted).sum(axis=0))


def per_type(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> list[dict[str, str | float | int]]:
    """A row a type, by name: type, precision, recall, f1, entities (there are) and said (how often it was)."""
    counts: dict[str, list[int]] = {}
    for gold, said in _pairs(true, predicted):
        for column, spans in enumerate((gold & said, said, gold)):
            for type_, _, _ in spans:
                counts.setdefault(type_, [0, 0, 0])[column] += 1
    rows = []
    for type_, (found, said, there) in sorted(counts.items()):
        scores = entity_scores((found, said, there))
        rows.append({"type": type_} | {name: scores[name] for name in ("precision", "recall", "f1")}
                    | {"entities": there, "said": said})  # fmt: skip
    return rows


def _pairs(true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]):
    """The spans of each sentence, those there are and those that were said."""
    if len(true) != len(predicted):
        raise ValueError(f"{len(true)} tagged sentences, {len(predicted)} predictions")
    for number, (gold, said) in enumerate(zip(true, predicted, strict=True)):
        if len(gold) != len(said):
            raise ValueError(f"sentence {number} has {len(gold)} words, its prediction {len(said)} tags")
        yield spans_of(gold), spans_of(said)


def _parts(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag: "B-PER" -> ("B", "PER"), "B" -> ("B", "_"), "PER" -> ("I", "PER")."""
    if tag == "O":
        return "O", ""
    prefix, _, type_ = tag.partition("-")
    return (prefix, type_ or "_") if prefix in ("B", "I", "E", "S") else ("I", tag)
