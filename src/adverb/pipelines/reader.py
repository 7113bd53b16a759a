"""From a saved BERT to what its head says: classes, entities, answers, embeddings, filled masks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Encoding

from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines import EXPORT
from adverb.pipelines.batching import ahead
from adverb.pipelines.filler import Fill, fill_mask
from adverb.pipelines.model import Model, outputs_of
from adverb.pipelines.scores import sigmoid, softmax

if TYPE_CHECKING:
    import torch

CHUNK = 4096  # texts tokenised and sorted by length at a time
VERBS = {  # task -> the verb that it is for; "embed" for all others
    "masked_lm": "fill_mask",
    "pretraining": "fill_mask",
    "language_model": "fill_mask",
    "sequence_classification": "classify",
    "token_classification": "entities",
    "question_answering": "answer",
}

Classes = list[tuple[str, float]]


class Reader:
    """A model that reads, with its tokenizer.

    model: what computes: a network of torch, or an export, which needs no torch.

    The verbs take one text, or a list of them, and answer likewise. `classify`, `entities` and `answer` let the
    encoder compute in bf16 where this machine gains by it; the head stays in float32. Vectors and probabilities of
    words are always computed in float32, as others compute them. What is said of a text does not depend on the texts
    beside it, but for rounding.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self.cut = 0  # texts so far that were longer than `max_length`

    @classmethod
    def load(cls, source: str | Path) -> Reader:
        """Open a folder in the layout of transformers or sentence-transformers, an export, or a model of the hub.

        Raises UserError where there is no such model, or it comes without a tokenizer.
        """
        from adverb.pipelines import model_folder

        folder = model_folder(source)
        if EXPORT in json.loads((folder / "config.json").read_text(encoding="utf-8")):
            from adverb.pipelines.onnx_model import OnnxModel

            return cls(*OnnxModel.load(folder))
        from adverb.pipelines.torch_model import TorchModel

        return cls(*TorchModel.load(folder))

    @property
    def fills_masks(self) -> bool:
        return self.verb == "fill_mask"

    @property
    def verb(self) -> str:
        """What this model is for: the name of one of the methods below."""
        return VERBS.get(self.model.task, "embed")

    @property
    def facts(self) -> dict[str, Any]:
        """What adverb noted in the config: max_length, temperature, …"""
        return getattr(self.model.config, "adverb", {})  # a baseline has none

    @property
    def max_length(self) -> int:
        """Tokens of a text that are read, special ones included; the rest of a longer text is left out."""
        positions = self.model.config.max_position_embeddings
        trained = self.model.embedding().max_length if self.verb == "embed" else self.facts.get("max_length")
        return min(trained or positions, positions)

    @property
    def max_question(self) -> int:
        """Tokens of a question, without special ones, that `answer` takes."""
        from adverb.data.windows import question_room
        from adverb.pipelines.answerer import MAX_QUESTION

        return question_room(self.max_length, self.facts.get("max_question", MAX_QUESTION))

    def to(self, device: str | torch.device) -> Reader:
        """device: as torch names it, or "auto", the accelerator where there is one."""
        self.model.to(device)
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder that `load`, and transformers, open."""
        self.tokenizer.max_length = self.max_length  # where others cut
        self.model.save(self.tokenizer, folder)

    # -- the verbs

    def classify(self, texts: str | Sequence[str], pairs: str | Sequence[str] | None = None) -> Classes | list[Classes]:
        """[(label, probability), …] of each text, best first; calibrated where training stored a temperature.

        pairs: the second text of each, for a model of sentence pairs. Probabilities sum to 1, or are independent in
        a multi-label model; a regression says [(name, value)]. Texts longer than `max_length` tokens are cut.
        """
        if isinstance(texts, str):
            return self.classify([texts], None if pairs is None else [pairs])[0]
        return self._named(self.probabilities(texts, pairs))

    def entities(self, texts: str | Sequence[str]) -> list:
        """The entities of each text, in their order: `tagger.Entity` with type, start, end, text, probability.

        text[start:end] is the entity, in characters of the text as given. Texts of any length are read.
        """
        self._must_be("entities", "entities")
        if isinstance(texts, str):
            return self.entities([texts])[0]
        from adverb.pipelines.tagger import find_entities

        return find_entities(self.model.deciding(), self.tokenizer, list(texts))

    def answer(self, questions: str | Sequence[str], contexts: str | Sequence[str], n_best: int = 5) -> list:
        """The `n_best` answers to each question in its context: `answerer.Answer` with text, start, end, probability.

        context[start:end] is the answer; an empty one says that there is none. contexts: one of each question, or
        one str for all. Contexts of any length are read. Raises UserError for a question of more than
        `max_question` tokens.
        """
        self._must_be("answer", "answers")
        if isinstance(questions, str):
            return self.answer([questions], contexts, n_best)[0]
        from adverb.pipelines.answerer import find_answers

        for why in self.long_questions(questions).values():
            raise UserError(why)
        contexts = [contexts] * len(questions) if isinstance(contexts, str) else list(contexts)
        return find_answers(self.model.deciding(), self.tokenizer, list(questions), contexts, n_best)

    def embed(self, texts: str | Sequence[str]) -> np.ndarray:
        """One vector a text, float32 [N, H], or [H] for a single str: for similarity, their dot product.

        The mean of the last states, of length 1, or what the files of sentence-transformers say; texts longer than
        `max_length` tokens are cut. Raises UserError for a baseline.
        """
        if isinstance(texts, str):
            return self.embed([texts])[0]
        model = self.model.embedding()
        found = [outputs_of(model, encodings, self.tokenizer.pad_id) for encodings in self._chunks(texts, None)]
        return np.concatenate(found) if found else np.empty((0, model.config.hidden_size), np.float32)

    def search(self, queries: str | Sequence[str], texts: Sequence[str], top_k: int = 5) -> list:
        """The `top_k` texts most similar to each query, best first: `search.Hit` with index, text, score (cosine)."""
        from adverb.pipelines.search import search

        if isinstance(queries, str):
            return self.search([queries], texts, top_k)[0]
        return search(self, queries, texts, top_k)

    def fill_mask(
        self, texts: str | Sequence[str], top_k: int = 5, candidates: Sequence[str] | None = None
    ) -> list[Fill] | list[list[Fill]]:
        """The `top_k` most probable fillings of the [MASK]s of each text, best first; `adverb.bert.fill.fill_mask`.

        Raises UserError without a mask, for a text that is too long, an unknown candidate, and for a model that has
        no head over the vocabulary.
        """
        if not self.fills_masks:
            raise UserError(
                f"this model has no words to fill in (it was saved for {self.model.task.replace('_', ' ')}): "
                "use one pre-trained as a masked language model"
            )
        if not isinstance(texts, str):
            return [self.fill_mask(text, top_k, candidates) for text in texts]
        return fill_mask(self.model, self.tokenizer, texts, top_k, candidates)

    # -- what they are made of

    def probabilities(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """What `classify` says as float32 [N, C], in the order of `model.config.labels`; values of a regression."""
        return self.calibrated(self.logits(texts, pairs))

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """A classifier's scores as they are, float32 [N, C]."""
        self._must_be("classify", "classes")
        model = self.model.deciding()
        found = [outputs_of(model, encodings, self.tokenizer.pad_id) for encodings in self._chunks(texts, pairs)]
        return np.concatenate(found) if found else np.empty((0, self.model.config.num_labels), np.float32)

    def calibrated(self, logits: np.ndarray, temperature: float | None = None) -> np.ndarray:
        """Probabilities [N, C] of logits [N, C] by a temperature, None for the one that training stored."""
        config = self.model.config
        if config.problem_type == "regression":
            return logits
        logits = logits / (temperature or self.facts.get("temperature", 1.0))
        # A single logit without a problem_type is a probability of its own, as in the pipelines of transformers.
        multi = config.problem_type == "multi_label_classification" or config.num_labels == 1
        return sigmoid(logits) if multi else softmax(logits)

    def _named(self, probabilities: np.ndarray) -> list[Classes]:
        labels, order = self.model.config.labels, np.argsort(-probabilities, axis=1, kind="stable")
        ranked = np.take_along_axis(probabilities, order, axis=1)
        return [
            [(labels[i], p) for i, p in zip(row, values, strict=True)]
            for row, values in zip(order.tolist(), ranked.tolist(), strict=True)
        ]

    def _chunks(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Iterator[list[Encoding]]:
        """The texts tokenised, some thousand at a time; the next while the model reads."""
        texts, limit = list(texts), self.max_length
        pairs = None if pairs is None else list(pairs)
        if pairs is not None and len(pairs) != len(texts):
            raise UserError(f"{len(texts):,} texts, but {len(pairs):,} second texts: give one for each")

        def tokenised() -> Iterator[list[Encoding]]:
            for start in range(0, len(texts), CHUNK):
                part = slice(start, start + CHUNK)
                made = self.tokenizer.encode_batch(texts[part], None if pairs is None else pairs[part], limit)
                self.cut += sum(len(e) == limit and bool(e.overflowing) for e in made)
                yield made

        return ahead(tokenised()) if len(texts) > CHUNK else tokenised()

    def long_questions(self, questions: Sequence[str]) -> dict[int, str]:
        """The places of those that `answer` does not take, and why."""
        counts = [len(encoding) for encoding in self.tokenizer.encode_batch(questions, special_tokens=False)]
        told = "The question '{}…' has {} tokens, of which the model reads {}: shorten it."
        most = self.max_question
        return {i: told.format(questions[i][:40], count, most) for i, count in enumerate(counts) if count > most}

    def _must_be(self, verb: str, wanted: str) -> None:
        if self.verb != verb:
            task = self.model.task.replace("_", " ")
            raise UserError(f"this model says nothing about {wanted}: it was saved for {task}")
