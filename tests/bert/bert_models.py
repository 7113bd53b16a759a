"""Small models, ours and those of transformers with the same weights."""

from __future__ import annotations

import torch

from adverb.bert.config import BertConfig
from adverb.bert.names import from_transformers

# (vocabulary, hidden, layers, heads, intermediate, positions, segments)
SHAPES = [(50, 32, 2, 4, 64, 40, 2), (37, 21, 3, 3, 17, 19, 3), (64, 8, 1, 1, 9, 33, 1)]


def tiny(architecture: str = "bert", **changes) -> BertConfig:
    values = dict(
        vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        initializer_range=0.2, architecture=architecture,
    )  # fmt: skip
    if architecture == "modern":
        values["local_attention"] = 8
    return BertConfig(**(values | changes))


def reference(name: str, shape: tuple[int, ...], **changes):
    """A model of transformers with random weights of a size that shows a mistake."""
    import transformers

    keys = (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "max_position_embeddings", "type_vocab_size",
    )  # fmt: skip
    config = transformers.BertConfig(**dict(zip(keys, shape, strict=True)), **changes)
    model = getattr(transformers, name)(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def ours(task: type, model):
    """Our model with the weights of one of transformers; nothing may be missing or left over."""
    mine = task(BertConfig.from_dict(model.config.to_dict())).eval()
    state = from_transformers({k: v.clone() for k, v in model.state_dict().items()})
    if "mlm.weight" in state and mine.config.tie_word_embeddings:
        del state["mlm.weight"]
    own = mine.state_dict().keys()
    extra = {name for name in state if name not in own}
    assert extra <= {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    mine.load_state_dict({name: state[name] for name in own})
    return mine


def batch(shape: tuple[int, ...], rows: int = 3, seed: int = 1, padded: bool = True):
    """input_ids, attention_mask, token_type_ids, with rows of different length."""
    vocab, positions, segments = shape[0], shape[5], shape[6]
    generator = torch.Generator().manual_seed(seed)
    length = positions - 2
    ids = torch.randint(vocab, (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    if padded:
        for row in range(1, rows):
            mask[row, length // (row + 1) :] = 0
    return ids, mask, torch.randint(segments, (rows, length), generator=generator)
