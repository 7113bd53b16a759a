"""The algorithms, one file each. `build` is the only place that knows which class a recipe's objective names."""

from __future__ import annotations

from adverb.objectives.base import Objective
from adverb.schema.base import Recipe


def build(recipe: Recipe, context, console, trial: bool = False) -> Objective:
    """The objective of a recipe, with its data loaded and its networks made.

    trial: for a few steps only, so that what takes long to decide is left undecided.
    """
    match recipe.objective:
        case "gan":
            from adverb.objectives.gan import Gan

            return Gan(recipe, context, console)
        case "vae":
            from adverb.objectives.vae import Vae

            return Vae(recipe, context, console)
        case "text-to-image":
            from adverb.objectives.text_to_image import TextToImage

            return TextToImage(recipe, context, console)
        case "text-gan":
            from adverb.objectives.text_gan import TextGan

            return TextGan(recipe, context, console)
        case "pretrain" if recipe.model.architecture in ("gpt", "lstm"):
            from adverb.objectives.causal import Causal

            return Causal(recipe, context, console)
        case "pretrain":
            from adverb.objectives.pretrain import Pretrain

            return Pretrain(recipe, context, console)
        case "electra":
            from adverb.objectives.electra import Electra

            return Electra(recipe, context, console)
        case "classify" if recipe.data.unlabelled is not None:
            from adverb.objectives.few_choice import build_few

            return build_few(recipe, context, console, trial)
        case "classify":
            from adverb.objectives.classify import Classify

            return Classify(recipe, context, console)
        case "tag":
            from adverb.objectives.tag import Tag

            return Tag(recipe, context, console)
        case "answer":
            from adverb.objectives.answer import Answer

            return Answer(recipe, context, console)
        case "embed":
            from adverb.objectives.embed import Embed

            return Embed(recipe, context, console)
    raise AssertionError(recipe.objective)  # the schema knows no other
