"""The ways to write spans as one tag a word: IO, BIO1, BIO2, BIOES, BILOU, BMES; all read as BIO2.

BIO1 and BIO2: Ramshaw and Marcus 1995, Tjong Kim Sang and Veenstra 1999. BILOU: Ratinov and Roth 2009.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

TAG = re.compile(r"(?i)([BIESLUMW])[-_](.+)")
STARTS = frozenset("BSUW")  # a span; I, M, E, L go on with one
ENDS = frozenset("ESLUW")  # a span; after B, I, M it is open
OUTSIDE = ("O", "o")
UNTYPED = "entity"  # the type of tags that are a letter alone

Place = tuple[int, int]  # sentence, word


@dataclass
class Read:
    """tags: BIO2 ("O", "B-x", "I-x") where `spans`, else as they were. scheme: IO, BIO1, BIO2, BIOES, BILOU, BMES, or
    words. repaired: each tag that went on from nothing and became B-. odd: each that is no tag and became O."""

    tags: list[list[str]]
    spans: bool
    scheme: str
    repaired: list[Place] = field(default_factory=list)
    odd: list[Place] = field(default_factory=list)


def to_bio(tags: list[list[str]]) -> Read:
    """Recognise how spans are written in the tags of sentences, and write them as BIO2."""
    counts = Counter(tag for row in tags for tag in row)
    marked = {tag: count for tag, count in counts.items() if tag not in OUTSIDE}
    if not marked:
        return Read(tags, True, "BIO2")
    split = {tag: (tag.upper(), UNTYPED) for tag in marked if tag.upper() in tuple("BIESLUMW")}
    split |= {tag: (m[1].upper(), m[2]) for tag in marked if (m := TAG.fullmatch(tag))}
    if 2 * sum(marked[tag] for tag in split) <= sum(marked.values()):  # no prefixes
        if len(marked) == len(counts):
            return Read(tags, False, "words")
        return Read([_from_io(row) for row in tags], True, "IO")
    return _convert(tags, split)


def _convert(tags: list[list[str]], split: dict[str, tuple[str, str]]) -> Read:
    """split: tag -> (letter, type)"""
    read = Read([], True, _scheme({letter for letter, _ in split.values()}))
    for s, row in enumerate(tags):
        converted: list[str] = []
        open_type: str | None = None
        for w, tag in enumerate(row):
            if tag not in split:
                if tag not in OUTSIDE:
                    read.odd.append((s, w))
                converted.append("O")
                open_type = None
                continue
            letter, kind = split[tag]
            starts = letter in STARTS
            if not starts and open_type != kind:
                read.repaired.append((s, w))
                starts = True
            converted.append(f"{'B' if starts else 'I'}-{kind}")
            open_type = None if letter in ENDS else kind
        read.tags.append(converted)
    if read.scheme == "BIO2":
        begun = sum(tag[0] == "B" for row in read.tags for tag in row)
        if 2 * len(read.repaired) > begun:  # there it is the rule: B- only parts a span from one just before
            read.scheme = "BIO1"
    if read.scheme in ("IO", "BIO1"):
        read.repaired = []
    return read


def _scheme(letters: set[str]) -> str:
    if letters & set("LU"):
        return "BILOU"
    if letters & set("MW"):
        return "BMES"
    if letters & set("ES"):
        return "BIOES"
    return "BIO2" if "B" in letters else "IO"


def _from_io(row: list[str]) -> list[str]:
    """Types without prefixes: words of one type side by side are one span."""
    out, before = [], None
    for tag in row:
        outside = tag in OUTSIDE
        out.append("O" if outside else f"{'I' if tag == before else 'B'}-{tag}")
        before = None if outside else tag
    return out
