from __future__ import annotations

import pytest
import torch
from bert_models import SHAPES, batch, ours, reference, tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.bert import encoder
from adverb.bert.config import BertConfig
from adverb.bert.encoder import Bert, positions_in_documents
from adverb.bert.heads import Embedder, MaskedLM, Pretraining
from adverb.errors import UserError

close = dict(rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padded", [False, True])
def test_equals_transformers(shape, padded):
    theirs = reference("BertModel", shape)
    mine = ours(Embedder, theirs).bert
    ids, mask, segments = batch(shape, padded=padded)
    expected = theirs(ids, mask, segments).last_hidden_state
    real = mask.bool()
    torch.testing.assert_close(mine(ids, mask, segments)[real], expected[real], **close)
    torch.testing.assert_close(mine(ids, mask)[real], theirs(ids, mask).last_hidden_state[real], **close)
    if not padded:
        torch.testing.assert_close(mine(ids, None, segments), expected, **close)


@pytest.mark.parametrize("name", ["gelu_new", "relu", "silu"])
def test_activations_equal_transformers(name):
    theirs = reference("BertModel", SHAPES[0], hidden_act=name)
    ids, mask, segments = batch(SHAPES[0], padded=False)
    mine = ours(Embedder, theirs).bert
    torch.testing.assert_close(mine(ids, mask, segments), theirs(ids, mask, segments).last_hidden_state, **close)


def test_given_positions_equal_transformers():
    theirs = reference("BertModel", SHAPES[0])
    ids, mask, segments = batch(SHAPES[0], padded=False)
    positions = torch.stack([torch.randperm(ids.shape[1]) for _ in ids])
    expected = theirs(ids, mask, segments, position_ids=positions).last_hidden_state
    torch.testing.assert_close(ours(Embedder, theirs).bert(ids, mask, segments, positions), expected, **close)


def test_gradients_equal_transformers():
    theirs = reference("BertModel", SHAPES[0]).train()
    mine = ours(Embedder, theirs).bert.train()
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    theirs.config.attention_probs_dropout_prob = 0.0
    for module in mine.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.0
    ids, mask, segments = batch(SHAPES[0])
    weight = torch.randn(*ids.shape, SHAPES[0][1]) * mask[..., None]
    (theirs(ids, mask, segments).last_hidden_state * weight).sum().backward()
    (mine(ids, mask, segments) * weight).sum().backward()
    expected = theirs.encoder.layer[0].attention.self.value.weight.grad
    torch.testing.assert_close(mine.layers[0].attention.qkv.weight.grad.chunk(3)[2], expected, rtol=1e-4, atol=1e-4)
    expected = theirs.embeddings.position_embeddings.weight.grad
    torch.testing.assert_close(mine.embeddings.position.weight.grad, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("length", [6, 40])
def test_modern_equals_modernbert(length):
    """An independent implementation of the architecture, with and without windows that bind, and padding."""
    import transformers

    torch.manual_seed(0)
    config = tiny("modern", type_vocab_size=0, layer_norm_eps=1e-5, num_hidden_layers=4)
    theirs = transformers.ModernBertForMaskedLM(
        transformers.ModernBertConfig(
            vocab_size=50, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, intermediate_size=48,
            max_position_embeddings=64, local_attention=8, global_attn_every_n_layers=3, pad_token_id=0,
            bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
        )
    ).eval()  # fmt: skip
    mine = MaskedLM(config).eval()
    names = {
        "bert.embeddings.word": "model.embeddings.tok_embeddings",
        "bert.embeddings.norm": "model.embeddings.norm",
        "bert.norm": "model.final_norm",
        "mlm.dense": "head.dense",
        "mlm.norm": "head.norm",
    }
    for i in range(4):
        parts = {"attention.qkv": "attn.Wqkv", "attention.out": "attn.Wo", "attention_norm": "attn_norm"}
        parts |= {"feed_forward.up": "mlp.Wi", "feed_forward.down": "mlp.Wo", "feed_forward_norm": "mlp_norm"}
        names |= {f"bert.layers.{i}.{a}": f"model.layers.{i}.{b}" for a, b in parts.items()}
    state = theirs.state_dict()
    with torch.no_grad():
        for name, parameter in mine.named_parameters():
            if name == "mlm.bias":
                parameter.copy_(state["decoder.bias"].normal_())
            else:
                module, kind = name.rsplit(".", 1)
                target = state[f"{names[module]}.{kind}"]
                target.add_(0.2 * torch.randn_like(target))
                parameter.copy_(target)
    ids = torch.randint(50, (3, length))
    mask = torch.ones_like(ids)
    mask[1, length // 2 :] = 0
    torch.testing.assert_close(mine(ids), theirs(ids, torch.ones_like(ids)).logits, rtol=1e-4, atol=1e-4)
    real = mask.bool()
    torch.testing.assert_close(mine(ids, mask)[real], theirs(ids, mask).logits[real], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["bert", "modern"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_take_equals_the_whole(architecture, data):
    """Forward and gradients, under padding, documents, and repeated positions."""
    rows, length, count = (data.draw(st.integers(1, n)) for n in (3, 30, 6))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    model = Bert(tiny(architecture)).eval()
    ids = torch.randint(50, (rows, length))
    kind = data.draw(st.sampled_from(["plain", "padded", "packed"]))
    mask = (torch.arange(length) <= torch.randint(length, (rows, 1))).long() if kind == "padded" else None
    documents = torch.randint(3, (rows, length)).sort(1).values if kind == "packed" else None
    take = torch.randint(length, (rows, count))
    weight = torch.randn(rows, count, 32)

    def outcome(hidden):
        model.zero_grad()
        (hidden * weight).sum().backward()
        return hidden.detach(), [p.grad.clone() for p in model.parameters()]

    whole = model(ids, mask, document_ids=documents)
    expected, expected_grads = outcome(whole[torch.arange(rows)[:, None], take])
    got, grads = outcome(model(ids, mask, document_ids=documents, take=take))
    torch.testing.assert_close(got, expected, **close)
    for g, e in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(g, e, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ["bert", "modern"])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_packing_equals_documents_one_by_one(architecture, data):
    lengths = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    padding = data.draw(st.integers(0, 5))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    model = Bert(tiny(architecture)).eval()
    documents = [torch.randint(50, (1, n)) for n in lengths]
    segments = [torch.randint(2, (1, n)) for n in lengths]
    numbers = [torch.full((1, n), i) for i, n in enumerate(lengths)]
    filler = torch.zeros(1, padding, dtype=torch.long)
    ids = torch.cat([*documents, filler], 1)
    mask = (torch.arange(ids.shape[1]) < sum(lengths)).long()[None]
    types = torch.cat([*segments, filler], 1)
    packed = model(ids, mask, types, document_ids=torch.cat([*numbers, filler], 1))
    alone = torch.cat([model(d, None, s) for d, s in zip(documents, segments, strict=True)], 1)
    torch.testing.assert_close(packed[:, : sum(lengths)], alone, **close)


def test_positions_restart_with_each_document():
    documents = torch.tensor([[5, 5, 5, 2, 2, 9], [0, 1, 1, 1, 1, 1]])
    assert positions_in_documents(documents).tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 3, 4]]


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_padding_does_not_matter(architecture):
    torch.manual_seed(0)
    model = Bert(tiny(architecture)).eval()
    ids = torch.randint(50, (2, 30))
    padded = torch.cat([ids, torch.randint(50, (2, 30))], 1)
    mask = torch.cat([torch.ones(2, 30), torch.zeros(2, 30)], 1).long()
    hidden = model(padded, mask)
    torch.testing.assert_close(hidden[:, :30], model(ids), **close)
    assert hidden.isfinite().all()


@pytest.mark.parametrize("architecture", ["bert", "modern"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_bfloat16_is_near_float32(architecture, dropout):
    """Under autocast, trained or not; the short rows of a CPU have an attention of their own."""
    torch.manual_seed(0)
    config = tiny(architecture, initializer_range=0.02, hidden_size=64, attention_probs_dropout_prob=dropout)
    model = Pretraining(config)
    ids, mask = torch.randint(50, (4, 40)), (torch.arange(40) < torch.tensor([[40], [30], [7], [1]])).long()
    take = torch.tensor([[1, 3]] * 4)
    labels, pairs = torch.randint(50, (4, 2)), torch.tensor([0, 1, 0, 1])
    exact = model.eval()(ids, mask, take=take)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(ids, mask, take=take)
        loss = model.train().loss(model(ids, mask, take=take), labels, pairs)
    loss.backward()
    torch.testing.assert_close(rough[0].float(), exact[0], rtol=0.05, atol=0.02)
    assert loss.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("masked", [False, True])
def test_plain_attention_equals_the_fused_one(masked, monkeypatch):
    q, k, v = (torch.randn(2, 3, 16, 8, dtype=torch.bfloat16) for _ in range(3))
    mask = torch.rand(2, 1, 16, 16) < 0.5 if masked else None
    if masked:
        mask |= torch.eye(16, dtype=torch.bool)
    plain = encoder.attend(q, k, v, mask, 0.0)
    monkeypatch.setattr(encoder, "PLAIN_ATTENTION_UP_TO", 0)
    fused = encoder.attend(q.float(), k.float(), v.float(), mask, 0.0)
    torch.testing.assert_close(plain.float(), fused, rtol=0.03, atol=0.03)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    model = Bert(tiny(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5))
    ids = torch.randint(50, (2, 20))
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))
    attention = Bert(tiny(attention_probs_dropout_prob=0.5))
    assert not torch.equal(attention(ids), attention(ids))


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_compiles_without_graph_breaks(architecture):
    model = Bert(tiny(architecture, num_hidden_layers=2)).eval()
    ids, mask = torch.randint(50, (2, 30)), torch.ones(2, 30, dtype=torch.long)
    take = torch.tensor([[0, 4], [1, 2]])
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(ids, mask, take=take), model(ids, mask, take=take), **close)


def test_local_layers_see_their_window_only():
    model = Bert(tiny("modern", num_hidden_layers=2, local_attention=4))
    layer = model.layers[1]  # the first is global
    assert not model.layers[0].local and layer.local
    x = torch.randn(1, 12, 32, requires_grad=True)
    mask = encoder.within(None, 12, 2, x.device)
    turns = encoder.rotation(torch.arange(12)[None], model.config, layer.theta)
    layer(x, mask, turns, None)[0, 6].sum().backward()
    assert x.grad[0].abs().sum(-1).nonzero().flatten().tolist() == [4, 5, 6, 7, 8]


def test_initial_weights():
    torch.manual_seed(0)
    config = tiny(hidden_size=256, intermediate_size=512, initializer_range=0.02)
    model = Bert(config)
    weight = model.layers[0].attention.qkv.weight.detach()
    assert weight.std() == pytest.approx(0.0176, rel=0.02)  # 0.02, cut at two deviations
    assert weight.abs().max() <= 0.04
    assert not model.layers[0].attention.qkv.bias.any()
    modern = Bert(tiny("modern", hidden_size=256, initializer_range=0.02))
    assert modern.layers[1].attention.out.weight.detach().std() == pytest.approx(0.0176 / 6**0.5, rel=0.02)


def test_too_long_a_row():
    with pytest.raises(UserError, match="65 tokens, but the model has 64"):
        Bert(tiny())(torch.zeros(1, 65, dtype=torch.long))
    assert Bert(tiny("modern"))(torch.zeros(1, 65, dtype=torch.long)).shape == (1, 65, 32)


@pytest.mark.parametrize(
    "values, words",
    [
        (dict(model_type="roberta"), "'roberta' model"),
        (dict(position_embedding_type="relative_key"), "relative_key"),
        (dict(hidden_size=30, num_attention_heads=4), "not divisible"),
        (dict(hidden_act="quick_gelu"), "quick_gelu"),
        (dict(is_decoder=True), "decoder"),
        (dict(embedding_size=16, hidden_size=32), "embedding_size"),
        (dict(num_hidden_layers=0), "num_hidden_layers"),
        (dict(id2label={"0": "a", "2": "b"}), "id2label"),
        (dict(problem_type="ranking"), "ranking"),
    ],
)
def test_configs_that_cannot_be_honoured(values, words):
    with pytest.raises(UserError, match=words):
        BertConfig.from_dict(values)


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_config_survives_a_round_trip(architecture):
    changes = dict(local_attention=16, rope_theta_local=9.0, global_every=2) if architecture == "modern" else {}
    labels, problem = {0: "no", 1: "yes", 2: "maybe"}, "multi_label_classification"
    config = BertConfig(architecture=architecture, id2label=labels, problem_type=problem, hidden_size=96, **changes)
    assert BertConfig.from_dict(config.to_dict()) == config
    assert BertConfig.from_dict(config.to_dict() | {"use_cache": True, "gradient_checkpointing": False}) == config


def test_no_query_is_left_without_keys():
    """Padding far from the last token, in a local layer: some kernels would answer NaN."""
    mask = encoder.visible((torch.arange(40) < 5)[None], None)
    assert encoder.within(mask, 40, 4, mask.device).any(-1).all()
