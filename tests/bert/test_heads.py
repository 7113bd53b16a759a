from __future__ import annotations

import pytest
import torch
from bert_models import SHAPES, batch, ours, reference, tiny

from adverb.bert import vocabulary_loss as vocabulary_loss_module
from adverb.bert.heads import (
    MODELS,
    Embedder,
    MaskedLM,
    Pretraining,
    QuestionAnswerer,
    ReplacedToken,
    SequenceClassifier,
    TokenClassifier,
    cross_entropy,
)
from adverb.bert.names import from_transformers

close = dict(rtol=1e-5, atol=1e-5)


def some_labels(ids, mask, vocab):
    labels = torch.randint(vocab, ids.shape)
    return torch.where((torch.rand(ids.shape) < 0.3) & mask.bool(), labels, -100)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tied", [True, False])
def test_masked_lm_equals_transformers(shape, tied):
    theirs = reference("BertForMaskedLM", shape, tie_word_embeddings=tied)
    mine = ours(MaskedLM, theirs)
    ids, mask, segments = batch(shape)
    labels = some_labels(ids, mask, shape[0])
    expected = theirs(ids, mask, segments, labels=labels)
    logits, real = mine(ids, mask, segments), mask.bool()
    torch.testing.assert_close(logits[real], expected.logits[real], rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(mine.loss(logits, labels), expected.loss, **close)
    # at the labelled positions only
    count = int((labels != -100).sum(1).max())
    take = (labels != -100).int().argsort(dim=1, descending=True, stable=True)[:, :count]
    few = mine(ids, mask, segments, take=take)
    torch.testing.assert_close(mine.loss(few, labels.gather(1, take)), expected.loss, **close)
    loss = mine(ids, mask, segments, take=take, labels=labels.gather(1, take))
    torch.testing.assert_close(loss, expected.loss, **close)
    # and the gradients of the way without logits
    expected.loss.backward()
    loss.backward()
    grads = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    if tied:
        grads.pop("cls.predictions.decoder.weight", None)
    for name, grad in from_transformers(grads).items():
        own = mine.get_parameter(name).grad
        if name == "bert.embeddings.word.weight":  # theirs does not learn the padding's row
            own, grad = own[1:], grad[1:]
        torch.testing.assert_close(own, grad, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("shape", SHAPES)
def test_pretraining_equals_transformers(shape):
    theirs = reference("BertForPreTraining", shape)
    mine = ours(Pretraining, theirs)
    ids, mask, segments = batch(shape)
    labels, follows = some_labels(ids, mask, shape[0]), torch.tensor([0, 1, 0])
    expected = theirs(ids, mask, segments, labels=labels, next_sentence_label=follows)
    logits, pair = mine(ids, mask, segments)
    real = mask.bool()
    torch.testing.assert_close(logits[real], expected.prediction_logits[real], rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(pair, expected.seq_relationship_logits, **close)
    torch.testing.assert_close(mine.loss((logits, pair), labels, follows), expected.loss, **close)
    take = torch.tensor([[3, 1], [0, 2], [4, 4]])
    few, pair_too = mine(ids, mask, segments, take=take)
    torch.testing.assert_close(few, logits[torch.arange(3)[:, None], take], **close)
    torch.testing.assert_close(pair_too, pair, **close)
    loss, _ = mine(ids, mask, segments, labels=labels)
    torch.testing.assert_close(loss, cross_entropy(logits, labels), **close)


@pytest.mark.parametrize(
    "problem, labels",
    [
        ("single_label_classification", torch.tensor([2, 0, 1])),
        ("multi_label_classification", torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1]])),
        ("regression", torch.tensor([[0.5, 1, -2], [3, 0, 0], [1, 1, 1]])),
    ],
)
def test_sequence_classification_equals_transformers(problem, labels):
    theirs = reference("BertForSequenceClassification", SHAPES[0], num_labels=3, problem_type=problem)
    mine = ours(SequenceClassifier, theirs)
    ids, mask, segments = batch(SHAPES[0])
    expected = theirs(ids, mask, segments, labels=labels)
    logits = mine(ids, mask, segments)
    torch.testing.assert_close(logits, expected.logits, **close)
    torch.testing.assert_close(mine.loss(logits, labels), expected.loss, **close)
    probabilities = mine.probabilities(logits)
    if problem == "single_label_classification":
        torch.testing.assert_close(probabilities.sum(1), torch.ones(3))
    elif problem == "multi_label_classification":
        torch.testing.assert_close(probabilities, expected.logits.sigmoid(), **close)
    else:
        torch.testing.assert_close(probabilities, expected.logits, **close)


def test_regression_of_one_value():
    model = SequenceClassifier(tiny(id2label={0: "score"}, problem_type="regression"))
    logits = torch.tensor([[1.0], [2.0]])
    assert model.loss(logits, torch.tensor([0.0, 0.0])) == 2.5  # no broadcasting to [2, 2]


def test_token_classification_equals_transformers():
    theirs = reference("BertForTokenClassification", SHAPES[1], num_labels=5)
    mine = ours(TokenClassifier, theirs)
    ids, mask, segments = batch(SHAPES[1])
    labels = some_labels(ids, mask, 5)
    expected = theirs(ids, mask, segments, labels=labels)
    logits = mine(ids, mask, segments)
    torch.testing.assert_close(logits[mask.bool()], expected.logits[mask.bool()], **close)
    torch.testing.assert_close(mine.loss(logits, labels), expected.loss, **close)
    take = torch.tensor([[0, 3], [1, 2], [0, 0]])
    few = mine(ids, mask, segments, take=take)
    torch.testing.assert_close(few, logits[torch.arange(3)[:, None], take], **close)


def test_question_answering_equals_transformers():
    theirs = reference("BertForQuestionAnswering", SHAPES[1])
    mine = ours(QuestionAnswerer, theirs)
    ids, _, segments = batch(SHAPES[1], padded=False)
    starts, ends = torch.tensor([1, 0, 4]), torch.tensor([3, 99, 5])  # 99: outside the row, not counted
    expected = theirs(ids, None, segments, start_positions=starts.clone(), end_positions=ends.clone())
    logits = mine(ids, None, segments)
    torch.testing.assert_close(logits, (expected.start_logits, expected.end_logits), **close)
    torch.testing.assert_close(mine.loss(logits, starts, ends), expected.loss, **close)


def test_replaced_token_head_equals_electra():
    import transformers

    theirs = transformers.models.electra.modeling_electra.ElectraDiscriminatorPredictions(
        transformers.ElectraConfig(hidden_size=32)
    )
    model = ReplacedToken(tiny())
    head = model.discriminator
    head.dense.load_state_dict(theirs.dense.state_dict())
    head.out.load_state_dict(theirs.dense_prediction.state_dict())
    hidden = torch.randn(2, 7, 32)
    torch.testing.assert_close(head(hidden), theirs(hidden), **close)
    ids = torch.randint(50, (2, 7))
    replaced, counted = torch.rand(2, 7) < 0.5, torch.tensor([[1] * 7, [1, 1, 1, 0, 0, 0, 0]])
    logits = model(ids, counted)
    real = counted.bool()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[real], replaced[real].float())
    torch.testing.assert_close(model.loss(logits, replaced, counted), expected)


def test_vocabulary_loss_in_blocks_and_in_bfloat16(monkeypatch):
    monkeypatch.setattr(vocabulary_loss_module, "CPU_ROWS", 4)
    torch.manual_seed(0)
    inputs = torch.randn(11, 8), torch.randn(30, 8), torch.randn(30)
    labels = torch.randint(30, (11,))
    labels[[0, 7, 10]] = -100

    def outcome(function, bf16=False):
        leaves = [t.clone().requires_grad_() for t in inputs]
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = function(*leaves)
        (3 * loss).backward()
        return [loss.detach(), *(leaf.grad for leaf in leaves)]

    exact = outcome(lambda h, w, b: torch.nn.functional.cross_entropy(h @ w.t() + b, labels))
    fused = outcome(lambda h, w, b: vocabulary_loss_module.vocabulary_loss(h, w, b, labels))
    rough = outcome(lambda h, w, b: vocabulary_loss_module.vocabulary_loss(h, w, b, labels), bf16=True)
    torch.testing.assert_close(fused, exact, **close)
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)
    assert all(t.dtype == torch.float32 for t in rough)


def test_vocabulary_loss_of_a_hopeless_guess_is_finite():
    hidden, weight = torch.tensor([[500.0]]), torch.tensor([[1.0], [-1.0]])
    loss = vocabulary_loss_module.vocabulary_loss(hidden, weight, torch.zeros(2), torch.tensor([1]))
    assert loss == 1000


def test_loss_without_a_label_is_zero_and_so_is_its_gradient():
    logits = torch.randn(2, 3, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.full((2, 3), -100))
    loss.backward()
    assert loss == 0 and not logits.grad.any()
    hidden = torch.randn(3, 4, requires_grad=True)
    loss = vocabulary_loss_module.vocabulary_loss(hidden, torch.randn(5, 4), torch.zeros(5), torch.full((3,), -100))
    loss.backward()
    assert loss == 0 and not hidden.grad.any()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings_do_not_see_padding(pooling):
    model = Embedder(tiny(), pooling).eval()
    ids = torch.randint(50, (2, 9))
    padded = torch.nn.functional.pad(ids, (0, 5))
    mask = torch.nn.functional.pad(torch.ones_like(ids), (0, 5))
    torch.testing.assert_close(model(padded, mask), model(ids), **close)
    torch.testing.assert_close(model(ids).norm(dim=-1), torch.ones(2))
    hidden = model.bert(ids)
    expected = hidden.mean(1) if pooling == "mean" else hidden[:, 0]
    model.normalize = False
    torch.testing.assert_close(model(ids), expected, **close)


@pytest.mark.parametrize("task", sorted(MODELS))
@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_every_parameter_is_used(task, architecture):
    """A parameter without a gradient would stop distributed training."""
    model = MODELS[task](tiny(architecture, id2label={0: "a", 1: "b", 2: "c"}))
    ids = torch.randint(50, (4, 20))
    output = model(ids, torch.ones_like(ids), torch.randint(2, ids.shape))
    outputs = output if isinstance(output, tuple) else (output,)
    sum((o * torch.randn_like(o)).sum() for o in outputs).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
