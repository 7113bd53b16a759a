"""Folders of images: what is read, what is left out, what is decided, and what is said."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from PIL import Image

from adverb.data.images import load_images
from adverb.errors import UserError


def fails(path, *words, **settings):
    with pytest.raises(UserError) as error:
        load_images(path, **settings)
    for word in words:
        assert word in str(error.value), str(error.value)


def test_digits_are_embedded_exactly_and_split_by_class():
    from sklearn.datasets import load_digits

    train, test = load_images("digits"), load_images("digits", split="test")
    assert train.images.shape == (1500, 8, 8, 1) and test.images.shape == (297, 8, 8, 1)
    assert train.images.dtype == np.uint8 and train.labels.dtype == np.int64
    both = np.concatenate([train.images, test.images]).reshape(1797, 64)
    original = load_digits().data
    assert sorted(map(tuple, np.rint(both / 255 * 16))) == sorted(map(tuple, original))
    shares = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert np.abs(shares - 297 / 1797).max() < 0.005
    assert not {i.tobytes() for i in train.images} & {i.tobytes() for i in test.images}
    assert train.fingerprint() == load_images("digits").fingerprint() != test.fingerprint()


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "gif", "tiff", "pgm"])
def test_lossless_formats_are_read_exactly(folder, digits, suffix):
    images = load_images(folder(5, suffix=suffix), channels=1)
    assert np.array_equal(images.images, digits[0][:5])


def test_jpeg_and_mixed_formats(folder, digits):
    folder(5, suffix="jpg")
    images = load_images(folder(5, suffix="png", start=5))
    assert images.images.shape == (10, 8, 8, 1)
    assert np.abs(images.images.astype(int) - digits[0][:10]).mean() < 8
    assert images.names[0] == "0000.jpg" and images.labels is None and images.captions is None


@pytest.mark.parametrize("size", [(28, 28), (48, 64), (5, 9), (100, 200)])
def test_one_size_is_kept(folder, size):
    assert load_images(folder(4, size=size)).shape == (*size, 1)


def test_large_and_mixed_sizes_are_chosen_and_explained(folder):
    root = folder(5, size=(300, 400))
    images = load_images(root)
    assert images.shape == (48, 64, 1) and "data.size" in images.report.notes[0]
    folder(3, size=(30, 40), start=5)
    folder(1, size=(40, 40), start=8)
    images = load_images(root)
    assert images.shape == (48, 64, 1) and "1 of them cropped" in images.report.notes[0]
    assert images.report.sizes == {"300x400": 5, "30x40": 3, "40x40": 1}


def test_explicit_size_crops_the_centre_and_antialiases(tmp_path):
    wide = np.zeros((32, 96), dtype=np.uint8)
    wide[:, 32:64] = np.indices((32, 32)).sum(0) % 2 * 255  # a checkerboard in the middle, black at the sides
    for name in "ab":
        Image.fromarray(wide).save(tmp_path / f"{name}.png")
    images = load_images(tmp_path, size=8)
    assert images.shape == (8, 8, 1)
    assert np.abs(images.images[0][2:6, 2:6].astype(int) - 127).max() < 12  # a mean, no moiré
    assert "cropped around the centre to 8×8" in images.report.notes[0]
    assert any("enlarging" in w for w in load_images(tmp_path, size=(64, 128)).report.warnings)
    for bad in (0, 3, 5000, (8, 8, 8)):
        fails(tmp_path, "data.size", size=bad)
    fails(tmp_path, "data.channels=2", channels=2)


def test_transparent_images_stay_transparent_or_go_on_white(tmp_path):
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[2:6, 2:6] = (255, 0, 0, 255)
    for i in range(3):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    images = load_images(tmp_path)
    assert images.shape == (8, 8, 4) and np.array_equal(images.images[0], pixels)
    assert "data.channels=3" in images.report.notes[0]
    on_white = load_images(tmp_path, channels=3).images[0]
    assert on_white[0, 0].tolist() == [255, 255, 255] and on_white[3, 3].tolist() == [255, 0, 0]
    assert load_images(tmp_path, channels=1).images[0, 0, 0] == 255
    small = load_images(tmp_path, size=4).images[0]
    assert small[1, 1].tolist()[1:3] == [0, 0]  # red, not darkened by what is under transparent pixels


def test_opaque_rgba_is_rgb(folder):
    assert load_images(folder(3, mode="RGBA")).shape == (8, 8, 3)


def test_few_transparent_images_among_others(folder, tmp_path):
    root = folder(6, mode="RGB")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(root / "clear.png")
    images = load_images(root)
    assert images.shape == (8, 8, 3) and (images.images[images.names.index("clear.png")] == 255).all()
    assert "1 of 7 images have transparency" in images.report.notes[0]


def test_colour_follows_the_majority_and_says_so(folder):
    root = folder(6, mode="L")
    Image.new("RGB", (8, 8), (200, 0, 0)).save(root / "red.png")
    images = load_images(root)
    assert images.shape[2] == 1
    assert any("1 of 7 images have colour and lose it" in w and "data.channels=3" in w for w in images.report.warnings)
    for i in range(8):
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(root / f"red{i}.png")
    images = load_images(root)
    assert images.shape[2] == 3 and "6 of 15 images are grey" in images.report.notes[0]


def test_grey_stored_as_colour_is_noticed(folder):
    assert any("data.channels=1" in w for w in load_images(folder(3, mode="RGB")).report.warnings)


def test_palette_16_bits_1_bit_cmyk_and_orientation(tmp_path):
    def alone(image, name, **settings):
        root = tmp_path / name.replace(".", "")
        root.mkdir()
        for i in range(2):
            image.save(root / f"{i}{name}", **settings)
        return load_images(root).images[0]

    ramp = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    assert np.abs(alone(Image.fromarray(ramp), "16.png")[..., 0] - ramp / 257.0).max() <= 0.5
    palette = Image.new("RGB", (8, 8), (10, 200, 30)).quantize(4)
    assert alone(palette, "p.gif").shape == (8, 8, 3) and alone(palette, "p.png")[0, 0].tolist() == [10, 200, 30]
    assert alone(Image.new("1", (8, 8), 1), "1.png").tolist() == [[[255]] * 8] * 8
    red = alone(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "c.jpg")[4, 4]
    assert red[0] > 240 and red[1] < 40 and red[2] < 40
    turned = Image.new("L", (16, 8))
    turned.paste(255, (0, 0, 8, 8))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes top
    upright = alone(turned, "e.jpg", exif=exif, quality=95)
    assert upright.shape == (16, 8, 1) and upright[:7].min() > 240 and upright[9:].max() < 15


def test_unreadable_files_are_left_out_and_named(folder):
    root = folder(20)
    whole = (root / "0000.png").read_bytes()
    (root / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "empty.jpg").write_bytes(b"")
    (root / "page.png").write_bytes(b"<!DOCTYPE html>")
    (root / "notes.txt").write_text("x")
    (root / ".hidden.png").write_bytes(b"")
    images = load_images(root)
    assert len(images) == 20 and images.report.found == 23
    reasons = dict(images.report.left_out)
    assert set(reasons) == {"cut.png", "empty.jpg", "page.png"}
    assert reasons["empty.jpg"] == "empty file" and "not an image" in reasons["page.png"]
    assert images.report.ignored == {".txt": 1}
    assert any("20 images are few" in w for w in images.report.warnings)


def test_decompression_bombs_are_left_out(folder, monkeypatch):
    root = folder(4)
    Image.new("1", (12_000, 12_000)).save(root / "bomb.png")
    Image.new("1", (20_000, 20_000)).save(root / "bomb2.png")
    images = load_images(root)
    assert len(images) == 4 and all("million pixels" in reason for _, reason in images.report.left_out)
    assert len(images.report.left_out) == 2


def test_missing_empty_and_useless_places(tmp_path, folder, monkeypatch):
    root = folder(5)
    fails(tmp_path / "sett", "no data at", "did you mean", "set?")
    fails(tmp_path / "nowhere" / "deep", "there is no folder", "nowhere")
    (tmp_path / "empty").mkdir()
    fails(tmp_path / "empty", "empty folder")
    (tmp_path / "empty" / "a.heic").write_bytes(b"x")
    fails(tmp_path / "empty", "holds no images", "1 .heic", "convert")
    fails(root / "0001.png", "single image")
    (tmp_path / "set.zip").write_bytes(b"PK")
    fails(tmp_path / "set.zip", "unpack it first")
    fails("digit", "did you mean digits?")
    for i in range(1, 5):
        (root / f"{i:04d}.png").write_bytes(b"")
    fails(root, "1 readable image found", "empty file")
    (root / "0000.png").write_bytes(b"")
    fails(root, "none of the 5 images can be read")
    fails(tmp_path / "set", "no split 'test'", "train", split="test")


def test_class_folders_give_labels(folder, digits):
    images = load_images(folder(30, names="{label}/{i:04d}"))
    assert images.label_names == [str(d) for d in range(10)]
    by_name = dict(zip(images.names, images.labels.tolist(), strict=True))
    assert all(by_name[f"{digits[1][i]}/{i:04d}.png"] == digits[1][i] for i in range(30))
    assert load_images(folder(0), label="none").labels is None
    fails(folder(0), "data.label=kind", label="kind")


def test_class_folders_may_be_nested_or_wrapped(folder):
    folder(3, names="images/cat/kitten/{i}")
    images = load_images(folder(3, names="images/dog/{i}"))
    assert images.label_names == ["cat", "dog"] and images.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_loose_images_beside_class_folders_are_refused(folder):
    folder(5, names="cat/{i}")
    folder(5, names="dog/{i}")
    root = folder(2, names="loose{i}")
    fails(root, "2 of 12 images lie beside the class folders", "data.label=none")
    assert len(load_images(root, label="none")) == 12


def test_split_folders_are_no_classes_and_number_classes_alike(folder):
    folder(4, names="train/cat/{i}")
    folder(4, names="train/dog/{i}")
    root = folder(3, names="val/dog/{i}")
    train, valid = load_images(root), load_images(root, split="validation")
    assert train.report.splits == valid.report.splits == {"train": 8, "valid": 3}
    assert valid.label_names == ["cat", "dog"] and valid.labels.tolist() == [1, 1, 1]
    folder(2, names="other/{i}")
    assert any("2 images outside" in w for w in load_images(root).report.warnings)
    fails(root, "no split 'test'", "train, valid", split="test")


def test_a_class_called_test_is_a_class(folder):
    folder(3, names="test/{i}")
    images = load_images(folder(3, names="rest/{i}"))
    assert images.label_names == ["rest", "test"]


def metadata(root, rows):
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_metadata_jsonl_gives_labels_and_captions(folder):
    root = folder(4)
    metadata(root, [{"file_name": f"{i:04d}.png", "label": "ab"[i % 2], "text": f"digit {i}"} for i in (3, 2, 1)])
    images = load_images(root)
    assert images.captions == ["digit 3", "digit 2", "digit 1"] and images.labels.tolist() == [1, 0, 1]
    assert images.label_names == ["a", "b"]
    assert images.report.left_out == [("0000.png", "not named in metadata.jsonl")]
    assert "labels from 'label'" in images.report.about


def test_metadata_csv_with_another_column_and_numbers_in_order(folder):
    root = folder(4)
    rows = "".join(f"{i:04d}.png,{c},x{i}\n" for i, c in enumerate((10, 9, 2, 10)))
    (root / "metadata.csv").write_text("\ufefffile_name,kind,id\n" + rows)
    images = load_images(root, label="kind")
    assert images.label_names == ["2", "9", "10"] and images.labels.tolist() == [2, 1, 0, 2]
    assert load_images(root).labels is None
    fails(root, "no column 'kin'", "file_name, kind, id", label="kin")


def test_metadata_rows_twice_and_without_file(folder):
    root = folder(3)
    metadata(root, [{"file_name": n} for n in ("0000.png", "0001.png", "0000.png", "gone.png", "0002.png")])
    images = load_images(root)
    assert len(images) == 3
    assert images.report.left_out == [
        ("0000.png", "named again in metadata.jsonl, line 3: the first row is used"),
        ("gone.png", "named in metadata.jsonl, line 4, but there is no such image file"),
    ]


def test_metadata_that_is_wrong_is_refused_with_its_line(folder):
    root = folder(3)
    metadata(root, [{"file": "0000.png"}])
    fails(root, "line 1", "no file_name", "it has: file")
    metadata(root, [{"file_name": "x.png"}])
    fails(root, "names none of the 3 images", "x.png")
    (root / "metadata.jsonl").write_text('{"file_name": "0000.png"}\n{"file_name": \n')
    fails(root, "line 2", "not JSON")
    metadata(root, [{"file_name": f"000{i}.png", "label": label} for i, label in enumerate((1, None, 2))])
    fails(root, "1 of 3 images have no label", "data.label=none")
    metadata(root, [{"file_name": f"000{i}.png", "label": 0.5} for i in range(3)])
    fails(root, "0.5 is not a label")
    assert len(load_images(root, label="none")) == 3


def test_metadata_split_column(folder):
    root = folder(6)
    rows = [{"file_name": f"000{i}.png", "label": i, "split": "dev" if i > 3 else "train"} for i in range(6)]
    metadata(root, rows)
    valid = load_images(root, split="valid")
    assert valid.labels.tolist() == [4, 5] and len(valid.label_names) == 6


def test_duplicates_and_label_warnings(folder):
    root = folder(30, names="a/{i}")
    folder(1, names="b/{i}")
    images = load_images(root)
    assert images.report.duplicates == 1
    assert any("'a' has over 20 times as many images as 'b'" in w for w in images.report.warnings)
    for i in range(30):
        (root / f"a/copy{i}.png").write_bytes((root / "a/0.png").read_bytes())
    assert any("31 of 61 images are copies" in w for w in load_images(root).report.warnings)


def test_limit_draws_from_all_classes_and_stays_the_same(folder):
    root = folder(60, names="{label}/{i}")
    few = load_images(root, limit=20)
    assert len(few) == 20 and len(set(few.labels.tolist())) > 4
    assert few.names == load_images(root, limit=20).names == sorted(few.names)
    fails(root, "data.limit=1", limit=1)


def test_batch_split_take_and_fingerprint(folder):
    images = load_images("digits")
    batch = images.batch([5, 3, 5])
    assert np.array_equal(batch, images.images[[5, 3, 5]]) and batch.flags.writeable
    rest, held = images.split(0.2, seed=1)
    assert len(held) == 300 and len(rest) == 1200 and not set(rest.names) & set(held.names)
    assert np.abs(np.bincount(held.labels) - np.bincount(images.labels) * 0.2).max() < 1
    assert images.split(0.2, seed=1)[1].names == held.names != images.split(0.2, seed=2)[1].names
    assert len({s.fingerprint() for s in (images, rest, held, images.take(np.arange(1500)[::-1]))}) == 4
    plain = load_images("digits", label="none")
    assert plain.take(np.arange(5)).fingerprint() != plain.take(np.arange(5, 10)).fingerprint()
    assert plain.fingerprint() != images.fingerprint()
    with pytest.raises(UserError):
        images.split(0.0)


def test_what_is_held_out_has_no_equal_in_the_rest():
    images = load_images("digits")
    often = images.take(np.r_[np.arange(200).repeat(2), np.zeros(50, np.int64)])  # each twice, one 52 times
    rest, held = often.split(0.1)
    assert len(held) == 45 and len(rest) == 450 - 2 * 45
    assert not set(rest.hashes) & set(held.hashes) and images.hashes[0] in rest.hashes
    with pytest.raises(UserError, match="a part would be empty"):
        images.take(np.zeros(9, np.int64)).split(0.5)


def test_fingerprint_is_of_the_content_not_of_the_place(folder, tmp_path):
    a, b = load_images(folder(5)), load_images(folder(5, into="elsewhere"))
    assert a.fingerprint() == b.fingerprint()
    Image.new("L", (8, 8)).save(tmp_path / "set" / "0002.png")
    assert load_images(tmp_path / "set").fingerprint() != a.fingerprint()


def test_links_in_a_circle_end(folder):
    root = folder(3)
    os.symlink(root, root / "again")
    assert len(load_images(root)) == 3
