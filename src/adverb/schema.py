"""What a recipe may say: every section and key, with its type, range and default.

Light on purpose (pydantic only), so that a typo is answered before anything heavy is imported.
A `Ramp` is a number that stays, or `[start, end]`: a cosine from start to end over the first `train.burn_in` of
the run, as R3GAN schedules its learning rate, penalty, second moment and average (Huang et al. 2024, §4).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Ramp = float | tuple[float, float]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Train(Section):
    """How long, on what, and how often to look."""

    steps: Count | None = Field(None, description="training steps; this or `minutes`")
    minutes: Positive | None = Field(None, description="wall-clock budget; schedules follow the clock")
    batch_size: Count | None = Field(None, description="rows per step over all workers; empty: chosen from the data")
    accumulate: Count = Field(1, description="micro-batches per step, to fit a large batch into memory")
    burn_in: Share = Field(1.0, description="share of the run over which ramps go from start to end")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where measured to be faster")
    compile: Literal["auto"] | bool = Field("auto", description="torch.compile; auto: where it is known to pay")
    clip: Positive | None = Field(None, description="largest gradient norm per optimiser step")
    evaluations: Count = Field(8, description="how many times to evaluate, evenly over the run")
    checkpoint_minutes: Positive = Field(5.0, description="longest wait between two checkpoints")

    @model_validator(mode="after")
    def _budget(self):
        if self.steps is None and self.minutes is None:
            raise ValueError("needs a budget: train.steps=… or train.minutes=…")
        return self


class ImageData(Section):
    path: str = Field("digits", description="a folder, parquet file, hub name, or the embedded `digits`")
    size: Count | tuple[Count, Count] | None = Field(None, description="pixels, N or [H, W]; empty: as the images are")
    channels: Literal[1, 3, 4] | None = Field(None, description="1 grey, 3 RGB, 4 RGBA; empty: as the images are")
    label: str | None = Field(None, description="the column of the label, where it can't be guessed")
    limit: Count | None = Field(None, description="use only so many images")
    flip: bool = Field(False, description="mirror half of the images (faces yes, digits no)")


class GanModel(Section):
    network: Literal["residual", "dcgan", "mlp"] = "residual"
    latent_size: Count = Field(64, description="dimensions of the latent")
    conditional: bool | None = Field(None, description="draw by label; empty: when the data has labels")
    widths: list[Count] | None = Field(None, description="channels per stage, coarsest first; empty: from the data")
    blocks: Count = Field(1, description="residual blocks per stage")
    group_width: Count = Field(16, description="channels per group of the grouped convolutions")
    spectral_norm: bool = Field(False, description="spectral normalisation of the discriminator")


class GanLossSpec(Section):
    name: Literal["minimax", "non-saturating", "least-squares", "wasserstein", "hinge", "rpgan"] = "rpgan"
    r1: Ramp = Field(0.0, description="zero-centred penalty on real images, gamma/2 |∇D|²")
    r2: Ramp = Field(0.0, description="the same on generated images")
    gradient_penalty: NonNegative = Field(0.0, description="WGAN-GP's lambda")
    critic_steps: Count = Field(1, description="discriminator steps per generator step")


class AdamSpec(Section):
    lr: Ramp = 2e-4
    beta1: Share = 0.0
    beta2: Ramp = 0.99
    discriminator_lr_ratio: Positive = Field(1.0, description="the discriminator's learning rate over the generator's")


class Average(Section):
    half_life: Ramp = Field((0.0, 10.0), description="of the generator's moving average, in thousand images")


class ImageJudge(Section):
    features: str = Field("auto", description="auto, classifier, random, inception:FILE or dinov2:FOLDER")
    samples: Count = Field(2000, description="images judged while training; the last evaluation takes five times more")


class Recipe(Section):
    """The keys that every recipe has."""

    name: str = Field(description="names the run folder")
    description: str = ""
    seed: int = Field(0, ge=0)
    train: Train


class GanRecipe(Recipe):
    objective: Literal["gan"]
    data: ImageData = ImageData()
    model: GanModel = GanModel()
    loss: GanLossSpec = GanLossSpec()
    optim: AdamSpec = AdamSpec()
    average: Average = Average()
    evaluate: ImageJudge = ImageJudge()


OBJECTIVES: dict[str, type[Recipe]] = {"gan": GanRecipe}
