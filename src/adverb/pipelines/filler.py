"""Fill the masks of a text, all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.pipelines.batching import batches
from adverb.pipelines.model import Model
from adverb.pipelines.scores import log_softmax

BEAM = 32  # beginnings that are gone on with


@dataclass(frozen=True)
class Fill:
    """One way to fill all masks. tokens: what stands in each, in order; probability: of all of them together."""

    text: str
    tokens: tuple[str, ...]
    probability: float


def fill_mask(
    model: Model,
    tokenizer: Tokenizer,
    text: str,
    top_k: int = 5,
    candidates: Sequence[str] | None = None,
    beam: int = BEAM,
) -> list[Fill]:
    """The `top_k` most probable fillings of the masks of `text`, best first.

    Several masks are filled from left to right, each given those before it: p(a, b) = p(a) p(b | a), a search over
    the `beam` best beginnings, which reads the text again at each mask. It is exact when the beam holds every
    beginning. Special tokens are never filled in.
    candidates: consider these tokens only; their probabilities stay those among the whole vocabulary.
    Raises UserError when there is no mask, when the text is too long, or when a candidate is not one token.
    """
    pieces = text.split(tokenizer.mask_token)
    if len(pieces) == 1:
        raise UserError(f"There is no {tokenizer.mask_token} in {text!r}: write it where a word is missing.")
    ids = tokenizer.encode(text).ids
    limit = model.config.max_position_embeddings
    if len(ids) > limit:
        raise UserError(f"The text has {len(ids)} tokens, but the model reads {limit}: shorten it.")
    allowed = _allowed(tokenizer, candidates)  # int64 [A]
    rows = np.array([ids])  # int64 [1, L]; then the beginnings, [N, L]
    scores = np.zeros(1, np.float32)  # log probabilities, [N]
    masks = np.flatnonzero(rows[0] == tokenizer.mask_id).tolist()
    for number, position in enumerate(masks):
        logits = _logits(model, rows, position)  # [N, V]
        joint = (scores[:, None] + log_softmax(logits)[:, allowed]).ravel()  # [N · A]
        width = min(top_k if number == len(masks) - 1 else max(beam, top_k), len(joint))
        best = np.argpartition(-joint, width - 1)[:width]
        best = best[np.argsort(-joint[best], kind="stable")]
        scores, rows = joint[best], rows[best // len(allowed)]
        rows[:, position] = allowed[best % len(allowed)]

    vocabulary = tokenizer.tokens()
    found = [tuple(vocabulary[i] for i in row) for row in rows[:, masks].tolist()]
    return [Fill(_join(pieces, tokens), tokens, p) for tokens, p in zip(found, np.exp(scores).tolist(), strict=True)]


def times_read(masks: int, top_k: int) -> int:
    """How often `fill_mask` has the model read a text of so many masks, at most."""
    return 1 + max(0, masks - 1) * max(BEAM, top_k)


def _logits(model: Model, rows: np.ndarray, position: int) -> np.ndarray:
    """Of one place in all rows, int64 [N, L]: float32 [N, V]. No row is padded, so that batches keep their order."""
    found = []
    for batch in batches([rows.shape[1]] * len(rows), model.token_budget):
        logits = model(rows[batch], take=np.full((len(batch), 1), position))
        found.append((logits[0] if isinstance(logits, tuple) else logits)[:, 0])
    return np.concatenate(found)


def _allowed(tokenizer: Tokenizer, candidates: Sequence[str] | None) -> np.ndarray:
    special = set(tokenizer.special_ids)
    if candidates is None:
        return np.array([i for i, token in enumerate(tokenizer.tokens()) if token and i not in special])
    allowed = []
    for word in candidates:
        ids = tokenizer.encode_batch([word], special_tokens=False)[0]
        known = tokenizer.token_to_id(word)  # "##ing" is a token, and encodes as three
        if known is None and len(ids) == 1 and ids.ids[0] not in special:
            known = ids.ids[0]
        if known is None or known in special:
            pieces = " ".join(ids.tokens) or "nothing"
            raise UserError(f"The candidate {word!r} is not one token of this model ({pieces}): choose another word.")
        allowed.append(known)
    if not allowed:
        raise UserError("The list of candidates is empty.")
    return np.array(sorted(set(allowed)))


def _join(pieces: list[str], tokens: tuple[str, ...]) -> str:
    """The text as it was written, with the tokens in the gaps; "##s" joins the word before it."""
    text = pieces[0]
    for token, piece in zip(tokens, pieces[1:], strict=True):
        text = text.rstrip() + token[2:] if token.startswith("##") else text + token
        text += piece
    return text
