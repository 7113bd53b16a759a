"""Recipes of generators of text that play against a BERT."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from adverb.schema.base import AdamWSpec, Count, NonNegative, Positive, Recipe, Section

Dropout = Annotated[float, Field(ge=0, lt=1)]


class SentenceData(Section):
    path: str | None = Field(None, description="a table; plain text, which is cut into sentences; a folder; a hub name")
    valid: str | None = Field(None, description="held-out texts; empty: as found beside, or a tenth")
    test: str | None = Field(None, description="texts for the last measurement; empty: as found beside, or a tenth")
    text: str | int | None = Field(None, description="the column, where it can't be guessed")
    limit: Count | None = Field(None, description="learn from so many texts only, drawn at random")
    max_length: Annotated[int, Field(ge=4)] = Field(48, description="tokens of a text; longer ones are left out")
    tokenizer: str | None = Field(None, description="a folder or hub name; empty: a new one is made from the data")
    vocab_size: Annotated[int, Field(ge=100)] = Field(2000, description="of a new tokenizer")
    lowercase: bool = Field(True, description="of a new tokenizer")


class TextGanModel(Section):
    layers: Count = Field(2, description="of the generator, a left-to-right Transformer")
    hidden: Count = Field(128, description="size of the states")
    heads: Count = Field(4, description="of the attention")
    dropout: Dropout = Field(0.2, description="of the generator, while it learns by likelihood")
    initializer_range: Positive = Field(0.05, description="deviation of the initial weights")


class Discriminator(Section):
    layers: Count = Field(2, description="of a BERT that learns from nothing")
    hidden: Count = Field(128, description="size of the states")
    heads: Count = Field(4, description="of the attention")
    dropout: Dropout = Field(0.3, description="few texts are soon known by heart: this is against it")
    lr: Positive = Field(5e-4, description="constant over the game")
    steps: Count = Field(1, description="discriminator steps per generator step")


class TextGanLoss(Section):
    pretrain: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="share of the run by maximum likelihood")
    likelihood: NonNegative = Field(0.1, description="weight of the likelihood's loss in the game; 0: the game alone")
    value: Positive = Field(0.5, description="weight of the learned baseline's squared error")


class TextGanOptim(AdamWSpec):
    game_lr: Positive = Field(1e-4, description="the generator's learning rate in the game")


class TextGanJudge(Section):
    reader: str = Field("all-MiniLM-L6-v2", description="the BERT whose embeddings are compared: a folder, a hub name")
    samples: Annotated[int, Field(ge=10)] = Field(500, description="texts judged, at most as many as are held out")
    temperatures: list[Positive] = Field(
        [0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2], min_length=2, description="of the curve at the end"
    )
    repeats: Annotated[int, Field(ge=2)] = Field(4, description="curves drawn at the end, for their standard error")


class TextGanRecipe(Recipe):
    objective: Literal["text-gan"]
    data: SentenceData = SentenceData()
    model: TextGanModel = TextGanModel()
    discriminator: Discriminator = Discriminator()
    loss: TextGanLoss = TextGanLoss()
    optim: TextGanOptim = TextGanOptim()
    evaluate: TextGanJudge = TextGanJudge()
