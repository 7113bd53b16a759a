"""What requests and answers look like: the source of the OpenAPI description."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from adverb.serve.limits import CAPTION, CHARACTERS, TEXTS

LARGEST_SEED = 2**63 - 1


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(pattern=r"\S", max_length=CHARACTERS)]
_List = Annotated[list[Text], Field(min_length=1, max_length=TEXTS)]
Texts = Annotated[_List, BeforeValidator(_listed, json_schema_input_type=Text | _List)]
Truncate = Annotated[bool, Field(description="cut a text that is longer than the model reads; else it is refused")]
Model = Annotated[str | None, Field(description="its name; may be left out where there is but one")]


class Asked(BaseModel):
    """Keys that are not known are refused: a typo shall not be an option that silently does nothing."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: Model = None


class Classify(Asked):
    texts: Texts = Field(description="one text or several")
    pairs: Texts | None = Field(None, description="the second text of each, for a model of pairs of texts")
    truncate: Truncate = False


class Entities(Asked):
    texts: Texts = Field(description="one text or several, of any length")


class Answer(Asked):
    questions: Texts = Field(description="one question or several")
    contexts: Texts = Field(description="where to find the answers: one text for all questions, or one for each")
    top_k: int = Field(5, ge=1, le=20)


class FillMask(Asked):
    texts: Texts = Field(description="texts with the model's mask, mostly [MASK], where words are missing")
    top_k: int = Field(5, ge=1, le=100)
    candidates: Annotated[list[str], Field(min_length=1, max_length=256)] | None = Field(
        None, description="fill in one of these words only"
    )


class Embed(Asked):
    texts: Texts = Field(description="one text or several")
    truncate: Truncate = False


class Explain(Asked):
    text: Text
    pair: Text | None = None
    truncate: Truncate = False


class Embeddings(BaseModel):
    """The shape of OpenAI's API, and `truncate`."""

    model_config = ConfigDict(extra="forbid")

    input: Texts = Field(description="one text or several; not tokens, which differ from model to model")
    model: Model = None
    encoding_format: Literal["float", "base64"] = "float"
    truncate: Truncate = False
    user: str | None = Field(None, description="ignored")


class _Samples(Asked):
    n: int = Field(1, ge=1, le=256)
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="the same seed draws the same images")
    label: str | None = Field(None, description="a class, or 'each' in turn; none: as often as in the data")
    text: Annotated[str, Field(pattern=r"\S", max_length=CAPTION)] | None = Field(
        None, description="what to draw, of a model that draws captions; none: captions it was trained on"
    )
    truncation: float = Field(1.0, ge=0.1, le=1, description="below 1: more typical, less varied")
    strength: float = Field(1.0, ge=0.1, le=10, description="of captions; above 1: more as they say, less varied")


class Generate(_Samples):
    format: Literal["png", "json"] = Field("png", description="one PNG with all images in a grid, or each of its own")


class Walk(_Samples):
    """From one of the images that `generate` draws, asked for the same, to another."""

    first: int = Field(0, ge=0, le=255)
    second: int = Field(1, ge=0, le=255)
    frames: int = Field(16, ge=2, le=64)


class Write(Asked):
    n: int = Field(1, ge=1, le=TEXTS)
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="the same seed writes the same texts")
    temperature: float = Field(1.0, ge=0.1, le=2, description="below 1: more typical, less varied")


# -- answers


class Error(BaseModel):
    error: str = Field(description="one sentence")


class Said(BaseModel):
    """Answers as `adverb predict` writes them, one for each text."""

    model: str
    answers: list[dict[str, Any]]


class Word(BaseModel):
    start: int = Field(description="of the word, in characters of the text")
    end: int
    change: float = Field(description="how much less is said of the text without this word")


class Explained(BaseModel):
    model: str
    label: str
    probability: float = Field(description="of the label; the value of a regression")
    words: list[Word] = Field(description="those that the model reads")
    read: int = Field(description="how many characters of the text that is, all of them unless it was cut")


class Vector(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class Vectors(BaseModel):
    object: Literal["list"] = "list"
    data: list[Vector]
    model: str
    usage: Usage


class Images(BaseModel):
    model: str
    images: list[str] = Field(description="PNG files in base64")
    labels: list[str] | None = Field(description="the class or the caption of each; null for a model without")


class Written(BaseModel):
    model: str
    texts: list[str]


class ModelFacts(BaseModel):
    name: str
    verb: str | None = Field(description="its route; null for a run that has no model yet")
    run: bool = Field(description="whether it is a run folder, to be watched under /runs")
    labels: list[str] = []
    pairs: bool = Field(False, description="whether it was trained on pairs of texts")
    max_length: int | None = Field(None, description="tokens it reads")
    mask: str | None = Field(None, description="what stands for a missing word")
    multi_label: bool = False
    regression: bool = False
    captions: list[str] = Field([], description="some that it was trained on, of a model that draws captions")


class Models(BaseModel):
    models: list[ModelFacts]


class RunFacts(BaseModel):
    name: str
    recipe: str
    description: str
    step: int
    progress: float = Field(description="0 to 1")
    seconds: float = Field(description="of training so far")
    quiet: float | None = Field(description="seconds since something was written; null before anything was")
    word: str | None = Field(description="the health of a GAN's training")
    samples: list[int] = Field(description="steps of which there is a picture of samples")
    text: str | None = Field(description="the newest samples of a model that writes text")
    curves: dict[str, list[tuple[float, float | None]]] = Field(description="(step, value) of each metric that changes")
    floors: dict[str, float] = Field(description="what a second sample of real data scores")


class State(BaseModel):
    status: str
