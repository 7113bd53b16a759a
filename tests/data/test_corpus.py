"""Text to tokens on disk, and rows from them: nothing lost, nothing twice, pairs that are what they say."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adverb.bert.tokenizer import Tokenizer
from adverb.data.corpus import WordCache, load_corpus
from adverb.data.rows import Chunks, Pairs, truncate
from adverb.data.sentence_ends import sentences
from adverb.data.text import Source, find_text, find_valid, paragraphs
from adverb.errors import UserError

WORDS = "the cat sat on a mat and saw no dog".split()
LONG = " ".join(str(i * i) for i in range(999)).encode()


def damaged_parquet() -> bytes:
    """The table of contents is whole, the rows are not."""
    file = io.BytesIO()
    pq.write_table(pa.table({"text": [f"The cat {i}." for i in range(99)]}), file, compression="zstd")
    content = file.getvalue()
    return content[:4] + bytes(200) + content[204:]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([" ".join(WORDS) + " . ! 0 1 2 3 4 5 6 7 8 9"], 200)


def write(path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def numbered(documents: int, per_document: int, start: int = 0) -> str:
    """Sentences that say which they are: document d, sentence s is "D<d> s <s>."."""
    return "\n\n".join(
        "\n".join(f"The {d} cat {s}." for s in range(per_document)) for d in range(start, start + documents)
    )


# -- sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith saw St. Ives. He left.", ["Mr. Smith saw St. Ives.", "He left."]),
        ("“Is it so?” asked he. “Yes!” “No.”", ["“Is it so?” asked he.", "“Yes!”", "“No.”"]),
        ("J. R. R. Tolkien, e.g. No. 5 of vol. 3.", ["J. R. R. Tolkien, e.g. No. 5 of vol. 3."]),
        ("I said no. So am I. Then he went.", ["I said no.", "So am I.", "Then he went."]),
        ("At 5 p.m. He left. The U.S. Army stayed.", ["At 5 p.m.", "He left.", "The U.S. Army stayed."]),
        ("Pi is 3.14 and www.x.org is a site... or not", ["Pi is 3.14 and www.x.org is a site... or not"]),
        ("今天天气很好。我们去吧！", ["今天天气很好。", "我们去吧！"]),
        ("   ", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


@given(st.text(alphabet="ab A.B?!”“ \t(…。", max_size=60))
def test_sentences_lose_nothing(text):
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


# -- reading


def test_every_form_of_a_text_has_the_same_documents(tmp_path):
    documents = ["The cat sat.\nA dog saw it.", "On a mat."]
    write(tmp_path / "a/x.txt", "\n\n\n".join(documents) + "\n")
    write(tmp_path / "b/x.jsonl", "".join(json.dumps({"body": d}) + "\n" for d in documents))
    (tmp_path / "c").mkdir()
    pq.write_table(pa.table({"body": documents}), tmp_path / "c/x.parquet")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/x.txt.gz").write_bytes(gzip.compress("\n\n".join(documents).encode()))
    rows = [["id", "body"], *enumerate(documents)]
    for name, separator in (("e/x.csv", ","), ("f/x.tsv", "\t")):
        file = io.StringIO()
        csv.writer(file, delimiter=separator).writerows(rows)
        write(tmp_path / name, file.getvalue() + f"torn{separator}a{separator}row\n")
    expected = ["The cat sat.", "A dog saw it.", None, "On a mat.", None]
    for name in (*"abcdef", "e/x.csv"):
        source = find_text(tmp_path / name, "body")
        assert list(paragraphs(source)) == expected
    assert source.notes() == ["x.csv: 1 rows left out: 3 columns instead of 2 (line 5)"]
    assert list(paragraphs(find_text(tmp_path / "a", limit=1))) == expected[:3]


def test_held_out_text_beside_the_training_text_is_found_and_not_trained_on(tmp_path):
    write(tmp_path / "train/x.txt", "The cat.")
    write(tmp_path / "valid/x.txt", "A dog.")
    assert list(paragraphs(find_text(tmp_path))) == ["The cat.", None]
    assert list(paragraphs(find_valid(tmp_path))) == ["A dog.", None]
    write(tmp_path / "flat/one.txt", "The mat.")
    write(tmp_path / "flat/valid/two.txt", "A dog.")
    assert [f.name for f in find_text(tmp_path / "flat").files] == ["one.txt"]


@pytest.mark.parametrize(
    ("names", "valid"),
    [
        (("train.txt", "valid.txt", "test.txt", "other.txt"), "valid.txt"),
        (("train-00000-of-00001.parquet", "validation-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
         "validation-00000-of-00001.parquet"),
        (("train/a.txt", "val/b.txt", "c.txt"), "b.txt"),
        (("test_of_time.txt", "dev.txt"), "dev.txt"),
        (("TRAIN.txt", "Test.txt"), "Test.txt"),
    ],
)  # fmt: skip
def test_files_called_after_a_part_are_that_part(tmp_path, names, valid):
    for name in names:
        write(tmp_path / name, "The cat.")
    assert [f.name for f in find_text(tmp_path).files] == [names[0].rpartition("/")[2]]
    assert [f.name for f in find_valid(tmp_path).files] == [valid]
    if names[0].lower().startswith("train."):
        assert [f.name for f in find_text(tmp_path / names[0]).files] == [names[0]]
        assert [f.name for f in find_valid(tmp_path / names[0]).files] == [valid]


def test_text_that_is_named_to_measure_on_is_not_trained_on(tmp_path):
    for name in ("a.txt", "held.txt", "more/b.txt", "more/c.txt"):
        write(tmp_path / name, "The cat.")
    told = [tmp_path / "held.txt", None]
    assert [f.name for f in find_text(tmp_path, held=told).files] == ["a.txt", "b.txt", "c.txt"]
    assert [f.name for f in find_text(tmp_path, held=[tmp_path / "more"]).files] == ["a.txt", "held.txt"]
    assert find_valid(tmp_path, told=told[0]).files == told[:1]
    with pytest.raises(UserError, match="all of the text"):
        find_text(tmp_path / "held.txt", held=told)
    write(tmp_path / "only/test.txt", "The cat.")
    with pytest.raises(UserError, match=r"only text to measure on \(test.txt\)"):
        find_text(tmp_path / "only")


def test_models_and_runs_in_a_folder_are_no_text(tmp_path):
    write(tmp_path / "x.txt", "The cat.")
    for name, file in (("run", "recipe.yaml"), ("tok", "tokenizer.json"), (".git", "y.txt")):
        write(tmp_path / name / file, "{}")
        write(tmp_path / name / "vocab.txt", "a\nb\n")
    assert [f.name for f in find_text(tmp_path).files] == ["x.txt"]


def test_undecodable_bytes_are_replaced_and_counted(tmp_path, tokenizer):
    (tmp_path / "x.txt").write_bytes(
        "été là-bas ".encode() * 2 + b"\xff\xfe cat\n\n" + "sat à é".encode() + b"\x85 on\x1cit"
    )
    source = find_text(tmp_path)
    expected = ["été là-bas été là-bas \ufffd\ufffd cat", None, "sat à é\ufffd on it", None]
    assert list(paragraphs(source)) == expected
    assert source.counts["undecodable"] == 3
    assert load_corpus(find_text(tmp_path), tokenizer).about["undecodable"] == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.txt", b"", "holds no text"),
        ("x.txt", b"\n \n\t\n", "holds no text"),
        ("x.txt", b"\x00\x01\x02", "a binary file"),
        ("x.jsonl", b'{"text": "a"}\n{"text"\n', "x.jsonl:2: not JSON"),
        ("x.jsonl", b'{"text": "a"}\n{"text"', "x.jsonl:2: cut off"),
        ("x.jsonl", b'{"body": "a"}\n', r"x.jsonl:1: no column 'text' \(it has body\): set data.column"),
        ("x.parquet", b"no", "x.parquet can't be read as parquet"),
        ("x.parquet", damaged_parquet(), "x.parquet is damaged: .* fetch it again"),
        ("x.txt.gz", gzip.compress(LONG, mtime=0)[:-99], "x.txt.gz is cut off or damaged: .* fetch it again"),
        ("x.txt.gz", gzip.compress(LONG, mtime=0)[:500] + bytes(99), "x.txt.gz is cut off or damaged"),
        ("x.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 99, mtime=0)[:-4], "x.jsonl.gz is cut off or damaged"),
        ("x.csv", b"id,review\n1,The cat sat.\n", r"x.csv:2: no column 'text' \(it has id, review\): set data.column"),
        ("x.pdf", b"a,b", "holds no text: looked for .txt"),
    ],
)
def test_bad_text_is_named(tmp_path, tokenizer, own_cache, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_corpus(find_text(tmp_path), tokenizer)
    assert not [*own_cache.rglob("tokens")]


@pytest.mark.parametrize("name", ["x.txt", "x.jsonl", "x.parquet"])
def test_files_that_cannot_be_read_are_named(tmp_path, tokenizer, name):
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match=f"{name}: No such file or directory: mend it"):
        load_corpus(find_text(tmp_path), tokenizer)
    (tmp_path / "gone").mkdir()  # as good as a file that may not be read, also for root
    with pytest.raises(UserError, match=f"{name}.*([Ii]s a directory|parquet)"):
        load_corpus(Source("x", [tmp_path / name]), tokenizer)


def test_text_in_other_encodings(tmp_path):
    text = "Größe über älteren Straßen, schön und grün.\n"
    (tmp_path / "x.txt").write_bytes(text.encode("latin-1") + text.encode())
    (tmp_path / "y.txt").write_bytes(text.encode("utf-16"))
    (tmp_path / "z.txt.gz").write_text(text)  # only called so
    source = find_text(tmp_path)
    assert [p for p in paragraphs(source) if p] == [text.strip()] * 4
    assert source.notes() == ["x.txt: read as cp1252", "y.txt: read as UTF-16"]


def test_files_of_a_folder_that_are_read_and_those_that_are_not(tmp_path):
    for name in ("a.TXT", "more/b.Txt.GZ", "c.pdf", "d.PDF", "e.docx", "README.md"):
        write(tmp_path / "text" / name, "The cat.")
    write(tmp_path / "elsewhere/f.txt", "A dog.")
    (tmp_path / "text/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/circle").symlink_to(tmp_path / "text")
    source = find_text(tmp_path / "text")
    assert [p for p in paragraphs(source) if p] == ["The cat.", "A dog.", "The cat."]
    assert source.notes() == ["not read: 2 .pdf, 1 .docx"]
    assert [f.name for f in find_text(tmp_path / "text/a.TXT").files] == ["a.TXT"]
    write(tmp_path / "text/train.txt", "The cat.")
    assert find_text(tmp_path / "text").notes()[1] == "a.TXT, f.txt, b.Txt.GZ not used, as others here are called train"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Été.".encode(), ["Été."]),
        (["One.", "Two.\nThree."], ["One.", "Two.", "Three."]),
        ([b"One.", None], ["One."]),
        (None, []),
        (7, ["7"]),
    ],
)
def test_what_rows_of_a_table_hold(tmp_path, value, said):
    pq.write_table(pa.table({"text": [value, value]}), tmp_path / "x.parquet")
    assert [p for p in paragraphs(find_text(tmp_path)) if p] == said * 2


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no text at .*missing.txt: expected a file"):
        find_text(tmp_path / "missing.txt")


# -- tokens


@settings(deadline=None)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_looking_words_up_is_tokenising(texts):
    tokenizer = Tokenizer.train(["the cat ÄÖ été 天 ﬁ 0 [MASK]", *texts], 300)
    texts = [" ".join(paragraph for paragraph in _cleaned(text)) for text in texts]
    expected = [e.ids for e in tokenizer.encode_batch(texts, special_tokens=False)]
    cache = WordCache(tokenizer, np.dtype(np.uint16))
    assert [np.frombuffer(b, np.uint16).tolist() for b in cache(texts)] == expected
    assert [np.frombuffer(b, np.uint16).tolist() for b in cache(texts)] == expected  # now from memory


def _cleaned(text: str):
    from adverb.data.text import CONTROLS

    return (CONTROLS.sub(" ", line).strip() for line in text.splitlines())


def test_the_file_holds_every_token_in_order_with_its_borders(tmp_path, tokenizer):
    write(tmp_path / "x.txt", "The cat sat. A dog saw.\nOn a mat!\n\n\nNo cat.")
    corpus = load_corpus(find_text(tmp_path), tokenizer)
    pieces = ["the cat sat .", "a dog saw .", "on a mat ! [SEP]", "no cat . [SEP]"]
    words = [tokenizer.tokens()[i] for i in corpus.tokens]
    assert words == " ".join(pieces).split()
    assert corpus.sentences.tolist() == np.cumsum([0] + [len(p.split()) for p in pieces]).tolist()
    assert corpus.documents.tolist() == [0, 3, 4]
    assert [tokenizer.tokens()[i] for i in corpus.text_tokens(1, 3)] == "a dog saw . on a mat !".split()


def test_the_second_use_reads_the_cache_and_a_change_does_not(tmp_path, tokenizer, monkeypatch):
    path = write(tmp_path / "x.txt", "The cat sat.")
    first = load_corpus(find_text(tmp_path), tokenizer).tokens.tolist()
    said = []
    assert load_corpus(find_text(tmp_path), tokenizer, said.append).tokens.tolist() == first and not said
    write(path, "The cat sat on a mat.")
    assert load_corpus(find_text(tmp_path), tokenizer, said.append).tokens.tolist() != first and len(said) == 1
    other = Tokenizer.train(["the cat sat on a mat dog dog dog"], 60)
    load_corpus(find_text(tmp_path), other, said.append)
    assert len(said) == 2


def test_a_write_that_fails_leaves_no_corpus(tmp_path, tokenizer, own_cache, monkeypatch):
    write(tmp_path / "x.txt", "The cat sat.")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("adverb.data.corpus.os.fsync", fail)
    with pytest.raises(UserError, match="can't keep the tokens .*No space left.*ADVERB_CACHE"):
        load_corpus(find_text(tmp_path), tokenizer)
    assert not list((own_cache / "text").iterdir())
    monkeypatch.undo()
    assert len(load_corpus(find_text(tmp_path), tokenizer)) == 5


def test_what_a_killed_process_left_in_the_cache_is_deleted(tmp_path, tokenizer, own_cache):
    write(tmp_path / "text/x.txt", "The cat sat.")
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    script = (
        "import sys, time; from adverb.bert.tokenizer import Tokenizer; from adverb.data import corpus, text\n"
        "def slow(source):\n"
        "    print('began', flush=True); time.sleep(60)\n"
        "corpus._blocks = slow\n"
        "corpus.load_corpus(text.find_text(sys.argv[1]), Tokenizer.from_pretrained(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "text"), str(tmp_path / "tokenizer")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"began\n"
        process.kill()
    (left,) = (own_cache / "text").iterdir()
    assert (left / "tokens").exists()
    write(tmp_path / "other/x.txt", "A dog saw.")
    load_corpus(find_text(tmp_path / "other"), tokenizer)
    assert not left.exists() and len([*(own_cache / "text").iterdir()]) == 1


def test_memory_does_not_grow_with_the_text(tmp_path, tokenizer, monkeypatch):
    for module in ("corpus", "decoding"):
        monkeypatch.setattr(f"adverb.data.{module}.BLOCK", 1 << 15)

    def peak(kilobytes: int) -> int:
        folder = tmp_path / str(kilobytes)
        block = "\n".join(f"The cat {i} sat on a mat, and saw no dog. No!" for i in range(200)) + "\n\n"
        write(folder / "x.txt", block * (kilobytes * 1000 // len(block)))
        tracemalloc.start()
        load_corpus(find_text(folder), tokenizer)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    assert peak(1200) < 1.3 * peak(150)


def test_a_long_line_is_read_in_pieces_without_cutting_words(tmp_path, monkeypatch):
    monkeypatch.setattr("adverb.data.decoding.BLOCK", 100)
    write(tmp_path / "x.txt", "cat " * 1000 + "\nsat" * 2)
    pieces = [p for p in paragraphs(find_text(tmp_path)) if p]
    assert len(pieces) > 10 and " ".join(pieces).split() == ["cat"] * 1000 + ["sat"] * 2
    write(tmp_path / "x.txt", "天" * 2000)  # no spaces
    pieces = [p for p in paragraphs(find_text(tmp_path)) if p]
    assert len(pieces) > 1 and "".join(pieces) == "天" * 2000


# -- held out


@pytest.mark.parametrize("shape", [(50, 20), (1, 500), (3, 100)])
def test_holding_out_parts_the_text(tmp_path, tokenizer, shape):
    write(tmp_path / "x.txt", numbered(*shape))
    whole = load_corpus(find_text(tmp_path), tokenizer)
    train, valid = whole.hold_out(0.05)
    assert train.span[1] == valid.span[0] and len(train) + len(valid) == len(whole)
    assert 0.01 < len(valid) / len(whole) < 0.2
    if shape[0] == 50:
        assert train.span[1] in whole.documents  # whole documents where there are enough


# -- rows


@pytest.fixture
def corpus(tmp_path, tokenizer):
    write(tmp_path / "x.txt", numbered(30, 10))
    return load_corpus(find_text(tmp_path), tokenizer)


@pytest.mark.parametrize("length", [16, 37, 128])
def test_every_token_is_in_one_row_of_an_epoch_and_the_epochs_differ(corpus, tokenizer, length):
    chunks = Chunks(corpus, tokenizer, length, batch_size=1, seed=3)
    unique = Chunks(_ranked(corpus), tokenizer, length, batch_size=1, seed=3)
    seen, cuts = [], []
    for epoch in range(2):
        rows = np.concatenate([unique.batch(epoch * len(chunks) + i, 0, 1) for i in range(len(chunks))])
        assert rows.shape[1] == length
        places = rows[:, 1:-1].ravel()
        assert len(np.unique(places)) == len(places)  # none twice
        assert len(corpus) - len(places) < length  # and hardly one left out
        seen.append(places)
        cuts.append({int(p) for p in rows[:, 1]})
    assert not np.array_equal(seen[0], seen[1]) and cuts[0] != cuts[1]
    row = chunks.batch(0, 0, 1)[0].tolist()
    assert row[0] == tokenizer.cls_id and row[-1] == tokenizer.sep_id
    assert row[1:-1] == corpus.tokens[unique.batch(0, 0, 1)[0, 1:-1]].tolist()


def _ranked(corpus):
    """The corpus with each token replaced by its place."""
    from dataclasses import replace

    return replace(corpus, tokens=np.arange(len(corpus.tokens)))


@pytest.mark.parametrize("kind", [None, "next", "order"])
def test_a_batch_is_a_pure_function_of_its_index(corpus, tokenizer, kind):
    def make(size):
        if kind is None:
            return Chunks(corpus, tokenizer, 24, size, 5)
        return Pairs(corpus, tokenizer, 24, size, 5, kind)

    def tensors(batch):
        return batch if isinstance(batch, dict) else {"input_ids": batch}

    rows = make(8)
    whole = tensors(rows.batch(7, 0, 8))
    rows.batch(3, 0, 8)
    parts = [tensors(make(8).batch(7, a, a + 2)) for a in range(0, 8, 2)]
    for name, value in whole.items():
        assert (np.concatenate([p[name] for p in parts]) == value.numpy()).all()
    assert not (tensors(rows.batch(8, 0, 8))["input_ids"] == whole["input_ids"]).all()


def _segments(batch, i, tokenizer):
    ids, types = batch["input_ids"][i].tolist(), batch["token_type_ids"][i].tolist()
    used = int(batch["attention_mask"][i].sum())
    assert ids[0] == tokenizer.cls_id and ids[used - 1] == tokenizer.sep_id
    assert set(ids[used:]) <= {tokenizer.pad_id} and sum(types[used:]) == 0
    border = types.index(1)
    assert types[:used] == [0] * border + [1] * (used - border) and ids[border - 1] == tokenizer.sep_id
    assert ids.count(tokenizer.sep_id) == 2
    return ids[1 : border - 1], ids[border : used - 1]


@settings(deadline=None, max_examples=30)
@given(index=st.integers(0, 10**6), length=st.sampled_from([12, 20, 48]), seed=st.integers(0, 100))
def test_pairs_are_what_their_label_says(tmp_path_factory, tokenizer, index, length, seed):
    folder = tmp_path_factory.mktemp("pairs")
    write(folder / "x.txt", numbered(6, 9))
    corpus = load_corpus(find_text(folder), tokenizer)
    places = {"next": [], "order": []}
    for kind in places:
        ranked = Pairs(_ranked(corpus), tokenizer, length, 16, seed, kind)
        ranked.cls_id, ranked.sep_id, ranked.pad_id = -1, -2, -3
        ranked_batch = ranked.batch(index, 0, 16)
        batch = Pairs(corpus, tokenizer, length, 16, seed, kind).batch(index, 0, 16)
        assert batch["input_ids"].shape == (16, length)
        for i in range(16):
            _segments(batch, i, tokenizer)
            a, b = _segments(ranked_batch, i, ranked)
            assert a and b
            assert np.diff(a).tolist() == [1] * (len(a) - 1) and np.diff(b).tolist() == [1] * (len(b) - 1)
            of_a, of_b = _documents(corpus, a), _documents(corpus, b)
            assert len(of_a) == len(of_b) == 1  # never across a border of documents
            label = int(batch["pair_labels"][i])
            if kind == "next" and label == 1:
                assert of_a != of_b  # 1 = from elsewhere
            else:
                assert of_a == of_b
                first, second = (a, b) if label == 0 else (b, a)  # 0 = B follows A
                assert first[-1] < second[0]


def _documents(corpus, places) -> set[int]:
    sentence = np.searchsorted(corpus.sentences, places, "right") - 1
    return set((np.searchsorted(corpus.documents, sentence, "right") - 1).tolist())


def test_half_of_the_pairs_follow_and_most_are_full(corpus, tokenizer):
    batch = Pairs(corpus, tokenizer, 40, 1000, 0, "next").batch(0, 0, 1000)
    assert 0.45 < batch["pair_labels"].float().mean() < 0.55
    assert batch["attention_mask"].float().mean() > 0.9
    follows = batch["pair_labels"] == 0
    gap = batch["attention_mask"][follows].float().mean() - batch["attention_mask"][~follows].float().mean()
    assert abs(gap) < 0.1  # the length must not give the answer away


def test_pairs_without_truncation_are_whole_sentences_that_meet(corpus, tokenizer):
    ranked = Pairs(_ranked(corpus), tokenizer, 200, 50, 0, "next")
    ranked.cls_id, ranked.sep_id, ranked.pad_id = -1, -2, -3
    batch = ranked.batch(0, 0, 50)
    for i in (batch["pair_labels"] == 0).nonzero().flatten().tolist():
        a, b = _segments(batch, i, ranked)
        if batch["attention_mask"][i].sum() < 200:
            assert b[0] in corpus.sentences and b[0] == a[-1] + 1


@given(st.integers(0, 60), st.integers(0, 60), st.integers(2, 40), st.floats(0, 0.999), st.floats(0, 0.999))
def test_truncation_takes_from_the_longer(n_a, n_b, room, u, v):
    a, b = truncate(np.arange(n_a), np.arange(n_b), room, [u, v])
    assert len(a) + len(b) == min(room, n_a + n_b)
    if n_a + n_b > room:
        assert abs(len(a) - len(b)) <= 1 or len(a) == n_a or len(b) == n_b
        assert min(len(a), len(b)) >= min(n_a, n_b, room // 2)
    for kept in (a, b):
        assert np.diff(kept).tolist() == [1] * (len(kept) - 1) if len(kept) else True


def test_too_little_text_is_named(tmp_path, tokenizer):
    write(tmp_path / "x.txt", "The cat sat.\nThe dog saw.")
    corpus = load_corpus(find_text(tmp_path), tokenizer)
    with pytest.raises(UserError, match="9 tokens, a row of data.sequence_length=128 needs 126"):
        Chunks(corpus, tokenizer, 128, 4, 0)
    with pytest.raises(UserError, match="needs two documents.*objectives.nsp=0"):
        Pairs(corpus, tokenizer, 12, 4, 0, "next")
    write(tmp_path / "x.txt", "The cat sat on a mat.\n\nA dog saw the cat on a mat.")
    with pytest.raises(UserError, match="documents of two sentences"):
        Pairs(load_corpus(find_text(tmp_path), tokenizer), tokenizer, 12, 4, 0, "order")
