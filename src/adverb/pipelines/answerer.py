"""From an extractive question answerer to answers, with their places in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from adverb.bert.tokenizer import Tokenizer
from adverb.data.windows import QuestionRow, encode_passages, question_rows
from adverb.pipelines.batching import batches, pad
from adverb.pipelines.model import Model
from adverb.pipelines.scores import sigmoid, softmax

STRIDE = 128  # tokens that windows share, of a model that doesn't say
MAX_QUESTION = 64  # and tokens of a question
LONGEST = 30  # tokens of an answer
CANDIDATES = 20  # answers that share the probability


@dataclass(frozen=True)
class Answer:
    """text == context[start:end], in characters; ("", 0, 0) says that the context does not answer the question."""

    text: str
    start: int
    end: int
    probability: float


@dataclass
class Candidates:
    """What a model thinks of one question.

    spans: the scores of the best spans (start, end) of characters, best first, sums of two logits. none: the score of
    there being no answer, that of the window which is surest to have one.
    """

    spans: dict[tuple[int, int], float] = field(default_factory=dict)
    none: float = float("inf")

    @property
    def no_answer(self) -> float:
        """How much more no answer looks like the truth than the best span, in [0, 1]; 0.5 when both score alike."""
        best = max(self.spans.values(), default=-float("inf"))
        return float(sigmoid(np.float64(self.none - best)))


def find_answers(
    model: Model, tokenizer: Tokenizer, questions: Sequence[str], contexts: Sequence[str], n_best: int = 5
) -> list[list[Answer]]:
    """Up to `n_best` different answers to each question in its context, best first; contexts of any length.

    Answers are of whole words and at most LONGEST tokens. Their probability is a softmax over the CANDIDATES best and
    over there being none. "No answer" is among them only if the model was trained on questions without, and first
    if it wins by the threshold that training found.
    """
    facts = model.config.adverb
    threshold, temperature = facts.get("null_threshold"), facts.get("temperature", 1.0)
    found = find_candidates(model, tokenizer, questions, contexts)
    return [choose(each, text, n_best, threshold, temperature) for each, text in zip(found, contexts, strict=True)]


def find_candidates(
    model: Model, tokenizer: Tokenizer, questions: Sequence[str], contexts: Sequence[str]
) -> list[Candidates]:
    facts, limit = model.config.adverb, model.config.max_position_embeddings
    different = list(dict.fromkeys(contexts))
    passages = dict(zip(different, encode_passages(tokenizer, different), strict=True))
    rows = question_rows(
        tokenizer,
        questions,
        [passages[context] for context in contexts],
        min(facts.get("max_length", limit), limit),
        facts.get("stride", STRIDE),
        facts.get("max_question", MAX_QUESTION),
    )
    found = [Candidates() for _ in questions]
    for batch in batches([len(row.input_ids) for row in rows], model.token_budget):
        part = [rows[row] for row in batch]
        places = [_places(row, passages[contexts[row.question]]) for row in part]
        ids, mask, types = pad([row.input_ids for row in part], tokenizer.pad_id, [row.token_type_ids for row in part])
        starts, ends = model(ids, mask, types)  # [B, L] each
        may_start, may_end = (_marked(ids.shape, [place[side] for place in places]) for side in (0, 1))
        none = (starts[:, 0] + ends[:, 0]).tolist()
        best = best_spans(starts, ends, may_start, may_end)
        for row, place, nothing, *spans in zip(part, places, none, *(x.tolist() for x in best), strict=True):
            mine = found[row.question]
            mine.none = min(mine.none, nothing)
            passage, first_word = passages[contexts[row.question]], row.words[0]
            word_at = [{position: first_word + i for i, position in enumerate(side)} for side in place]
            for score, start, end in zip(*spans, strict=True):
                if score == -float("inf"):
                    break
                span = int(passage.spans[word_at[0][start], 0]), int(passage.spans[word_at[1][end], 1])
                mine.spans[span] = max(score, mine.spans.get(span, score))
    for mine in found:
        mine.spans = dict(sorted(mine.spans.items(), key=lambda item: -item[1])[:CANDIDATES])
    return found


def best_spans(
    starts: np.ndarray,
    ends: np.ndarray,
    may_start: np.ndarray,
    may_end: np.ndarray,
    count: int = CANDIDATES,
    longest: int = LONGEST,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `count` spans of greatest starts[i] + ends[j], i <= j < i + longest: their scores, i and j, [B, K] each.

    starts, ends: float [B, L]; may_start, may_end: bool [B, L]. -inf is the score of what is not allowed.
    """
    nothing = np.float32(-np.inf)
    starts, ends = np.where(may_start, starts, nothing), np.where(may_end, ends, nothing)
    ends = np.pad(ends, ((0, 0), (0, longest - 1)), constant_values=nothing)
    ends = np.lib.stride_tricks.sliding_window_view(ends, longest, axis=1)  # [B, L, longest], [i, k]: end at i + k
    scores = (starts[:, :, None] + ends).reshape(len(starts), -1)
    best = np.argpartition(-scores, min(count, scores.shape[1]) - 1, axis=1)[:, :count]  # [B, K], in any order
    best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)
    start = best // longest
    return np.take_along_axis(scores, best, axis=1), start, start + best % longest


def choose(
    candidates: Candidates, context: str, n_best: int, null_threshold: float | None, temperature: float = 1.0
) -> list[Answer]:
    """The `n_best` of the candidates as answers, best first.

    null_threshold: of `Candidates.no_answer`, above which there is none; None if every question has an answer.
    temperature: by which scores are divided before they become probabilities.
    """
    scores = np.array([*candidates.spans.values(), candidates.none])
    *probabilities, none = softmax(scores / temperature).tolist()
    answers = [
        Answer(context[start:end], start, end, probability)
        for (start, end), probability in zip(candidates.spans, probabilities, strict=True)
    ]
    if not answers or null_threshold is not None:
        likelier = sum(answer.probability > none for answer in answers)
        refused = not answers or candidates.no_answer > null_threshold
        answers.insert(0 if refused else max(1, likelier), Answer("", 0, 0, none))
    return answers[:n_best]


def _places(row: QuestionRow, passage) -> tuple[list[int], list[int]]:
    """Where in the row its words start and end."""
    words = slice(*row.words)
    return (passage.first[words] + row.shift).tolist(), (passage.last[words] + row.shift).tolist()


def _marked(shape: Sequence[int], places: Sequence[list[int]]) -> np.ndarray:
    marks = np.zeros(shape, dtype=bool)
    for row, positions in enumerate(places):
        marks[row, positions] = True
    return marks
