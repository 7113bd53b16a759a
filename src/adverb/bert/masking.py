"""Which tokens a masked language model must guess, and what stands in their place."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert.heads import IGNORED
from adverb.bert.tokenizer import Tokenizer

UNIFORMS = 3  # numbers a token needs: one to choose it, one for what becomes of it, one for a random replacement


class Masked(NamedTuple):
    """input_ids int64 [B, L], corrupted; take int64 [B, T], positions to guess; labels int64 [B, T], the truth.

    Rows with less to guess are filled up with position 0 and the label -100.
    """

    input_ids: Tensor
    take: Tensor
    labels: Tensor


class Masking(nn.Module):
    """The corruption of Devlin et al., 2018, section 3.1: of 15 % of the tokens, 80 % become [MASK], 10 % a random
    token, and 10 % stay.

    The number is exact for each row (15 %, rounded, at least one), as in the authors' code, where the paper's words
    could also mean a coin for each token: the positions then form a rectangle, the last layer and the head do the
    same work every step, and the loss has less variance.

    Special tokens and padding are neither chosen nor put in as random tokens.

    whole_words: choose words, not pieces of words. Words are taken in random order while they fit the number; a
        first word that is longer than the number is taken all the same, up to the columns there are.
    """

    def __init__(self, tokenizer: Tokenizer, rate: float = 0.15, whole_words: bool = False):
        super().__init__()
        if not 0 < rate < 1:
            raise ValueError(f"rate must be between 0 and 1, not {rate}")
        self.rate, self.whole_words, self.mask_id = rate, whole_words, tokenizer.mask_id
        tokens = tokenizer.tokens()
        special = torch.tensor([not token for token in tokens])  # ids without a token are as unusable
        special[list(tokenizer.special_ids)] = True
        self.register_buffer("special", special, persistent=False)  # bool [V]
        self.register_buffer("ordinary", (~special).nonzero().flatten(), persistent=False)  # int64 [V - specials]
        self.register_buffer("continues", torch.tensor([t.startswith("##") for t in tokens]), persistent=False)

    def columns(self, length: int) -> int:
        """T for rows of `length` tokens."""
        return max(1, round(self.rate * length))

    def forward(self, input_ids: Tensor, uniforms: Tensor) -> Masked:
        """input_ids: int64 [B, L]. uniforms: float [B, L, 3] in [0, 1), which decide everything."""
        order, fate, which = uniforms.unbind(-1)  # [B, L] each
        length = input_ids.shape[1]
        may = ~self.special[input_ids]  # [B, L]
        wanted = (self.rate * may.sum(1)).round().clamp(min=1)  # [B]
        if self.whole_words:
            order = self._of_words(input_ids, order)
        ranked = order.masked_fill(~may, torch.inf).argsort(dim=1, stable=True)  # [B, L], the chosen first
        ranked = ranked[:, : self.columns(length)]  # [B, T]
        counted = may.gather(1, ranked) & (torch.arange(ranked.shape[1], device=ranked.device) < wanted[:, None])
        if self.whole_words:
            counted = self._complete(order, ranked, may, wanted)
        take = torch.where(counted, ranked, 0)
        labels = torch.where(counted, input_ids.gather(1, take), IGNORED)

        pick = (which * len(self.ordinary)).long().clamp(max=len(self.ordinary) - 1)
        replaced = torch.where(fate < 0.8, self.mask_id, torch.where(fate < 0.9, self.ordinary[pick], input_ids))
        beyond = torch.where(counted, ranked, length)  # the fill-ups go to a column of their own, then away
        chosen = F.pad(torch.zeros_like(may), (0, 1)).scatter(1, beyond, True)[:, :length]
        return Masked(torch.where(chosen, replaced, input_ids), take, labels)

    def _of_words(self, input_ids: Tensor, order: Tensor) -> Tensor:
        """Give all tokens of a word the number of its first. A special token ends a word."""
        after_special = F.pad(self.special[input_ids][:, :-1], (1, 0), value=True)
        starts = ~self.continues[input_ids] | after_special  # [B, L]
        index = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
        return order.gather(1, torch.where(starts, index, 0).cummax(1).values)

    def _complete(self, order: Tensor, ranked: Tensor, may: Tensor, wanted: Tensor) -> Tensor:
        """Of the first T tokens in word order, those whose whole word fits in `wanted`: bool [B, T]."""
        key = order.masked_fill(~may, torch.inf)
        chosen = key.gather(1, ranked)  # [B, T], ascending
        ends = (key[:, None, :] <= chosen[:, :, None]).sum(-1)  # [B, T], tokens up to the end of this word
        return chosen.isfinite() & ((ends <= wanted[:, None]) | (chosen == chosen[:, :1]))
