from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.bert.tokenizer import Tokenizer
from adverb.bert.vocabulary import count_words
from adverb.errors import UserError

SAMPLES = [
    "The café's naïve façade — 50% off!",
    "你好，世界 hello世界",
    "👩‍👩‍👧 emoji 🙂🙃",
    "tab\tnew\nline\u0000null\u200bzero\ufffdbad",
    "İstanbul ıI ﬁne ﬀ ß ẞ",
    "a" * 101,
    "b" * 100,
    "[MASK] [CLS] [ MASK ] [mask]",
    "don't e\u0301 é",
    "한국어 ไทย العربية हिन्दी",
    "  ",
    "",
    "x\u00ady\u2028z",
    "Ａfullwidth １２",
    "##ing ## #",
]


@pytest.fixture(scope="module", params=["uncased", "cased", "cased, accents stripped", "Chinese whole"])
def both(request, minilm, tmp_path_factory):
    """(ours, transformers') from the same folder; the cased ones read the uncased vocabulary, plus capitals."""
    import transformers

    folder = tmp_path_factory.mktemp("vocabulary")
    lines = (minilm / "vocab.txt").read_text(encoding="utf-8").split("\n")
    capitals = [chr(c) for c in range(ord("A"), ord("Z") + 1)]
    (folder / "vocab.txt").write_text("\n".join([*lines[:-1], *capitals, *(f"##{c}" for c in capitals)]) + "\n")
    config = {
        "uncased": dict(do_lower_case=True),
        "cased": dict(do_lower_case=False),
        "cased, accents stripped": dict(do_lower_case=False, strip_accents=True),
        "Chinese whole": dict(do_lower_case=True, tokenize_chinese_chars=False, strip_accents=False),
    }[request.param]
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "BertTokenizer"}))
    return Tokenizer.from_pretrained(folder), transformers.AutoTokenizer.from_pretrained(folder)


def same(mine: Tokenizer, theirs, text: str, pair: str | None = None, **limit) -> None:
    expected = theirs(text, pair, return_offsets_mapping=True, truncation=bool(limit), **limit)
    got = mine.encode(text, pair, **limit)
    assert got.ids == expected["input_ids"]
    assert got.type_ids == expected["token_type_ids"]
    assert got.offsets == expected["offset_mapping"]


@pytest.mark.parametrize("text", SAMPLES)
def test_odd_texts_equal_transformers(both, text):
    same(*both, text)
    same(*both, text, "and a pair")


alphabet = st.one_of(
    st.characters(exclude_categories=("Cs",)),
    st.sampled_from("aeiouÉéñüΣσςßİı你好世界ー가👍🏽\u200d\u0301\u0000\t\n\u00a0-'.,#[]"),
)


@settings(max_examples=150, deadline=None)
@given(
    text=st.text(alphabet, max_size=60),
    pair=st.none() | st.text(alphabet, min_size=1, max_size=20),
    limit=st.integers(4, 30),
)
def test_any_text_equals_transformers(both, text, pair, limit):
    same(*both, text, pair)
    same(*both, text, pair, max_length=limit)


def test_an_empty_pair_is_a_pair():
    """transformers drops it; then the type of a batch would depend on its texts."""
    tokenizer = Tokenizer.train(CORPUS, 100)
    assert tokenizer.encode("", "").ids == [tokenizer.cls_id, tokenizer.sep_id, tokenizer.sep_id]


def test_decode_equals_transformers(both):
    mine, theirs = both
    for text in SAMPLES:
        ids = mine.encode(text).ids
        assert mine.decode(ids) == theirs.decode(ids, skip_special_tokens=True)


def test_saved_files_answer_the_same_here_and_in_transformers(both, tmp_path):
    import transformers

    mine, _ = both
    mine.max_length = 77
    mine.encode("cut this text, and see that the file does not", max_length=4)
    mine.save_pretrained(tmp_path)
    again, theirs = Tokenizer.from_pretrained(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again.max_length == theirs.model_max_length == 77
    assert theirs.mask_token_id == mine.mask_id and theirs.pad_token_id == mine.pad_id
    for text in SAMPLES:
        assert again.encode(text).ids == mine.encode(text).ids
        same(again, theirs, text)
    (tmp_path / "tokenizer.json").unlink()  # the other file alone
    for text in SAMPLES:
        assert Tokenizer.from_pretrained(tmp_path).encode(text).ids == mine.encode(text).ids


def test_tokenizer_json_of_a_real_model(minilm):
    """Its file asks for padding to 128, which is not the tokenizer's business."""
    import transformers

    mine, theirs = Tokenizer.from_pretrained(minilm), transformers.AutoTokenizer.from_pretrained(minilm)
    assert mine.max_length == 512 and mine.vocab_size == 30522 and mine.lowercase
    assert (mine.pad_id, mine.unk_id, mine.cls_id, mine.sep_id, mine.mask_id) == (0, 100, 101, 102, 103)
    assert mine.special_ids == (0, 100, 101, 102, 103)
    for text in SAMPLES:
        same(mine, theirs, text)


CORPUS = ["The cat sat on the mat.", "A dog and a cat: unbelievable, believable, believing!", "Thé dog sat."] * 30


@pytest.mark.parametrize("lowercase", [True, False])
def test_training(lowercase, tmp_path):
    import transformers

    tokenizer = Tokenizer.train((line for line in CORPUS), 120, lowercase)
    assert tokenizer.vocab_size <= 120
    assert [tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id] == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert tokenizer.lowercase == lowercase
    for line in CORPUS[:3]:
        ids = tokenizer.encode(line).ids
        assert tokenizer.unk_id not in ids
        expected = line.lower().replace("é", "e") if lowercase else line
        assert tokenizer.decode(ids).replace(" ", "") == expected.replace(" ", "")
    assert tokenizer.tokens() == Tokenizer.train(iter(CORPUS), 120, lowercase).tokens()
    tokenizer.save_pretrained(tmp_path)
    same(tokenizer, transformers.AutoTokenizer.from_pretrained(tmp_path), "The Cat [MASK] unbelievable")


def test_windows_over_a_long_second_text():
    tokenizer = Tokenizer.train(CORPUS, 200)
    (first,) = tokenizer.encode_batch(["a dog"], ["the cat sat on the mat " * 4], 12, cut="only_second", stride=2)
    windows = [first, *first.overflowing]
    assert len(windows) > 2 and all(len(w.ids) <= 12 for w in windows)
    assert len({tuple(w.ids[:4]) for w in windows}) == 1  # [CLS] a dog [SEP]
    assert windows[0].offsets[-3:-1] == windows[1].offsets[4:6]  # two tokens shared
    assert len(tokenizer.encode("the cat sat on the mat " * 4)) > 12  # and no limit is left behind


def test_words_that_must_not_be_cut():
    tokenizer = Tokenizer.train(CORPUS, 200)
    with pytest.raises(UserError, match="cannot be cut to 6"):
        tokenizer.encode_batch(["the cat sat on the mat"], ["dog"], 6, cut="only_second")
    with pytest.raises(UserError, match="stride"):
        tokenizer.encode_batch(["a"], ["the cat"], 6, cut="only_second", stride=9)


def test_travels_to_a_worker():
    tokenizer = Tokenizer.train(CORPUS, 100)
    assert pickle.loads(pickle.dumps(tokenizer)).encode("the cat").ids == tokenizer.encode("the cat").ids


def test_folders_that_are_no_tokenizer(tmp_path):
    with pytest.raises(UserError, match=r"tokenizer.json or vocab.txt"):
        Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"\[PAD\]"):
        Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Tokenizer.from_pretrained(tmp_path)
    import tokenizers

    tokenizers.Tokenizer(tokenizers.models.BPE()).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="BPE"):
        Tokenizer.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="no text"):
        Tokenizer.train([])


def test_training_forgets_rare_words_rather_than_grow(monkeypatch):
    monkeypatch.setattr("adverb.bert.vocabulary.MOST_WORDS", 50)
    monkeypatch.setattr("adverb.bert.vocabulary.LOOK_EVERY", 100)
    noise = (f"zq{i:05d}" for i in range(2000))
    tokenizer = Tokenizer.train(("cat " + word for word in noise), 40)
    assert tokenizer.token_to_id("cat") is not None


def test_words_of_scripts_without_spaces_are_counted_in_bounded_memory(monkeypatch):
    monkeypatch.setattr("adverb.bert.vocabulary.MOST_WORDS", 400)
    monkeypatch.setattr("adverb.bert.vocabulary.LOOK_EVERY", 10_000)
    letters = np.array([chr(0x4E00 + i) for i in range(300)])

    def texts():
        random = np.random.Generator(np.random.PCG64(0))
        return ("".join(letters[random.integers(300, size=500)]) for _ in range(2000))

    backend = Tokenizer.train(["天"], 100).backend
    tracemalloc.start()
    counts = count_words(backend, texts())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts == Counter("".join(texts())) and peak < 1e6  # the paragraphs take 2 MB
    assert set(letters) <= set(Tokenizer.train(texts(), 400).tokens())


@pytest.mark.parametrize("alphabet", [range(0x4E00, 0x5A00), range(0xAC00, 0xB800)])
def test_a_vocabulary_is_no_larger_than_asked_for(alphabet):
    letters = [chr(i) for i in alphabet]
    tokenizer = Tokenizer.train([" ".join(letters), "".join(letters), "".join(letters[:40]) * 3], 100, False)
    assert tokenizer.vocab_size <= 100 and set(letters[:40]) <= set(tokenizer.tokens())


def test_training_does_not_depend_on_the_process():
    """Hash maps start differently in each process, and must not number the letters."""
    code = (
        "from adverb.bert.tokenizer import SPECIALS, Tokenizer;"
        "print(Tokenizer.train(['one two three four five six seven eight nine ten eleven twelve'] * 3, 70).tokens())"
    )
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(runs) == 1 and "##" in runs.pop()
