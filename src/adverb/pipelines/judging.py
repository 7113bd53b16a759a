"""How right a reader is on rows whose truth is known: one function for each kind of rows.

Each judges what users get: the same windows, thresholds, temperature and precision as `Reader`'s verbs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from adverb.bert.heads import IGNORED
from adverb.bert.masking import Masking
from adverb.data.corpus import Corpus
from adverb.data.labelled import Labelled
from adverb.data.pairs import TextPairs
from adverb.data.rows import Chunks
from adverb.data.squad import Questions
from adverb.data.tagged import Tagged
from adverb.metrics.answers import answer_scores, squad_metrics
from adverb.metrics.bootstrap import intervals
from adverb.metrics.calibration import ece
from adverb.metrics.details import MISTAKES, Details, classification_details, mistake, table
from adverb.metrics.entities import entity_counts, entity_scores, per_type
from adverb.metrics.labels import classification_metrics
from adverb.pipelines.answerer import choose, find_candidates
from adverb.pipelines.reader import Reader
from adverb.pipelines.scores import log_softmax
from adverb.pipelines.search import QUERIES
from adverb.pipelines.tagger import UNSEEN, best_tags, word_logits

Judged = tuple[dict[str, float], Details]

RESAMPLES = 1000  # of the bootstrap
RATE = 0.15  # of masks, whatever the training's: losses at different rates can't be compared
MASKED_AT_ONCE = 32


def judge_classes(reader: Reader, data: Labelled, resamples: int = RESAMPLES) -> Judged:
    """accuracy, macro_f1, mcc, … as `classification_metrics`; ece with the temperature, ece_uncalibrated without.

    data.label_names must be the model's labels, in their order.
    """
    logits = reader.logits(data.texts, data.pairs)
    said = reader.calibrated(logits)
    plain = reader.calibrated(logits, 1.0)
    metrics = classification_metrics(data.targets, said, data.kind)
    if data.kind != "regression":
        metrics |= {"ece": ece(said, data.targets), "ece_uncalibrated": ece(plain, data.targets)}
    details = classification_details(
        data.targets, said, data.kind, data.label_names, texts=data.texts, lines=data.lines.tolist(),
        resamples=resamples, uncalibrated=plain, temperature=reader.facts.get("temperature", 1.0),
    )  # fmt: skip
    return metrics, details


def judge_tags(reader: Reader, data: Tagged, resamples: int = RESAMPLES) -> Judged:
    """f1, precision, recall of whole entities; accuracy of the words where each has a tag of its own ("words")."""
    model = reader.model.deciding()
    tagged = best_tags(model, word_logits(model, reader.tokenizer, data.texts, data.words))
    nothing = "O" if data.scheme == "spans" else UNSEEN
    said = [[tag or nothing for tag in tags] for tags, _ in tagged]
    if data.scheme == "spans":
        counts = entity_counts(data.tags, said)
        wrong = counts[:, 1] + counts[:, 2] - 2 * counts[:, 0]
        tables = [table("Types", per_type(data.tags, said))]
        score = entity_scores
    else:
        counts = np.array([(sum(map(str.__eq__, a, b)), len(a)) for a, b in zip(data.tags, said, strict=True)])
        wrong = counts[:, 1] - counts[:, 0]
        tables = [table("Tags", _per_tag(data.tags, said))]
        score = _accuracy
    details = Details(rows=len(data), tables=tables)
    details.intervals = intervals(lambda rows: score(counts[rows].sum(0)), len(data), resamples)
    for row in _worst(wrong):
        truth, told = (_marked(data, row, tags[row]) for tags in (data.tags, said))
        details.mistakes.append(mistake(data.texts[row], truth, told, None, int(data.lines[row])))
    return score(counts.sum(0)), details


def judge_answers(reader: Reader, data: Questions, resamples: int = RESAMPLES) -> Judged:
    """exact and f1 in per cent as the official scripts, HasAns_… and NoAns_… where some have no answer."""
    contexts = [data.contexts[i] for i in data.context_of]
    model = reader.model.deciding()
    candidates = find_candidates(model, reader.tokenizer, data.questions, contexts)
    threshold = reader.facts.get("null_threshold")
    answers = [choose(c, context, 1, threshold)[0] for c, context in zip(candidates, contexts, strict=True)]
    said = {name: answer.text for name, answer in zip(data.ids, answers, strict=True)}
    truths = {name: [text for text, _ in given] for name, given in zip(data.ids, data.answers, strict=True)}
    impossible = not all(data.answers)
    unsure = {name: c.no_answer for name, c in zip(data.ids, candidates, strict=True)} if impossible else None
    scores = np.array(list(answer_scores(said, truths).values()))  # [N, 2]

    def score(rows: np.ndarray) -> dict[str, float]:
        return dict(zip(("exact", "f1"), (100 * scores[rows].mean(0)).tolist(), strict=True))

    details = Details(rows=len(data), intervals=intervals(score, len(data), resamples))
    for row in _worst(1 - scores[:, 1]):
        name, answer = data.ids[row], answers[row]
        truth = " / ".join(dict.fromkeys(truths[name])) or "no answer"
        details.mistakes.append(mistake(data.questions[row], truth, answer.text or "no answer", answer.probability))
    return squad_metrics(said, truths, unsure), details


def judge_pairs(reader: Reader, data: TextPairs, resamples: int = RESAMPLES) -> Judged:
    """Of graded pairs spearman and pearson of the cosine and the grade; of others accuracy (the second text of a pair
    is the nearest to its first among all second texts), recall_at_10 and mrr (the mean of 1 / its rank)."""
    first, second = _unit(reader.embed(data.first)), _unit(reader.embed(data.second))
    if data.scores is not None:
        cosines = (first * second).sum(1)

        def score(rows: np.ndarray) -> dict[str, float]:
            found = classification_metrics(data.scores[rows], cosines[rows], "regression")
            return {name: found[name] for name in ("spearman", "pearson")}
    else:
        ranks = _ranks(first, second, data.second)

        def score(rows: np.ndarray) -> dict[str, float]:
            found = ranks[rows]
            return {"accuracy": np.mean(found == 1), "recall_at_10": np.mean(found <= 10), "mrr": np.mean(1 / found)}

    everything = {name: float(value) for name, value in score(np.arange(len(data))).items()}
    return everything, Details(rows=len(data), intervals=intervals(score, len(data), resamples))


def judge_masks(reader: Reader, corpus: Corpus, length: int, rows: int = 1024, resamples: int = RESAMPLES) -> Judged:
    """masked_loss (nats), masked_perplexity and masked_accuracy of up to `rows` rows of `length` tokens, at fixed
    places of the text and with fixed masks on 15 % of the tokens; the intervals draw among the rows."""
    chunks = Chunks(corpus, reader.tokenizer, length, MASKED_AT_ONCE, 0)
    rows = min(rows, len(chunks))
    starts = np.linspace(0, len(corpus), rows, endpoint=False).astype(np.int64)
    masking = Masking(reader.tokenizer, RATE)
    sums = []  # loss, right, count of each row
    for i in range(0, rows, MASKED_AT_ONCE):
        ids = chunks.rows(starts[i : i + MASKED_AT_ONCE])
        uniforms = torch.rand(*ids.shape, 3, generator=torch.Generator().manual_seed(i))
        masked = masking(ids, uniforms)
        labels = masked.labels.numpy()  # [B, T]
        logits = reader.model(masked.input_ids.numpy(), take=masked.take.numpy())
        logits = logits[0] if isinstance(logits, tuple) else logits  # [B, T, V]
        right, counted = logits.argmax(-1) == labels, labels != IGNORED
        losses = -np.take_along_axis(log_softmax(logits), np.where(counted, labels, 0)[..., None], axis=-1)[..., 0]
        sums.append(np.stack([(losses * counted).sum(1), right.sum(1), counted.sum(1)], axis=1))
    totals = np.concatenate(sums).astype(np.float64)  # [rows, 3]

    def score(chosen: np.ndarray) -> dict[str, float]:
        loss, right, count = totals[chosen].sum(0)
        mean = loss / max(count, 1)
        return {
            "masked_loss": mean, "masked_perplexity": math.exp(min(mean, 50)), "masked_accuracy": right / max(count, 1)
        }  # fmt: skip

    return score(np.arange(rows)), Details(rows=rows, intervals=intervals(score, rows, resamples))


def _ranks(first: np.ndarray, second: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """The rank of each row's second vector among all, 1 for the nearest, int64 [N]. Equal texts count as one."""
    _, distinct, same = np.unique(np.array(texts, dtype=object), return_index=True, return_inverse=True)
    ranks = []
    for start in range(0, len(first), QUERIES):
        cosines = first[start : start + QUERIES] @ second[distinct].T
        own = np.take_along_axis(cosines, same[start : start + QUERIES, None], axis=1)
        ranks.append(1 + (cosines > own).sum(1))
    return np.concatenate(ranks)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _worst(wrong: np.ndarray) -> list[int]:
    """The rows with the most errors, those without left out."""
    return [int(row) for row in np.argsort(-wrong, kind="stable")[:MISTAKES] if wrong[row] > 0]


def _accuracy(counts: np.ndarray) -> dict[str, float]:
    right, words = counts.tolist()
    return {"accuracy": right / max(words, 1)}


def _per_tag(true: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> list[dict]:
    """As entities of one word each; the prefix makes a tag the type."""
    single = [[[f"S-{tag}" for tag in row] for row in rows] for rows in (true, said)]
    return [{"tag": row.pop("type")} | row | {"words": row.pop("entities")} for row in per_type(*single)]


def _marked(data: Tagged, row: int, tags: Sequence[str]) -> str:
    """What the tags find: "Ada Lovelace (person), London (location)"; of tags for every word all of them."""
    if data.scheme != "spans":
        return " ".join(tags)
    from adverb.metrics.entities import spans_of

    words, text = data.words[row], data.texts[row]
    found = sorted((first, last, type_) for type_, first, last in spans_of(tags))
    return ", ".join(f"{text[words[a][0] : words[b - 1][1]]} ({type_})" for a, b, type_ in found) or "nothing"
