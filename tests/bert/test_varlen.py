"""Runs in place of masks: the same answers, whatever stands beside; the kernel itself needs CUDA."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from adverb.bert import varlen
from adverb.bert.config import BertConfig
from adverb.bert.encoder import Bert


def plain(q, k, v, cu_seq_q, cu_seq_k, max_q, max_k, window_size=(-1, -1)):
    """What torch documents `varlen_attn` to compute: [T, h, d], run by run, within the window."""
    assert cu_seq_q.dtype == torch.int32 and q.is_contiguous()
    out, longest = torch.empty_like(q), 0
    for a, b in zip(cu_seq_q.tolist(), cu_seq_q.tolist()[1:], strict=False):
        longest = max(longest, b - a)
        part = (x[a:b].transpose(0, 1) for x in (q, k, v))
        index = torch.arange(b - a)
        apart = index[None, :] - index[:, None]  # key - query
        left, right = window_size
        seen = torch.ones_like(apart, dtype=torch.bool) if left < 0 else (-apart <= left) & (apart <= right)
        out[a:b] = F.scaled_dot_product_attention(*part, attn_mask=seen).transpose(0, 1)
    assert longest == max_q == max_k
    return out


@pytest.fixture
def seen(monkeypatch):
    """The kernel replaced by the formula, on any device and dtype; the calls are counted."""
    calls = []
    monkeypatch.setattr(varlen, "available", lambda device: True)
    monkeypatch.setattr(varlen, "HALVES", (torch.float32,))
    monkeypatch.setattr(varlen, "kernel", lambda: lambda *a, **k: (calls.append(1), plain(*a, **k))[1])
    return calls


@pytest.mark.parametrize("architecture", ["bert", "modern"])
@pytest.mark.parametrize("rows", ["documents", "padded", "both"])
def test_equals_the_mask(architecture, rows, seen, monkeypatch):
    torch.manual_seed(0)
    model = Bert(
        BertConfig(
            vocab_size=50, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=48,
            max_position_embeddings=40, architecture=architecture, local_attention=8, initializer_range=0.3,
        )
    ).eval()  # fmt: skip
    ids = torch.randint(50, (3, 40))
    documents = torch.tensor([[0] * 13 + [1] * 27, [4] * 40, [0] * 5 + [1] * 6 + [2] * 29])
    mask = torch.ones(3, 40, dtype=torch.long)
    mask[0, 30:], mask[2, 38:] = 0, 0
    inputs = {"document_ids": documents} if rows != "padded" else {}
    inputs |= {"attention_mask": mask} if rows != "documents" else {}
    take = torch.randint(28, (3, 5))
    with torch.no_grad():
        found, taken = model(ids, **inputs), model(ids, **inputs, take=take)
        assert len(seen) == 4 + 3  # the last layer at `take` has fewer queries than keys
        assert model(ids).isfinite().all() and len(seen) == 7  # rows that are one run need no runs
        monkeypatch.setattr(varlen, "available", lambda device: False)
        expected, expected_taken = model(ids, **inputs), model(ids, **inputs, take=take)
    tokens = mask.bool() if rows != "documents" else torch.ones(3, 40, dtype=torch.bool)
    torch.testing.assert_close(found[tokens], expected[tokens], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(taken, expected_taken, atol=1e-5, rtol=1e-5)


def test_runs():
    runs = varlen.runs_of(torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]), torch.tensor([[7, 7, 3, 3], [3, 3, 3, 3]]))
    assert runs.starts.tolist() == [0, 2, 3, 4, 8] and runs.longest == 4
    assert varlen.runs_of(None, None) is None


def test_the_kernel_takes_what_it_is_given():
    """torch's own function has these arguments: on CUDA it is called as here."""
    import inspect

    kernel = varlen.kernel()
    if kernel is None:
        pytest.skip("this torch has no torch.nn.attention.varlen")
    arguments = inspect.signature(kernel).parameters
    assert list(arguments)[:7] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert arguments["window_size"].default == (-1, -1)
