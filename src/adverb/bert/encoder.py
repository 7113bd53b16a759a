"""The encoder: BERT of 2018 and its modern successor, behind one class.

Devlin et al., 2018, "BERT: Pre-training of Deep Bidirectional Transformers"  (architecture "bert")
Warner et al., 2024, "Smarter, Better, Faster, Longer" (ModernBERT)           (architecture "modern")

Shapes: B rows, L tokens a row, T taken positions a row, H hidden size, h heads of d = H / h, I intermediate size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert import varlen
from adverb.bert.config import BertConfig
from adverb.errors import UserError

# Below this length, writing the [L, L] scores out is faster on a CPU than the fused kernel, see `attend`.
PLAIN_ATTENTION_UP_TO = 512


class Bert(nn.Module):
    """Token ids to hidden states.

    pooler: whether to hold the dense + tanh layer on the first token that sentence heads read. `forward` does not
        call it: heads do, on the state they need.
    """

    def __init__(self, config: BertConfig, pooler: bool = False):
        super().__init__()
        self.config = config
        modern = config.architecture == "modern"
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.num_hidden_layers))
        self.norm = layer_norm(config) if modern else None  # post-norm layers end in a norm, pre-norm ones do not
        self.pooler = Pooler(config) if pooler else None
        initialise(self, config)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
        take: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of the last layer, float [B, L, H], or [B, T, H] at the positions `take`.

        input_ids: int64 [B, L].
        attention_mask: [B, L], nonzero for tokens, zero for padding. None: nothing is padded, the fastest.
        token_type_ids: int64 [B, L], the segment of each token. None: zeros.
        position_ids: int64 [B, L]. None: 0 … L-1, or from 0 in every document.
        document_ids: int64 [B, L], several documents in one row, each a run of one number: a token sees its own
            document only, so the answers are those of the documents one by one.
        take: int64 [B, T], positions in each row. The last layer then computes keys and values everywhere but
            queries, projection and feed-forward at these only. Same numbers, less work.
        Raises UserError when a row is longer than the learned positions.
        """
        length, limit = input_ids.shape[1], self.config.max_position_embeddings
        if self.embeddings.position is not None and length > limit:
            raise UserError(f"A row has {length} tokens, but the model has {limit} positions: cut it to {limit}.")
        if position_ids is None and document_ids is not None:
            position_ids = positions_in_documents(document_ids)
        if attention_mask is not None and not torch.compiler.is_compiling() and attention_mask.device.type == "cpu":
            attention_mask = None if attention_mask.all() else attention_mask  # elsewhere the question costs a sync

        x = self.embeddings(input_ids, token_type_ids, position_ids)  # [B, L, H]
        everywhere = visible(attention_mask, document_ids)
        runs = varlen.runs_of(attention_mask, document_ids) if varlen.available(x.device) else None
        nearby, rotations = everywhere, {}
        if self.config.architecture == "modern":
            if position_ids is None:
                position_ids = torch.arange(length, device=input_ids.device)[None]  # [1, L]
            nearby = within(everywhere, length, self.config.local_attention // 2, input_ids.device)
            thetas = {layer.theta for layer in self.layers}
            rotations = {theta: rotation(position_ids, self.config, theta) for theta in thetas}
        for index, layer in enumerate(self.layers):
            last = index == len(self.layers) - 1
            mask = nearby if layer.local else everywhere
            x = layer(x, mask, rotations.get(layer.theta), take if last else None, runs)
        return x if self.norm is None else self.norm(x)


class Embeddings(nn.Module):
    def __init__(self, config: BertConfig):
        super().__init__()
        size = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, size)
        learned = config.architecture == "bert"
        self.position = nn.Embedding(config.max_position_embeddings, size) if learned else None
        self.segment = nn.Embedding(config.type_vocab_size, size) if config.type_vocab_size else None
        self.norm = layer_norm(config)
        self.dropout = config.hidden_dropout_prob

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None, position_ids: Tensor | None) -> Tensor:
        x = self.word(input_ids)  # [B, L, H]
        if self.segment is not None:
            x = x + (self.segment.weight[0] if token_type_ids is None else self.segment(token_type_ids))
        if self.position is not None:
            rows = self.position.weight[: input_ids.shape[1]]  # [L, H]
            x = x + (rows if position_ids is None else self.position(position_ids))
        return F.dropout(self.norm(x), self.dropout, self.training)


class Layer(nn.Module):
    """Attention, then feed-forward, each with a residual: norm(x + f(x)) in 2018, x + f(norm(x)) in modern."""

    def __init__(self, config: BertConfig, index: int):
        super().__init__()
        self.modern = config.architecture == "modern"
        self.local = self.modern and index % config.global_every != 0
        self.theta = config.rope_theta_local if self.local else config.rope_theta_global  # unused in 2018
        self.attention = Attention(config, config.local_attention // 2 if self.local else None)
        # The embeddings end in a norm, so the first pre-norm would only repeat it.
        self.attention_norm = nn.Identity() if self.modern and index == 0 else layer_norm(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = layer_norm(config)
        self.dropout = config.hidden_dropout_prob

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        cos_sin: Tensor | None,
        take: Tensor | None,
        runs: varlen.Runs | None = None,
    ) -> Tensor:
        kept = x if take is None else at(x, take)  # [B, T, H]
        if self.modern:
            kept = kept + self._drop(self.attention(self.attention_norm(x), mask, cos_sin, take, runs))
            return kept + self._drop(self.feed_forward(self.feed_forward_norm(kept)))
        kept = self.attention_norm(kept + self._drop(self.attention(x, mask, cos_sin, take, runs)))
        return self.feed_forward_norm(kept + self._drop(self.feed_forward(kept)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)  # returns x itself at a rate of 0


class Attention(nn.Module):
    """Self-attention; queries at `take` only when it is given. qkv is one matmul: rows [q | k | v], each [h, d].

    reach: how many tokens to each side are seen, None for all. The mask says so too; `runs` stand for the mask.
    """

    def __init__(self, config: BertConfig, reach: int | None = None):
        super().__init__()
        bias = config.architecture == "bert"
        self.reach = reach
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=bias)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=bias)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None,
        cos_sin: Tensor | None,
        take: Tensor | None,
        runs: varlen.Runs | None = None,
    ) -> Tensor:
        size = x.shape[-1]
        if take is None:
            q, k, v = self._heads(F.linear(x, self.qkv.weight, self.qkv.bias), 3)  # [B, L, h, d] each
        else:
            (q_weight, kv_weight), (q_bias, kv_bias) = self._split(size)
            (q,) = self._heads(F.linear(at(x, take), q_weight, q_bias), 1)  # [B, T, h, d]
            k, v = self._heads(F.linear(x, kv_weight, kv_bias), 2)  # [B, L, h, d] each
            if mask is not None and mask.shape[2] > 1:  # [B or 1, 1, L, L] -> [B, 1, T, L]
                mask = at(mask[:, 0].expand(x.shape[0], -1, -1), take)[:, None]
        if cos_sin is not None:
            at_queries = cos_sin if take is None else at(cos_sin.expand(x.shape[0], -1, -1), take)
            q, k = rotate(q, at_queries), rotate(k, cos_sin)
        dropout = self.dropout if self.training else 0.0
        if runs is not None and take is None and dropout == 0 and q.dtype in varlen.HALVES:
            return self.out(varlen.attend_runs(q, k, v, runs, self.reach).flatten(2))
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))  # [B, h, T, d], [B, h, L, d] twice
        mixed = attend(q, k, v, mask, dropout)  # [B, h, T, d]
        return self.out(mixed.transpose(1, 2).flatten(2))  # [B, T, H]

    def _heads(self, projected: Tensor, parts: int) -> tuple[Tensor, ...]:
        return tuple(part.unflatten(-1, (self.heads, -1)) for part in projected.chunk(parts, dim=-1))  # [B, L, h, d]

    def _split(self, size: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, Tensor | None]]:
        sizes = (size, 2 * size)
        return self.qkv.weight.split(sizes), (None, None) if self.qkv.bias is None else self.qkv.bias.split(sizes)


class FeedForward(nn.Module):
    """W2 f(W1 x), or GeGLU, W2 (f(W1 x) * V x), with W1 and V in one matmul (Shazeer, 2020)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        bias = config.architecture == "bert"
        self.gated = config.architecture == "modern"
        self.activation = activation(config.hidden_act)
        width = config.intermediate_size * (2 if self.gated else 1)
        self.up = nn.Linear(config.hidden_size, width, bias=bias)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)  # [B, T, I] or [B, T, 2 I]
        if self.gated:
            x, gate = x.chunk(2, dim=-1)
            return self.down(self.activation(x) * gate)
        return self.down(self.activation(x))


class Pooler(nn.Module):
    """tanh(W x) on the state of the first token, [..., H] -> [..., H]."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Tensor) -> Tensor:
        return torch.tanh(self.dense(first))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """softmax(q k' / sqrt(d)) v over [B, h, T or L, d]; mask: bool, True where a query may look.

    torch's fused kernel for CPUs is made for long rows: in bfloat16 at 128 tokens its backward takes three times
    as long as the plain formula, and it has no dropout. Elsewhere, and for long rows, the fused one wins.
    """
    if torch.compiler.is_exporting():  # the form that engines know as attention
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B, h, T, L]
        if mask is not None:
            scores = scores + torch.where(mask, 0.0, torch.finfo(scores.dtype).min / 2)
        return scores.softmax(-1) @ v
    plain = q.device.type == "cpu" and (q.dtype == torch.bfloat16 or dropout > 0)
    if plain and k.shape[2] <= PLAIN_ATTENTION_UP_TO:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # [B, h, T, L]
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return F.dropout(scores.softmax(-1, dtype=q.dtype), dropout) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)


def visible(attention_mask: Tensor | None, document_ids: Tensor | None) -> Tensor | None:
    """Which keys a query may see: bool [B, 1, L or 1, L], or None for all of them."""
    if document_ids is None:
        return None if attention_mask is None else attention_mask.bool()[:, None, None, :]  # [B, 1, 1, L]
    if attention_mask is not None:  # padding is a document of its own, so no query is left without keys
        document_ids = torch.where(attention_mask.bool(), document_ids, document_ids.min() - 1)
    return (document_ids[:, :, None] == document_ids[:, None, :])[:, None]  # [B, 1, L, L]


def within(mask: Tensor | None, length: int, reach: int, device: torch.device) -> Tensor | None:
    """`mask`, and no farther than `reach` tokens away: bool [B or 1, 1, L, L], or None for everything."""
    if not torch.compiler.is_exporting() and length <= reach + 1:  # an exported graph is one for all lengths
        return mask
    index = torch.arange(length, device=device)
    near = (index[:, None] - index[None, :]).abs() <= reach  # [L, L]
    if mask is None:
        return near[None, None]
    # The diagonal stays: padding far from any token would otherwise see nothing, and a softmax of nothing is NaN.
    return (near & mask) | (index[:, None] == index[None, :])


def positions_in_documents(document_ids: Tensor) -> Tensor:
    """Positions that start at 0 with each run of equal numbers: int64 [B, L] -> int64 [B, L]."""
    index = torch.arange(document_ids.shape[1], device=document_ids.device).expand_as(document_ids)
    starts = F.pad(document_ids[:, 1:] != document_ids[:, :-1], (1, 0), value=True)
    return index - torch.where(starts, index, 0).cummax(dim=1).values


def rotation(position_ids: Tensor, config: BertConfig, theta: float) -> Tensor:
    """cos and sin of position * theta^(-2i/d), side by side: float32 [B or 1, L, d]. Su et al., 2021, eq. 15."""
    size = config.hidden_size // config.num_attention_heads
    frequency = theta ** -(torch.arange(0, size, 2, device=position_ids.device, dtype=torch.float32) / size)  # [d/2]
    angle = position_ids[..., None].float() * frequency  # [B or 1, L, d/2]
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def rotate(x: Tensor, cos_sin: Tensor) -> Tensor:
    """Turn the pairs (x_i, x_{i + d/2}) of [B, L, h, d] by the angles of `rotation`; computed in float32."""
    cos, sin = cos_sin[:, :, None, :].chunk(2, dim=-1)  # [B or 1, L, 1, d/2] each
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


def at(x: Tensor, take: Tensor) -> Tensor:
    """x [B, L, …] at the positions take [B, T]: [B, T, …]."""
    rows = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]  # [B, 1]
    return x.flatten(0, 1).index_select(0, (rows + take).flatten()).unflatten(0, take.shape)


def layer_norm(config: BertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.architecture == "bert")


def activation(name: str) -> nn.Module:
    """ "gelu" is the exact one, x Φ(x), as in the authors' code; the others are what transformers calls so."""
    tanh_gelu = nn.GELU(approximate="tanh")
    table = {"gelu": nn.GELU(), "gelu_new": tanh_gelu, "gelu_pytorch_tanh": tanh_gelu, "relu": nn.ReLU()}
    return table[name] if name in table else nn.SiLU()


def initialise(module: nn.Module, config: BertConfig) -> None:
    """Normal of `initializer_range`, cut at two deviations, as in the authors' code; biases 0.

    In the modern architecture, what writes to the residual stream is smaller by sqrt(2 layers), so that its
    variance does not grow with depth (Radford et al., 2019).
    """
    std = config.initializer_range
    for name, child in module.named_modules():
        if isinstance(child, nn.Linear | nn.Embedding):
            scale = (2 * config.num_hidden_layers) ** -0.5 if name.endswith((".out", ".down")) else 1.0
            deviation = std * (scale if config.architecture == "modern" else 1.0)
            nn.init.trunc_normal_(child.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        if isinstance(child, nn.Linear) and child.bias is not None:
            nn.init.zeros_(child.bias)
