"""Recipes of variational autoencoders on images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adverb.schema.base import Ramp, Section
from adverb.schema.gan import ImageRecipe


class VaeLossSpec(Section):
    beta: Ramp = Field(1.0, description="weight of the KL to the prior; 1: the evidence lower bound")


class VaeRecipe(ImageRecipe):
    objective: Literal["vae"]
    loss: VaeLossSpec = VaeLossSpec()
