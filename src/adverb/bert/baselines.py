"""What BERT was compared with: a left-to-right Transformer, and a pair of LSTMs, one for each direction.

Radford et al. 2018, "Improving language understanding by generative pre-training" (GPT)
Peters et al. 2018, "Deep contextualized word representations" (ELMo), here on WordPieces instead of letters

Both read rows [CLS] text [SEP] and predict every token from what they have seen of the others.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert.checkpoint import read_weights
from adverb.bert.encoder import at
from adverb.bert.tokenizer import Tokenizer
from adverb.bert.vocabulary_loss import vocabulary_loss
from adverb.errors import UserError


@dataclass
class BaselineConfig:
    """kind: "gpt" or "lstm"; layers of an LSTM count for each direction."""

    kind: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    dropout: float = 0.0
    initializer_range: float = 0.02

    def __post_init__(self):
        if self.kind == "gpt" and self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"A hidden size of {self.hidden_size} is not divisible by {self.num_attention_heads} heads.\n"
                f"Choose model.heads so that it is."
            )


class Baseline(nn.Module):
    """Embeddings, tied to the output, around what a subclass computes from them."""

    def __init__(self, config: BaselineConfig):
        super().__init__()
        self.config = config
        self.word = nn.Embedding(config.vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=self.config.initializer_range)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def loss(self, input_ids: Tensor) -> Tensor:
        """Mean cross-entropy in nats of every token given its context, of both directions where there are two.

        input_ids: int64 [B, L].
        """
        each = [
            vocabulary_loss(hidden, self.word.weight, self.bias, target)
            for hidden, target in self.predictions(input_ids)
        ]
        return torch.stack(each).mean()

    def predictions(self, input_ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For every direction: states [B, L - 1, H], and the tokens [B, L - 1] that they are to predict."""
        raise NotImplementedError

    def logits(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.word.weight, self.bias)

    def blanks(self, input_ids: Tensor, take: Tensor) -> Tensor:
        """Scores of what might stand at the positions take int64 [B, T] > 0, which are not looked at: [B, T, V]."""
        raise NotImplementedError


class LeftToRight(Baseline):
    """A Transformer in which a token sees what is left of it; pre-norm, as in GPT-2."""

    def __init__(self, config: BaselineConfig):
        super().__init__(config)
        self.position = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layers = nn.ModuleList(CausalLayer(config) for _ in range(config.num_hidden_layers))
        self.initialise()

    def states(self, input_ids: Tensor) -> Tensor:
        """[B, L] -> [B, L, H], the last of them having seen everything."""
        limit = self.config.max_position_embeddings
        if input_ids.shape[1] > limit:
            raise UserError(f"A row has {input_ids.shape[1]} tokens, but the model has {limit} positions.")
        x = self.word(input_ids) + self.position.weight[: input_ids.shape[1]]
        x = F.dropout(x, self.config.dropout, self.training)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def empty_caches(self, rows: int, length: int) -> list[Tensor]:
        """What `step` fills: of each layer the keys and values of `length` positions, zeros [2, rows, h, length, d]."""
        size = (2, rows, self.config.num_attention_heads, length)
        head = self.config.hidden_size // self.config.num_attention_heads
        return [self.word.weight.new_zeros(*size, head) for _ in self.layers]

    def step(self, tokens: Tensor, position: int, caches: list[Tensor]) -> Tensor:
        """The states of one more token a row, int64 [B] at `position`: [B, H], as `states` without dropout has them.

        caches: those of `empty_caches`, filled up to `position`; this position is written into them.
        """
        x = self.word(tokens) + self.position.weight[position]  # [B, H]
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer.step(x, position, cache)
        return self.norm(x)

    def predictions(self, input_ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        return [(self.states(input_ids[:, :-1]), input_ids[:, 1:])]

    def blanks(self, input_ids: Tensor, take: Tensor) -> Tensor:
        """From the left context alone."""
        return self.logits(at(self.states(input_ids), take - 1))


class CausalLayer(nn.Module):
    def __init__(self, config: BaselineConfig):
        super().__init__()
        size = config.hidden_size
        self.heads, self.dropout = config.num_attention_heads, config.dropout
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.qkv, self.out = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.up, self.down = nn.Linear(size, config.intermediate_size), nn.Linear(config.intermediate_size, size)

    def forward(self, x: Tensor) -> Tensor:
        rate = self.dropout if self.training else 0.0
        qkv = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1))  # [B, L, 3, h, d]
        q, k, v = (t.transpose(1, 2) for t in qkv.unbind(2))  # [B, h, L, d] each
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=rate)
        x = x + F.dropout(self.out(mixed.transpose(1, 2).flatten(2)), rate, self.training)
        return x + F.dropout(self.down(F.gelu(self.up(self.feed_forward_norm(x)))), rate, self.training)

    def step(self, x: Tensor, position: int, cache: Tensor) -> Tensor:
        """[B, H] of one position, which sees the ones before it in `cache` [2, B, h, L, d]: [B, H]."""
        q, k, v = self.qkv(self.attention_norm(x)).unflatten(-1, (3, self.heads, -1)).unbind(1)  # [B, h, d] each
        cache[0, :, :, position], cache[1, :, :, position] = k, v
        keys, values = cache[:, :, :, : position + 1].to(q.dtype)  # [B, h, position + 1, d] each
        mixed = F.scaled_dot_product_attention(q[:, :, None], keys, values)  # [B, h, 1, d]
        x = x + self.out(mixed.flatten(1))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x))))


class TwoWayLSTM(Baseline):
    """LSTMs from the left and from the right, which share embeddings and output and know nothing of each other.

    Their sum at a place would have seen the word it is to predict; so each is trained on the word ahead of it.
    """

    def __init__(self, config: BaselineConfig):
        super().__init__(config)
        shape = (config.hidden_size, config.hidden_size, config.num_hidden_layers)
        dropout = config.dropout if config.num_hidden_layers > 1 else 0.0
        self.forwards = nn.LSTM(*shape, batch_first=True, dropout=dropout)
        self.backwards = nn.LSTM(*shape, batch_first=True, dropout=dropout)
        self.initialise()

    def states(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """[B, L] -> having seen up to a token from the left, from the right: [B, L, H] each."""
        x = F.dropout(self.word(input_ids), self.config.dropout, self.training)
        left, _ = self.forwards(x)
        right, _ = self.backwards(x.flip(1))
        return self.norm(left), self.norm(right.flip(1))

    def predictions(self, input_ids: Tensor) -> list[tuple[Tensor, Tensor]]:
        left, right = self.states(input_ids)
        return [(left[:, :-1], input_ids[:, 1:]), (right[:, 1:], input_ids[:, :-1])]

    def blanks(self, input_ids: Tensor, take: Tensor) -> Tensor:
        """From both sides: the product of what either expects."""
        left, right = self.states(input_ids)
        after = (take + 1).clamp(max=input_ids.shape[1] - 1)
        scores = [self.logits(at(left, take - 1)), self.logits(at(right, after))]
        return sum(s.float().log_softmax(-1) for s in scores)


KINDS: dict[str, type[Baseline]] = {"gpt": LeftToRight, "lstm": TwoWayLSTM}
MODEL_TYPES = {f"adverb-{kind}": kind for kind in KINDS}


def save_baseline(model: Baseline, tokenizer: Tokenizer, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": f"adverb-{model.config.kind}", **asdict(model.config)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


def load_baseline(folder: Path) -> tuple[Baseline, Tokenizer]:
    """What `save_baseline` wrote. Raises UserError where it is damaged."""
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del values["model_type"]
    try:
        config = BaselineConfig(**values)
        model = KINDS[config.kind](config)
        model.load_state_dict(read_weights(folder))
    except (TypeError, KeyError, RuntimeError) as error:
        raise UserError(f"{folder} holds a damaged model: {str(error).splitlines()[0]}") from None
    return model.eval(), Tokenizer.from_pretrained(folder)
