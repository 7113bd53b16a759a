"""Runs as a person watches them: before there is anything, while they train, when they are done."""

from __future__ import annotations

import json
import math
import shutil
import time

import pytest

pytest.importorskip("fastapi")
from adverb.serve.watch import POINTS, look, thin  # noqa: E402


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "a-run"
    (folder / "samples").mkdir(parents=True)
    (folder / "recipe.yaml").write_text("name: image-gan\ndescription: draws\nobjective: gan\n")
    return folder


def write(folder, *rows) -> None:
    with open(folder / "metrics.jsonl", "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def head(step: int) -> dict[str, float]:
    return {"step": step, "progress": step / 100, "seconds": 2.0 * step}


def test_a_run_that_has_only_begun(run):
    said = look("a-run", run)
    assert (said["step"], said["progress"], said["quiet"], said["word"]) == (0, 0.0, None, None)
    assert said["curves"] == {} and said["samples"] == [] and said["recipe"] == "image-gan"


def test_curves_floors_samples_and_health(run):
    write(run, *(head(step) | {"d_loss": 1 / step, "g_loss": float("nan")} for step in (1, 2, 3)))
    write(run, head(2) | {"health/word": "collapsing", "health/variety": 0.2})
    write(run, head(3) | {"health/word": "healthy", "health/variety": 0.9})
    write(
        run,
        *(
            head(step) | {"eval/frechet": 9.0 - step, "eval/frechet_floor": 0.5, "eval/kernel_floor": math.nan}
            for step in (2, 4)
        ),
    )
    (run / "metrics.jsonl").open("a").write('{"step": 5, "torn')  # by a kill
    for step in (2, 4):
        (run / f"samples/step-{step:07d}.png").write_bytes(b"a picture")
    said = look("a-run", run)
    assert (said["step"], said["progress"], said["word"], said["samples"]) == (4, 0.04, "healthy", [2, 4])
    assert said["curves"]["Fréchet distance"] == [(2, 7.0), (4, 5.0)] and said["floors"] == {"Fréchet distance": 0.5}
    assert said["curves"]["discriminator loss"] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert said["curves"]["generator loss"] == [(1, None), (2, None), (3, None)]
    assert said["curves"]["variety"] == [(2, 0.2), (3, 0.9)] and "samples" not in said["curves"]
    assert 0 <= said["quiet"] < 60


def test_long_curves_keep_their_ends():
    points = [(step, 0.0) for step in range(1000)]
    thinned = thin(points)
    assert len(thinned) == POINTS and (thinned[0], thinned[-1]) == (points[0], points[-1])
    assert thin(points[:7]) == points[:7]


def test_the_model_of_a_run_is_served_when_there_is_one(start, small, run):
    server = start(run, small["classes"])
    assert server.ask("/models")[1]["models"][0] == {
        "name": "a-run", "verb": None, "run": True, "labels": [], "pairs": False, "max_length": None, "mask": None,
        "multi_label": False, "regression": False, "captions": [],
    }  # fmt: skip
    status, said, _ = server.ask("/generate", {"model": "a-run"})
    assert status == 404 and "has no model yet" in said["error"]
    assert server.ask("/runs/a-run")[1]["quiet"] is None
    assert server.ask("/runs/a-run/samples/7")[0] == 404 and server.ask("/runs/a-run/samples/..%2f..")[0] in (404, 422)
    (run / "samples/step-0000007.png").write_bytes(b"a picture")
    assert server.ask("/runs/a-run/samples/7")[1] == b"a picture"

    shutil.copytree(small["draws"], run / ".model.new")
    (run / ".model.new").rename(run / "model")
    deadline = time.monotonic() + 60
    while server.ask("/generate", {"model": "a-run"})[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert server.ask("/models")[1]["models"][0]["verb"] == "generate"
