"""From a saved BERT to what its head says: classes, entities, answers, embeddings, filled masks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Encoding
from torch import Tensor, nn

from adverb import machine
from adverb.bert import baselines
from adverb.bert.checkpoint import load_pretrained, locate, save_pretrained
from adverb.bert.fill import Fill, fill_mask
from adverb.bert.heads import Embedder, MaskedLM, Pretraining, QuestionAnswerer, SequenceClassifier, TokenClassifier
from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines.batching import ahead, batches, budget_for, pad

MODEL_TYPES = ("bert", "adverb-modern", *baselines.MODEL_TYPES)
CHUNK = 4096  # texts tokenised and sorted by length at a time

Classes = list[tuple[str, float]]


class Reader:
    """A model that reads, with its tokenizer.

    model: any of `adverb.bert.heads.MODELS`, in eval mode, or one of the baselines of pre-training, which only fill
        masks.

    The verbs take one text, or a list of them, and answer likewise. `classify`, `entities` and `answer` let the
    encoder compute in bf16 where this machine gains by it; the head stays in float32. Vectors and probabilities of
    words are always computed in float32, as others compute them. What is said of a text does not depend on the texts
    beside it, but for rounding.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer):
        self.model, self.tokenizer = model, tokenizer
        self._embedder = model if isinstance(model, Embedder) else None
        self._light: nn.Module | None = None
        self.cut = 0  # texts so far that were longer than `max_length`

    @classmethod
    def load(cls, source: str | Path) -> Reader:
        """Open a folder in the layout of transformers or sentence-transformers, or a model of the hub.

        Raises UserError where there is no such model, or it comes without a tokenizer.
        """
        folder = locate(source)
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if kind in baselines.MODEL_TYPES:
            model, tokenizer = baselines.load_baseline(folder)
            return cls(model.eval(), tokenizer)
        loaded = load_pretrained(folder)
        if loaded.tokenizer is None:
            raise UserError(f"{source} has no tokenizer: put its tokenizer.json or vocab.txt into the folder")
        return cls(loaded.model.requires_grad_(False), loaded.tokenizer)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def fills_masks(self) -> bool:
        return isinstance(self.model, MaskedLM | Pretraining | baselines.Baseline)

    @property
    def verb(self) -> str:
        """What this model is for: the name of one of the methods below."""
        heads = {SequenceClassifier: "classify", TokenClassifier: "entities", QuestionAnswerer: "answer"}
        return "fill_mask" if self.fills_masks else heads.get(type(self.model), "embed")

    @property
    def facts(self) -> dict[str, Any]:
        """What adverb noted in the config: max_length, temperature, …"""
        return getattr(self.model.config, "adverb", {})  # a baseline has none

    @property
    def max_length(self) -> int:
        """Tokens of a text that are read, special ones included; the rest of a longer text is left out."""
        positions = self.model.config.max_position_embeddings
        trained = self._embedding_model().max_length if self.verb == "embed" else self.facts.get("max_length")
        return min(trained or positions, positions)

    def to(self, device: str | torch.device) -> Reader:
        self.model.to(device)
        self._light = None
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder that `load`, and transformers, open."""
        if isinstance(self.model, baselines.Baseline):
            baselines.save_baseline(self.model, self.tokenizer, Path(folder))
        else:
            save_pretrained(self.model, self.tokenizer, folder)

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
        self._must_be(TokenClassifier, "entities")
        if isinstance(texts, str):
            return self.entities([texts])[0]
        from adverb.pipelines.tagger import find_entities

        return find_entities(self.deciding(), self.tokenizer, list(texts))

    def answer(self, questions: str | Sequence[str], contexts: str | Sequence[str], n_best: int = 5) -> list:
        """The `n_best` answers to each question in its context: `answerer.Answer` with text, start, end, probability.

        context[start:end] is the answer; an empty one says that there is none. contexts: one of each question, or
        one str for all. Contexts of any length are read.
        """
        self._must_be(QuestionAnswerer, "answers")
        if isinstance(questions, str):
            return self.answer([questions], contexts, n_best)[0]
        from adverb.pipelines.answerer import find_answers

        contexts = [contexts] * len(questions) if isinstance(contexts, str) else list(contexts)
        return find_answers(self.deciding(), self.tokenizer, list(questions), contexts, n_best)

    def embed(self, texts: str | Sequence[str]) -> np.ndarray:
        """One vector a text, float32 [N, H], or [H] for a single str: for similarity, their dot product.

        The mean of the last states, of length 1, or what the files of sentence-transformers say; texts longer than
        `max_length` tokens are cut. Raises UserError for a baseline.
        """
        if isinstance(texts, str):
            return self.embed([texts])[0]
        model = self._embedding_model()
        found = [model_outputs(model, encodings, self.tokenizer.pad_id) for encodings in self._chunks(texts, None)]
        return torch.cat(found).numpy() if found else np.empty((0, model.config.hidden_size), np.float32)

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
        model = _Blanks(self.model) if isinstance(self.model, baselines.Baseline) else self.model
        return fill_mask(model, self.tokenizer, texts, top_k, candidates)

    # -- what they are made of

    def probabilities(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """What `classify` says as float32 [N, C], in the order of `model.config.labels`; values of a regression."""
        return self.calibrated(self.logits(texts, pairs)).numpy()

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Tensor:
        """A classifier's scores as they are, float32 [N, C]."""
        self._must_be(SequenceClassifier, "classes")
        model = self.deciding()
        found = [model_outputs(model, encodings, self.tokenizer.pad_id) for encodings in self._chunks(texts, pairs)]
        return torch.cat(found) if found else torch.empty(0, self.model.config.num_labels)

    def calibrated(self, logits: Tensor, temperature: float | None = None) -> Tensor:
        """Probabilities [N, C] of logits [N, C] by a temperature, None for the one that training stored."""
        config = self.model.config
        if config.problem_type == "regression":
            return logits
        logits = logits / (temperature or self.facts.get("temperature", 1.0))
        # A single logit without a problem_type is a probability of its own, as in the pipelines of transformers.
        return logits.sigmoid() if config.num_labels == 1 else self.model.probabilities(logits)

    _calibrated = calibrated

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

    def _must_be(self, kind: type[nn.Module], wanted: str) -> None:
        if not isinstance(self.model, kind):
            task = getattr(self.model, "task", "language_model").replace("_", " ")
            raise UserError(f"this model says nothing about {wanted}: it was saved for {task}")

    def deciding(self) -> nn.Module:
        """The model, or its copy with an encoder in bf16 where that is faster. The same one each time."""
        if not machine.peaks(self.device).bf16_profits:
            return self.model
        if self._light is None:
            self._light = with_bf16_encoder(self.model)
        return self._light

    def _embedding_model(self) -> Embedder:
        if isinstance(self.model, baselines.Baseline):
            raise UserError("a one-sided language model makes no embeddings: use a BERT")
        if self._embedder is None:
            with torch.device("meta"):  # its encoder is replaced, so it needs no numbers
                self._embedder = Embedder(self.model.config)
            self._embedder.bert = self.model.bert
            self._embedder.eval()
        return self._embedder


class _Blanks(nn.Module):
    """A baseline behind the call of a masked language model."""

    def __init__(self, model: baselines.Baseline):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, input_ids: torch.Tensor, take: torch.Tensor) -> torch.Tensor:
        return self.model.blanks(input_ids, take)


def with_bf16_encoder(model: nn.Module) -> nn.Module:
    """A copy whose layers compute in bf16 and hand float32 states to the head: labels are decided in float32."""
    light = copy.deepcopy(model)
    for part in (light.bert.embeddings, light.bert.layers, light.bert.norm):
        if part is not None:
            part.to(torch.bfloat16)
    light.bert.register_forward_hook(lambda module, inputs, hidden: hidden.float())
    return light


@torch.inference_mode()
def model_outputs(
    model: nn.Module, encodings: Sequence[Encoding], pad_id: int, call: Callable[..., Tensor] | None = None
) -> Tensor:
    """model(input_ids, attention_mask, token_type_ids) of each row, in their order: float32 [N, …] on the CPU.

    call: a method of the model to call in its place.
    """
    device = next(model.parameters()).device
    ids, types = [e.ids for e in encodings], [e.type_ids for e in encodings]
    outputs: Tensor | None = None
    for rows in batches([len(row) for row in ids], budget_for(device)):
        tensors = pad([ids[row] for row in rows], pad_id, [types[row] for row in rows])
        output = (call or model)(*(None if tensor is None else tensor.to(device) for tensor in tensors)).float()
        if outputs is None:
            outputs = output.new_empty(len(ids), *output.shape[1:])
        outputs[rows] = output
    return outputs.cpu()
