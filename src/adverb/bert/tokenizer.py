"""WordPiece: text to token ids and back, in the files of transformers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import tokenizers
from tokenizers import Encoding, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from adverb.bert.vocabulary import learn_vocabulary
from adverb.errors import UserError

SPECIALS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
NO_LIMIT = 10**6  # transformers writes 1e30 for a model without a limit

# tokenizers keeps truncation as a state of the tokenizer: two threads that cut at different lengths must take turns.
_turn = threading.Lock()


class Tokenizer:
    """A WordPiece tokenizer with BERT's special tokens.

    Made by `from_pretrained`, `from_vocabulary` or `train`. Answers are `tokenizers.Encoding`: `ids`, `type_ids`,
    `offsets` (in characters of the text), `tokens`, `word_ids`, `sequence_ids`, `special_tokens_mask`, `overflowing`.
    """

    def __init__(self, backend: tokenizers.Tokenizer, names: dict[str, str], max_length: int | None = None):
        """names: the special tokens, under the keys of SPECIALS. max_length: what the model can read, for the files."""
        missing = [name for name in names.values() if backend.token_to_id(name) is None]
        if missing:
            raise UserError(f"The vocabulary has no {', '.join(missing)}: it is not one of BERT's.")
        backend.no_truncation()
        backend.no_padding()
        self.backend = backend
        self.names = names
        self.max_length = max_length
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            backend.token_to_id(names[key]) for key in SPECIALS
        )
        self.mask_token = names["mask_token"]

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The five of BERT and any other token declared special."""
        added = {i for i, token in self.backend.get_added_tokens_decoder().items() if token.special}
        return tuple(sorted(added | {self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}))

    @property
    def vocab_size(self) -> int:
        return self.backend.get_vocab_size()

    @property
    def lowercase(self) -> bool:
        return self.backend.normalizer.lowercase

    def tokens(self) -> list[str]:
        """The vocabulary in the order of ids; "" for an id that no token has."""
        by_id = {i: token for token, i in self.backend.get_vocab().items()}
        return [by_id.get(i, "") for i in range(max(by_id) + 1)]

    def token_to_id(self, token: str) -> int | None:
        return self.backend.token_to_id(token)

    def encode(self, text: str, pair: str | None = None, max_length: int | None = None) -> Encoding:
        """[CLS] text [SEP], or [CLS] text [SEP] pair [SEP] with type 1 for the second; cut to max_length tokens."""
        return self.encode_batch([text], None if pair is None else [pair], max_length)[0]

    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        max_length: int | None = None,
        *,
        cut: str = "longest_first",
        stride: int = 0,
        special_tokens: bool = True,
    ) -> list[Encoding]:
        """Many texts at once, on all cores.

        cut: which of a pair gives way to max_length: "longest_first", "only_first" or "only_second".
        stride: tokens that the windows share when a text is longer; the windows after the first are in the
            answer's `overflowing`. Raises UserError when nothing could be cut to fit.
        """
        inputs = list(texts) if pairs is None else list(zip(texts, pairs, strict=True))
        with _turn:
            if max_length is None:
                self.backend.no_truncation()
            else:
                self._truncate(max_length, cut, stride)
            try:
                return self.backend.encode_batch(inputs, add_special_tokens=special_tokens)
            except Exception as error:  # tokenizers raises bare Exceptions
                if "runcation" not in str(error):
                    raise
                raise UserError(f"A pair cannot be cut to {max_length} tokens ({cut}): {error}.") from None

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        return self.backend.decode(list(ids), skip_special_tokens=skip_special_tokens)

    def _truncate(self, max_length: int, cut: str, stride: int) -> None:
        wanted = dict(max_length=max_length, stride=stride, strategy=cut, direction="right")
        if self.backend.truncation != wanted:
            try:
                self.backend.enable_truncation(**wanted)
            except Exception as error:
                raise UserError(f"Cannot cut to {max_length} tokens with a stride of {stride}: {error}.") from None

    @classmethod
    def from_vocabulary(
        cls,
        vocabulary: dict[str, int],
        lowercase: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        names: dict[str, str] = SPECIALS,
        max_length: int | None = None,
    ) -> Tokenizer:
        """strip_accents=None: as `lowercase`, which is what the authors' code does."""
        backend = tokenizers.Tokenizer(WordPiece(vocabulary, unk_token=names["unk_token"]))
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=split_chinese, strip_accents=strip_accents, lowercase=lowercase
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        known = [name for name in names.values() if name in vocabulary]
        backend.add_special_tokens(known)  # so that "[MASK]" in a text is the mask
        cls_token, sep = names["cls_token"], names["sep_token"]
        if cls_token in vocabulary and sep in vocabulary:
            backend.post_processor = processors.TemplateProcessing(
                single=f"{cls_token} $A {sep}",
                pair=f"{cls_token} $A {sep} $B:1 {sep}:1",
                special_tokens=[(cls_token, vocabulary[cls_token]), (sep, vocabulary[sep])],
            )
        return cls(backend, dict(names), max_length)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int = 30522,
        lowercase: bool = True,
        max_length: int | None = None,
    ) -> Tokenizer:
        """Learn a vocabulary, the same one each time from the same texts.

        Texts stream by: memory holds the different words, not the texts. Past some millions of them (names,
        addresses, noise), rare words are forgotten. Rare letters that the vocabulary has no room for become [UNK].
        """
        specials = {name: i for i, name in enumerate(SPECIALS.values())}
        vocabulary = learn_vocabulary(cls.from_vocabulary(specials, lowercase).backend, texts, vocab_size, [*specials])
        return cls.from_vocabulary(vocabulary, lowercase, max_length=max_length)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Tokenizer:
        """From tokenizer.json or vocab.txt; tokenizer_config.json, where it is, decides about case and accents.

        Raises UserError when there is neither file, or when they are not a WordPiece tokenizer.
        """
        folder = Path(folder)
        config = _read_json(folder / "tokenizer_config.json")
        names = _special_names(config | _read_json(folder / "special_tokens_map.json"))
        limit = config.get("model_max_length")
        limit = int(limit) if limit is not None and limit < NO_LIMIT else None
        options = {
            "lowercase": config.get("do_lower_case"),
            "strip_accents": config.get("strip_accents"),
            "handle_chinese_chars": config.get("tokenize_chinese_chars"),
        }
        if (folder / "tokenizer.json").is_file():
            backend = _load_backend(folder / "tokenizer.json")
            for option, value in options.items():
                if value is not None:
                    setattr(backend.normalizer, option, value)
            return cls(backend, names, limit)
        if (folder / "vocab.txt").is_file():
            lines = (folder / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
            given = {option: value for option, value in options.items() if value is not None}
            given["split_chinese"] = given.pop("handle_chinese_chars", True)
            vocabulary = {token: i for i, token in enumerate(lines)}
            return cls.from_vocabulary(vocabulary, names=names, max_length=limit, **given)
        raise UserError(f"There is no tokenizer in {folder}: it needs tokenizer.json or vocab.txt.")

    def save_pretrained(self, folder: str | Path) -> None:
        """Write vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with _turn:
            self.backend.no_truncation()
            self.backend.save(str(folder / "tokenizer.json"))
        (folder / "vocab.txt").write_text("\n".join(self.tokens()) + "\n", encoding="utf-8")
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": self.backend.normalizer.strip_accents,
            "tokenize_chinese_chars": self.backend.normalizer.handle_chinese_chars,
            **self.names,
        }
        if self.max_length is not None:
            config["model_max_length"] = self.max_length
        _write_json(folder / "tokenizer_config.json", config)
        _write_json(folder / "special_tokens_map.json", self.names)


def _load_backend(path: Path) -> tokenizers.Tokenizer:
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise UserError(f"{path} cannot be read: {error}.") from None
    kind = type(backend.model).__name__
    if kind != "WordPiece" or not isinstance(backend.normalizer, normalizers.BertNormalizer):
        raise UserError(f"{path} holds a {kind} tokenizer; adverb reads BERT's, which is WordPiece.")
    return backend


def _special_names(values: dict) -> dict[str, str]:
    """The special tokens; a file may give each as a string or as {"content": …}."""
    found = {key: values.get(key) or default for key, default in SPECIALS.items()}
    return {key: name["content"] if isinstance(name, dict) else name for key, name in found.items()}


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}.") from None


def _write_json(path: Path, values: dict) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
