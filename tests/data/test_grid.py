"""Sheets of images, animations, and the report of `adverb data`."""

from __future__ import annotations

import io
import os
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from adverb.data.grid import GAP, PAPER, as_pixels, make_grid, save_gif, save_grid, save_mp4
from adverb.data.images import load_images
from adverb.data.inspect import contact_sheet, inspect_images
from adverb.errors import UserError
from adverb.metrics.images import as_float


def test_networks_outputs_become_pixels():
    values = torch.tensor([-1.0, 1.0, 0.0, 3.0, -3.0, float("nan")]).reshape(6, 1, 1, 1).expand(6, 3, 2, 4)
    pixels = as_pixels(values)
    assert pixels.shape == (6, 2, 4, 3) and pixels[:, 0, 0, 0].tolist() == [0, 255, 128, 255, 0, 128]
    assert np.array_equal(pixels, as_pixels(values.bfloat16())) and np.array_equal(pixels, as_pixels(values.numpy()))
    every = np.arange(256, dtype=np.uint8)
    assert np.array_equal(as_pixels((every / 127.5 - 1).reshape(256, 1, 1, 1)).ravel(), every)
    for bad in (
        np.zeros((2, 3)),
        np.zeros((1, 2, 8, 8)),
        np.zeros((1, 8, 8, 2), dtype=np.uint8),
        np.zeros((1, 8, 8, 1), int),
    ):
        with pytest.raises(ValueError):
            as_pixels(bad)


def test_a_grid_holds_each_image_unsmoothed_at_its_place(tmp_path):
    images = load_images("digits").images[:7]
    path = save_grid(images, tmp_path / "new" / "grid.png", columns=3, scale=4)
    sheet = np.asarray(Image.open(path))
    assert sheet.shape == (3 * (32 + GAP) + GAP, 3 * (32 + GAP) + GAP, 3)
    for i, image in enumerate(images):
        top, left = GAP + i // 3 * (32 + GAP), GAP + i % 3 * (32 + GAP)
        assert np.array_equal(sheet[top : top + 32 : 4, left : left + 32 : 4], image.repeat(3, axis=2))
        assert np.array_equal(sheet[top + 3 : top + 32 : 4, left + 3 : left + 32 : 4, :1], image)
    assert sheet[0, 0].tolist() == list(PAPER) == sheet[-10, -10].tolist()
    assert os.listdir(path.parent) == ["grid.png"]


def test_small_images_are_enlarged_and_large_ones_are_not():
    assert make_grid(np.zeros((1, 8, 8, 1), np.uint8)).width == 64 + 2 * GAP
    assert make_grid(np.zeros((1, 128, 128, 3), np.uint8)).width == 128 + 2 * GAP
    wide = make_grid(np.zeros((16, 16, 64, 3), np.uint8))
    assert 0.5 < wide.width / wide.height < 2


def test_transparency_shows_a_checkerboard():
    images = np.zeros((1, 32, 32, 4), dtype=np.uint8)
    images[:, :16] = (200, 10, 10, 255)
    sheet = np.asarray(make_grid(images, scale=1))[GAP:-GAP, GAP:-GAP]
    assert (sheet[:16] == (200, 10, 10)).all()
    assert {tuple(p) for p in sheet[16:].reshape(-1, 3)} == {(255, 255, 255), (224, 224, 224)}


def test_captions_take_room_and_are_cut():
    images = np.zeros((2, 64, 64, 1), np.uint8)
    plain, written = make_grid(images), make_grid(images, captions=["7", "a very long caption indeed\nwith two lines"])
    assert written.height > plain.height and written.width == plain.width
    with pytest.raises(ValueError):
        make_grid(images, captions=["one"])


def test_gif_frames(tmp_path):
    frames = [np.full((4, 1, 8, 8), value, dtype=np.float32) for value in (-1, 0, 1)]
    with Image.open(save_gif(frames, tmp_path / "a.gif", seconds=0.2)) as gif:
        assert gif.n_frames == 3 and gif.info["loop"] == 0 and gif.info["duration"] == 200
        gif.seek(2)
        assert gif.info["duration"] == 1000 and gif.convert("RGB").getpixel((10, 10)) == (255, 255, 255)


def test_mp4_frames(tmp_path, monkeypatch):
    frames = (np.full((1, 15, 21, 3), value, dtype=np.uint8) for value in (0, 100, 200))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="adverb\\[video\\]"):
        save_mp4(frames, tmp_path / "a.mp4")
    monkeypatch.undo()
    av = pytest.importorskip("av")
    with av.open(save_mp4(frames, tmp_path / "a.mp4", scale=1, rate=25)) as file:
        shown = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert [frame.shape for frame in shown] == [(20, 26, 3)] * 3  # 19×25, and H.264 takes even sides
    assert np.allclose([frame[8, 12].mean() for frame in shown], (0, 100, 200), atol=6)
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_networks_rgba_leaves_with_straight_colours():
    straight = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (3, 8, 8, 4), dtype=np.uint8)
    straight[0, :, :4, 3], straight[1, :, :, 3] = 0, 1
    back = as_pixels(as_float(straight))  # as_float is what a network is shown
    seen = straight[..., 3] > 0
    assert np.array_equal(back[seen], straight[seen]) and (back[~seen] == 0).all()
    brighter = torch.tensor([0.5, 0.0, -1.0, 0.0]).reshape(1, 4, 1, 1)  # more colour than opacity
    assert as_pixels(brighter).ravel().tolist() == [255, 254, 0, 128]


def test_a_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't write"):
        save_grid(np.zeros((1, 8, 8, 1), np.uint8), tmp_path / "file" / "grid.png")


def printed(path, **settings) -> str:
    console = Console(file=io.StringIO(), width=120)
    inspect_images(path, console, **settings)
    return console.file.getvalue()


def test_the_report_says_what_training_would_use(tmp_path):
    text = printed("digits", out=tmp_path / "sheet.png")
    for words in ("1,500 images of 8×8 grey", "train 1,500, test 297", "labels (10)", "3 153", "█", "sheet.png"):
        assert words in text
    assert (tmp_path / "sheet.png").is_file()


def test_the_report_of_a_messy_folder(folder, tmp_path):
    root = folder(30, names="[red]{label}/{i}", size=(20, 30))
    folder(5, names="[red]1/{i}", start=30)
    for i in range(15):
        (root / f"bad[b]{i}.png").write_bytes(b"")
    (root / "metadata.jsonl").write_text("")
    with pytest.raises(UserError):
        printed(root)
    (root / "metadata.jsonl").unlink()
    text = printed(root, label="none", out=tmp_path)
    for words in (
        "left out",
        "15",
        "bad[b]0.png",
        "empty file",
        "and 5 more",
        "20×30",
        "data.size=N",
        "images are few",
    ):
        assert words in text, words
    assert (tmp_path / "contact-sheet.png").is_file()
    for i in range(15):
        (root / f"bad[b]{i}.png").unlink()
    assert "[red]1" in printed(root)  # a name is no markup


def test_a_row_may_share_its_caption():
    images = np.zeros((6, 32, 32, 1), np.uint8)
    long = "a caption that is wider than one image"
    shared, cut = make_grid(images, 3, 2, [long, "b"]), make_grid(images, 3, 2, [long, "", "", "b", "", ""])
    assert shared.size == cut.size
    right = np.s_[GAP + 64 + 2 : GAP + 64 + 14, 80:]  # of the first row's line, beyond its first image
    assert (np.asarray(shared)[right] < 100).any() and (np.asarray(cut)[right] == PAPER[0]).all()


def test_captions_in_the_report_and_on_the_sheet(folder, tmp_path):
    root = folder(4)
    (root / "metadata.csv").write_text("file_name,text\n" + "".join(f"000{i}.png,the digit [b]{i}\n" for i in range(4)))
    text = printed(root)
    assert "captions  4 different, 3 words" in text and "the digit [b]2" in text
    assert contact_sheet(load_images(root), tmp_path / "c.png").is_file()


def test_many_labels_are_cut(folder):
    assert "and 40 more, with 40 images" in printed(folder(50, names="c{i:02d}/{i}"))
