"""Help for the person who labels: texts worth it, labels that are wrong, what more would bring."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from adverb.data.labelled import load_labelled
from adverb.data.parts import folds_of
from adverb.data.sources import SHIPPED
from adverb.errors import UserError
from adverb.labelling.curve import learning_curve, power_law
from adverb.labelling.doubts import find_doubts
from adverb.labelling.next import badge, next_texts
from adverb.metrics.linear import fitted, out_of_fold
from adverb.pipelines import load


def read(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path, columns, rows) -> str:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return str(path)


def clouds(random: np.random.Generator, counts: list[int], spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of length 1 [N, 8] around a centre for each class, and their classes [N]."""
    targets = np.repeat(np.arange(len(counts)), counts)
    vectors = np.eye(8)[targets] + spread * random.standard_normal((len(targets), 8))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), targets


@pytest.fixture(scope="module")
def reviews(minilm):
    """Vectors and targets of the embedded reviews."""
    data = load_labelled(SHIPPED["reviews"] / "train.tsv")
    vectors = load(minilm).embed(data.texts)
    return vectors, data.targets


# -- labels that look wrong


def flipped(targets: np.ndarray, share: float, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(targets with a share of them wrong, which)"""
    random = np.random.default_rng(seed)
    wrong = random.choice(len(targets), round(share * len(targets)), replace=False)
    noisy = targets.copy()
    noisy[wrong] = (noisy[wrong] + random.integers(1, classes, len(wrong))) % classes
    return noisy, wrong


def test_planted_wrong_labels_of_reviews_are_found(reviews):
    vectors, targets = reviews
    found = planted = shown = 0
    for seed in range(4):
        noisy, wrong = flipped(targets, 0.05, 2, seed)
        said = np.mean([out_of_fold(vectors, noisy, folds_of(noisy, 5, seed=s), 2) for s in range(3)], axis=0)
        doubts = find_doubts(said, noisy)
        first = {doubt.row for doubt in doubts[: 2 * len(wrong)]}
        found, planted, shown = found + len(first & set(wrong.tolist())), planted + len(wrong), shown + len(first)
    assert found / planted > 0.5  # in so many rows drawn at random there would be 0.1 of them
    assert found / shown > 0.25  # and those 0.05 of the rows


def test_planted_wrong_labels_of_questions_are_found(minilm, shared_data):
    data = load_labelled(shared_data / "trec" / "train.tsv", label="coarse", limit=500)
    vectors, classes = load(minilm).embed(data.texts), len(data.label_names)
    noisy, wrong = flipped(data.targets, 0.05, classes, 0)
    said = out_of_fold(vectors, noisy, folds_of(noisy, 5), classes)
    first = [doubt.row for doubt in find_doubts(said, noisy)[: 2 * len(wrong)]]
    assert len(set(first) & set(wrong.tolist())) / len(wrong) > 0.5  # at random: 0.1


def test_confident_learning_by_its_formula():
    random = np.random.default_rng(0)
    vectors, targets = clouds(random, [40, 40, 40], 0.25)
    noisy, _ = flipped(targets, 0.1, 3, 0)
    said = out_of_fold(vectors, noisy, folds_of(noisy, 4), 3)
    thresholds = [np.mean([said[i, j] for i in range(120) if noisy[i] == j]) for j in range(3)]
    expected = {}
    for i in range(120):
        confident = [j for j in range(3) if said[i, j] >= thresholds[j]]
        if confident and (best := max(confident, key=lambda j: said[i, j])) != noisy[i]:
            expected[i] = best
    doubts = find_doubts(said, noisy)
    assert expected and {d.row: d.suggested for d in doubts} == expected
    margins = [d.given - max(np.delete(said[d.row], d.label)) for d in doubts]
    assert margins == sorted(margins)


def test_nothing_is_said_of_classes_that_folds_hardly_see():
    said = np.array([[0.9, 0.1, 0.0]] * 10 + [[0.2, 0.8, 0.0]] * 10 + [[0.9, 0.1, 0.0]])
    targets = np.array([0] * 10 + [1] * 10 + [2])
    assert find_doubts(said, targets) == []


# -- what to label next


def test_badge_prefers_what_is_unsure_and_unlike():
    """Sixty rows, each in a direction of its own: of the thirty that are sure, one stands for all."""
    said = np.array([[0.999, 0.001]] * 30 + [[0.55, 0.45]] * 30)
    for seed in range(5):
        chosen = badge(said, np.eye(60), 12, seed)
        assert len(set(chosen.tolist())) == 12
        assert chosen[0] >= 30 and np.count_nonzero(chosen < 30) <= 1
    again = badge(said, np.eye(3)[np.arange(60) % 3], 6)  # unsure rows of three directions
    assert len(set((again[again >= 30] % 3).tolist())) == 3
    assert sorted(badge(said, np.eye(60), 60).tolist()) == list(range(60))


def test_distances_are_those_of_the_gradients():
    """With probabilities of distance in proportion to it, the second draw falls on the only row that is elsewhere."""
    random = np.random.default_rng(0)
    said, vectors = random.dirichlet(np.ones(3), 5), random.standard_normal((5, 4))
    said[1:4], vectors[1:4] = said[0], vectors[0]
    errors = said - np.eye(3)[said.argmax(1)]
    longest = int(np.linalg.norm(np.einsum("uc,uh->uch", errors, vectors).reshape(5, -1), axis=1).argmax())
    chosen = badge(said, vectors, 2)
    assert chosen[0] == longest and (chosen[1] == 4) == (longest != 4)


def test_chosen_texts_teach_more_than_texts_at_random(reviews):
    """Four classes of which few labels show only two: the chosen rows find the others sooner."""
    random = np.random.default_rng(0)
    vectors, targets = clouds(random, [300, 300, 12, 12], 0.2)
    known = np.r_[0:5, 300:305]
    rest = np.setdiff1d(np.arange(len(targets)), known)
    chosen = [rest[one.row] for one in next_texts(vectors[known], targets[known], vectors[rest], 4, 12)]
    drawn = random.choice(rest, 12, replace=False)

    def right(more) -> float:
        rows = np.r_[known, more]
        said = fitted(vectors[rows], targets[rows], vectors[rest], 4).argmax(1)
        return np.mean([(said == targets[rest])[targets[rest] == c].mean() for c in range(4)])

    assert right(chosen) > right(drawn) + 0.1


# -- the curve


def test_the_power_law_is_found_again():
    sizes = np.array([8, 16, 32, 64, 128])
    for a, b, c in ((0.9, 0.5, 0.05), (0.5, 0.2, 0.0), (0.6, 1.0, 0.2)):
        errors = c + a * (sizes / 8.0) ** -b
        found = power_law(sizes, errors, np.array([256, 1024]))
        np.testing.assert_allclose(found, c + a * (np.array([256, 1024]) / 8) ** -b, atol=0.01)


def test_the_interval_holds_what_more_labels_bring():
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(5):
        vectors, targets = clouds(random, [300] * 4, 0.6)
        order = random.permutation(1200)
        now, later, exam = order[:80], order[:320], order[320:]
        curve = learning_curve(vectors[now], targets[now], 4)
        assert [row[0] for row in curve.expected] == [80, 160, 320, 640]
        _, right, low, high = curve.expected[2]
        said = fitted(vectors[later], targets[later], vectors[exam], 4).argmax(1)
        inside += low <= (said == targets[exam]).mean() <= high
        assert low <= right <= high and high - low < 0.35
    assert inside >= 4
    assert learning_curve(vectors[:12], targets[:12], 4) is None


def test_the_curve_does_not_judge_texts_that_it_learnt_from():
    random = np.random.default_rng(0)
    vectors, targets = random.standard_normal((60, 40)), random.integers(2, size=60)  # nothing to learn
    rows = np.repeat(np.arange(60), 4)
    curve = learning_curve(
        vectors[rows], targets[rows], 2, [f"text {row}" + " " * (i % 4) for i, row in enumerate(rows)]
    )
    assert curve.expected[0][0] == 60 and abs(curve.measured[-1][1] - 0.5) < 0.15
    assert curve == learning_curve(vectors, targets, 2)


# -- from the command line


def test_reviews_from_the_list_to_the_training(adverb, minilm, tmp_path):
    rows = read_tsv(SHIPPED["reviews"] / "train.tsv")
    few = [(row["text"], row["label"]) for row in rows[:60]]
    turned = {"positive": "negative", "negative": "positive"}
    few[5], few[17] = (few[5][0], turned[few[5][1]]), (few[17][0], turned[few[17][1]])
    write(tmp_path / "few.csv", ("text", "label"), few)
    write(tmp_path / "more.csv", ("review",), [(row["text"],) for row in rows[40:]])
    done = adverb("label-next", "few.csv", "--unlabelled", "more.csv", "-n", "7", "--out", "next.csv", "--wrong",
                  "wrong.csv", "--model", minilm, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "60 (now)" in done.stdout and "480" in done.stdout and "label next" in done.stdout
    chosen = read(tmp_path / "next.csv")
    assert len(chosen) == 7 and list(chosen[0]) == ["text", "label", "why"]
    assert all(row["label"] == "" and re.search(r"\d+% or \w+ \d+%", row["why"]) for row in chosen)
    assert not {row["text"] for row in chosen} & {text for text, _ in few}  # what has a label is not asked for again
    doubted = {few[int(row["line"]) - 2][0] for row in read(tmp_path / "wrong.csv")}
    assert doubted & {few[5][0], few[17][0]} and len(doubted) < 30
    again = adverb(
        "label-next", "few.csv", "--unlabelled", "more.csv", "--out", "next.csv", "--model", minilm, timeout=600
    )
    assert again.returncode == 2 and "next.csv is there already" in again.stderr
    # filled in, the list is read with the first file
    truth = {row["text"]: row["label"] for row in rows}
    write(tmp_path / "next.csv", chosen[0], [(row["text"], truth[row["text"]], row["why"]) for row in chosen])
    words = [f"model.init={minilm}", "train.steps=1", "train.evaluations=1", "train.precision=fp32"]
    done = adverb("train", "classify", "--data", "few.csv", "data.more=next.csv", *words, "--out", "run", timeout=600)
    assert done.returncode == 0, done.stderr
    assert "7 of them from next.csv" in " ".join(done.stdout.split())
    same = adverb(
        "label-next", "few.csv", "--unlabelled", "more.csv", "--out", "x.csv", "--wrong", "x.csv", timeout=600
    )
    assert same.returncode == 2 and "a file of its own" in same.stderr
    wanting = adverb("label-next", "few.csv", "--out", "other.csv", timeout=600)
    assert wanting.returncode == 2 and "--unlabelled" in wanting.stderr


def read_tsv(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_too_few_labels_and_other_kinds_are_refused(tmp_path, minilm):
    from rich.console import Console

    from adverb.labelling import label_next
    from adverb.schema.tasks import ClassifyData

    few = write(tmp_path / "few.csv", ("text", "label"), [(f"a text {i}", "ab"[i % 2]) for i in range(6)])
    with pytest.raises(UserError, match="has 6 labelled rows: label 10 at least"):
        label_next(ClassifyData(path=few), 5, str(minilm), Console(quiet=True))
    prices = write(tmp_path / "prices.csv", ("text", "label"), [(f"a text {i}", 1.5 * i) for i in range(30)])
    with pytest.raises(UserError, match="one class a row; these are of kind regression"):
        label_next(ClassifyData(path=prices), 5, str(minilm), Console(quiet=True))
