"""The command line as a user runs it, in processes of its own, on the embedded digits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from adverb import recipe

SMALL = ("mlp-gan", "train.batch_size=32", "train.precision=fp32", "evaluate.features=random", "evaluate.samples=100")
NOT_HERE = "cuda" if sys.platform == "darwin" else "mps"


def start(tmp_path, *words: str, launcher: tuple[str, ...] = ("-m", "adverb")) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *launcher, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A conditional GAN, trained for a moment; module-wide, never changed by a test."""
    folder = tmp_path_factory.mktemp("trained")
    done = subprocess.run(
        [sys.executable, "-m", "adverb", "train", *SMALL, "train.steps=120", "train.evaluations=2", "--out", "run"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def test_help_is_quick_and_complete(adverb):
    shown = adverb("--help").stdout
    for command in ("train", "recipes", "data", "evaluate", "generate"):
        assert command in shown
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import adverb.cli, sys; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
    )
    assert loaded.stdout.strip() == "[]"  # nothing heavy before it is needed


def test_recipes_are_listed_and_printed(adverb):
    assert "image-gan" in adverb("recipes").stdout
    assert "objective: gan" in adverb("recipes", "wgan-gp").stdout
    wrong = adverb("recipes", "wgan")
    assert wrong.returncode == 2 and "wgan-gp" in wrong.stderr


@pytest.mark.parametrize("name", recipe.shipped())
def test_a_recipe_that_is_printed_into_a_file_is_the_same(name, adverb, tmp_path):
    printed = adverb("recipes", name)
    (tmp_path / f"{name}.yaml").write_text(printed.stdout)
    assert recipe.load(str(tmp_path / f"{name}.yaml")) == recipe.load(name)


def test_a_run_folder_is_complete(trained):
    for name in (
        "recipe.yaml",
        "metrics.jsonl",
        "report.html",
        "README.md",
        "model/model.safetensors",
        "best/config.json",
    ):
        assert (trained / name).stat().st_size > 0, name
    assert len(list((trained / "samples").glob("step-*.png"))) == 2
    page = (trained / "report.html").read_text()
    assert "data:image/png;base64" in page and "Fréchet" in page and "http" not in page
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 120 and {"eval/frechet", "eval/frechet_floor", "eval/coverage"} <= rows[-1].keys()
    assert any("d_loss" in row and row["img_per_second"] > 0 for row in rows)


def test_generate_is_the_same_for_the_same_seed(adverb, trained, tmp_path):
    for out in ("a", "b"):
        assert adverb("generate", trained, "-n", "9", "--seed", "3", "--out", out).returncode == 0
    assert len(list((tmp_path / "a").glob("0*.png"))) == 9
    for name in ("00000.png", "00008.png", "grid.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert np.asarray(Image.open(tmp_path / "a" / "00000.png")).shape == (8, 8)
    assert adverb("generate", trained, "--out", "walk.gif").returncode == 0
    assert Image.open(tmp_path / "walk.gif").n_frames == 40
    assert adverb("generate", trained, "-n", "4", "--label", "7", "--out", "sevens.png").returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--label", "12"), "unknown label '12'"),
        (("--truncation", "0"), "truncation=0"),
        (("--out", "x.jpeg"), "expected a folder, a .png"),
        (("--seed", "3,x"), "--seed 3,x: expected a number"),
        (("--directions", "101"), "from 1 to 100"),
        (("--directions", "2", "-n", "3"), "exclude each other"),
        (("--like", "nowhere.png"), "can't read nowhere.png"),
    ],
)
def test_generate_explains_what_it_cannot_do(adverb, trained, words, message):
    wrong = adverb("generate", trained, *words)
    assert wrong.returncode == 2 and message in wrong.stderr and "Traceback" not in wrong.stderr


def test_generate_shows_what_a_generator_knows(adverb, trained, tmp_path):
    for words, size in (
        (("--directions", "4", "--out", "directions.png"), (7, 4)),
        (("--label", "each", "-n", "30", "--truncation", "0.7", "--out", "classes.png"), (10, 3)),
        (("--seed", "3,17,29", "--out", "three.png"), (2, 2)),
    ):
        done = adverb("generate", trained, *words)
        assert done.returncode == 0, done.stderr
        assert Image.open(tmp_path / words[-1]).size == tuple(66 * cells + 2 for cells in size)
    from sklearn.datasets import load_digits

    Image.fromarray(np.uint8(load_digits().images[0] * 15)).resize((40, 40)).save(tmp_path / "photo.png")
    done = adverb("generate", trained, "--like", "photo.png", "-n", "2", "--out", "like")
    assert done.returncode == 0 and "nearest: distance 0." in done.stdout, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "like").iterdir()) == [
        *(f"0000{i}.png" for i in range(3)),
        "grid.png",
    ]
    assert np.asarray(Image.open(tmp_path / "like" / "00000.png")).shape == (8, 8)  # as training would see it


def test_generate_shows_the_nearest_training_images(adverb, trained, tmp_path):
    done = adverb("generate", trained, "--neighbours", "3", "-n", "5", "--out", "near.png")
    assert done.returncode == 0 and "in the median" in done.stdout and "random-weight" in done.stdout, done.stderr
    assert Image.open(tmp_path / "near.png").width == 4 * 66 + 2
    moved = tmp_path / "moved"
    shutil.copytree(trained / "best", moved / "best")
    (moved / "recipe.yaml").write_text((trained / "recipe.yaml").read_text().replace("path: digits", "path: gone"))
    wrong = adverb("generate", moved, "--neighbours", "3")
    assert wrong.returncode == 2 and "gone" in wrong.stderr and "--data" in wrong.stderr
    assert adverb("generate", moved, "--neighbours", "3", "--data", "digits", "--out", "x.png").returncode == 0


def test_evaluate_prints_and_writes_the_floor_beside(adverb, trained, tmp_path):
    done = adverb("evaluate", trained, "--samples", "200", "--out", "metrics.json")
    assert done.returncode == 0, done.stderr
    assert "frechet" in done.stdout and "floor" in done.stdout and "random" in done.stdout
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["samples"] == 200 and metrics["frechet"] > metrics["frechet_floor"] >= 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "mpl-gan"), "did you mean 'mlp-gan'"),
        (("train", "mlp-gan", "train.step=3"), "did you mean 'train.steps'"),
        (("train", "mlp-gan", "--data", "digit"), "digits"),
        (("train", "mlp-gan", "--resume"), "nothing to resume"),
        (("train", "mlp-gan", f"train.device={NOT_HERE}"), "train.device=auto"),
        (("train", "mlp-gan", "train.compile=true"), "nothing is compiled"),
        (("train", "mlp-gan", "data.limit=5"), "5 images are too few"),
        (("train", "image-gan", "model.widths=[16]", "--dry-run"), "model.widths has 1 numbers"),
        (("evaluate", "nowhere"), "'nowhere' is not a folder"),
        (("generate", "."), "config.json"),
        (("data", "nowhere"), "nowhere"),
    ],
)
def test_mistakes_get_one_line_and_status_2(adverb, words, message):
    wrong = adverb(*words)
    assert wrong.returncode == 2, wrong.stdout + wrong.stderr
    assert message in wrong.stderr and "Traceback" not in wrong.stderr


def test_an_existing_run_is_never_overwritten(adverb, trained):
    before = (trained / "metrics.jsonl").read_bytes()
    wrong = adverb("train", *SMALL, "train.steps=1", "--out", trained)
    assert wrong.returncode == 2 and "already holds a run" in wrong.stderr
    assert (trained / "metrics.jsonl").read_bytes() == before


def test_resume_knows_which_run_is_meant(adverb, tmp_path):
    (tmp_path / "mine.yaml").write_text("objective: gan\nname: fancy\nmodel: {network: mlp}\ntrain: {steps: 2}\n")
    words = (*SMALL[1:], "train.evaluations=1")
    assert adverb("train", "mine.yaml", *words).returncode == 0
    assert adverb("train", "mine.yaml", *words, "train.steps=4", "--resume").returncode == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["fancy-0001"]
    assert "steps: 4" in (tmp_path / "runs" / "fancy-0001" / "recipe.yaml").read_text()
    for said, wrong in {
        "is a run of 'fancy', not of 'dcgan'": ("dcgan", "--resume", "--out", "runs/fancy-0001"),
        "no recipe 'nonsense'": ("nonsense", "--resume", "--out", "runs/fancy-0001"),
        "is a run: go on with it by adverb train runs/fancy-0001 --resume": ("runs/fancy-0001",),
        "leave --out=other out": ("runs/fancy-0001", "--resume", "--out", "other"),
        "leave --resume out": ("mine.yaml", "--resume", "--dry-run"),
    }.items():
        told = adverb("train", *wrong)
        assert told.returncode == 2 and said in told.stderr, told.stderr


def test_a_tokenizer_is_never_resumed(adverb, tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n" * 20)
    words = ("train", "tokenizer", "--data", "text.txt", "vocab_size=100", "--out", "made")
    assert adverb(*words).returncode == 0
    for again in (words, (*words, "--resume"), ("train", "made", "--resume")):
        told = adverb(*again)
        assert told.returncode == 2 and "a tokenizer is made anew" in told.stderr, told.stderr
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_plans_by_the_budget_that_runs_out_first(adverb):
    for minutes, says, not_says in ((0.01, "in 0.01 minutes", "9,000,000"), (1e6, "50 of 32 rows", "minutes")):
        steps = 50 if minutes > 1 else 9_000_000
        done = adverb("train", *SMALL, f"train.steps={steps}", f"train.minutes={minutes}", "--dry-run")
        assert says in done.stdout and not_says not in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_run_in_python_that_is_interrupted_does_not_look_done(tmp_path, name):
    options = dict(word.split("=") for word in SMALL[1:])
    code = f"""
import signal
import adverb
from adverb.journal import Journal

told = []


def write(*_):
    if not told:  # the second signal would end the process at once
        told.append(signal.raise_signal(signal.{name}))


Journal.write = write
try:
    adverb.train("mlp-gan", out="run", **{options}, **{{"train.steps": 500}})
except KeyboardInterrupt as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"{name}: ") and "run is not done" in done.stdout, done.stderr
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.pt"))


def test_brackets_in_paths_are_printed_as_they_are(adverb, tmp_path):
    folder, texts, out = tmp_path / "im [old]", tmp_path / "text [new].txt", "o [bold]"
    folder.mkdir()
    for i in range(60):
        Image.fromarray(np.random.default_rng(i).integers(256, size=(8, 8), dtype=np.uint8)).save(folder / f"{i}.png")
    texts.write_text("the cat sat on the mat\n" * 20)
    words = ("train", *SMALL, "train.steps=1", "train.evaluations=1", "--data", folder)
    for done, shown in (
        (adverb(*words, "--dry-run", COLUMNS="300"), [folder]),
        (adverb(*words, "--out", out, COLUMNS="300"), [folder, f"{out}/report.html"]),
        (adverb("generate", out, "-n", "4", "--out", "g [x].png", COLUMNS="300"), ["g [x].png"]),
        (adverb("train", "tokenizer", "--data", texts, "--out", "t [/]", "vocab_size=100", COLUMNS="300"), ["t [/]"]),
    ):
        assert done.returncode == 0, done.stderr
        assert all(str(path) in done.stdout for path in shown), done.stdout


def test_a_dry_run_prints_the_plan_and_writes_nothing(adverb, tmp_path):
    done = adverb("train", *SMALL, "train.steps=5000", "--dry-run")
    assert done.returncode == 0, done.stderr
    for word in ("parameters", "memory", "5,000", "img/s", "about"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []


def newest_step(run) -> int:
    """Of its checkpoints; 0 where it has none."""
    return max((int(path.stem.removeprefix("step-")) for path in run.glob("checkpoints/step-*.pt")), default=0)


def test_a_run_killed_at_any_moment_and_resumed_equals_the_whole_one(adverb, tmp_path):
    words = ("train", "image-gan", "train.steps=60", "train.batch_size=16", "train.precision=fp32",
             "evaluate.features=random", "evaluate.samples=100", "train.evaluations=3",
             "train.checkpoint_minutes=0.002")  # fmt: skip
    assert adverb(*words, "--out", "whole").returncode == 0
    step, deadline = 0, time.monotonic() + 100
    for _ in range(2):
        process = start(tmp_path, *words, "--out", "parts", "--resume")
        while newest_step(tmp_path / "parts") < step + 15 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        shown, _ = process.communicate()
        assert step < newest_step(tmp_path / "parts") < 60, shown
        assert (f"resumed at step {step}\n" in shown) == (step > 0), shown
        step = newest_step(tmp_path / "parts")
    last = adverb(*words, "--out", "parts", "--resume")
    assert last.returncode == 0 and f"resumed at step {step}\n" in last.stdout, last.stdout + last.stderr

    states = [sorted((tmp_path / run / "checkpoints").glob("*.pt"))[-1] for run in ("whole", "parts")]
    import torch

    whole, parts = (torch.load(path, weights_only=True) for path in states)
    assert whole["step"] == parts["step"] == 60
    for part in ("networks", "averages"):
        for network, tensors in whole[part].items():
            for name, value in tensors.items():
                assert torch.equal(value, parts[part][network][name]), (network, name)
    rows = [(tmp_path / run / "metrics.jsonl").read_text().splitlines() for run in ("whole", "parts")]

    def exact(lines):
        timed = ("seconds", "img_per_second")
        return [{k: v for k, v in json.loads(line).items() if k not in timed} for line in lines]

    assert exact(rows[0]) == exact(rows[1])


def test_sigterm_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path, adverb):
    process = start(tmp_path, "train", *SMALL, "train.minutes=5", "--out", "run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    shown, _ = process.communicate(timeout=30)
    assert process.returncode == 143 and "--resume" in shown
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.pt"))
    assert adverb("train", tmp_path / "run", "--resume", "train.minutes=0.01").returncode == 0
    assert "minutes: 0.01" in (tmp_path / "run" / "recipe.yaml").read_text()  # by which it would go on again


def test_two_workers_give_the_result_of_one(tmp_path, adverb):
    words = ("train", "image-gan", "train.steps=8", "train.batch_size=32", "train.precision=fp32",
             "train.device=cpu", "evaluate.features=random", "evaluate.samples=50", "train.evaluations=1")  # fmt: skip
    assert adverb(*words, "--out", "one").returncode == 0
    port = str(20000 + os.getpid() % 20000)
    two = start(
        tmp_path, *words, "--out", "two",
        launcher=("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port, "-m", "adverb"),
    )  # fmt: skip
    shown, _ = two.communicate(timeout=120)
    assert two.returncode == 0, shown
    one, two = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("one", "two"))
    one, two = (np.concatenate([w[name].ravel() for name in sorted(w)]) for w in (one, two))
    # eight steps move the weights by several percent; Adam turns rounding into at most a fraction of one
    assert np.linalg.norm(two - one) < 0.01 * np.linalg.norm(one)
