"""What a recipe may say: every section and key, with its type, range and default.

Light on purpose (pydantic only), so that a typo is answered before anything heavy is imported.
"""

from __future__ import annotations

from adverb.schema.base import AdamWSpec, Ramp, Recipe, Section, Train
from adverb.schema.gan import GanRecipe, TextToImageRecipe
from adverb.schema.tasks import AnswerRecipe, ClassifyRecipe, EmbedRecipe, TagRecipe
from adverb.schema.text import ElectraRecipe, PretrainRecipe, TokenizerRecipe
from adverb.schema.text_gan import TextGanRecipe
from adverb.schema.vae import VaeRecipe

__all__ = ["OBJECTIVES", "AdamWSpec", "Ramp", "Recipe", "Section", "Train"]

OBJECTIVES: dict[str, type[Recipe | TokenizerRecipe]] = {
    "gan": GanRecipe,
    "vae": VaeRecipe,
    "text-to-image": TextToImageRecipe,
    "text-gan": TextGanRecipe,
    "pretrain": PretrainRecipe,
    "electra": ElectraRecipe,
    "tokenizer": TokenizerRecipe,
    "classify": ClassifyRecipe,
    "tag": TagRecipe,
    "answer": AnswerRecipe,
    "embed": EmbedRecipe,
}
