"""What is done about a finding: one remedy at a time, in order, and an honest account of whether it helped."""

from __future__ import annotations

import pytest

from adverb import recipe
from adverb.gan.health import WORDS
from adverb.gan.remedies import PATIENCE, REMEDIES, Care, changed, in_words
from adverb.recipe import keys
from adverb.schema.gan import GanRecipe

RECIPES = [name for name in recipe.shipped() if recipe.load(name).objective == "gan"]


def test_every_finding_has_remedies():
    assert set(REMEDIES) == set(WORDS) - {"healthy"}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("finding", REMEDIES)
def test_remedies_are_valid_recipes_that_change_something_and_run_out(name, finding):
    spec, care, seen = recipe.load(name), Care(), []
    while changes := care.prescribe(finding, spec):
        assert set(changes) <= set(keys(GanRecipe)) and in_words(changes, spec)
        spec = changed(spec, changes)
        GanRecipe.model_validate(spec.model_dump())
        seen.append(changes)
    assert 1 <= len(seen) <= len(REMEDIES[finding])
    assert changed(recipe.load(name), care.changes) == spec  # what a resumed run makes of it
    assert care.prescribe(finding, spec) == {}


def test_looking_ahead_tries_nothing():
    spec, care = recipe.load("mlp-gan", {"loss.name": "minimax"}), Care()
    ahead = care.next("saturating", spec)
    assert ahead == {"loss.name": "non-saturating"} and care.state() == Care().state()
    assert care.prescribe("saturating", spec) == ahead
    assert in_words(ahead, spec) == "loss.name minimax → non-saturating"


def test_a_remedy_helped_when_it_stays_healthy_and_not_when_anything_is_found():
    spec = recipe.load("image-gan")
    care = Care()
    assert care.outcome("healthy") is None  # nothing was tried
    care.prescribe("diverging", spec)
    assert [care.outcome("healthy") for _ in range(PATIENCE + 1)] == [None] * (PATIENCE - 1) + [True, None]
    for word in ("diverging", "collapsing"):
        care.prescribe("diverging", spec)
        assert care.outcome("healthy") is None and care.outcome(word) is False and care.outcome(word) is None


def test_what_the_user_changes_after_a_remedy_stays_changed():
    spec, care = recipe.load("image-gan"), Care()
    healed = changed(spec, care.prescribe("diverging", spec))
    assert care.resumed(spec) == healed
    care.prescribe("diverging", healed)
    own = recipe.load("image-gan", {"optim.lr": 1e-5})
    assert care.resumed(own) == own and care.changes == {}


def test_care_survives_a_checkpoint():
    spec, care = recipe.load("image-gan"), Care()
    care.prescribe("diverging", spec)
    care.outcome("healthy")
    again = Care()
    again.load_state(care.state())
    assert again == care
    again.prescribe("diverging", spec)
    assert care.tried == {"diverging": 1}  # a state is a copy


@pytest.mark.parametrize("finding", ["memorising", "overfitting"])
def test_augmentation_at_its_most_is_not_asked_for_again(finding):
    assert Care().next(finding, recipe.load("mlp-gan", {"augment.policy": "none"})) == {"augment.policy": "ada"}
    assert not any(key.startswith("augment") for key in Care().next(finding, recipe.load("mlp-gan")))
