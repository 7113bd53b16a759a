import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from adverb.metrics.details import Details, classification_details, mistake, table
from adverb.metrics.labels import classification_metrics
from adverb.report import write_report
from adverb.run import Run

NASTY = "<script>alert('O\"Neill')</script>"


class Page(HTMLParser):
    """Every element with its attributes, the text of cells by row, and all text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self.text, self.open = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.open = tag

    def handle_data(self, data):
        if self.open != "style":
            self.text.append(data)
        if self.rows and self.rows[-1] and self.open in ("td", "th", "span"):
            self.rows[-1][-1] += data

    def all(self, tag, **attributes):
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in attributes.items())]


def predictions(classes, rows=400, seed=0):
    """Targets and probabilities of a fair classifier."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(rows, classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (probabilities.cumsum(axis=1) > random.random((rows, 1))).argmax(axis=1), probabilities


def details_of(classes, names=None, **more):
    targets, probabilities = predictions(classes)
    names = names or [f"class-{i}" for i in range(classes)]
    texts = [f"text {i}" for i in range(len(targets))]
    return classification_details(targets, probabilities, "single", names, texts=texts, resamples=20, **more)


@pytest.fixture
def run(tmp_path):
    run = Run.create("name: tickets\nobjective: classify\n", "tickets", tmp_path / "run")
    for step in (10, 20):
        run.log({"step": step, "progress": step / 20, "seconds": step, "loss": 1 / step})
        run.log({"step": step, "progress": step / 20, "seconds": step, "eval/accuracy": 0.5 + step / 100})
    return run


def tested(run, **metrics):
    run.log({"step": 20, "progress": 1.0, "seconds": 21} | {f"test/{k}": v for k, v in metrics.items()})


def page_of(run):
    return Page(write_report(run).read_text(encoding="utf-8"))


def test_the_test_set_is_the_headline(run):
    tested(run, accuracy=0.6, f1=0.5)
    tested(run, accuracy=0.8123, f1=0.75)  # measured again, after a resume
    Details(rows=500, intervals={"accuracy": (0.78, 0.84)}).write(run.samples)
    page = page_of(run)
    said = " ".join(page.text)
    assert "accuracy 0.812 0.780 – 0.840" in said
    assert "F1 0.75" in said
    assert "500 rows of the test set" in said
    assert not any("test/" in text for text in page.text)  # not among the curves
    card = (run.path / "README.md").read_text(encoding="utf-8")
    assert "| accuracy | 0.812 | 0.780 – 0.840 |" in card


def test_without_a_test_set_the_validation_set_is(run):
    Details(split="valid", rows=90, intervals={"accuracy": (0.6, 0.8)}).write(run.samples)
    said = " ".join(page_of(run).text)
    assert "accuracy 0.700 0.600 – 0.800" in said
    assert "90 rows of the validation set" in said


def test_without_a_test_set_the_best_evaluation_is_shown_not_the_last(run):
    run.log({"step": 30, "progress": 1.0, "seconds": 30, "eval/accuracy": 0.55})
    run.log({"step": 40, "progress": 1.0, "seconds": 40, "eval/accuracy": float("nan")})
    Details(split="valid", rows=90, intervals={"accuracy": (0.6, 0.8)}).write(run.samples)
    objective = SimpleNamespace(best=("accuracy", "max"), plan=dict)
    said = " ".join(Page(write_report(run, objective).read_text(encoding="utf-8")).text)
    assert "accuracy 0.700 0.600 – 0.800" in said
    assert "90 rows of the validation set, by which this evaluation of the model was chosen" in said


def test_intervals_of_other_rows_are_not_shown(run):
    tested(run, accuracy=0.9)
    Details(split="valid", rows=90, intervals={"accuracy": (0.6, 0.8)}).write(run.samples)
    assert "0.600 – 0.800" not in " ".join(page_of(run).text)


def test_a_run_without_details_has_none_of_it(run):
    said = " ".join(page_of(run).text)
    assert "accuracy 0.7 " in said
    for word in ("Measured", "Calibration", "Confusion", "mistakes"):
        assert word not in said


def test_confusion_matrix(run):
    Details(confusion={"labels": ["a", "b", "c"], "counts": [[90, 10, 0], [0, 0, 0], [1, 0, 3]]}).write(run.samples)
    page = page_of(run)
    assert [row[1:] for row in page.rows[:4]] == [["a", "b", "c"], ["90", "10", ""], ["", "", ""], ["1", "", "3"]]
    assert len(page.all("th", scope="col")) == len(page.all("th", scope="row")) == 3
    right = page.all("td", **{"class": "right"})
    assert [cell["style"] for cell in right] == ["--heat:0.95", "--heat:0.87"]


def test_reliability_diagram(run):
    bins = {"before": [{"low": 0.5, "high": 1, "count": 4, "confidence": 1.0, "accuracy": 0.0}], "after": []}
    bins["after"] = [bins["before"][0] | {"confidence": 0.5, "accuracy": 1.0}]
    Details(calibration={"temperature": 2.5, "before": 0.4, "after": 0.1, "bins": bins}).write(run.samples)
    page = page_of(run)
    frame = page.all("line", **{"class": "diagonal"})[0]  # from (0, 0) to (1, 1)
    left, right, bottom, top = (float(frame[name]) for name in ("x1", "x2", "y1", "y2"))
    before, after = (page.all("circle", **{"class": kind})[0] for kind in ("dashed", "solid"))
    assert (float(before["cx"]), float(before["cy"])) == (right, bottom)
    assert (float(after["cx"]), float(after["cy"])) == ((left + right) / 2, top)
    described = [a["aria-label"] for a in page.all("svg") if "Reliability" in a["aria-label"]]
    assert "0.400, 0.100 after dividing logits by 2.5" in described[0]


def test_what_users_wrote_stays_text(run):
    details = details_of(3, names=[NASTY, "b'b", 'c"c'])
    details.mistakes = [mistake(NASTY, NASTY, "b'b", 0.5, 1234)]
    details.tables.append(table(NASTY, [{NASTY: NASTY, "n": 1}]))
    details.write(run.samples)
    page = page_of(run)
    assert not page.all("script")
    assert page.text.count(NASTY) >= 6
    assert {"true", "said", "1,234"} <= set(page.text)


@pytest.mark.parametrize("classes", [2, 50, 150])
def test_many_classes_do_not_break_the_page(run, classes):
    details_of(classes, uncalibrated=predictions(classes)[1] ** 2, temperature=0.5).write(run.samples)
    text = write_report(run).read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert not re.search(r"https?://|src=|@import|url\(", text)
    page = Page(text)
    boxes = [a for a in page.all("div", role="region") if a["tabindex"] == "0" and a["aria-label"]]
    assert len(boxes) == (2 if classes == 2 else 3)  # the matrix, the classes, and what is confused most
    assert all("table" in box["class"] for box in boxes)
    assert len(page.all("tr")) >= 2 * classes + 2


# -- what is shown


def test_details_come_back(tmp_path):
    details = details_of(4, lines=np.arange(400) + 2)
    details.write(tmp_path / "samples")
    again = Details.read(tmp_path / "samples")
    assert again.rows == 400 and again.split == "test"
    assert again.confusion["counts"] == np.asarray(details.confusion["counts"]).tolist()
    assert again.mistakes == json.loads(json.dumps(details.mistakes, default=lambda value: value.tolist()))
    assert {name: tuple(ends) for name, ends in again.intervals.items()} == details.intervals
    assert Details.read(tmp_path) is None


def test_intervals_hold_the_scores():
    targets, probabilities = predictions(3)
    scores = classification_metrics(targets, probabilities, "single")
    intervals = details_of(3).intervals
    assert intervals.keys() == scores.keys()
    assert all(low < scores[name] < high for name, (low, high) in intervals.items())


def test_the_surest_mistakes_come_first():
    targets, probabilities = (
        np.array([0, 0, 1, 1, 0]),
        np.array([[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [1, 0]]),
    )
    details = classification_details(
        targets, probabilities, "single", ["no", "yes"], texts=list("abcde"), lines=np.arange(2, 7), resamples=5
    )
    assert details.mistakes == [
        {"text": "b", "truth": "no", "said": "yes", "probability": 0.9, "line": 3},
        {"text": "d", "truth": "yes", "said": "no", "probability": 0.7, "line": 5},
        {"text": "a", "truth": "no", "said": "yes", "probability": 0.6, "line": 2},
    ]


def test_mistakes_with_several_classes():
    targets, probabilities = np.array([[1.0, 0, 1], [1, 0, 0]]), np.array([[0.9, 0.7, 0.2], [0.9, 0.1, 0.2]])
    details = classification_details(targets, probabilities, "multi", list("abc"), texts=["x", "y"], resamples=5)
    assert [(m["text"], m["truth"], m["said"], m["probability"]) for m in details.mistakes] == [
        ("x", "a, c", "a, b", 0.8)
    ]
    assert details.confusion is None and details.calibration["after"] > 0


def test_mistakes_of_a_regression():
    details = classification_details(
        np.array([1.0, 2, 3]), np.array([[1.0], [4], [2.5]]), "regression", ["score"], texts=list("abc"), resamples=5
    )
    assert [(m["text"], m["truth"], m["said"], m["probability"]) for m in details.mistakes] == [
        ("b", "2", "4", None),
        ("c", "3", "2.5", None),
    ]
    assert details.tables == [] and details.calibration is None


def test_confused_pairs_instead_of_a_matrix_of_thousands():
    targets = np.array([0, 0, 0, 5, 5, 199] * 2)
    answers = np.array([3, 3, 0, 5, 7, 199] * 2)
    details = classification_details(
        targets, np.eye(200)[answers], "single", [f"c{i}" for i in range(200)], texts=["t"] * 12, resamples=5
    )
    assert details.confusion is None
    pairs = details.tables[1]
    assert pairs["columns"] == ["truth", "said", "times", "share of the class"]
    assert pairs["rows"] == [["c0", "c3", 4, pytest.approx(2 / 3)], ["c5", "c7", 2, 0.5]]
    assert details.tables[0]["rows"][100] == ["c100", None, None, None, 0, 0]  # neither there nor said


def test_long_texts_are_cut():
    text = mistake("word " * 1000, "a", "b")["text"]
    assert len(text) < 900 and text.endswith("word …")
