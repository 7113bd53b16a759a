"""A paragraph cut into sentences, by rules."""

from __future__ import annotations

import re

# Words before a full stop that do not end a sentence, in lower case; single letters (initials) never do.
ABBREVIATIONS = frozenset(
    "mr mrs ms messrs mme mlle dr prof rev hon st gen col capt lieut lt sgt maj cmdr adm gov sen rep pres supt "
    "jr sr esq vs viz cf etc e.g i.e approx dept est fig figs no nos vol vols ch chap pp p art sec ed eds "
    "jan feb mar apr jun jul aug sept sep oct nov dec mt ft inc ltd co corp bros a.m p.m".split()
)
MAY_END = frozenset("etc a.m p.m jr sr esq inc ltd co corp bros".split())  # these may end one too: look ahead
_BORDER = re.compile(r"""([.!?…]+)(["”’'»)\]]*)\s+(?=["“‘'«(\[]*(\w))|[。！？]["”’」』)]*\s*""")
_LAST_WORD = re.compile(r"[\w.]+$")
STARTERS = re.compile(r"[\"“‘'«(\[]*(The|A|An|In|On|At|He|She|It|They|We|I|You|But|And|This|That|There|If|When|As)\b")


def sentences(paragraph: str) -> list[str]:
    """A paragraph cut into sentences; joined by spaces they are the paragraph again, white space aside.

    A sentence ends at . ! ? … (and closing quotes) before white space, unless what follows starts in lower case,
    or the full stop belongs to an abbreviation or an initial. "etc.", "Co." and the like end one only before a
    word that often starts one. Chinese and Japanese full stops end one anywhere.
    """
    found, start = [], 0
    for border in _BORDER.finditer(paragraph):
        following = border[3]
        if following is not None:
            if following.islower():
                continue
            if border[1] == "." and not border[2] and _abbreviates(paragraph, start, border, following):
                continue
        if piece := paragraph[start : border.end()].strip():
            found.append(piece)
        start = border.end()
    if rest := paragraph[start:].strip():
        found.append(rest)
    return found


def _abbreviates(text: str, start: int, border: re.Match, following: str) -> bool:
    word = _LAST_WORD.search(text, max(start, border.start() - 20), border.start())
    if word is None:
        return False
    last = word[0].lower()
    if last in ABBREVIATIONS and last not in MAY_END:
        return last != "no" or following.isdigit()  # "No. 5", but "I said no."
    if last in MAY_END or re.fullmatch(r"\w(\.\w)+", last):  # etc., U.S.
        return STARTERS.match(text, border.end()) is None
    return len(last) == 1 and last.isalpha() and last != "i"  # J. R. R. Tolkien, but "So am I."
