"""What can be asked of a generator: truncation, walks, directions, projection, neighbours, and their files."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.datasets import load_digits

from adverb.data.images import load_images
from adverb.errors import UserError
from adverb.gan.networks import build
from adverb.pipelines import load
from adverb.pipelines.directions import factorise
from adverb.pipelines.draw import draw_to
from adverb.pipelines.generator import Generator
from adverb.pipelines.latents import bound, closed_walk, normal, slerp
from adverb.pipelines.neighbours import find_neighbours


def made(network="residual", classes=0, channels=1, size=(8, 8), latent_size=16, seed=0) -> Generator:
    """A generator that was not trained."""
    torch.manual_seed(seed)
    config = {"network": network, "image_size": list(size), "channels": channels, "latent_size": latent_size,
              "classes": classes}  # fmt: skip
    generator, _ = build(**config)
    names = [f"kind {i}" for i in range(classes)]
    shares = np.arange(1, classes + 1) / sum(range(classes + 1)) if classes else None
    return Generator(generator.eval().requires_grad_(False), config | {"label_names": names}, shares)


# -- latents


@pytest.mark.parametrize("truncation", [0.05, 0.5, 0.7, 0.95])
def test_a_truncated_latent_is_a_truncated_normal_with_that_deviation(truncation):
    latent = normal(500, 200, 0, truncation).astype(np.float64).ravel()
    edge = bound(truncation)
    assert abs(latent).max() <= edge * (1 + 1e-6)
    assert math.isclose(latent.std(), truncation, rel_tol=0.01)
    assert stats.kstest(latent, stats.truncnorm(-edge, edge).cdf).pvalue > 0.001


def test_truncation_keeps_what_a_seed_draws():
    wild, tame = normal(1, 500, 3)[0], normal(1, 500, 3, 0.6)[0]
    assert np.array_equal(wild.argsort(), tame.argsort()) and (abs(tame) < abs(wild)).all()
    assert np.array_equal(normal(4, 8, 1, 1.0), normal(4, 8, 1))
    with pytest.raises(UserError, match="truncation=1.5"):
        normal(1, 8, 0, 1.5)


def test_several_seeds_are_the_first_image_of_each():
    model = made(classes=3)
    images, labels = model.generate(seed=[3, 17], with_labels=True)
    for i, seed in enumerate((3, 17)):
        alone, label = model.generate(1, seed=seed, with_labels=True)
        assert np.array_equal(images[i], alone[0]) and labels[i] == label[0]


def test_the_first_images_of_a_seed_do_not_depend_on_how_many_are_drawn():
    few, many = normal(1, 100, 3), normal(64, 100, 3)  # 100 is no multiple of the 16 numbers that come together
    assert np.array_equal(few[0], many[0]) and np.array_equal(normal(10, 100, 3), many[:10])
    model = made(classes=3, latent_size=100)
    assert np.array_equal(model.generate(seed=[np.int64(3)], label=1)[0], model.generate(8, seed=3, label=1)[0])


def test_an_index_is_an_index_also_where_classes_are_called_by_numbers():
    model = made(classes=3)
    model.config["label_names"] = ["1", "2", "3"]
    for index, name in enumerate(("1", "2", "3")):
        assert np.array_equal(model.generate(2, label=index), model.generate(2, label=name))
    assert model.labels_for(1, 0, 3).tolist() == [2]  # no class has this index: a name
    with pytest.raises(UserError, match="unknown label '²'"):  # a digit, and no number
        model.generate(1, label="²")
    model.class_shares = np.array([0.1, 0.8, 0.1])
    walk = model.interpolate(2, 3, seed=0)
    assert np.array_equal(walk[0], model.generate(2, seed=0, label="2")[0])  # of the most frequent class


def test_a_walk_goes_through_what_its_seeds_draw():
    model = made(classes=3)
    seeds = [3, 17, 29, 30]
    images, labels = model.generate(seed=seeds, with_labels=True)
    assert len(set(labels.tolist())) > 1
    assert np.array_equal(model.interpolate(frames=4, seed=seeds)[::4], images)
    first = model.traverse(model.directions(1), (0.0,), seed=3)[0, 0]
    assert np.array_equal(first, model.generate(1, seed=3)[0]) and np.array_equal(first, images[0])


def test_a_folder_of_samples_holds_no_older_ones(tmp_path):
    model = made()
    (tmp_path / "photos").mkdir()
    for i in range(9):
        (tmp_path / "photos" / f"{i:05d}.png").write_bytes(b"a photo of mine")
    draw_to(model, tmp_path / "photos", n=5)
    assert len(list((tmp_path / "photos").glob("0*.png"))) == 9  # not a folder of samples
    draw_to(model, tmp_path / "samples", n=12)
    (tmp_path / "samples" / "mine.png").write_bytes(b"kept")
    draw_to(model, tmp_path / "samples", n=5)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        *(f"{i:05d}.png" for i in range(5)), "grid.png", "mine.png",
    ]  # fmt: skip


def test_a_walk_is_closed_even_and_on_the_sphere():
    points = normal(3, 16, 0)
    path = closed_walk(points, 10)
    assert path.shape == (30, 16)
    assert path.dtype == np.float32
    np.testing.assert_allclose(path[::10], points, rtol=1e-5)
    unit = path / np.linalg.norm(path, axis=1, keepdims=True)
    angles = np.arccos((unit * np.roll(unit, -1, 0)).sum(1).clip(-1, 1)).reshape(3, 10)  # the last leads to the first
    np.testing.assert_allclose(angles, np.repeat(angles[:, :1], 10, axis=1), rtol=1e-3, atol=1e-4)
    radius, radii = (np.linalg.norm(found, axis=1) for found in (points, path))
    assert radii.max() <= radius.max() + 1e-4 and radii.min() >= radius.min() - 1e-4
    assert np.array_equal(slerp(points[0], points[0], 4), np.repeat(points[:1], 4, axis=0))


def test_a_walk_through_seeds_visits_them():
    model = made(classes=3)
    walk = model.interpolate(frames=5, seed=[1, 2, 3], label="kind 0")
    assert walk.shape == (15, 8, 8, 1)
    assert np.array_equal(walk[::5], model.generate(seed=[1, 2, 3], label="kind 0"))


def test_each_takes_the_classes_in_turn_with_one_latent_for_all():
    model = made(classes=3)
    images, labels = model.generate(7, seed=5, label="each", with_labels=True)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    for i in range(7):
        assert np.array_equal(images[i], model.draw(model.latents(3, 5)[i // 3, None], labels[i : i + 1])[0])


# -- directions


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize(
    ("network", "first"),
    [("residual", lambda g: g.start), ("dcgan", lambda g: g.norms[0]), ("mlp", lambda g: g.hidden.layers[0])],
)
def test_the_map_of_a_latent_is_what_the_network_does_first(network, first, classes):
    model = made(network, classes)
    if network == "dcgan":  # as a trained one
        torch.nn.init.uniform_(model.network.norms[0].running_var, 0.1, 10)
        torch.nn.init.normal_(model.network.norms[0].weight)
    seen = []
    first(model.network).register_forward_hook(lambda module, inputs, output: seen.append(output.flatten(1)))
    a, b = normal(2, 16, 0)[:, None]
    for latent in (a, b):
        model.draw(latent, np.array([1]) if classes else None)
    torch.testing.assert_close(
        seen[1] - seen[0], torch.from_numpy(b - a) @ model.network.latent_map().T, rtol=1e-4, atol=1e-5
    )


def test_directions_are_the_singular_vectors_of_that_map():
    model = made(classes=2)
    weight = model.network.latent_map().double().numpy()
    found = model.directions(4)
    assert found.dtype == np.float32 and np.array_equal(found, factorise(weight)[:4])
    _, gains, vectors = np.linalg.svd(weight, full_matrices=False)
    assert np.allclose(abs((found * vectors[:4]).sum(1)), 1, atol=1e-6)
    assert np.allclose(np.linalg.norm(found @ weight.T, axis=1), gains[:4], rtol=1e-5)
    assert (np.take_along_axis(found, abs(found).argmax(1)[:, None], axis=1) > 0).all()
    with pytest.raises(UserError, match="from 1 to 16"):
        model.directions(17)


def test_a_traverse_passes_through_the_image_itself():
    model = made(classes=3)
    images = model.traverse(model.directions(2), (-2.0, 0.0, 2.0), seed=4, label="kind 1")
    itself = model.generate(1, seed=4, label="kind 1")[0]
    assert images.shape == (2, 3, 8, 8, 1)
    assert np.array_equal(images[0, 1], itself) and np.array_equal(images[1, 1], itself)
    moved = model.draw(model.latents(1, 4) + 2 * model.directions(2)[1:], np.array([1]))[0]
    assert np.array_equal(images[1, 2], moved)


# -- projection


@pytest.mark.parametrize(("classes", "channels"), [(0, 1), (3, 3), (0, 4)])
def test_an_image_of_the_generator_is_found_again(classes, channels):
    model = made(classes=classes, channels=channels)
    target = model.generate(1, seed=99, label=2 if classes else None)[0]
    near = model.project(target, restarts=3, steps=0)
    found = model.project(target, restarts=3, steps=150)
    assert found.distances[0] < 0.03 and found.distances[0] < near.distances[0] / 10
    assert (np.diff(found.distances) >= 0).all() and np.linalg.norm(found.latents, axis=1).max() <= 4 + 1e-4
    shown = found.images[0].astype(float) - target
    if channels != 4:
        assert math.isclose(np.sqrt((shown**2).mean()), found.errors[0], rel_tol=1e-6)
    if classes:
        np.testing.assert_allclose(found.classes.sum(1), 1, rtol=1e-5)
        assert (model.project(target, steps=0, label=1).classes.argmax(1) == 1).all()


def test_a_random_image_has_distance_1_on_average():
    model = made(classes=3)
    target = model.generate(1, seed=99)[0]
    distances = [model.project(target, restarts=256, steps=0, seed=seed, label=1).distances.mean() for seed in (0, 1)]
    assert np.allclose(distances, 1, rtol=0.01)


def test_a_file_is_prepared_as_for_training(tmp_path):
    for i, size in enumerate(((30, 20), (24, 24))):
        pixels = np.random.Generator(np.random.PCG64(i)).integers(0, 255, (*size, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    model = made(channels=3, size=(12, 12))
    found = model.project(tmp_path / "0.png", restarts=1, steps=1)
    assert np.array_equal(found.target, load_images(tmp_path, size=12, channels=3).images[0])
    with pytest.raises(UserError, match="the file is gone"):
        model.project(tmp_path / "2.png")
    with pytest.raises(UserError, match="draws uint8"):
        model.project(np.zeros((9, 9, 3), np.uint8))


# -- neighbours


def test_a_copy_is_at_distance_0_and_named():
    data = load_images("digits")
    near = find_neighbours(data.images[[7, 500]], data, 3)
    assert (near.distances[:, 0] < 1e-4).all() and (near.distances[:, 1] > 0.1).all()  # the same but for rounding
    assert [names[0] for names in near.names] == ["row 7", "row 500"]
    assert np.array_equal(near.images[:, 0], data.images[[7, 500]])
    strangers = np.random.Generator(np.random.PCG64(0)).integers(0, 255, (5, 8, 8, 1), dtype=np.uint8)
    assert find_neighbours(strangers, data, 1).distances.min() > 1.2  # farther than digits are from each other
    with pytest.raises(UserError, match="neighbours=1500"):
        find_neighbours(strangers, data, 1500)


def test_a_mirrored_copy_is_found_where_training_mirrors():
    data = load_images("digits")
    turned = np.ascontiguousarray(data.images[[20]][:, :, ::-1])
    assert find_neighbours(turned, data, 4).distances[0, 0] > 0.1
    near = find_neighbours(turned, data, 4, mirrored=True)
    assert near.distances[0, 0] < 1e-4 and near.names[0][0] == "row 20" and len(set(near.names[0])) == 4
    assert np.array_equal(near.images[0, 0], turned[0])
    assert (np.diff(near.distances) >= 0).all()


def test_equal_training_images_do_not_make_everything_else_far():
    data = load_images("digits").take(np.arange(300).repeat(2))
    strangers = load_images("digits").images[700:720]
    once = find_neighbours(strangers, load_images("digits").take(np.arange(300)), 1)
    assert np.allclose(find_neighbours(strangers, data, 1).distances, once.distances, rtol=0.02)
    with pytest.raises(UserError, match="all the same"):
        find_neighbours(strangers, data.take(np.zeros(9, np.int64)), 1)


def test_a_generator_without_a_run_must_be_told_where_the_data_is():
    model = made()
    with pytest.raises(UserError, match="name it by --data"):
        model.neighbours(model.generate(2))
    assert model.neighbours(model.generate(2), 3, data="digits").images.shape == (2, 3, 8, 8, 1)


# -- files


def test_files_keep_their_transparency(tmp_path):
    model = made(channels=4)
    grid, folder = draw_to(model, tmp_path / "out", n=3, seed=1)
    assert Image.open(grid).mode == "RGB"
    files = [Image.open(folder / f"0000{i}.png") for i in range(3)]
    assert {file.mode for file in files} == {"RGBA"}
    assert np.array_equal(np.stack(files), model.generate(3, seed=1))


@pytest.mark.parametrize("wish", [{"directions": 3}, {"seed": [1, 2]}, {"n": 2, "label": "kind 1"}])
def test_animations(tmp_path, wish):
    pytest.importorskip("av")
    import av

    model = made(classes=3)
    (gif,) = draw_to(model, tmp_path / "a.gif", **wish)
    with Image.open(gif) as frames:
        count = frames.n_frames
        assert count in (20, 40) and frames.info["loop"] == 0
        frames.seek(count - 1)
        assert frames.info["duration"] == 100  # a loop does not pause
    (mp4,) = draw_to(model, tmp_path / "a.mp4", **wish)
    with av.open(mp4) as file:
        assert len(list(file.decode(video=0))) == 3 * count
        assert file.streams.video[0].average_rate == 30


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"directions": 2, "n": 4}, "--directions and -n exclude"),
        ({"directions": 2, "neighbours": 4}, "--neighbours and --directions exclude"),
        ({"directions": 2, "label": "each"}, "--directions and --label each exclude"),
        ({"like": "x.png", "truncation": 0.5}, "--like and --truncation exclude"),
        ({"seed": [1, 2], "n": 4}, "-n and several seeds exclude"),
        ({"seed": [1, 2], "label": "each"}, "--label each and several seeds exclude"),
        ({"data": "digits"}, "for --neighbours"),
    ],
)
def test_wishes_that_exclude_each_other(tmp_path, wish, message):
    with pytest.raises(UserError, match=message):
        draw_to(made(classes=3), tmp_path / "a.png", **wish)
    assert not list(tmp_path.iterdir())


def test_what_animations_cannot_show(tmp_path):
    for wish in ({"neighbours": 2}, {"label": "each"}, {"like": "photo.png"}):
        with pytest.raises(UserError, match="exclude each other|--directions it can move"):
            draw_to(made(classes=3), tmp_path / "a.gif", **wish)


def test_a_photo_moved_along_directions(tmp_path):
    said = []
    Image.fromarray(np.uint8(load_digits().images[3] * 15)).save(tmp_path / "photo.png")
    model = made(classes=3)
    (sheet,) = draw_to(model, tmp_path / "a.png", like=tmp_path / "photo.png", directions=2, n=None, say=said.append)
    assert Image.open(sheet).size == (7 * 66 + 2, 2 * 66 + 2)
    assert "0: the same" in said[0] and "kind" in said[0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (dict(n=2, label=np.array([0, 99])), "expected 2 numbers from 0 to 2"),
        (dict(n=4, label=np.array([0, 1])), "expected 4 numbers from 0 to 2"),
        (dict(n=0), "n=0"),
        (dict(n=2, seed=-1), "seed=-1"),
    ],
)
def test_what_can_not_be_drawn_is_refused(asked, message):
    model = made(classes=3)
    with pytest.raises(UserError, match=message):
        model.generate(asked.pop("n"), **asked)
    with pytest.raises(UserError, match="frames=0"):
        model.interpolate(2, frames=0)


def test_a_folder_with_a_part_of_a_generator_is_refused(tmp_path):
    made(classes=3).save(tmp_path / "whole")
    for what, message in (("gone", "model.safetensors is missing"), ("torn", "is damaged"), ("other", "one generator"),
                          ("shares", "lacks class_shares")):  # fmt: skip
        folder = tmp_path / what
        shutil.copytree(tmp_path / "whole", folder)
        weights, config = folder / "model.safetensors", json.loads((folder / "config.json").read_text())
        if what == "gone":
            weights.unlink()
        if what == "torn":
            weights.write_bytes(weights.read_bytes()[:200])
        if what == "other":
            config["latent_size"] += 1
        if what == "shares":
            del config["class_shares"]
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match=message):
            load(folder)
