"""What signals amount to: each threshold, how often it must be crossed, and what comes first."""

from __future__ import annotations

import math

from adverb.gan.augment import MOST
from adverb.gan.health import IN_A_ROW, MEANINGS, WORDS, Health, findings

FINE = {
    "gradient": 1.0,
    "gap": 2.0,
    "undecided": 0.7,
    "accuracy_train": 0.9,
    "accuracy_held_out": 0.88,
    "memory": 0.1,
    "memory_se": 0.2,
    "overshoot": 0.1,
    "variety": 1.0,
    "distance": 1.1,
    "coverage": 0.8,
    "copies": 0.0,
    "copies_floor": 0.0,
    "missing": 0.0,
    "overfitting": 0.2,
    "gradient_share": 0.8,
}


def test_every_finding_has_a_meaning():
    assert set(MEANINGS) == set(WORDS) - {"healthy"}


def judged(looks: int, **signals) -> list[str]:
    health = Health()
    return [health.judge({**FINE, **signals}) for _ in range(looks)]


def test_a_finding_counts_from_the_third_look_in_a_row():
    health = Health()
    words = [health.judge({**FINE, "variety": v}) for v in (0.1, 0.1, 1.0, 0.1, 0.1, 0.1, 1.0)]
    assert words == ["healthy"] * 5 + ["collapsing", "healthy"]
    assert IN_A_ROW == 3


def test_samples_nearer_to_each_other_than_the_data_are_no_collapse_by_themselves():
    assert set(judged(5, variety=0.266, coverage=0.633)) == {"healthy"}  # captions' images in a good run
    assert judged(5, variety=0.15)[-1] == "collapsing"


def test_of_samples_far_from_all_data_no_class_is_missing():
    assert set(judged(5, missing=0.67, distance=6.7)) == {"healthy"}  # mlp-gan on patches of photos, 600 steps
    assert judged(5, missing=0.67)[-1] == "collapsing"


def test_all_is_well_only_without_the_first_signs():
    health = Health()
    health.judge(dict(FINE))
    assert health.all_is_well
    health.judge({**FINE, "variety": 0.1})
    assert health.word == "healthy" and not health.all_is_well


def test_broken_gradients_count_at_once():
    assert Health().judge({}, broken=True) == "diverging"


def test_the_worst_finding_is_the_word():
    assert judged(3, variety=0.1, copies=0.9)[-1] == "collapsing"
    assert judged(3, variety=0.1, gap=math.nan)[-1] == "diverging"


def test_coverage_that_is_lost_is_a_collapse_and_coverage_that_never_was_is_not():
    def words(*coverages: float) -> list[str]:
        health = Health()
        return [health.judge({**FINE, "coverage": coverage}) for coverage in coverages]

    assert words(0.6, 0.9, 0.9, 0.3, 0.2, 0.1, 0.1, 0.1)[-1] == "collapsing"
    assert set(words(0.6, 0.9, 0.9, 0.6, 0.5, 0.6, 0.5, 0.5)) == {"healthy"}
    assert set(words(0.2, 0.9, 0.2, 0.3, 0.2, 0.3, 0.2, 0.3)) == {"healthy"}  # one good look is no standard
    assert set(words(0.0, 0.25, 0.05, 0.02, 0.01)) == {"healthy"}  # early samples come and go


def test_the_share_is_of_the_largest_early_gradient():
    health, signals = Health(), {}
    for gradient in (1.0, 4.0, 2.0, 1.0):
        signals = {**FINE, "gradient": gradient}
        health.judge(signals)
    assert signals["gradient_share"] == 0.25 and health.early_gradient == 4.0


def test_overfitting_is_a_ratio_told_from_noise():
    health = Health()
    for _ in range(20):
        signals = {**FINE, "memory": 1.5, "gap": 2.0, "memory_se": 0.1}
        word = health.judge(signals)
    assert math.isclose(signals["overfitting"], 0.75) and word == "overfitting"
    assert judged(20, memory=1.5, gap=2.0, memory_se=0.8)[-1] == "healthy"  # within two standard errors
    unsure = Health()
    unsure.judge({**FINE, "memory": 1.5, "gap": -0.1, "memory_se": 0.1})
    assert unsure.overfitting == 0.0


def test_overfitting_is_no_finding_while_augmentation_has_room():
    heart = {"memory": 1.9, "gap": 2.0, "memory_se": 0.1}
    assert judged(5, **heart, p=0.4)[-1] == "healthy"
    assert judged(5, **heart, p=MOST)[-1] == judged(5, **heart)[-1] == "overfitting"


def test_health_survives_a_checkpoint_and_forgets_when_told():
    health = Health()
    for _ in range(4):
        health.judge({**FINE, "variety": 0.1})
    again = Health()
    again.load_state(health.state())
    assert again == health
    again.judge(dict(FINE))
    assert health.in_a_row == {"collapsing": 4}  # a state is a copy
    again.forget()
    assert again == Health()


def test_what_is_not_measured_shows_nothing():
    assert findings({"gradient": 1.0, "gap": 1.0}) == []
    assert findings({}) == ["diverging"]
