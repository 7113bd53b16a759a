"""From a token classifier to the entities of a text, or to the tag of each of its words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adverb.bert.alignment import cut_words
from adverb.bert.tokenizer import Tokenizer
from adverb.data.windows import Span, tag_rows
from adverb.metrics.entities import spans_of
from adverb.pipelines.batching import batches, pad
from adverb.pipelines.model import Model
from adverb.pipelines.scores import log_softmax

STRIDE = 64  # tokens that windows share, of a model that doesn't say
UNSEEN = ""  # the tag of a word that vanished in tokenisation


@dataclass(frozen=True)
class Entity:
    """text == the text that was given [start:end], in characters. probability: the mean over its words."""

    type: str
    start: int
    end: int
    text: str
    probability: float


def find_entities(model: Model, tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[Entity]]:
    """The entities of each text, in their order; every word with its tag where the model was trained on such.

    The words are those of BERT's tokenizers (`cut_words`). Texts of any length: long ones are read in windows, and a
    word is judged where it has most context.
    """
    words = [cut_words(text) for text in texts]
    spans = scheme_of(model) == "spans"
    found = []
    tagged = best_tags(model, word_logits(model, tokenizer, texts, words))
    for text, places, (tags, probabilities) in zip(texts, words, tagged, strict=True):
        seen = [word for word, tag in enumerate(tags) if tag != UNSEEN]
        if spans:
            groups = sorted((start, end, type_) for type_, start, end in spans_of([tags[word] for word in seen]))
        else:
            groups = [(place, place + 1, tags[word]) for place, word in enumerate(seen)]
        entities = []
        for first, after, type_ in groups:
            inside = seen[first:after]
            start, end = places[inside[0]][0], places[inside[-1]][1]
            entities.append(Entity(type_, start, end, text[start:end], float(probabilities[inside].mean())))
        found.append(entities)
    return found


def word_logits(
    model: Model, tokenizer: Tokenizer, texts: Sequence[str], words: Sequence[Sequence[Span]]
) -> list[np.ndarray]:
    """The model's scores of each word, float32 [W, C] a text; NaN for words that vanish in tokenisation.

    words: their characters in each text.
    """
    facts, limit = model.config.adverb, model.config.max_position_embeddings
    rows = tag_rows(tokenizer, texts, words, min(facts.get("max_length", limit), limit), facts.get("stride", STRIDE))
    rows = [row for row in rows if len(row.take)]
    found = [np.full((len(spans), model.config.num_labels), np.nan, np.float32) for spans in words]
    for batch in batches([len(row.input_ids) for row in rows], model.token_budget):
        part = [rows[row] for row in batch]
        ids, mask, _ = pad([row.input_ids for row in part], tokenizer.pad_id)
        take, _, _ = pad([row.take for row in part], 0)
        logits = model(ids, mask, take=take)  # [B, T, C]
        for row, scores in zip(part, logits, strict=True):
            found[row.text][row.words] = scores[: len(row.words)]
    return found


def best_tags(
    model: Model, logits: Sequence[np.ndarray], temperature: float | None = None
) -> list[tuple[list[str], np.ndarray]]:
    """(the tags, their probabilities float32 [W]) of each text, from its `word_logits`.

    The most probable sequence of those in which each "I-x" follows a "B-x" or "I-x", if the model was trained here on
    spans; else the most probable tag of each word. A word without scores is UNSEEN; the sequence goes on across it.
    temperature: by which scores are divided; None for what the model was found to need.
    """
    labels, facts = model.config.labels, model.config.adverb
    temperature = facts.get("temperature", 1.0) if temperature is None else temperature
    follows = allowed(labels) if facts.get("scheme") == "spans" else np.ones((len(labels) + 1, len(labels)), dtype=bool)
    tagged = []
    for scores in logits:
        seen = np.flatnonzero(~np.isnan(scores[:, 0]))
        logs = log_softmax(scores[seen] / temperature)
        path = best_path(logs, follows)
        tags, probabilities = [UNSEEN] * len(scores), np.ones(len(scores), np.float32)
        for word, label in zip(seen.tolist(), path.tolist(), strict=True):
            tags[word] = labels[label]
        probabilities[seen] = np.exp(logs[np.arange(len(seen)), path])
        tagged.append((tags, probabilities))
    return tagged


def scheme_of(model: Model) -> str:
    """ "spans" or "words"; of a model trained elsewhere, spans if it has a class for what is outside of them."""
    return model.config.adverb.get("scheme") or ("spans" if "O" in model.config.labels else "words")


def allowed(labels: Sequence[str]) -> np.ndarray:
    """Which tag may follow which: bool [C + 1, C], from row to column; the last row is the beginning of a text."""
    follows = np.ones((len(labels) + 1, len(labels)), dtype=bool)
    for column, label in enumerate(labels):
        if label.startswith("I-"):
            follows[:, column] = [before in (f"B-{label[2:]}", label) for before in (*labels, "O")]
    return follows


def best_path(scores: np.ndarray, follows: np.ndarray) -> np.ndarray:
    """The sequence of greatest sum among those allowed, int64 [W]. Viterbi 1967.

    scores: [W, C]. follows: bool [C + 1, C], see `allowed`.
    """
    best = scores.argmax(-1)
    if follows[np.concatenate([[-1], best[:-1]]), best].all():  # the best of each is allowed, as it mostly is
        return best
    barred = np.where(follows, 0.0, -np.inf)
    total, back = scores[0] + barred[-1], []
    for score in scores[1:]:
        through = total[:, None] + barred[:-1]  # [C before, C]
        back.append(through.argmax(0))
        total = through.max(0) + score
    path = [int(total.argmax())]
    for before in reversed(back):
        path.append(int(before[path[-1]]))
    return np.array(path[::-1], dtype=np.int64)
