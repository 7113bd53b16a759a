"""Recipes of models that learn to read from plain text, and of their vocabulary."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from adverb.schema.base import AdamWSpec, Count, MaskRate, NonNegative, Positive, Recipe, Section


class TextData(Section):
    path: str | None = Field(None, description="text, JSONL, CSV or parquet files, a folder of them, or a hub name")
    valid: str | None = Field(None, description="held-out text; empty: what is called valid there, or the last 2%")
    column: str = Field(
        "text", description="the column of JSONL and tables that holds the text", coerce_numbers_to_str=True
    )
    limit: Count | None = Field(None, description="read only so many documents")
    tokenizer: str | None = Field(None, description="a folder or hub name; empty: a new one is made from the data")
    vocab_size: Annotated[int, Field(ge=100)] = Field(8192, description="of a new tokenizer")
    lowercase: bool = Field(True, description="of a new tokenizer")
    sequence_length: Annotated[int, Field(ge=8)] = Field(128, description="tokens of a row")


class TextModel(Section):
    architecture: Literal["bert", "modern", "gpt", "lstm"] = Field(
        "bert", description="bert: of 2018; modern: rotary, pre-norm, GeGLU; gpt and lstm: one-sided baselines"
    )
    init: str | None = Field(None, description="go on from this model, a folder or hub name; the sizes are its own")
    layers: Count = Field(4, description="of the encoder")
    hidden: Count = Field(256, description="numbers of a token's state; a multiple of heads")
    heads: Count = Field(4, description="of attention")
    intermediate: Count | None = Field(None, description="of the feed-forward layers; empty: 4 × hidden, modern 8/3 ×")
    initializer_range: Positive = Field(0.02, description="deviation of the initial weights")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="everywhere in the encoder")
    activation: Literal["gelu", "gelu_new", "relu", "silu"] = Field(
        "gelu", description="of the feed-forward layers; gelu: the exact one"
    )
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
    path: str | None = Field(None, description="text, JSONL, CSV or parquet files, a folder of them, or a hub name")
    column: str = Field(
        "text", description="the column of JSONL and tables that holds the text", coerce_numbers_to_str=True
    )
    limit: Count | None = Field(None, description="read only so many documents")


class TokenizerRecipe(Section):
    """Not a training run: a vocabulary, counted from text."""

    objective: Literal["tokenizer"]
    name: str = Field(description="names the folder")
    description: str = Field("", description="what it makes, in a line")
    data: TokenizerData = TokenizerData()
    vocab_size: Annotated[int, Field(ge=100)] = Field(8192, description="pieces of words, special tokens included")
    lowercase: bool = Field(True, description="and without accents")
    max_length: Count = Field(512, description="tokens a model will read, for the files")
