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
MaskRate = Annotated[float, Field(gt=0, lt=1)]


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
    patch: Literal[1, 2, 4] | None = Field(None, description="pixels a side that the finest grid draws at once")
    spectral_norm: bool = Field(False, description="spectral normalisation of the discriminator")


class GanLossSpec(Section):
    name: Literal["minimax", "non-saturating", "least-squares", "wasserstein", "hinge", "rpgan"] = "rpgan"
    r1: Ramp = Field(0.0, description="zero-centred penalty on real images, gamma/2 |∇D|²")
    r2: Ramp = Field(0.0, description="the same on generated images")
    lazy: Count = Field(1, description="apply R1 and R2 every so many steps, as many times as strong")
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


class TextData(Section):
    path: str | None = Field(None, description="text, JSONL or parquet files, a folder of them, or a hub name")
    valid: str | None = Field(None, description="held-out text; empty: valid/ beside train/, or the last 2%")
    column: str = Field("text", description="the column of JSONL and tables that holds the text")
    limit: Count | None = Field(None, description="read only so many documents")
    tokenizer: str | None = Field(None, description="a folder or hub name; empty: a new one is made from the data")
    vocab_size: Annotated[int, Field(ge=100)] = Field(8192, description="of a new tokenizer")
    lowercase: bool = Field(True, description="of a new tokenizer")
    sequence_length: Annotated[int, Field(ge=8)] = Field(128, description="tokens of a row")


class TextModel(Section):
    architecture: Literal["bert", "modern", "gpt", "lstm"] = "bert"
    init: str | None = Field(None, description="go on from this model, a folder or hub name; the sizes are its own")
    layers: Count = 4
    hidden: Count = 256
    heads: Count = 4
    intermediate: Count | None = Field(None, description="of the feed-forward layers; empty: 4 × hidden, modern 8/3 ×")
    initializer_range: Positive = Field(0.02, description="deviation of the initial weights")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    activation: Literal["gelu", "gelu_new", "relu", "silu"] = "gelu"
    max_length: Count | None = Field(None, description="learned positions; empty: data.sequence_length")


class Tasks(Section):
    """Weights of the losses of pre-training, which are summed."""

    mlm: NonNegative = Field(1.0, description="masked tokens")
    nsp: NonNegative = Field(0.0, description="does B follow A, or come from elsewhere (Devlin et al. 2018)")
    sop: NonNegative = Field(0.0, description="does B follow A, or precede it (Lan et al. 2019)")

    @model_validator(mode="after")
    def _one_pair_task(self):
        if self.nsp and self.sop:
            raise ValueError("nsp and sop share a head: set one of them to 0")
        if not (self.mlm or self.nsp or self.sop):
            raise ValueError("nothing to learn: one weight must be above 0")
        return self


class MaskingSpec(Section):
    rate: MaskRate | tuple[MaskRate, MaskRate] = Field(0.15, description="share of tokens to guess, or [start, end]")
    whole_words: bool = Field(False, description="mask whole words instead of pieces")


class Generator(Section):
    """The small masked language model that proposes ELECTRA's replacements."""

    layers: Count | None = Field(None, description="empty: as many as the model")
    hidden: Count | None = Field(None, description="empty: a quarter of the model's, in whole heads")
    weight: NonNegative = Field(50.0, description="of the discriminator's loss; the generator's is 1")


class AdamWSpec(Section):
    lr: Positive = 1e-3
    beta1: Share = 0.9
    beta2: Share = 0.98
    eps: Positive = 1e-6
    weight_decay: NonNegative = 0.01
    warmup: Share = Field(0.06, description="share of the run until the learning rate is reached")
    schedule: Literal["linear", "cosine", "wsd"] = "linear"
    decay: Annotated[float, Field(gt=0, le=1)] = Field(0.3, description="last share of the run, in which wsd goes down")


class TextJudge(Section):
    rows: Count = Field(
        256, description="held-out rows judged while training; the last evaluation takes four times more"
    )


class PretrainRecipe(Recipe):
    objective: Literal["pretrain"]
    data: TextData = TextData()
    model: TextModel = TextModel()
    objectives: Tasks = Tasks()
    masking: MaskingSpec = MaskingSpec()
    optim: AdamWSpec = AdamWSpec()
    evaluate: TextJudge = TextJudge()


class ElectraRecipe(Recipe):
    objective: Literal["electra"]
    data: TextData = TextData()
    model: TextModel = TextModel()
    generator: Generator = Generator()
    masking: MaskingSpec = MaskingSpec()
    optim: AdamWSpec = AdamWSpec()
    evaluate: TextJudge = TextJudge()


class TokenizerData(Section):
    path: str | None = Field(None, description="text, JSONL or parquet files, a folder of them, or a hub name")
    column: str = "text"
    limit: Count | None = None


class TokenizerRecipe(Section):
    """Not a training run: a vocabulary, counted from text."""

    objective: Literal["tokenizer"]
    name: str
    description: str = ""
    data: TokenizerData = TokenizerData()
    vocab_size: Annotated[int, Field(ge=100)] = 8192
    lowercase: bool = True
    max_length: Count = Field(512, description="tokens a model will read, for the files")


OBJECTIVES: dict[str, type[Recipe | TokenizerRecipe]] = {
    "gan": GanRecipe,
    "pretrain": PretrainRecipe,
    "electra": ElectraRecipe,
    "tokenizer": TokenizerRecipe,
}
