"""Parquet files in the hub's layout, and data sets of the hub by name."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from adverb.data import hub
from adverb.data.images import load_images
from adverb.data.sources import kind_of
from adverb.errors import UserError


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, format="PNG")
    return file.getvalue()


def write_parquet(path: Path, images: list, raw: bool = False, names: list[str] | None = None, **columns) -> Path:
    """images: encoded bytes or None; names: of a ClassLabel, written as `datasets` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = images if raw else [{"bytes": b, "path": None} for b in images]
    kind = pa.binary() if raw else pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(values, kind), **columns})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=7)
    return path


@pytest.fixture
def encoded(digits):
    return [png(pixels) for pixels in digits[0][:40]]


def test_hub_layout_with_class_names_in_the_schema(tmp_path, encoded, digits):
    names = [f"digit {d}" for d in range(10)]
    labels = digits[1][:40].tolist()
    for shard in range(2):
        part = slice(20 * shard, 20 * shard + 20)
        write_parquet(
            tmp_path / f"data/train-0000{shard}-of-00002.parquet", encoded[part], names=names, label=labels[part]
        )
    write_parquet(tmp_path / "data/validation-00000-of-00001.parquet", encoded[:3], names=names, label=labels[:3])
    train, valid = load_images(tmp_path), load_images(tmp_path, split="valid")
    assert np.array_equal(train.images, digits[0][:40]) and train.labels.tolist() == labels
    assert train.label_names == names == valid.label_names
    assert train.report.splits == {"train": 40, "valid": 3} and valid.labels.tolist() == labels[:3]
    (tmp_path / "data/train-00001-of-00002.parquet").unlink()
    assert any("only 1 of the 2 files of 'train'" in w for w in load_images(tmp_path).report.warnings)


def test_raw_bytes_other_columns_and_captions(tmp_path, encoded):
    file = write_parquet(tmp_path / "x.parquet", encoded, raw=True, kind=["a", "b"] * 20, caption=[["one", "two"]] * 40)
    images = load_images(file, label="kind", limit=10)
    assert len(images) == 10 and images.label_names == ["a", "b"] and images.captions[0] == "one"
    number = [int(name.removeprefix("row ")) for name in images.names]
    assert [i % 2 for i in number] == images.labels.tolist()
    assert np.array_equal(images.images, load_images(file).batch(number))


def test_rows_without_images_and_with_damaged_ones(tmp_path, encoded):
    values = [*encoded[:5], None, b"", b"junk", *encoded[5:10]]
    images = load_images(write_parquet(tmp_path / "x.parquet", values))
    assert len(images) == 10
    assert dict(images.report.left_out).keys() == {"row 5", "row 6", "row 7"}
    assert dict(images.report.left_out)["row 5"] == "no image data"


def test_images_that_the_table_only_names(tmp_path, folder):
    folder(3)
    table = pa.table({"image": [{"bytes": None, "path": f"set/000{i}.png"} for i in (0, 1, 2)]})
    table = table.cast(pa.schema({"image": pa.struct({"bytes": pa.binary(), "path": pa.string()})}))
    pq.write_table(table, tmp_path / "x.parquet")
    assert len(load_images(tmp_path / "x.parquet")) == 3


def test_labels_of_the_hubs_hidden_test_sets(tmp_path, encoded):
    write_parquet(tmp_path / "train.parquet", encoded, label=[3, 5] * 20)
    write_parquet(tmp_path / "test.parquet", encoded, label=[-1] * 40)
    assert load_images(tmp_path).label_names == ["3", "5"]
    assert load_images(tmp_path, split="test").labels is None
    write_parquet(tmp_path / "train.parquet", encoded, label=[3, -1] * 20)
    with pytest.raises(UserError, match="20 of 40 images have no label"):
        load_images(tmp_path)


def test_files_that_are_no_parquet(tmp_path, encoded):
    file = write_parquet(tmp_path / "x.parquet", encoded)
    whole = file.read_bytes()
    file.write_bytes(whole[:-50])
    with pytest.raises(UserError, match=r"x.parquet can't be read as parquet"):
        load_images(file)
    pq.write_table(pa.table({"text": ["a", "b"]}), file)
    with pytest.raises(UserError, match="no column of encoded images, but: text"):
        load_images(file)
    write_parquet(tmp_path / "y.parquet", encoded)
    with pytest.raises(UserError, match="other columns"):
        load_images(tmp_path)


def test_kind_of(tmp_path, folder, encoded):
    assert kind_of("digits") == kind_of(folder(3)) == "image"
    (tmp_path / "set" / "metadata.jsonl").write_text("")
    assert kind_of(tmp_path / "set") == "image"
    assert kind_of(write_parquet(tmp_path / "i.parquet", encoded)) == "image"
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "t.parquet")
    assert kind_of(tmp_path / "t.parquet") == "text"
    for name, kind in (
        ("a.csv", "text"),
        ("b.tsv", "text"),
        ("c.jsonl", "text"),
        ("d.wav", "audio"),
        ("e.mid", "music"),
    ):
        (tmp_path / name).write_text("x")
        assert kind_of(tmp_path / name) == kind
    (tmp_path / "f.mp4").write_text("x")
    for place, word in (("f.mp4", "not read"), ("t.parqet", "did you mean")):
        with pytest.raises(UserError, match=word):
            kind_of(tmp_path / place)


def test_hub_names_are_told_from_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    assert hub.is_hub_name("ylecun/mnist") and hub.is_hub_name("mnist") and hub.is_hub_name("a/b:config")
    assert not any(map(hub.is_hub_name, ("photos/cats", "./cats", "a/b/c", "/data", "")))


def test_an_unreachable_hub_is_said_clearly(monkeypatch):
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: False)
    with pytest.raises(UserError, match=r"neither a path here nor in the cache .* can't be reached"):
        load_images("nobody/no-such-set")


def test_reachability_is_asked_of_the_endpoint(monkeypatch):
    for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert not hub.hub_is_reachable(0.5)


def test_datasets_reads_the_same_as_we_do(tmp_path, encoded, digits):
    """The path of hub data sets, on a local folder in their layout."""
    names = [str(d) for d in range(10)]
    labels = digits[1][:40].tolist()
    write_parquet(tmp_path / "set/data/train-00000-of-00001.parquet", encoded, names=names, label=labels)
    write_parquet(tmp_path / "set/data/test-00000-of-00001.parquet", encoded[:4], names=names, label=labels[:4])
    entries = hub.hub_entries(str(tmp_path / "set"), "test", None)
    assert entries.label_names == names and entries.labels.tolist() == labels[:4]
    assert entries.splits == {"train": 40, "test": 4} and entries.stamp
    assert [data for _, data in entries.stream([1, 3])] == [encoded[1], encoded[3]]


def test_mnist(shared_data):
    path = shared_data / "mnist"
    if not path.is_dir():
        pytest.skip(f"needs {path}")
    test = load_images(path, split="test")
    assert test.images.shape == (10_000, 28, 28, 1) and np.bincount(test.labels).tolist()[:3] == [980, 1135, 1032]
    assert test.report.splits == {"train": 60_000, "test": 10_000} and kind_of(path) == "image"


def test_emoji(shared_data):
    path = shared_data / "emoji"
    if not path.is_dir():
        pytest.skip(f"needs {path}")
    emoji = load_images(path, limit=200)
    assert emoji.shape == (72, 72, 4) and len(emoji) == 200 and emoji.labels is None
    assert any("face" in caption for caption in emoji.captions)
