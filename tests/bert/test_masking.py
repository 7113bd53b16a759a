from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.bert.masking import UNIFORMS, Masking
from adverb.bert.tokenizer import SPECIALS, Tokenizer

WORDS = [*SPECIALS.values(), "a", "b", "c", "d", "e", "##f", "##g", "##h", "i", "j"]
TOKENIZER = Tokenizer.from_vocabulary({w: i for i, w in enumerate(WORDS)})
PAD, UNK, CLS, SEP, MASK = range(5)


def rows_of(data, count: int, length: int) -> torch.Tensor:
    """[CLS] tokens [SEP] padding, with an unknown word at times."""
    ids = torch.full((count, length), PAD)
    for row in ids:
        size = data.draw(st.integers(1, length - 2))
        row[0], row[size + 1] = CLS, SEP
        row[1 : size + 1] = torch.tensor(data.draw(st.lists(st.sampled_from([UNK, *range(5, 15)]), min_size=size,
                                                            max_size=size)))  # fmt: skip
    return ids


@pytest.mark.parametrize("whole_words", [False, True])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_always_holds(whole_words, data):
    ids = rows_of(data, 3, data.draw(st.integers(3, 40)))
    rate = data.draw(st.sampled_from([0.15, 0.4]))
    masking = Masking(TOKENIZER, rate, whole_words)
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    uniforms = torch.rand(*ids.shape, UNIFORMS, generator=generator)
    out = masking(ids, uniforms)
    again = masking(ids, uniforms)
    assert all(torch.equal(a, b) for a, b in zip(out, again, strict=True))
    assert out.take.shape == out.labels.shape == (3, masking.columns(ids.shape[1]))
    for row in range(3):
        counted = out.labels[row] != -100
        chosen = out.take[row][counted]
        assert len(set(chosen.tolist())) == len(chosen)
        assert torch.equal(out.labels[row][counted], ids[row, chosen])  # the truth
        assert (ids[row, chosen] > MASK).all()  # never special, never padding
        changed = (out.input_ids[row] != ids[row]).nonzero().flatten()
        assert set(changed.tolist()) <= set(chosen.tolist())
        new = out.input_ids[row, changed]
        assert ((new == MASK) | (new > MASK)).all()
        assert (out.take[row][~counted] == 0).all()
        usable = int((ids[row] > MASK).sum())
        wanted = max(1, round(rate * usable)) if usable else 0
        if not whole_words:
            assert abs(len(chosen) - wanted) <= (rate * usable % 1 == 0.5)  # a half may go either way
        elif usable:
            assert len(chosen) >= 1
            groups, current = [], []
            for i, token in enumerate(ids[row].tolist()):
                if current and token in (10, 11, 12):
                    current.append(i)
                else:
                    current = [i] if token > MASK else []
                    groups += [current] if current else []
            hit = [g for g in groups if set(g) & set(chosen.tolist())]
            partial = [g for g in hit if not set(g) <= set(chosen.tolist())]
            assert not partial or (len(hit) == 1 and len(chosen) == out.take.shape[1])  # a word of more than T pieces
            if len(hit) > 1:
                assert len(chosen) <= wanted


def test_shares():
    """80 / 10 / 10 of 15 %, every position and every replacement alike."""
    torch.manual_seed(0)
    ids = torch.randint(5, 15, (4000, 40))
    ids[:, 0], ids[:, -1] = CLS, SEP
    out = Masking(TOKENIZER)(ids, torch.rand(4000, 40, UNIFORMS))
    chosen = out.labels != -100
    assert (chosen.sum(1) == round(0.15 * 38)).all()
    now = out.input_ids.gather(1, out.take)[chosen]
    truth = out.labels[chosen]
    total = len(truth)
    assert (now == MASK).float().mean().item() == pytest.approx(0.8, abs=0.01)
    # of the 10 % at random, one in ten is the token itself
    assert ((now != MASK) & (now != truth)).float().mean().item() == pytest.approx(0.09, abs=0.01)
    assert (now == truth).float().mean().item() == pytest.approx(0.11, abs=0.01)
    places = torch.bincount(out.take[chosen], minlength=40)
    assert places[0] == places[39] == 0
    assert (places[1:39] / (total / 38) - 1).abs().max() < 0.2
    random = now[(now != MASK) & (now != truth)]
    kinds = torch.bincount(random, minlength=15)
    assert not kinds[:5].any() and (kinds[5:] / (len(random) / 10) - 1).abs().max() < 0.15


def test_whole_words_are_equally_likely_whatever_their_length():
    ids = torch.tensor([CLS, *[5, 10, 11, 12] * 4, *[6] * 16, SEP]).repeat(5000, 1)  # 4 long words, 16 short ones
    torch.manual_seed(0)
    out = Masking(TOKENIZER, rate=0.5, whole_words=True)(ids, torch.rand(*ids.shape, UNIFORMS))
    counts = torch.bincount(out.take[out.labels != -100], minlength=34)[1:33] / 5000
    assert counts[:16].mean().item() == pytest.approx(counts[16:].mean().item(), abs=0.06)
    assert counts[:16].view(4, 4).std(1).max() == 0  # all or none


def test_the_ends_of_the_uniforms():
    """A uniform that rounds up to 1 must not pick a token past the vocabulary."""
    ids = torch.full((1, 10), 5)
    nearly = torch.full((1, 10, UNIFORMS), 1 - 2**-24)
    nearly[..., 1] = 0.85
    out = Masking(TOKENIZER)(ids, nearly)
    assert out.input_ids.max() == 14
