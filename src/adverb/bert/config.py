"""The shape of a BERT, in the words of transformers' config.json."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from adverb.errors import UserError

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
MODEL_TYPES = {"bert": "bert", "modern": "adverb-modern"}  # architecture -> `model_type` in config.json
PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")


@dataclass
class BertConfig:
    """Sizes and switches of an encoder and of the head on it.

    architecture: "bert" is Devlin et al., 2018 (learned positions, post-norm, biases, segment embeddings);
        "modern" follows ModernBERT, Warner et al., 2024 (rotary positions, pre-norm, GeGLU, no biases, local and
        global attention in turn). With type_vocab_size=0 it has no segment embeddings, as in that paper.
    local_attention: width in tokens of the sliding window of a local layer: a token sees local_attention // 2
        tokens to each side. Every `global_every`-th layer, the first included, attends globally.
    id2label: names of the classes of a classifier; the one source for `num_labels`.
    adverb: facts of a trained model that transformers has no key for, such as {"max_length": 128, "temperature": 1.3};
        numbers, strings and lists of them. transformers keeps the key and does not read it.
    Raises UserError for sizes that cannot work.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    classifier_dropout: float | None = None  # None: hidden_dropout_prob
    tie_word_embeddings: bool = True
    id2label: dict[int, str] | None = None
    problem_type: str | None = None  # of a sequence classifier: one of PROBLEMS; None: single label
    architecture: str = "bert"
    rope_theta_global: float = 160_000.0
    rope_theta_local: float = 10_000.0
    local_attention: int = 128
    global_every: int = 3
    adverb: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        for name in (*sizes, "max_position_embeddings", "global_every"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"{name} must be a whole number of at least 1, not {value!r}.")
        if self.hidden_size % self.num_attention_heads:
            raise UserError(
                f"hidden_size {self.hidden_size} is not divisible by num_attention_heads {self.num_attention_heads}."
            )
        if self.architecture not in MODEL_TYPES:
            raise UserError(f"architecture must be 'bert' or 'modern', not {self.architecture!r}.")
        if self.architecture == "modern" and self.hidden_size // self.num_attention_heads % 2:
            raise UserError(
                f"Rotary positions need an even size per head; hidden_size {self.hidden_size} over "
                f"{self.num_attention_heads} heads gives {self.hidden_size // self.num_attention_heads}."
            )
        if self.hidden_act not in ACTIVATIONS:
            raise UserError(f"hidden_act {self.hidden_act!r} is not known; use one of {', '.join(ACTIVATIONS)}.")
        if self.problem_type is not None and self.problem_type not in PROBLEMS:
            raise UserError(f"problem_type {self.problem_type!r} is not known; use one of {', '.join(PROBLEMS)}.")

    @property
    def num_labels(self) -> int:
        return len(self.id2label) if self.id2label else 2

    @property
    def labels(self) -> list[str]:
        """Names of the classes, by index."""
        return [self.id2label[i] for i in range(self.num_labels)] if self.id2label else ["LABEL_0", "LABEL_1"]

    @property
    def head_dropout(self) -> float:
        return self.hidden_dropout_prob if self.classifier_dropout is None else self.classifier_dropout

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BertConfig:
        """From the contents of a config.json; keys it does not know are left out.

        Raises UserError for a model of another kind, and for what would change the answers and is not built here.
        """
        kinds = {model_type: architecture for architecture, model_type in MODEL_TYPES.items()}
        model_type = values.get("model_type", "bert")
        if model_type not in kinds:
            raise UserError(f"This is a {model_type!r} model; adverb reads BERT (model_type {' or '.join(kinds)}).")
        positions = values.get("position_embedding_type", "absolute")
        if positions != "absolute":
            raise UserError(f"position_embedding_type {positions!r} is not supported, only 'absolute'.")
        for key in ("is_decoder", "add_cross_attention"):
            if values.get(key):
                raise UserError(f"{key}=true makes a decoder; adverb reads BERT encoders.")
        if values.get("embedding_size", values.get("hidden_size")) != values.get("hidden_size"):
            raise UserError("embedding_size differs from hidden_size (factorised embeddings), which is not supported.")
        known = {f.name for f in fields(cls)}
        kept = {k: v for k, v in values.items() if k in known and not (v is None and k != "pad_token_id")}
        if "id2label" in kept:
            kept["id2label"] = _labels(kept["id2label"])
        elif "num_labels" in values:
            kept["id2label"] = {i: f"LABEL_{i}" for i in range(values["num_labels"])}
        if not isinstance(kept.get("adverb", {}), dict):
            del kept["adverb"]
        kept["architecture"] = kinds[model_type]
        return cls(**kept)

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds, with the keys that transformers reads."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["model_type"] = MODEL_TYPES[values.pop("architecture")]
        if self.architecture == "bert":
            for key in ("rope_theta_global", "rope_theta_local", "local_attention", "global_every"):
                del values[key]
            values["position_embedding_type"] = "absolute"
        if self.id2label:
            values["id2label"] = {str(i): name for i, name in self.id2label.items()}
            values["label2id"] = {name: i for i, name in self.id2label.items()}
        else:
            del values["id2label"]
        if self.problem_type is None:
            del values["problem_type"]
        if not self.adverb:
            del values["adverb"]
        return values


def _labels(id2label: dict) -> dict[int, str]:
    names = {int(i): str(name) for i, name in id2label.items()}
    if sorted(names) != list(range(len(names))):
        raise UserError(f"id2label must number the classes 0, 1, 2, …; it has {sorted(names)}.")
    return dict(sorted(names.items()))
