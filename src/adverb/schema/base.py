"""What the sections of all recipes are made of, and the keys that every recipe has.

A `Ramp` is a number that stays, or `[start, end]`: a cosine from start to end over the first `train.burn_in` of
the run, as R3GAN schedules its learning rate, penalty, second moment and average (Huang et al. 2024, §4).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Ramp = NonNegative | tuple[NonNegative, NonNegative]
DecayRamp = Decay | tuple[Decay, Decay]
BETA1 = "decay of Adam's average of gradients"
BETA2 = "decay of Adam's average of squared gradients"
EPS = "what Adam adds to the root of that average"
MaskRate = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Train(Section):
    """How long, on what, and how often to look."""

    steps: Count | None = Field(None, description="training steps; this or `minutes`")
    minutes: Positive | None = Field(None, description="wall-clock budget; schedules follow the clock")
    batch_size: Count | None = Field(None, description="rows per step over all workers; empty: chosen from the data")
    accumulate: Count = Field(1, description="micro-batches per step, to fit a large batch into memory")
    burn_in: Share = Field(1.0, description="share of the run over which ramps go from start to end")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto: the accelerator where there is one"
    )
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where measured to be faster")
    compile: Literal["auto"] | bool = Field(
        "auto", description="torch.compile, of pre-training and fine-tuning; auto: where it is known to pay"
    )
    clip: Positive | None = Field(None, description="largest gradient norm per optimiser step")
    evaluations: Count = Field(8, description="how many times to evaluate, evenly over the run")
    patience: Count | None = Field(None, description="end after so many evaluations that did not improve on the best")
    checkpoint_minutes: Positive = Field(5.0, description="longest wait between two checkpoints")

    @model_validator(mode="after")
    def _budget(self):
        if self.steps is None and self.minutes is None:
            raise ValueError("needs a budget: train.steps=… or train.minutes=…")
        return self


class AdamWSpec(Section):
    lr: Positive = Field(1e-3, description="the highest learning rate")
    beta1: Decay = Field(0.9, description=BETA1)
    beta2: Decay = Field(0.98, description=BETA2)
    eps: Positive = Field(1e-6, description=EPS)
    weight_decay: NonNegative = Field(0.01, description="of matrices; biases and norms have none")
    warmup: Share = Field(0.06, description="share of the run until the learning rate is reached")
    schedule: Literal["linear", "cosine", "wsd"] = Field(
        "linear", description="how the learning rate goes down; wsd: not before the last part"
    )
    decay: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="last share of the run, in which wsd goes down")


class Recipe(Section):
    """The keys that every recipe has."""

    name: str = Field(description="names the run folder")
    description: str = Field("", description="what it trains, in a line")
    seed: int = Field(0, ge=0, lt=2**32, description="of weights, order and noise")
    train: Train
