"""Runs side by side: what is grouped, what differs, which numbers compare, and the page."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from adverb import recipe
from adverb.compare import compare
from adverb.compare.scores import at_equal_cost, direction, scores
from adverb.compare.sides import differences, labels, read_sides
from adverb.compare.words import costs, warnings
from adverb.data.grid import save_grid
from adverb.errors import UserError
from adverb.metrics.details import Details, mistake
from adverb.run import Run
from test_report_tasks import NASTY, Page


def make(folder, name="mlp-gan", evaluations=(), facts=None, test=None, progress=1.0, **overrides) -> str:
    """A run folder as training leaves it: evaluations are (step, seconds, metrics)."""
    spec = recipe.load(name, {"train.steps": 100, **{k.replace("__", "."): v for k, v in overrides.items()}})
    run = Run.create(recipe.dump(spec), name, folder)
    for step, seconds, metrics in evaluations:
        head = {"step": step, "progress": progress, "seconds": seconds}
        run.log(head | {"img_per_second": 100.0})
        run.log(head | {f"eval/{k}": v for k, v in metrics.items()})
    if test:
        run.log(head | {f"test/{k}": v for k, v in test.items()})
    if facts is not None:
        import json

        run.write_text("facts.json", json.dumps(facts))
    return str(folder)


def gan(folder, *frechet, samples=500, **more) -> str:
    found = [(i + 1, 10.0 * (i + 1), {"frechet": f, "frechet_floor": 0.1, "coverage": 1 / (1 + f), "samples": samples})
             for i, f in enumerate(frechet)]  # fmt: skip
    return make(folder, evaluations=found, **more)


def text(folder, first, losses, seconds=1.0, flops=1e9, **more) -> str:
    found = [(10 * (i + 1), seconds * (i + 1), {f"{first}_loss": x, f"{first}_accuracy": 0.1, "token_loss": 9.0}
              if first == "blank" else {f"{first}_loss": x, f"{first}_accuracy": 0.1})
             for i, x in enumerate(losses)]  # fmt: skip
    more = {"data__path": "books", **more}
    return make(folder, "bert-fast", found, facts={"flops_per_step": flops, "unit": "tok"}, **more)


def row(sides, metric, when="last"):
    (found,) = [r for r in scores(sides).rows if (r.metric, r.when) == (metric, when)]
    return found


def shown(paths, tmp_path, out="page.html"):
    console = Console(width=200, record=True, file=open("/dev/null", "w"))
    compare([str(p) for p in paths], tmp_path / out, console)
    return console.export_text(), Page((tmp_path / out).read_text(encoding="utf-8"))


# -- sides


def test_seeds_are_one_side_with_mean_and_deviation(tmp_path):
    runs = [gan(tmp_path / f"r{seed}", 5.0, frechet, seed=seed) for seed, frechet in ((2, 1.0), (0, 2.0), (1, 4.5))]
    sides = read_sides([*runs, gan(tmp_path / "other", 5.0, 0.5, optim__lr=1e-3)])
    assert [side.seeds for side in sides] == [[0, 1, 2], [0]]
    first, second = row(sides, "frechet").scores
    assert first.mean == pytest.approx(2.5) and first.std == pytest.approx(math.sqrt((1.5**2 + 0.5**2 + 2**2) / 2))
    assert second.std is None and row(sides, "frechet").winner == 1
    assert differences(sides) == {"optim.lr": [0.0002, 0.001]}


def test_only_what_differs_is_listed(tmp_path):
    runs = [gan(tmp_path / "a", 1.0), gan(tmp_path / "b", 1.0, name="dcgan")]
    found = differences(read_sides(runs))
    assert found["model.network"] == ["mlp", "dcgan"] and "loss.name" not in found
    assert not {"name", "description", "seed"} & found.keys()


def test_labels_are_as_short_as_they_can_be(tmp_path):
    assert labels([tmp_path / "a" / "run", tmp_path / "b" / "run"]) == ["a/run", "b/run"]
    assert labels([tmp_path / "a" / "one", tmp_path / "b" / "two"]) == ["one", "two"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "this is one run"),
        (["run", "run"], "the same run twice"),
        (["run", "rum"], "did you mean"),
        (["run", "run/model"], "a saved model, not a run folder"),
        (["run", "run/samples"], "no recipe.yaml in it"),
    ],
)
def test_what_is_no_run_is_said(tmp_path, words, message):
    gan(tmp_path / "run", 1.0)
    (tmp_path / "run/samples").mkdir()
    (tmp_path / "run/model").mkdir()
    (tmp_path / "run/model/config.json").write_text("{}")
    with pytest.raises(UserError, match=message):
        read_sides([str(tmp_path / word) for word in words])


# -- which numbers compare


def test_brackets_in_a_path_are_shown_as_they_are(tmp_path):
    paths = [gan(tmp_path / str(i), 1.0, data__path=path) for i, path in enumerate(("im [bold]", "im [/bold]"))]
    said, _ = shown(paths, tmp_path, "page [/].html")
    assert all(path in said for path in ("im [bold]", "im [/bold]", "page [/].html"))


def test_other_features_or_counts_of_samples_do_not_compare(tmp_path):
    judged = [gan(tmp_path / str(i), 1.0, 0.5 + i, facts={"judge": judge}, optim__lr=1e-3 + i)
              for i, judge in enumerate(("classifier", "classifier", "random"))]  # fmt: skip
    sides = read_sides(judged)
    found = scores(sides)
    assert row(sides, "frechet").marks == ["a", "a", "b"] and row(sides, "frechet").winner is None
    assert any("features" in note and "classifier" in note and "random" in note for note in found.notes)
    few = read_sides([judged[0], gan(tmp_path / "few", 0.2, samples=100, facts={"judge": "classifier"}, optim__lr=9)])
    assert row(few, "frechet").winner is None and "samples" in scores(few).notes[0]
    same = read_sides(judged[:2])
    assert row(same, "frechet").winner == 0 and not any(scores(same).notes) and row(same, "frechet").marks == ["", ""]


def test_evaluations_of_other_counts_of_samples_are_not_mixed(tmp_path):
    """The last evaluation judges more samples, of which the distance is smaller for that alone."""

    def run(name, seconds, *distances, last, **more):
        found = [(i + 1, seconds * (i + 1), {"frechet": d, "frechet_each": d, "recall": 0.5, "samples": 500})
                 for i, d in enumerate(distances)]  # fmt: skip
        end = {"frechet": last / 5, "frechet_each": last, "recall": 0.9, "samples": 2500}
        return make(tmp_path / name, evaluations=[*found, (9, seconds * (len(found) + 1), end)], **more)

    short, long = run("short", 10.0, 4.0, last=3.0), run("long", 10.0, 4.0, 2.0, 1.5, last=1.6, optim__lr=9)
    sides = read_sides([short, long])
    seconds, equal = at_equal_cost(sides, "seconds")
    assert seconds == 20 and [score.mean for score in equal.scores] == [3.0, 2.0] and equal.winner == 1
    best = row(sides, "frechet", "best")
    assert [score.mean for score in best.scores] == [3.0, 1.5] and best.winner == 1
    assert [score.mean for score in row(sides, "frechet").scores] == pytest.approx([0.6, 0.32])
    later = read_sides([short, run("later", 10.0, 4.0, 2.0, last=1.5, optim__lr=8)])
    assert not [r for r in scores(later).rows if r.when == "best"]  # the last evaluation was the best one of both


def test_a_tokenizer_is_not_compared(tmp_path):
    spec = recipe.load("tokenizer", {"data.path": "books"})
    run = Run.create(recipe.dump(spec), "tokenizer", tmp_path / "b")
    with pytest.raises(UserError, match="made a tokenizer"):
        read_sides([gan(tmp_path / "a", 1.0), str(run.path)])


def test_losses_of_different_games_get_a_word(tmp_path):
    sides = read_sides([gan(tmp_path / "a", 1.0), gan(tmp_path / "b", 1.0, loss__name="hinge")])
    assert any("d_loss and g_loss of hinge, non-saturating" in note for note in scores(sides).notes)


def test_masked_and_one_sided_models_meet_at_the_hidden_tokens(tmp_path):
    bert = text(tmp_path / "bert", "masked", [6.0, 5.0, 4.0])
    gpt = text(tmp_path / "gpt", "blank", [7.0, 6.0], model__architecture="gpt")
    sides = read_sides([bert, gpt])
    assert [s.mean for s in row(sides, "hidden_loss").scores] == [4.0, 6.0] and row(sides, "hidden_loss").winner == 0
    assert row(sides, "token_loss").scores[0] is None
    assert any("same hidden tokens" in note for note in scores(sides).notes)
    least, equal = at_equal_cost(sides, "flops")  # bert trained for 30 steps, gpt for 20
    assert least == pytest.approx(20e9) and [s.mean for s in equal.scores] == [5.0, 6.0] and equal.winner == 0
    alone = read_sides([bert, text(tmp_path / "again", "masked", [1.0], optim__lr=1.0)])
    assert {r.metric for r in scores(alone).rows} == {"masked_loss", "masked_accuracy"}


def test_equal_cost_is_read_off_between_evaluations(tmp_path):
    slow, quick = (
        text(tmp_path / "s", "masked", [6.0, 2.0], seconds=10),
        text(tmp_path / "q", "masked", [5.0], 15, seed=9),
    )
    sides = read_sides([slow, quick])
    assert len(sides) == 1  # only the seed differs
    other = text(tmp_path / "o", "masked", [5.0], seconds=15, optim__lr=0.5)
    least, equal = at_equal_cost(read_sides([slow, other]), "seconds")
    assert least == 15 and [s.mean for s in equal.scores] == [4.0, 5.0]
    assert (
        at_equal_cost(read_sides([slow, text(tmp_path / "e", "masked", [1.0, 1.0], 10, optim__lr=2)]), "flops") is None
    )


def test_other_vocabularies_do_not_compare(tmp_path):
    runs = [text(tmp_path / n, "masked", [3.0], data__vocab_size=v) for n, v in (("a", 1000), ("b", 2000))]
    for n, path in enumerate(runs):
        (tmp_path / path / "model").mkdir()
        (tmp_path / path / "model/tokenizer.json").write_text(str(n))
    assert "vocabulary" in scores(read_sides(runs)).notes[0]


def test_what_is_better():
    assert direction("frechet") == direction("masked_loss") == direction("reverse_kl") == "min"
    assert direction("coverage") == direction("macro_f1") == direction("elbo") == "max"
    assert direction("density") is direction("best_f1_thresh") is None


# -- the page and the table


def test_the_page_and_the_table(tmp_path):
    import numpy as np

    a = gan(tmp_path / "a", 5.0, 2.0, 1.0, facts={"device": "abacus", "parameters": {"generator": 1234}})
    b = gan(tmp_path / "b", 4.0, 3.0, loss__name="hinge", description=NASTY, progress=0.5)
    for i, path in enumerate((a, b)):
        save_grid(np.full((4, 8, 8, 1), 90 * i, np.uint8), Run(path).samples / "step-0000002.png")
    table, page = shown([a, b], tmp_path)
    for word in ("loss.name", "non-saturating", "hinge", "Fréchet distance", "floor 0.1", "abacus", "1,234", "50 %"):
        assert word in table and any(word in t for t in page.text), word
    assert not page.all("script") and any(NASTY in t for t in page.text)
    assert len(page.all("img")) == 2 and all(i["src"].startswith("data:image/png;base64,") for i in page.all("img"))
    lines = page.all("polyline")
    assert {"c0", "c1"} <= {line["class"] for line in lines}
    xs = {line["class"]: [float(p.split(",")[0]) for p in line["points"].split()] for line in lines[:2]}
    assert xs["c0"][-1] == 340 and xs["c1"][-1] == 170  # on the same axis: 30 s and 20 s, from 10 s
    assert "http" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_runs_of_different_kinds_have_tables_of_their_own(tmp_path):
    task = make(tmp_path / "task", "classify", [(5, 2.0, {"accuracy": 0.8})], test={"accuracy": 0.7}, data__path="x")
    details = Details(rows=90, intervals={"accuracy": (0.6, 0.8)}, mistakes=[mistake(NASTY, "a", "b")])
    details.write(Run(task).samples)
    table, page = shown([gan(tmp_path / "gan", 1.0), task, text(tmp_path / "bert", "masked", [3.0])], tmp_path)
    assert "no metric in common" in table and "0.6 – 0.8" in table
    said = " ".join(page.text)
    for heading in ("Generators of images", "Classifiers", "Language models", "Worst mistakes"):
        assert heading in said
    assert said.count(NASTY) == 1


def test_a_generator_by_captions_stands_beside_one_without(tmp_path):
    captioned = [(1, 10.0, {"frechet": 2.0, "recall_1": 0.1, "samples": 500})]
    a, b = gan(tmp_path / "a", 1.0), make(tmp_path / "b", "text-to-image", captioned)
    table, _ = shown([a, b], tmp_path)
    assert "Fréchet distance" in table and "no metric in common" not in table
    other = make(tmp_path / "c", "text-to-image", captioned, data__held_out=0.3)
    assert len(set(row(read_sides([b, other]), "recall_1").marks)) == 2


def test_a_killed_run_with_patience_is_not_finished(tmp_path):
    evaluations = [(1, 10.0, {"frechet": 1.0, "samples": 500})]
    killed = make(tmp_path / "a", evaluations=evaluations, progress=0.5, facts={}, train__patience=2)
    ended = make(tmp_path / "b", evaluations=evaluations, progress=0.5, facts={"ended": "done"}, train__patience=2)
    (warning,) = [w for w in warnings(read_sides([killed, ended])) if "not finished" in w]
    assert str(tmp_path / "a") in warning


def test_a_run_that_has_nothing_yet(tmp_path):
    sides = read_sides([gan(tmp_path / "a", 1.0), gan(tmp_path / "b", optim__lr=1.0)])
    assert any("b: has no evaluation yet" in line for line in warnings(sides))
    assert row(sides, "frechet").scores[1] is None and costs(sides)["time"] == ["10s", "0s"]
    shown([tmp_path / "a", tmp_path / "b"], tmp_path)


def test_through_the_command_line(adverb, tmp_path):
    words = ("train", "mlp-gan", "train.batch_size=32", "train.precision=fp32", "evaluate.features=random",
             "evaluate.samples=60", "train.evaluations=2", "train.steps=20")  # fmt: skip
    for seed in (0, 1):
        assert adverb(*words, f"seed={seed}", "--out", f"r{seed}").returncode == 0
    assert adverb(*words, "optim.lr=1e-3", "--out", "fast").returncode == 0
    done = adverb("compare", "r0", "r1", "fast", COLUMNS="160")
    assert done.returncode == 0, done.stderr
    assert "r0 +1" in done.stdout and " ± " in done.stdout and "optim.lr" in done.stdout
    assert "parameters" in done.stdout and "device" in done.stdout
    page = Page((tmp_path / "compare.html").read_text(encoding="utf-8"))
    assert len(page.all("img")) == 2 and any("± is the standard deviation" in t for t in page.text)
    wrong = adverb("compare", "r0", "nowhere")
    assert wrong.returncode == 2 and "no run at nowhere" in wrong.stderr and "Traceback" not in wrong.stderr
