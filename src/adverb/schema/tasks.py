"""Recipes of models that read for a purpose: classes, entities, answers, embeddings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from adverb.schema.base import BETA2, EPS, AdamWSpec, Count, Decay, NonNegative, Positive, Recipe, Section, Train

Smoothing = Annotated[float, Field(ge=0, lt=1)]


class TaskTrain(Train):
    epochs: Positive | None = Field(None, description="passes over the data; this, `steps` or `minutes`")

    @model_validator(mode="after")
    def _budget(self):
        if self.steps is None and self.minutes is None and self.epochs is None:
            raise ValueError("needs a budget: train.epochs=…, train.steps=… or train.minutes=…")
        return self


class TaskData(Section):
    path: str | None = Field(
        None, description="what to learn from: a file, a folder with train and test files, a hub name"
    )
    valid: str | None = Field(None, description="held-out rows; empty: valid or dev beside train, or a tenth of train")
    test: str | None = Field(
        None, description="measured once, at the end; empty: test beside train, where there is one"
    )
    limit: Count | None = Field(None, description="train on only so many rows, drawn at random")
    max_length: Annotated[int, Field(ge=8)] | None = Field(
        None, description="tokens of a row; empty: what the model reads"
    )


class ClassifyData(TaskData):
    text: str | int | None = Field(None, description="the column of the text, where it can't be guessed")
    pair: str | int | None = Field(None, description="the column of the second text, for sentence pairs")
    label: str | int | None = Field(None, description="the column of the label or value, where it can't be guessed")
    kind: Literal["single", "multi", "regression"] | None = Field(
        None, description="one class, several, or a number; empty: guessed"
    )
    more: str | None = Field(
        None, description="a file of more rows to train on, such as a list of `adverb label-next` with labels filled in"
    )
    unlabelled: str | None = Field(
        None, description="texts without labels, to learn from as well: a file, a folder, a hub name"
    )


class TagData(TaskData):
    word: str | int | None = Field(None, description="the column of the word in CoNLL, from 0; empty: the first")
    tag: str | int | None = Field(None, description="the column of the tag in CoNLL, from 0; empty: the last")
    stride: Count = Field(64, description="tokens that neighbouring windows of a long text share")


class AnswerData(TaskData):
    stride: Count = Field(128, description="tokens that neighbouring windows of a long text share")
    max_question: Count = Field(64, description="tokens of a question; longer ones are cut")


class EmbedData(TaskData):
    text: str | int | None = Field(None, description="the column of the first text")
    pair: str | int | None = Field(None, description="the column of the text that means the same, or its translation")
    score: str | int | None = Field(None, description="the column of a similarity, where the pairs are graded")


class TaskModel(Section):
    init: str = Field("all-MiniLM-L6-v2", description="the model to start from: a run, a folder, a hub name")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="of the head")
    encoder_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="inside the encoder; costs time")


class TaskOptim(AdamWSpec):
    lr: Positive = Field(1e-4, description="the highest learning rate")
    beta2: Decay = Field(0.999, description=BETA2)
    eps: Positive = Field(1e-8, description=EPS)
    head_lr_ratio: Positive = Field(1.0, description="the learning rate of a new head over the encoder's")
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="the learning rate of a layer over the one above it"
    )


class TaskLoss(Section):
    adversarial: Literal["none", "fgm", "smart"] = Field("none", description="train on perturbed embeddings too")
    epsilon: Positive = Field(
        0.05, description="length of the perturbation, as a share of that of the text's embeddings"
    )
    adversarial_weight: NonNegative = Field(1.0, description="of the loss on the perturbed embeddings")


class ClassLoss(TaskLoss):
    label_smoothing: Smoothing = Field(0.0, description="share of the target that goes to all classes alike")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: a class counts by 1 / its frequency"
    )


class EmbedLoss(Section):
    temperature: Positive = Field(0.05, description="of the contrastive softmax")


class FewLabels(Section):
    method: Literal["auto", "plain", "contrast", "gan-bert"] = Field(
        "auto", description="how to learn from texts without labels; auto: the best of them by validation"
    )
    folds: Count = Field(
        3, description="of the cross-validation where there are few labels; 1: a tenth is held out instead"
    )
    limit: Count = Field(10_000, description="texts without labels to learn from at most, drawn at random")


class TaskJudge(Section):
    resamples: Count = Field(1000, description="of the bootstrap, for the confidence intervals")


class TaskRecipe(Recipe):
    train: TaskTrain
    model: TaskModel = TaskModel()
    optim: TaskOptim = TaskOptim()
    loss: TaskLoss = TaskLoss()
    evaluate: TaskJudge = TaskJudge()


class ClassifyRecipe(TaskRecipe):
    objective: Literal["classify"]
    data: ClassifyData = ClassifyData()
    loss: ClassLoss = ClassLoss()
    few: FewLabels = FewLabels()

    @model_validator(mode="after")
    def _few_needs_texts(self):
        if self.data.unlabelled is None and self.few != FewLabels():
            raise ValueError("few.… is about texts without labels: name them by data.unlabelled=…")
        return self


class TagRecipe(TaskRecipe):
    objective: Literal["tag"]
    data: TagData = TagData()


class AnswerRecipe(TaskRecipe):
    objective: Literal["answer"]
    data: AnswerData = AnswerData()


class EmbedRecipe(TaskRecipe):
    objective: Literal["embed"]
    data: EmbedData = EmbedData()
    loss: EmbedLoss = EmbedLoss()
