"""Quality at equal diversity, on curves whose gap is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adverb.metrics.curve import GAN, TWIN, Point, means, points_of, quality_gap, summary, verdict

TEMPERATURES = (0.6, 0.8, 1.0, 1.2)


def line(model: str, lift: float, shift: float = 0.0, noise: float = 0.0) -> list[Point]:
    """BLEU falls as diversity grows; `shift` moves along that line, `lift` above it."""
    points = []
    for temperature in TEMPERATURES:
        diversity = 0.5 * temperature + shift
        points.append(Point(model, temperature, 0.9 - diversity / 2 + lift + noise, 1 - diversity, 2 - lift))
    return points


def test_less_variety_alone_is_no_gain():
    assert quality_gap(line(GAN, 0.0, shift=-0.1), line(TWIN, 0.0)) == pytest.approx(0.0, abs=1e-12)
    assert quality_gap(line(GAN, 0.03, shift=-0.1), line(TWIN, 0.0)) == pytest.approx(0.03)
    assert quality_gap(line(GAN, -0.02, shift=0.05), line(TWIN, 0.0)) == pytest.approx(-0.02)
    assert math.isnan(quality_gap(line(GAN, 0.0, shift=5.0), line(TWIN, 0.0)))


@pytest.mark.parametrize("lift, word", [(0.05, "above"), (-0.05, "below"), (0.001, "not told apart from")])
def test_the_verdict_knows_its_error(lift, word):
    noise = np.random.Generator(np.random.PCG64(0)).normal(0, 0.01, 4)
    found = summary([[*line(GAN, lift, noise=e), *line(TWIN, 0.0)] for e in noise])
    assert found["gap"] == pytest.approx(lift + noise.mean())
    assert found["gap_se"] == pytest.approx(noise.std(ddof=1) / 2)
    assert word in verdict(found) and found["twin_best_frechet"] == 2.0


def test_points_come_back_from_their_names():
    repeats = [[*line(GAN, e), *line(TWIN, 0.0)] for e in (0.1, 0.3)]
    named = {f"curve/{p.model}/{p.temperature:g}/{name}": getattr(p, name)
             for p in means(repeats) for name in ("bleu", "self_bleu", "frechet")}  # fmt: skip
    found = points_of(named | {"gap": 1.0})
    assert [p.model for p in found] == [GAN] * 4 + [TWIN] * 4
    assert found[0].bleu == pytest.approx(0.9 - 0.15 + 0.2) and found[0].frechet == pytest.approx(1.8)
