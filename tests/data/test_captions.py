"""Captions of a data set, and captions made from labels."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from adverb.data.captions import captions_of, with_article, wordings
from adverb.data.images import load_images
from adverb.errors import UserError


def folder(path, captions: list[str | None]):
    path.mkdir()
    rows = []
    for i, caption in enumerate(captions):
        Image.fromarray(np.full((8, 8), i % 251, dtype=np.uint8)).save(path / f"{i}.png")
        rows.append({"file_name": f"{i}.png"} | ({} if caption is None else {"text": caption}))
    (path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_images(path)


def test_digits_are_spelled_in_many_ways():
    (zero, seven), (_, unseen) = wordings(["0", "7"])
    assert {"7", "a seven", "digit 7", "the number after six", "the number before eight"} <= set(seven)
    assert "the number before one" in zero and not any("after" in text or "plus" in text for text in zero)
    assert not set(seven) & set(unseen) and len(unseen) >= 6


def test_no_wording_stands_for_two_digits():
    seen, unseen = wordings([str(digit) for digit in range(10)])
    texts = [text for several in (*seen, *unseen) for text in several]
    assert len(texts) == len(set(texts))


def test_other_labels_are_named():
    (seen, _), _ = wordings(["ice_cream", "7"])
    assert {"ice cream", "an ice cream", "a picture of an ice cream"} <= set(seen)


@pytest.mark.parametrize(
    "word, expected",
    [("seven", "a seven"), ("eight", "an eight"), ("8", "an 8"), ("one", "a one"), ("unicorn", "a unicorn")],
)
def test_articles(word, expected):
    assert with_article(word) == expected


def test_a_wrong_caption_means_something_else_and_the_right_one_what_the_image_is():
    captions = captions_of(load_images("digits"), 0.1, "digits")
    groups = captions.of_image
    own, wrong = captions.draw(groups, groups, np.random.Generator(np.random.PCG64(0)))
    assert (captions.groups[own] == groups).all() and (captions.groups[wrong] != groups).all()
    assert len(np.unique(own)) == len(captions.texts) == len(np.unique(wrong))  # every wording comes up
    again = captions.draw(groups, groups, np.random.Generator(np.random.PCG64(0)))
    assert np.array_equal(own, again[0]) and np.array_equal(wrong, again[1])


def test_shares_are_how_often_training_meets_a_caption(tmp_path):
    captions = captions_of(folder(tmp_path / "a", ["a cat", "a dog", "a  cat ", "a cat"]), 0.1, "a")
    assert captions.texts == ["a cat", "a dog"] and captions.unseen == []
    assert np.allclose(captions.shares(), [0.75, 0.25])
    made = captions_of(load_images("digits"), 0.1, "digits")
    assert np.isclose(made.shares()[made.groups == 3].sum(), (made.of_image == 3).mean())


def test_captions_of_the_data_are_held_out_with_their_images(tmp_path):
    captions = captions_of(folder(tmp_path / "a", [f"thing {i // 2}" for i in range(400)]), 0.1, "a")
    assert len(captions.unseen) == 20 and len(captions.texts) == 180 and len(captions.rows) == 360
    assert not set(captions.unseen) & set(captions.texts)
    assert not np.isin(captions.of_image[captions.rows], captions.unseen_groups).any()
    groups = captions.of_image[captions.rows]
    own, wrong = captions.draw(groups, groups, np.random.Generator(np.random.PCG64(0)))
    assert [captions.texts[i] for i in own] == [f"thing {i // 2}" for i in captions.rows]
    assert (own != wrong).all()


def test_images_without_a_caption_are_not_trained_on(tmp_path):
    captions = captions_of(folder(tmp_path / "a", ["a cat", "", "a dog", "a cat"]), 0.1, "a")
    assert captions.rows.tolist() == [0, 2, 3] and captions.texts == ["a cat", "a dog"]
    assert np.allclose(captions.shares(), [2 / 3, 1 / 3])


def test_one_long_caption_does_not_make_all_take_its_room(tmp_path):
    images = folder(tmp_path / "a", ["a cat", "a dog", "word " * 100_000, *(f"thing {i}" for i in range(97))])
    tracemalloc.start()
    captions = captions_of(images, 0.1, "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(captions.texts) == 100 and peak < 20e6


@pytest.mark.parametrize(
    "captions, said",
    [
        ([None, None, None], "has no captions"),
        (["", " ", ""], "has no captions to learn from: all are empty"),
        (["a cat", "a cat"], "the same caption, 'a cat'"),
    ],
)
def test_what_there_is_nothing_to_learn_from(tmp_path, captions, said):
    with pytest.raises(UserError, match=said):
        captions_of(folder(tmp_path / "a", captions), 0.1, "a")
