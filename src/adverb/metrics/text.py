"""How good and how varied a set of texts is: BLEU, self-BLEU, the share of n-grams that are copied.

Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation"
Zhu et al. 2018, "Texygen: a benchmarking platform for text generation models" (self-BLEU)

BLEU is that of one text against all references, averaged over the texts, with n up to 4 and equal weights; an n-gram
order without a match counts as 0.1 matches (Chen & Cherry 2014, method 1), as in Texygen. What is counted of all
references is the most that one of them has, so that the time is linear in the number of texts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

ORDER = 4  # n of the longest n-grams
NO_MATCH = 0.1
Words = Sequence[str]
_WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """In lower case, punctuation marks each by itself."""
    return _WORD.findall(text.lower())


def ngrams(text: Words, n: int) -> Iterable[tuple[str, ...]]:
    return zip(*(text[i:] for i in range(n)), strict=False)


def bleu(texts: Sequence[Words], references: Sequence[Words]) -> float:
    """The mean BLEU of the texts against all references, in [0, 1]."""
    most = _most(references)
    lengths = Counter(map(len, references))
    return _mean([_score(text, [Counter(ngrams(text, n)) for n in _ORDERS], most, lengths) for text in texts])


def self_bleu(texts: Sequence[Words]) -> float:
    """The mean BLEU of each text against all others, in [0, 1]: high where texts repeat each other."""
    first, second = _two_most(texts)
    lengths = Counter(map(len, texts))
    scores = []
    for text in texts:
        lengths[len(text)] -= 1
        counts = [Counter(ngrams(text, n)) for n in _ORDERS]
        # what the others have at most: the second most where this text is the one that has the most
        others = [
            {gram: b[gram] if a[gram] == count else a[gram] for gram, count in own.items()}
            for own, a, b in zip(counts, first, second, strict=True)
        ]
        scores.append(_score(text, counts, others, lengths))
        lengths[len(text)] += 1
    return _mean(scores)


def copied_share(texts: Sequence[Words], known: set[tuple[str, ...]], n: int = ORDER) -> float:
    """Which share of the n-grams of all texts is in `known`; NaN where the texts have none."""
    found = [gram in known for text in texts for gram in ngrams(text, n)]
    return _mean(found)


def all_ngrams(texts: Iterable[Words], n: int = ORDER) -> set[tuple[str, ...]]:
    return {gram for text in texts for gram in ngrams(text, n)}


_ORDERS = range(1, ORDER + 1)


def _score(text: Words, counts: list[Counter], most: list[dict], lengths: Counter) -> float:
    """counts: of the text's n-grams, an order each. most: how often a reference has one at most. lengths: of these."""
    logs = 0.0
    for own, limit in zip(counts, most, strict=True):
        matches = sum(min(count, limit.get(gram, 0)) for gram, count in own.items())
        if not matches and own is counts[0]:
            return 0.0
        logs += math.log((matches or NO_MATCH) / max(1, sum(own.values()))) / ORDER
    nearest = min((n for n, count in lengths.items() if count > 0), key=lambda n: (abs(n - len(text)), n))
    return math.exp(logs + min(0.0, 1 - nearest / len(text)))


def _most(references: Sequence[Words]) -> list[dict]:
    return _two_most(references)[0]


def _two_most(texts: Sequence[Words]) -> tuple[list[Counter], list[Counter]]:
    """Of every n-gram, an order each: how often the text has it that has it most; and the next one after that."""
    first, second = ([Counter() for _ in _ORDERS] for _ in range(2))
    for text in texts:
        for n, a, b in zip(_ORDERS, first, second, strict=True):
            for gram, count in Counter(ngrams(text, n)).items():
                if count >= a[gram]:
                    a[gram], b[gram] = count, a[gram]
                elif count > b[gram]:
                    b[gram] = count
    return first, second


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
