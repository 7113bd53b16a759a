"""Drawing tokens: one from given scores, and whole texts, token by token, from a left-to-right model."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adverb.bert.baselines import LeftToRight
from adverb.bert.tokenizer import Tokenizer

HALF = 0.5  # share of unfinished rows from which on the finished ones are put away


def sample(logits: Tensor, uniforms: Tensor) -> Tensor:
    """One token for each [...] from softmax(logits [..., V]), by the inverse of its distribution: int64 [...]."""
    with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
        total = logits.detach().float().softmax(-1).cumsum(-1)  # [..., V]
        wanted = uniforms[..., None] * total[..., -1:]
        return torch.searchsorted(total, wanted, right=True)[..., 0].clamp(max=logits.shape[-1] - 1)


@dataclass(frozen=True)
class Alphabet:
    """What a text is written with. unwritten: int64 [S], special tokens that never stand in a text (not its end)."""

    start: int
    end: int
    pad: int
    unwritten: Tensor

    @classmethod
    def of(cls, tokenizer: Tokenizer, device: torch.device | str = "cpu") -> Alphabet:
        unwritten = sorted(set(tokenizer.special_ids) - {tokenizer.sep_id})
        return cls(tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, torch.tensor(unwritten, device=device))

    def scores(self, model: LeftToRight, states: Tensor) -> Tensor:
        """Of the next token, float32 [..., V] of states [..., H]: -inf where none can be written."""
        return model.logits(states).float().index_fill(-1, self.unwritten, -torch.inf)


@torch.no_grad()
def write(model: LeftToRight, alphabet: Alphabet, uniforms: Tensor, temperature: float = 1.0) -> Tensor:
    """Texts, a row each: start, tokens, end, and padding up to the longest of them, int64 [B, L].

    uniforms: [B, T] in [0, 1), what decides the tokens of a row, so that a row depends on its own numbers only. L is at
    most T + 2 and the model's positions: a text that is not at its end there is ended.
    temperature: above 0; scores are divided by it, so that below 1 likely tokens get likelier.

    Keys and values are kept from token to token; rows at their end are put away once they are half of those computed.
    """
    rows, most = uniforms.shape[0], min(uniforms.shape[1] + 2, model.config.max_position_embeddings)
    written = torch.full((rows, most), alphabet.pad, device=uniforms.device)
    written[:, 0] = alphabet.start
    open_rows = torch.arange(rows, device=uniforms.device)  # int64 [b], those computed
    caches = model.empty_caches(rows, most - 1)
    for position in range(most - 2):
        scores = alphabet.scores(model, model.step(written[open_rows, position], position, caches))  # [b, V]
        tokens = sample(scores / temperature, uniforms[open_rows, position])
        ended = (written[open_rows, position] == alphabet.end) | (written[open_rows, position] == alphabet.pad)
        written[open_rows, position + 1] = torch.where(ended, alphabet.pad, tokens)
        going = ~ended & (tokens != alphabet.end)
        count = int(going.sum())
        if count == 0:
            return written[:, : position + 2]
        if count <= HALF * len(open_rows):
            open_rows, caches = open_rows[going], [cache[:, going] for cache in caches]
    last = written[:, most - 2]
    written[:, most - 1] = torch.where((last == alphabet.end) | (last == alphabet.pad), alphabet.pad, alphabet.end)
    return written


def log_probabilities(
    model: LeftToRight, alphabet: Alphabet, ids: Tensor, states: Tensor, most: int
) -> tuple[Tensor, Tensor]:
    """(log p of each token after the first, given those before; which of them were drawn), float32 [B, L - 1] each.

    ids: rows of `write` at temperature 1, int64 [B, L]. states: [B, L - 1, H] of all but the last token. most: L of the
    longest row that `write` could make, at whose last place the end is not drawn. What was not drawn has a log p of 0.
    """
    targets = ids[:, 1:]
    places = torch.arange(targets.shape[1], device=ids.device)
    drawn = (targets != alphabet.pad) & (places < most - 2)
    targets = torch.where(drawn, targets, alphabet.end)
    chosen = alphabet.scores(model, states).log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    return chosen.masked_fill(~drawn, 0.0), drawn.float()
