"""What is put on top of the encoder. Each model is an encoder `bert`, a head, a `forward` and a `loss`.

The masks of labels are transformers': an integer label of -100 is not counted.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adverb.bert.config import BertConfig
from adverb.bert.encoder import Bert, activation, initialise, layer_norm
from adverb.bert.vocabulary_loss import vocabulary_loss

IGNORED = -100


class MaskedLMHead(nn.Module):
    """Scores over the vocabulary: decoder(norm(f(W x))), the decoder being the word embeddings plus a bias."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, bias=config.architecture == "bert")
        self.activation = activation(config.hidden_act)
        self.norm = layer_norm(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        untied = None if config.tie_word_embeddings else torch.empty(config.vocab_size, config.hidden_size)
        self.weight = None if untied is None else nn.Parameter(nn.init.normal_(untied, std=config.initializer_range))
        initialise(self, config)

    def forward(self, hidden: Tensor, embeddings: Tensor, labels: Tensor | None = None) -> Tensor:
        """hidden [..., H], embeddings [V, H], used unless the weights are untied -> logits [..., V].

        With labels int64 [...]: the mean cross-entropy in nats over those that are not -100.
        """
        hidden = self.norm(self.activation(self.dense(hidden)))
        weight = embeddings if self.weight is None else self.weight
        if labels is None:
            return F.linear(hidden, weight, self.bias)
        return vocabulary_loss(hidden, weight, self.bias, labels, IGNORED)


class MaskedLM(nn.Module):
    """Predicts the token at masked positions."""

    task = "masked_lm"

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.mlm = MaskedLMHead(config)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
        take: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, T, V] at the positions `take` int64 [B, T], or at all, [B, L, V]. Others as `Bert.forward`.

        With labels int64 [B, T or L]: their `loss` instead, at less than half the cost of the logits in memory.
        """
        hidden = self.bert(input_ids, attention_mask, token_type_ids, position_ids, document_ids, take)
        return self.mlm(hidden, self.bert.embeddings.word.weight, labels)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy in nats over labels int64 [B, T] that are not -100."""
        return cross_entropy(logits, labels)


class Pretraining(nn.Module):
    """The two tasks of 2018: masked tokens, and whether the second segment follows the first (0: it does)."""

    task = "pretraining"

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = Bert(config, pooler=True)
        self.mlm = MaskedLMHead(config)
        self.pair = linear(config, 2)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        take: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(logits [B, T or L, V], pair logits [B, 2]); `take` as in MaskedLM.

        With labels int64 [B, T or L], their mean cross-entropy in place of the logits; it is cheaper.
        """
        if take is None:
            hidden = self.bert(input_ids, attention_mask, token_type_ids)
            first, masked = hidden[:, 0], hidden
        else:
            hidden = self.bert(input_ids, attention_mask, token_type_ids, take=F.pad(take, (1, 0)))  # [CLS], masked
            first, masked = hidden[:, 0], hidden[:, 1:]
        return self.mlm(masked, self.bert.embeddings.word.weight, labels), self.pair(self.bert.pooler(first))

    def loss(self, logits: tuple[Tensor, Tensor], labels: Tensor, pair_labels: Tensor) -> Tensor:
        """Sum of both mean cross-entropies; labels [B, T or L], pair_labels [B] in {0, 1}, int64."""
        return cross_entropy(logits[0], labels) + cross_entropy(logits[1], pair_labels)


class SequenceClassifier(nn.Module):
    """One answer a text, from the pooled first token. `config.problem_type` says of which kind."""

    task = "sequence_classification"

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = Bert(config, pooler=True)
        self.classifier = linear(config, config.num_labels)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Logits [B, C], or values [B, C] of a regression."""
        return self.classify(self.features(input_ids, attention_mask, token_type_ids))

    def features(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """What the classifier sees, before dropout: [B, H]."""
        take = torch.zeros_like(input_ids[:, :1])
        return self.bert.pooler(self.bert(input_ids, attention_mask, token_type_ids, take=take)[:, 0])

    def classify(self, features: Tensor) -> Tensor:
        return self.classifier(F.dropout(features, self.config.head_dropout, self.training))

    def loss(
        self, logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """labels: int64 [B]; float [B, C] in {0, 1} when multi-label; float [B, C] or [B] for a regression.

        class_weights [C]: by which a row counts that has the class. label_smoothing in [0, 1): that share of what a
        row should say is spread evenly (Szegedy et al. 2016, §7). Neither changes a regression.
        """
        if self.config.problem_type == "regression":
            return F.mse_loss(logits.float(), labels.float().view_as(logits))
        if self.config.problem_type == "multi_label_classification":
            labels = labels.float() * (1 - label_smoothing) + label_smoothing / 2
            return F.binary_cross_entropy_with_logits(logits.float(), labels, pos_weight=class_weights)
        return cross_entropy(logits, labels, class_weights, label_smoothing)

    def probabilities(self, logits: Tensor) -> Tensor:
        """[B, C] in [0, 1]: they sum to 1, or are independent when multi-label; a regression's values as they are."""
        if self.config.problem_type == "regression":
            return logits.float()
        multi = self.config.problem_type == "multi_label_classification"
        return logits.float().sigmoid() if multi else logits.float().softmax(-1)


class TokenClassifier(nn.Module):
    """A class for every token: entities, parts of speech."""

    task = "token_classification"

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.classifier = linear(config, config.num_labels)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        take: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, L, C], or [B, T, C] at the positions `take` (the first piece of each word, say)."""
        hidden = self.bert(input_ids, attention_mask, token_type_ids, take=take)
        return self.classifier(F.dropout(hidden, self.config.head_dropout, self.training))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over labels int64 [B, L or T] that are not -100."""
        return cross_entropy(logits, labels)


class QuestionAnswerer(nn.Module):
    """Where in the text the answer starts and ends."""

    task = "question_answering"

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.span = linear(config, 2)  # row 0 is the start

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(start logits [B, L], end logits [B, L]), the end inclusive."""
        start, end = self.span(self.bert(input_ids, attention_mask, token_type_ids)).unbind(-1)
        return start, end

    def loss(self, logits: tuple[Tensor, Tensor], starts: Tensor, ends: Tensor) -> Tensor:
        """Mean of both cross-entropies; starts, ends: int64 [B], -100 or a position past the row not counted."""
        length = logits[0].shape[1]
        targets = [torch.where((t < 0) | (t >= length), IGNORED, t) for t in (starts, ends)]
        return (cross_entropy(logits[0], targets[0]) + cross_entropy(logits[1], targets[1])) / 2


class ReplacedTokenHead(nn.Module):
    """One logit a token, positive where it thinks the token was replaced: w f(W x). ELECTRA, Clark et al., 2020."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.out = nn.Linear(config.hidden_size, 1)
        initialise(self, config)

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., H] -> [...]."""
        return self.out(self.activation(self.dense(hidden))).squeeze(-1)


class ReplacedToken(nn.Module):
    """The discriminator of ELECTRA."""

    task = "replaced_token"

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.discriminator = ReplacedTokenHead(config)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, L]."""
        return self.discriminator(self.bert(input_ids, attention_mask, token_type_ids, position_ids, document_ids))

    def loss(self, logits: Tensor, replaced: Tensor, counted: Tensor) -> Tensor:
        """Mean binary cross-entropy; replaced, counted: [B, L], nonzero where so (count what is not padding)."""
        each = F.binary_cross_entropy_with_logits(logits.float(), replaced.float(), reduction="none")
        return (each * counted).sum() / counted.sum().clamp(min=1)


class Embedder(nn.Module):
    """One vector a text: the mean of its tokens' states, or the first, scaled to length 1 (Sentence-BERT, 2019).

    max_length: tokens a text is cut to, as the model was trained; None: all positions of the model.
    """

    task = "embedding"

    def __init__(
        self, config: BertConfig, pooling: str = "mean", normalize: bool = True, max_length: int | None = None
    ):
        super().__init__()
        if pooling not in ("mean", "cls"):
            raise ValueError(f"pooling must be 'mean' or 'cls', not {pooling!r}")
        self.config = config
        self.bert = Bert(config)
        self.pooling, self.normalize, self.max_length = pooling, normalize, max_length

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """float32 [B, H]."""
        if self.pooling == "cls":
            take = torch.zeros_like(input_ids[:, :1])
            pooled = self.bert(input_ids, attention_mask, token_type_ids, take=take)[:, 0].float()
        else:
            hidden = self.bert(input_ids, attention_mask, token_type_ids).float()  # [B, L, H]
            weight = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            weight = weight.float()[..., None]  # [B, L, 1]
            pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1)
        return F.normalize(pooled, dim=-1) if self.normalize else pooled


MODELS = {
    model.task: model
    for model in (MaskedLM, Pretraining, SequenceClassifier, TokenClassifier, QuestionAnswerer, ReplacedToken, Embedder)
}


def linear(config: BertConfig, outputs: int) -> nn.Linear:
    layer = nn.Linear(config.hidden_size, outputs)
    initialise(layer, config)
    return layer


def cross_entropy(
    logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Mean in float32 over the labels that are not -100; 0, with a gradient of 0, when there is none.

    logits [..., C], labels int64 [...]. class_weights [C]: each loss counts by the weight of its label, in the sum
    and not in their number.
    """
    logits, labels = logits.flatten(0, -2), labels.flatten()
    losses = F.cross_entropy(
        logits.float(), labels, ignore_index=IGNORED, reduction="none", label_smoothing=label_smoothing
    )
    if class_weights is not None:
        losses = losses * class_weights[labels.clamp(min=0)]
    return losses.sum() / (labels != IGNORED).sum().clamp(min=1)
