"""What can be done about a finding: which keys of the recipe are changed, in which order, and whether it helped.

A remedy is a few keys of the recipe with new values. It is applied once, on the last healthy checkpoint; when the
same finding comes back, the next remedy that applies is tried, until none is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adverb.schema.base import Ramp
from adverb.schema.gan import GanRecipe

PATIENCE = 10  # healthy looks after which a remedy is said to have helped
Changes = dict[str, Any]  # dotted keys of the recipe -> new values


def _times(value: Ramp, factor: float) -> Ramp:
    return value * factor if isinstance(value, int | float) else tuple(v * factor for v in value)


def _is_zero(value: Ramp) -> bool:
    return not any(value if isinstance(value, tuple | list) else (value,))


def escape_saturation(recipe: GanRecipe) -> Changes:
    """The generator's loss of Goodfellow et al. 2014, section 3, whose gradient stays where minimax's vanishes."""
    return {"loss.name": "non-saturating"} if recipe.loss.name == "minimax" else {}


def pair(recipe: GanRecipe) -> Changes:
    """Relativistic pairing with both penalties: no landscape in which modes are lost (Huang et al. 2024)."""
    if recipe.loss.name == "rpgan":
        return {}
    r1, r2 = (1.0 if _is_zero(r) else r for r in (recipe.loss.r1, recipe.loss.r2))
    return {"loss.name": "rpgan", "loss.r1": r1, "loss.r2": r2, "loss.gradient_penalty": 0.0}


def stronger_penalty(recipe: GanRecipe) -> Changes:
    """A smoother discriminator: four times the penalty, or R1 of weight 1 where there was none."""
    loss = recipe.loss
    if loss.gradient_penalty:
        return {"loss.gradient_penalty": 4 * loss.gradient_penalty}
    if _is_zero(loss.r1):
        return {"loss.r1": 1.0}
    return {"loss.r1": _times(loss.r1, 4), "loss.r2": _times(loss.r2, 4)}


def weaker_penalty(recipe: GanRecipe) -> Changes:
    """A discriminator that is held back too much has no slope to give: a quarter of its penalty."""
    loss = recipe.loss
    if loss.gradient_penalty:
        return {"loss.gradient_penalty": loss.gradient_penalty / 4}
    return {} if _is_zero(loss.r1) else {"loss.r1": _times(loss.r1, 1 / 4), "loss.r2": _times(loss.r2, 1 / 4)}


def slower_discriminator(recipe: GanRecipe) -> Changes:
    return {"optim.discriminator_lr_ratio": recipe.optim.discriminator_lr_ratio / 4}


def slower_generator(recipe: GanRecipe) -> Changes:
    """A discriminator that keeps up (Heusel et al. 2017): the generator learns no faster, or a quarter as fast."""
    ratio = recipe.optim.discriminator_lr_ratio
    share = min(ratio, 1 / 4)
    return {"optim.lr": _times(recipe.optim.lr, share), "optim.discriminator_lr_ratio": ratio / share}


def lower_lr(recipe: GanRecipe) -> Changes:
    return {"optim.lr": _times(recipe.optim.lr, 1 / 10)}


def augmentation(recipe: GanRecipe) -> Changes:
    """Adaptive, where there was none: where there was, it is at its most when overfitting is found."""
    return {"augment.policy": "ada"} if recipe.augment.policy == "none" else {}


REMEDIES: dict[str, tuple[Callable[[GanRecipe], Changes], ...]] = {
    "diverging": (lower_lr, lower_lr, stronger_penalty),
    "vanishing": (escape_saturation, weaker_penalty, pair, slower_discriminator),
    "saturating": (escape_saturation, stronger_penalty, augmentation, slower_discriminator),
    "collapsing": (pair, slower_generator, weaker_penalty),
    "memorising": (augmentation, stronger_penalty, stronger_penalty),
    "overfitting": (augmentation, stronger_penalty, stronger_penalty),
}
"""The remedies of each finding, the most likely first."""


@dataclass
class Care:
    """What was tried in this run, and what came of it. All of it is in `state`."""

    tried: dict[str, int] = field(default_factory=dict)  # finding -> how many of its remedies were considered
    changes: Changes = field(default_factory=dict)  # all that is changed now
    before: Changes = field(default_factory=dict)  # what the recipe said in its place
    treated: str = ""  # the finding that the last remedy was for, until it is known whether it helped
    healthy: int = 0  # looks in a row since then that were healthy

    def next(self, finding: str, recipe: GanRecipe) -> Changes:
        """What would be tried next against this finding, as changes of `recipe`; empty when nothing is left."""
        return self._next(finding, recipe)[1]

    def prescribe(self, finding: str, recipe: GanRecipe) -> Changes:
        """`next`, and from now on it counts as tried."""
        self.tried[finding], changes = self._next(finding, recipe)
        if changes:
            self.before = {key: value_of(recipe, key) for key in changes} | self.before
            self.changes |= changes
            self.treated, self.healthy = finding, 0
        return changes

    def _next(self, finding: str, recipe: GanRecipe) -> tuple[int, Changes]:
        remedies = REMEDIES[finding]
        for number in range(self.tried.get(finding, 0), len(remedies)):
            if changes := remedies[number](recipe):
                return number + 1, changes
        return len(remedies), {}

    def outcome(self, word: str) -> bool | None:
        """After each look: whether the last remedy helped, once, as soon as it is known; None before and after.

        It helped when PATIENCE looks in a row were healthy, and did not as soon as there is a finding again.
        """
        if not self.treated:
            return None
        self.healthy = self.healthy + 1 if word == "healthy" else 0
        if word != "healthy" or self.healthy >= PATIENCE:
            self.treated = ""
            return word == "healthy"
        return None

    def resumed(self, recipe: GanRecipe) -> GanRecipe:
        """The recipe of a resumed run, as it was changed; what the user has changed since then is left alone."""
        same = {key for key in self.changes if value_of(recipe, key) == self.before[key]}
        self.changes = {key: value for key, value in self.changes.items() if key in same}
        return changed(recipe, self.changes)

    def state(self) -> dict[str, Any]:
        return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()}

    def load_state(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


def changed(recipe: GanRecipe, changes: Changes) -> GanRecipe:
    """The recipe with some keys changed."""
    for key, value in changes.items():
        name, leaf = key.split(".")
        section = getattr(recipe, name).model_copy(update={leaf: value})
        recipe = recipe.model_copy(update={name: section})
    return recipe


def value_of(recipe: GanRecipe, key: str) -> Any:
    section, leaf = key.split(".")
    return getattr(getattr(recipe, section), leaf)


def in_words(changes: Changes, recipe: GanRecipe) -> str:
    """`loss.name minimax → non-saturating`, as `recipe` still has the old values."""
    old = {key: value_of(recipe, key) for key in changes}
    return ", ".join(f"{key} {_say(old[key])} → {_say(new)}" for key, new in changes.items() if old[key] != new)


def _say(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(_say(v) for v in value)}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
