"""What a user can get wrong in a recipe, and what they are told."""

from __future__ import annotations

import pytest
import yaml

from adverb import recipe
from adverb.errors import UserError


@pytest.mark.parametrize("name", recipe.shipped())
def test_every_shipped_recipe_is_valid_and_says_what_it_is(name):
    spec = recipe.load(name)
    assert spec.name == name and spec.description
    again = recipe.validate(yaml.safe_load(recipe.dump(spec)), {}, source="dump")
    assert again == spec  # what is recorded with a run is the whole recipe


def test_overrides_win_and_are_typed():
    spec = recipe.load("image-gan", ["optim.lr=3e-4", "loss.r1=[1, 0.1]", "train.steps=7", "data.flip=true"])
    assert spec.optim.lr == 3e-4 and spec.loss.r1 == (1.0, 0.1) and spec.data.flip is True
    assert spec.train.steps == 7 and spec.train.minutes is None  # the asked-for budget replaces the recipe's
    assert recipe.load("image-gan", {"train.minutes": 2}).train.minutes == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=3", "unknown key 'train.stepz': did you mean 'train.steps'"),
        ("lr=3", "did you mean 'optim.lr'"),
        ("modle.widths=[3]", "did you mean 'model.widths'"),
        ("train.steps=abc", "train.steps=abc: .*valid integer"),
        ("train.steps=0", "train.steps=0: .*greater than or equal to 1"),
        ("loss.name=hinges", "loss.name=hinges: .*'hinge'"),
        ("train.precision=fp8", "train.precision=fp8: .*'bf16'"),
        ("optim.lr=-1", "optim.lr=-1: .*greater than 0, got -1"),
        ("optim.lr=[-1, 1]", "greater than or equal to 0, got -1"),
        ("optim.lr=.inf", "finite number"),
        ("optim.beta1=1", "less than 1"),
        ("optim.beta2=2", "less than 1"),
        ("optim.beta2=[0.9, 1]", "less than 1, got 1"),
        ("loss.r1=-1", "greater than or equal to 0"),
        ("average.half_life=-10", "greater than or equal to 0"),
        ("seed=99999999999999999999999", "less than 4294967296"),
        ("data.size=[8]", "valid integer"),
        ("steps", "not an override: write key=value"),
        ("=3", "not an override"),
        ("qwertyuiop=3", "unknown key 'qwertyuiop': known here: .*train"),
    ],
)
def test_a_wrong_override_is_named_with_its_mend(override, message):
    with pytest.raises(UserError, match=message):
        recipe.load("image-gan", [override])


def write(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="latin-1")
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "objective: gan\ntrain: {steps: 5}\noptim:\n  lr: 1.e-3\n  betta1: 0\n",
            r"mine.yaml:5: optim.betta1: .*optim.beta1",
        ),
        ("objective: gan\ntrain:\n  steps: lots\n", r"mine.yaml:3: train.steps: .*got 'lots'"),
        ("objective: gan\ntrain: {}\n", r"mine.yaml:2: train: needs a budget: train.steps"),
        ("objective: gun\n", r"objective is 'gun': did you mean 'gan'"),
        ("train: {steps: 1}\n", "objective is None: expected one of"),
        ("objective: gan\n\ttrain: {steps: 1}\n", r"mine.yaml:2:1: not YAML"),
        ("- a\n- b\n", "a recipe is a mapping"),
        ("objective: [gan]\n", r"objective is \['gan'\]"),
        ("objective: gan\ndescription: für mich\n", "mine.yaml: .*not UTF-8"),
        ("objective: gan\nname: 2020-13-45\n", "not YAML: month must be in 1..12"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        recipe.load(write(tmp_path, text))


def test_an_override_of_a_section_that_is_none_says_so(tmp_path):
    with pytest.raises(UserError, match="mine.yaml: train is 5: expected keys and values, such as steps: 2"):
        recipe.load(write(tmp_path, "objective: gan\ntrain: 5\n"), ["train.steps=2"])
    named = ["train.steps=2", "name=2020-13-45"]  # a month that there is not is a word
    assert recipe.load(write(tmp_path, "objective: gan\n"), named).name == "2020-13-45"


def test_a_file_is_named_after_itself(tmp_path):
    assert recipe.load(write(tmp_path, "objective: gan\ntrain: {steps: 5}\n")).name == "mine"


def test_unknown_recipes_get_the_nearest_name(tmp_path):
    with pytest.raises(UserError, match="no recipe 'image-gam': did you mean 'image-gan'"):
        recipe.load("image-gam")
    with pytest.raises(UserError, match="does not exist"):
        recipe.load(str(tmp_path / "none.yaml"))
