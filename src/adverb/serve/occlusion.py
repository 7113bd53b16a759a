"""Which words of a text carried a decision: each is left out once (occlusion, Zeiler & Fergus 2014; Li et al. 2016).

The change of a word is p(label | text) - p(label | text without the word), the label being the most probable of the
whole text: above 0, the word speaks for it. It is a fact about the model's answers, not an approximation of one, but
words that say the same twice hide each other. Of a regression, the change of the value.
"""

from __future__ import annotations

from typing import Any

from adverb.bert.alignment import cut_words


def words_of(text: str) -> list[tuple[int, int]]:
    """[start, end) of each in characters: words of BERT's tokenizers with a letter or a digit."""
    return [(start, end) for start, end in cut_words(text) if any(c.isalnum() for c in text[start:end])]


def without_each(text: str, words: list[tuple[int, int]]) -> list[str]:
    """The text without each of its words; one of a single word is left as ""."""
    return [f"{text[:start]}{text[end:]}".strip() for start, end in words]


def changes(answers: list[dict[str, Any]]) -> tuple[str, float, list[float]]:
    """(label, its probability, the change of each word) from answers to the whole text and to those without a word."""
    whole, *others = [_scores(answer) for answer in answers]
    label = max(whole, key=whole.get)
    return label, whole[label], [round(whole[label] - other[label], 6) for other in others]


def _scores(answer: dict[str, Any]) -> dict[str, float]:
    """By label. See `pipelines.predict.predict` for what an answer is."""
    return answer.get("probabilities") or answer.get("values") or {"value": answer["value"]}
