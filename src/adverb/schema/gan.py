"""Recipes of GANs on images, and what all generators of images have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from adverb.schema.base import (
    BETA1,
    BETA2,
    Count,
    Decay,
    DecayRamp,
    NonNegative,
    Positive,
    Ramp,
    Recipe,
    Section,
    Share,
)


class ImageData(Section):
    path: str = Field("digits", description="a folder, parquet file, hub name, or the embedded `digits`")
    size: Count | tuple[Count, Count] | None = Field(None, description="pixels, N or [H, W]; empty: as the images are")
    channels: Literal[1, 3, 4] | None = Field(None, description="1 grey, 3 RGB, 4 RGBA; empty: as the images are")
    label: str | None = Field(None, description="the column of the label, where it can't be guessed")
    limit: Count | None = Field(None, description="use only so many images")
    flip: bool = Field(False, description="mirror half of the images (faces yes, digits no)")


class ImageModel(Section):
    network: Literal["residual", "dcgan", "mlp"] = Field("residual", description="the architecture of both networks")
    latent_size: Count = Field(64, description="dimensions of the latent")
    conditional: bool | None = Field(None, description="draw by label; empty: when the data has labels")
    widths: list[Count] | None = Field(None, description="channels per stage, coarsest first; empty: from the data")
    blocks: Count = Field(1, description="residual blocks per stage")
    group_width: Count = Field(16, description="channels per group of the grouped convolutions")
    patch: Literal[1, 2, 4] | None = Field(None, description="pixels a side that the finest grid draws at once")


class GanModel(ImageModel):
    spectral_norm: bool = Field(False, description="spectral normalisation of the discriminator")


class GanLossSpec(Section):
    name: Literal["minimax", "non-saturating", "least-squares", "wasserstein", "hinge", "rpgan"] = Field(
        "rpgan", description="the game; rpgan: relativistic pairing"
    )
    r1: Ramp = Field(0.0, description="zero-centred penalty on real images, gamma/2 |∇D|²")
    r2: Ramp = Field(0.0, description="the same on generated images")
    lazy: Count = Field(1, description="apply R1 and R2 every so many steps, as many times as strong")
    gradient_penalty: NonNegative = Field(0.0, description="WGAN-GP's lambda")
    critic_steps: Count = Field(1, description="discriminator steps per generator step")


class AdamSpec(Section):
    lr: Positive | tuple[NonNegative, NonNegative] = Field(2e-4, description="learning rate")
    beta1: Decay = Field(0.0, description=BETA1)
    beta2: DecayRamp = Field(0.99, description=BETA2)


class GanAdam(AdamSpec):
    discriminator_lr_ratio: Positive = Field(1.0, description="the discriminator's learning rate over the generator's")


class Average(Section):
    half_life: Ramp = Field((0.0, 10.0), description="of the generator's moving average, in thousand images")


class Augment(Section):
    policy: Literal["none", "diff", "ada"] = Field(
        "ada", description="what the discriminator sees; diff: augmented images; ada: as far as its overfitting asks"
    )
    target: Share = Field(0.5, description="of ada: the overfitting that it allows; 0 none, 1 complete")


class Health(Section):
    mode: Literal["watch", "stop", "heal"] = Field(
        "watch", description="watch: say what goes wrong; stop: end the run; heal: go back and change what helps"
    )


class ImageJudge(Section):
    features: str = Field("auto", description="auto, classifier, random, inception:FILE or dinov2:FOLDER")
    samples: Count = Field(2000, description="images judged while training; the last evaluation takes five times more")


class ImageRecipe(Recipe):
    data: ImageData = ImageData()
    model: ImageModel = ImageModel()
    optim: AdamSpec = AdamSpec()
    average: Average = Average()
    evaluate: ImageJudge = ImageJudge()


class GanRecipe(ImageRecipe):
    objective: Literal["gan"]
    model: GanModel = GanModel()
    loss: GanLossSpec = GanLossSpec()
    optim: GanAdam = GanAdam()
    augment: Augment = Augment()
    health: Health = Health()


class TextToImageData(ImageData):
    held_out: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.1, description="share of the data's own captions kept from training, with their images, to measure on"
    )


class TextToImageModel(GanModel):
    conditional: Literal[False] = Field(False, description="captions say what to draw, not labels")
    reader: str = Field("all-MiniLM-L6-v2", description="the BERT that reads captions: a run, a folder, a hub name")


class TextToImageLossSpec(GanLossSpec):
    wrong_caption: NonNegative = Field(
        1.0, description="weight of real images with a caption of another one, which count as fake"
    )


class TextToImageRecipe(GanRecipe):
    objective: Literal["text-to-image"]
    data: TextToImageData = TextToImageData()
    model: TextToImageModel = TextToImageModel()
    loss: TextToImageLossSpec = TextToImageLossSpec()
