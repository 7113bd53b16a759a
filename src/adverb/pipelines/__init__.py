"""From a saved model to answers and samples. `load` finds out what kind of model a folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adverb.errors import UserError

EXPORT = "adverb_export"  # the key of an export's config.json
READER = "reader"  # the folder of the BERT in that of a generator that draws captions
GENERATORS = ("adverb-generator", "adverb-text-to-image")  # `model_type` of what draws: by class, by caption
READERS = ("bert", "adverb-modern", "adverb-lstm")  # and of what reads


def load(model: str | Path):
    """The model in a run folder, a saved folder, or on a hub, as an object with the verbs that make sense for it.

    A generator: `.generate`, `.interpolate`, `.directions`, `.traverse`, `.neighbours`, and `.project` where it is no
    export; one that draws captions: `.generate(text=…)`. A reader: the verb that it is for, such as `.classify`, and
    `.embed`; one from left to right: `.generate` of texts. Raises UserError where nothing can be opened.
    """
    folder = model_folder(model)
    values = config_of(folder)
    kind = values.get("model_type")
    if kind in GENERATORS and EXPORT in values:
        from adverb.pipelines.onnx_generator import OnnxGenerator, OnnxTextGenerator

        return (OnnxGenerator if kind == GENERATORS[0] else OnnxTextGenerator)(folder)
    if kind == GENERATORS[0]:
        from adverb.pipelines.generator import Generator

        return Generator.load(folder)
    if kind == GENERATORS[1]:
        from adverb.pipelines.text_generator import TextGenerator

        return TextGenerator.load(folder)
    if kind == "adverb-gpt":
        from adverb.pipelines.writer import Writer

        return Writer.load(folder)
    if kind in READERS:
        from adverb.pipelines.reader import Reader

        return Reader.load(folder)
    raise UserError(f"{folder} holds a model of type {kind!r}, which adverb does not know")


def config_of(folder: Path) -> dict[str, Any]:
    """What a model's config.json says. Raises UserError where there is none."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{folder} is not a model: no readable config.json in it")
    return values


def model_folder(model: str | Path) -> Path:
    """A run's best model (its last where none was best yet), or the folder itself."""
    path = Path(model)
    if (path / "recipe.yaml").is_file():
        for name in ("best", "model"):
            if (path / name / "config.json").is_file():
                return path / name
        raise UserError(f"the run {path} has no model yet: it is written at the first evaluation")
    if path.is_dir():
        return path
    from adverb.data.hub import is_hub_name

    if not path.exists() and is_hub_name(str(model)):
        from adverb.bert.checkpoint import locate

        return locate(model)
    raise UserError(f"no model at {path}: expected a run folder, a saved model, or a hub name")
