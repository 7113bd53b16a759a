"""The section of the report about health, from rows as a run writes them."""

from __future__ import annotations

import re

from adverb.report import write_report
from adverb.report_health import episodes, health_section
from adverb.run import Run


def look(step: int, word: str = "healthy", **signals) -> dict:
    row = {"step": step, "progress": step / 1000, "seconds": step / 10, "health/word": word}
    return row | {
        f"health/{name}": value for name, value in {"variety": 1 - step / 2000, "gap": 2.0, **signals}.items()
    }


HEALED = [
    look(100),
    look(200, "collapsing", remedy="optim.lr 0.1 → 0.025"),
    look(300),
    look(400, "collapsing", helped="no", remedy="loss.name hinge → rpgan"),
    *(look(step) for step in range(500, 1400, 100)),
    look(1400, helped="yes"),
    look(1500, "overfitting"),
    look(1600, "overfitting"),
]


def test_findings_in_a_row_are_one_and_a_remedy_starts_anew():
    found = episodes(HEALED)
    assert [(e.word, e.before, e.first, e.last) for e in found] == [
        ("collapsing", 100, 200, 200),
        ("collapsing", 300, 400, 400),
        ("overfitting", 1400, 1500, 1600),
    ]
    assert [e.helped for e in found] == ["no", "yes", ""]
    assert episodes(HEALED[:3])[0].helped == "not known yet"


def test_a_healthy_run_says_so_and_marks_nothing():
    section = health_section([look(step) for step in range(100, 600, 100)] + [{"step": 600, "d_loss": 1.0}])
    assert "Healthy at all 5 looks." in section and "<table" not in section
    assert "variety, 1 as the data · 0.75, alarm &lt; 0.2" in section
    assert "class=span" not in section and "class=moment" not in section


def test_what_was_found_is_shaded_in_every_curve_and_remedies_are_marked():
    section = health_section(HEALED)
    assert "Overfitting at the last look; something was found at 4 of 16 looks." in section
    charts = section.split("<figure>")[1:]
    assert charts and all(chart.count("class=span") == 3 and chart.count("class=moment") == 2 for chart in charts)
    assert re.search(r"collapsing<td[^>]*>the samples show less.*200<td[^>]*>optim.lr 0.1 → 0.025<td[^>]*>no", section)


def test_long_runs_are_thinned_and_gaps_left_out():
    looks = [look(step, copies=float("nan")) for step in range(100, 400_100, 100)]
    section = health_section(looks)
    assert max(chart.count(",") for chart in section.split("<polyline")[1:]) <= 510
    assert "copies of training" not in section


def test_without_looks_there_is_no_section(tmp_path):
    assert health_section([{"step": 1, "loss": 2.0}]) == ""
    run = Run.create("name: mine\nobjective: gan\n", "mine", tmp_path / "run")
    for row in HEALED:
        run.log(row)
    assert (
        "<h2>Health</h2>" in write_report(run).read_text() and "<h2>Training</h2>" not in write_report(run).read_text()
    )
