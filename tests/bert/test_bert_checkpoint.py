from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bert_models import SHAPES, batch, reference, tiny
from safetensors.torch import load_file, save_file

from adverb.bert import checkpoint
from adverb.bert.checkpoint import ARCHITECTURES, load_pretrained, read_weights, save_pretrained
from adverb.bert.heads import MODELS, Embedder, MaskedLM, Pretraining, SequenceClassifier
from adverb.bert.tokenizer import SPECIALS, Tokenizer
from adverb.errors import UserError

close = dict(rtol=1e-5, atol=1e-5)
TASKS = ["masked_lm", "pretraining", "sequence_classification", "token_classification", "question_answering"]
THREE = {0: "bad", 1: "so so", 2: "good"}
TEXTS = ["A man is eating food.", "The quick brown fox jumps over the lazy dog " * 40, "", "Ünïcode, naïve café!"]


def tokenizer(size: int = 50) -> Tokenizer:
    words = [*SPECIALS.values(), *(chr(97 + i % 26) * (1 + i // 26) for i in range(size - 5))]
    return Tokenizer.from_vocabulary({word: i for i, word in enumerate(words)})


def outputs(model, ids, mask, segments):
    """The answers at real tokens; of transformers' model, its fields in the order of ours."""
    out = model(ids, mask, segments)
    if hasattr(out, "keys"):
        out = tuple(out[key] for key in out if key.endswith("logits"))
    out = out if isinstance(out, tuple) else (out,)
    return [o[mask.bool()] if o.shape[:2] == ids.shape else o for o in out]


@pytest.mark.parametrize("task", TASKS)
def test_reads_what_transformers_writes(task, tmp_path):
    changes = {"id2label": THREE} if "classification" in task else {}
    theirs = reference(ARCHITECTURES[task], SHAPES[0], **changes)
    theirs.save_pretrained(tmp_path)
    found = load_pretrained(tmp_path)
    assert type(found.model) is MODELS[task] and not found.model.training
    assert found.missing == [] and found.unused == [] and found.tokenizer is None
    torch.testing.assert_close(outputs(found.model, *batch(SHAPES[0])), outputs(theirs, *batch(SHAPES[0])), **close)


@pytest.mark.parametrize("task", TASKS)
def test_transformers_reads_what_we_write(task, tmp_path, caplog):
    import transformers

    torch.manual_seed(0)
    changes = {"id2label": THREE} if "classification" in task else {}
    mine = MODELS[task](tiny(**changes)).eval()
    save_pretrained(mine, tokenizer(), tmp_path / "model")
    auto = {
        "masked_lm": transformers.AutoModelForMaskedLM,
        "pretraining": transformers.AutoModelForPreTraining,
        "sequence_classification": transformers.AutoModelForSequenceClassification,
        "token_classification": transformers.AutoModelForTokenClassification,
        "question_answering": transformers.AutoModelForQuestionAnswering,
    }[task]
    theirs, report = auto.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report[key] for key in report), report
    shape = (50, 32, 3, 4, 48, 64, 2)
    torch.testing.assert_close(outputs(mine, *batch(shape)), outputs(theirs.eval(), *batch(shape)), **close)
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["architectures"] == [ARCHITECTURES[task]] and config["position_embedding_type"] == "absolute"
    assert config["pad_token_id"] == 0 and config["torch_dtype"] == "float32"
    if changes:
        assert theirs.config.id2label == THREE and theirs.config.label2id == {"bad": 0, "so so": 1, "good": 2}
    names = load_file(tmp_path / "model/model.safetensors").keys()
    assert not any("decoder" in name or "position_ids" in name for name in names)
    loaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert loaded("a bb zz q")["input_ids"] == tokenizer().encode("a bb zz q").ids


@pytest.mark.parametrize("task", sorted(MODELS))
@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_our_round_trip(task, architecture, tmp_path):
    model = MODELS[task](tiny(architecture, id2label=THREE)).eval()
    folder = tmp_path / "deep" / "model"
    save_pretrained(model, tokenizer(), folder)
    found = load_pretrained(folder)
    assert type(found.model) is type(model) and found.config == model.config
    assert found.missing == found.unused == []
    for name, tensor in model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], tensor), name
    assert [p.name for p in folder.parent.iterdir()] == ["model"]  # nothing is left beside it
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    assert kind == {"bert": "bert", "modern": "adverb-modern"}[architecture]


def test_the_encoder_of_a_discriminator_opens_in_transformers(tmp_path):
    import transformers

    mine = MODELS["replaced_token"](tiny()).eval()
    save_pretrained(mine, None, tmp_path)
    theirs = transformers.AutoModel.from_pretrained(tmp_path, add_pooling_layer=False).eval()
    ids = torch.randint(50, (2, 9))
    torch.testing.assert_close(theirs(ids).last_hidden_state, mine.bert(ids), **close)


def test_untied_decoder(tmp_path):
    import transformers

    mine = MaskedLM(tiny(tie_word_embeddings=False)).eval()
    torch.nn.init.normal_(mine.mlm.bias)
    save_pretrained(mine, None, tmp_path)
    ids = torch.randint(50, (2, 9))
    torch.testing.assert_close(load_pretrained(tmp_path).model(ids), mine(ids))
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(theirs(ids).logits, mine(ids), **close)


def test_what_transformers_made_of_our_model_is_not_taken_for_ours(tmp_path):
    import transformers

    from adverb.pipelines import load

    torch.manual_seed(0)
    mine = MaskedLM(tiny(adverb={"temperature": 3.0})).eval()
    save_pretrained(mine, tokenizer(), tmp_path / "ours")
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "ours", num_labels=2).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer().save_pretrained(tmp_path / "theirs")
    assert json.loads((tmp_path / "theirs" / "config.json").read_text())["adverb_task"] == "masked_lm"
    found = load_pretrained(tmp_path / "theirs")
    assert type(found.model) is SequenceClassifier and found.config.adverb == {} and found.missing == []
    assert load_pretrained(tmp_path / "ours").config.adverb == {"temperature": 3.0}
    ids = torch.randint(50, (2, 9))
    torch.testing.assert_close(found.model(ids), theirs(ids).logits, **close)
    assert load(tmp_path / "theirs").classify("a b")[0][0] in ("LABEL_0", "LABEL_1")


def test_a_model_without_its_head_does_not_answer(tmp_path):
    from adverb.pipelines import load

    save_pretrained(MaskedLM(tiny()), tokenizer(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    changed = {"architectures": ["BertForSequenceClassification"], "adverb_task": "sequence_classification"}
    (tmp_path / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(UserError, match="sequence classification and has no weights for it, such as bert.pooler"):
        load(tmp_path)


def old_names(state: dict, prefix: bool = True) -> dict:
    """As BERT was published: gamma and beta, position_ids, the decoder twice."""
    state = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in state.items()}
    state = {name.replace("LayerNorm.bias", "LayerNorm.beta"): tensor for name, tensor in state.items()}
    state["bert.embeddings.position_ids"] = torch.arange(40)[None]
    if "cls.predictions.bias" in state:
        state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"].clone()
        state["cls.predictions.decoder.bias"] = state["cls.predictions.bias"].clone()
    return state if prefix else {name.removeprefix("bert."): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("form", ["safetensors", "bin", "sharded safetensors", "sharded bin"])
@pytest.mark.parametrize("prefix", [True, False])
def test_old_names_and_all_forms_of_files(form, prefix, tmp_path):
    theirs = reference("BertForPreTraining", SHAPES[0])
    theirs.save_pretrained(tmp_path)
    state = old_names(load_file(tmp_path / "model.safetensors"), prefix)
    (tmp_path / "model.safetensors").unlink()
    write = save_file if "safetensors" in form else torch.save
    stem, suffix = ("model", ".safetensors") if "safetensors" in form else ("pytorch_model", ".bin")
    if "sharded" in form:
        names = sorted(state)
        files = {f"{stem}-0000{i + 1}-of-00002{suffix}": names[i::2] for i in range(2)}
        for file, part in files.items():
            write({name: state[name].contiguous() for name in part}, tmp_path / file)
        index = {"metadata": {}, "weight_map": {name: file for file, part in files.items() for name in part}}
        (tmp_path / f"{stem}{suffix}.index.json").write_text(json.dumps(index))
    else:
        write(state, tmp_path / f"{stem}{suffix}")
    found = load_pretrained(tmp_path)
    assert type(found.model) is Pretraining and found.missing == found.unused == []
    torch.testing.assert_close(outputs(found.model, *batch(SHAPES[0])), outputs(theirs, *batch(SHAPES[0])), **close)


def test_a_decoder_that_differs_is_kept(tmp_path):
    theirs = reference("BertForMaskedLM", SHAPES[0], tie_word_embeddings=False)
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    found = load_pretrained(tmp_path)
    assert found.config.tie_word_embeddings is False
    torch.testing.assert_close(outputs(found.model, *batch(SHAPES[0])), outputs(theirs, *batch(SHAPES[0])), **close)


def test_a_new_head_is_reported(tmp_path):
    reference("BertForPreTraining", SHAPES[0]).save_pretrained(tmp_path)
    found = load_pretrained(tmp_path, "sequence_classification", labels=["no", "yes", "maybe"], hidden_dropout_prob=0.0)
    assert found.missing == ["classifier.bias", "classifier.weight"]
    assert {name.split(".")[0] for name in found.unused} == {"mlm", "pair"}
    assert found.config.labels == ["no", "yes", "maybe"] and found.config.hidden_dropout_prob == 0
    assert found.model.classifier.weight.shape == (3, 32)


def test_a_classifier_is_kept_for_its_own_classes_only(tmp_path):
    model = SequenceClassifier(tiny(id2label=THREE))
    save_pretrained(model, None, tmp_path)
    kept = load_pretrained(tmp_path, labels=list(THREE.values()))
    assert kept.missing == [] and torch.equal(kept.model.classifier.weight, model.classifier.weight)
    assert load_pretrained(tmp_path, labels=["x", "y", "z"]).missing == ["classifier.bias", "classifier.weight"]
    assert load_pretrained(tmp_path, labels=["x", "y"]).model.classifier.weight.shape == (2, 32)


def test_a_real_model_equals_transformers(minilm):
    import transformers

    found = load_pretrained(minilm)
    assert type(found.model) is Embedder and found.missing == []
    theirs = transformers.AutoModel.from_pretrained(minilm).eval()
    encoded = [found.tokenizer.encode(text, max_length=128) for text in TEXTS]
    length = max(len(e.ids) for e in encoded)
    ids = torch.tensor([e.ids + [0] * (length - len(e.ids)) for e in encoded])
    mask = torch.tensor([[1] * len(e.ids) + [0] * (length - len(e.ids)) for e in encoded])
    with torch.inference_mode():
        expected = theirs(ids, mask).last_hidden_state
        torch.testing.assert_close(found.model.bert(ids, mask)[mask.bool()], expected[mask.bool()], **close)


def embed(found, texts):
    vectors = [found.tokenizer.encode(text, max_length=found.model.max_length).ids for text in texts]
    with torch.inference_mode():
        return torch.cat([found.model(torch.tensor([ids])) for ids in vectors])


def test_embeddings_equal_sentence_transformers(minilm, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    found = load_pretrained(minilm)
    assert (found.model.pooling, found.model.normalize, found.model.max_length) == ("mean", True, 256)
    reference = sentence_transformers.SentenceTransformer(str(minilm), device="cpu")
    expected = reference.encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(embed(found, TEXTS), expected, **close)
    save_pretrained(found.model, found.tokenizer, tmp_path / "saved")
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert again.max_seq_length == 256
    torch.testing.assert_close(again.encode(TEXTS, convert_to_tensor=True), expected, **close)
    reference.save(str(tmp_path / "theirs"))  # in the files of today
    torch.testing.assert_close(embed(load_pretrained(tmp_path / "theirs"), TEXTS), expected, **close)


@pytest.mark.parametrize("pooling, normalize", [("cls", True), ("mean", False)])
def test_other_poolings_equal_sentence_transformers(pooling, normalize, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    model = Embedder(tiny(), pooling, normalize, max_length=20).eval()
    save_pretrained(model, tokenizer(), tmp_path)
    found = load_pretrained(tmp_path)
    assert (found.model.pooling, found.model.normalize, found.model.max_length) == (pooling, normalize, 20)
    texts = ["a b c", "dd ee " * 30]
    expected = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
    torch.testing.assert_close(embed(found, texts), torch.from_numpy(expected), **close)


def test_saving_over_another_model_leaves_nothing_of_it(tmp_path):
    save_pretrained(Embedder(tiny()), tokenizer(), tmp_path / "model")
    (tmp_path / "model/README.md").write_text("mine")
    save_pretrained(MaskedLM(tiny()), tokenizer(), tmp_path / "model")
    assert not (tmp_path / "model/modules.json").exists() and not (tmp_path / "model/1_Pooling").exists()
    assert (tmp_path / "model/README.md").read_text() == "mine"
    assert type(load_pretrained(tmp_path / "model").model) is MaskedLM


def test_a_failed_write_leaves_the_old_model(tmp_path, monkeypatch):
    old = MaskedLM(tiny())
    save_pretrained(old, tokenizer(), tmp_path / "model")

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError):
        save_pretrained(MaskedLM(tiny()), tokenizer(), tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    found = load_pretrained(tmp_path / "model").model
    assert torch.equal(found.bert.embeddings.word.weight, old.bert.embeddings.word.weight)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub as it lies on disk, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--bert"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    return repository / "snapshots" / commit


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_a_name_on_the_hub(hub, form):
    model = MaskedLM(tiny()).eval()
    save_pretrained(model, tokenizer(), hub)
    if form == "bin":
        torch.save(load_file(hub / "model.safetensors"), hub / "pytorch_model.bin")
        (hub / "model.safetensors").unlink()
    found = load_pretrained("some/bert")
    ids = torch.randint(50, (2, 9))
    torch.testing.assert_close(found.model(ids), model(ids))
    assert found.tokenizer.encode("a bb").ids == tokenizer().encode("a bb").ids


@pytest.mark.parametrize("name", ["some/other", "no such model!", "./nowhere", "/no/where/at/all"])
def test_a_name_that_is_nothing(hub, name):
    with pytest.raises(UserError, match="not a folder"):
        load_pretrained(name)


def broken(folder: Path, what: str) -> str:
    """Break a saved model in a way that happens, and say what the message must name."""
    weights = folder / "model.safetensors"
    if what == "no config":
        (folder / "config.json").unlink()
        return "config.json is missing"
    if what == "config is not JSON":
        (folder / "config.json").write_text("{")
        return "not JSON"
    if what == "no weights":
        weights.unlink()
        return "needs model.safetensors"
    if what == "cut short":
        weights.write_bytes(weights.read_bytes()[:-100])
        return "cannot be read"
    if what == "other sizes":
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(values | {"intermediate_size": 50}))
        return r"feed_forward.*has the shape \[48.*asks for \[50"
    if what == "a layer too few":
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(values | {"num_hidden_layers": 4}))
        return "lacks .* weights of the encoder, such as bert.layers.3"
    if what == "another model":
        save_file({"conv.weight": torch.zeros(3)}, weights)
        return "none of its 1 weights"
    if what == "a larger tokenizer":
        tokenizer(60).save_pretrained(folder)
        return "has 60 tokens, but the model embeds 50"
    if what == "code in a pickle":
        weights.unlink()
        torch.save({"x": Path("x").stat}, folder / "pytorch_model.bin")
        return "more than tensors"
    if what == "a shard is missing":
        weights.unlink()
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
        return "'model-1.safetensors', which is not in the folder"
    assert what == "a shard from elsewhere"
    weights.rename(folder.parent / "x.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')
    return "not in the folder"


@pytest.mark.parametrize(
    "what",
    [
        "no config", "config is not JSON", "no weights", "cut short", "other sizes", "a layer too few",
        "another model", "a larger tokenizer", "code in a pickle", "a shard is missing", "a shard from elsewhere",
    ],
)  # fmt: skip
def test_broken_models(what, tmp_path):
    save_pretrained(MaskedLM(tiny()), tokenizer(), tmp_path / "model")
    words = broken(tmp_path / "model", what)
    with pytest.raises(UserError, match=words):
        load_pretrained(tmp_path / "model")


def test_a_pooling_that_is_not_built(tmp_path):
    save_pretrained(Embedder(tiny()), None, tmp_path)
    (tmp_path / "1_Pooling/config.json").write_text('{"pooling_mode_max_tokens": true}')
    with pytest.raises(UserError, match="pooling_mode_max_tokens is not supported"):
        load_pretrained(tmp_path)


def test_an_unknown_task(tmp_path):
    save_pretrained(MaskedLM(tiny()), None, tmp_path)
    with pytest.raises(UserError, match="'translation'"):
        load_pretrained(tmp_path, "translation")


def test_half_precision_is_read_as_float32(tmp_path):
    save_pretrained(MaskedLM(tiny()).bfloat16(), None, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    assert {t.dtype for t in read_weights(tmp_path).values()} == {torch.bfloat16}
    assert {p.dtype for p in load_pretrained(tmp_path).model.parameters()} == {torch.float32}
