"""The models of a server: opened once, each under its name."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adverb.errors import UserError
from adverb.pipelines import EXPORT, GENERATORS, READER, config_of
from adverb.pipelines.caption_sampler import CaptionSampler
from adverb.pipelines.reader import Reader
from adverb.serve.limits import Refused

log = logging.getLogger("adverb.serve")
CAPTIONS = 24  # of a model that draws them, to be told of
LOOK_AGAIN = 5.0  # seconds between two looks at a run's model
VERBS = {  # a reader's verb, or what else a model does -> its route, what it does in words
    "classify": ("/classify", "sorts texts into classes"),
    "entities": ("/entities", "finds entities"),
    "answer": ("/answer", "answers questions"),
    "fill_mask": ("/fill-mask", "fills in masked words"),
    "embed": ("/embed", "embeds texts"),
    "generate": ("/generate", "draws images"),
    "write": ("/write", "writes texts"),
}


@dataclass(eq=False)
class Served:
    """A model under its name.

    model: what `adverb.load` opens; None for a run that has none yet. run: its folder, where it is a run.
    """

    name: str
    path: str
    model: Any = None
    run: Path | None = None
    written: float = 0.0  # when the files of the model were, in seconds since 1970

    @property
    def verb(self) -> str | None:
        return None if self.model is None else _verb(self.model)

    @property
    def reader(self) -> Any:
        """What reads the texts of requests: the model, or of one that draws captions its BERT, else None."""
        if self.verb != "generate":
            return self.model
        return self.model.reader if isinstance(self.model, CaptionSampler) else None

    def _captions(self) -> list[str]:
        """CAPTIONS of the training at most, evenly over all of them."""
        texts = self.model.texts if isinstance(self.model, CaptionSampler) else []
        return texts[:: max(1, len(texts) // CAPTIONS)][:CAPTIONS]

    def facts(self) -> dict[str, Any]:
        """As `bodies.ModelFacts`."""
        found = {"name": self.name, "verb": self.verb, "run": self.run is not None}
        if self.verb == "generate":
            return found | {"labels": self.model.label_names, "captions": self._captions()}
        if self.verb is None:
            return found
        found |= {"max_length": self.model.max_length}
        if self.verb == "fill_mask":
            return found | {"mask": self.model.tokenizer.mask_token}
        if self.verb not in ("classify", "entities"):
            return found
        config = self.model.model.config
        return found | {
            "labels": config.labels,
            "pairs": bool(self.model.facts.get("pairs")),
            "multi_label": config.problem_type == "multi_label_classification",
            "regression": config.problem_type == "regression",
        }


class Models:
    """All of them, in the order in which they were named."""

    def __init__(self, served: list[Served]):
        self.served = {one.name: one for one in served}

    def find(self, name: str | None, verb: str | None = None) -> Served:
        """The model of this name, or the only one there is. Raises Refused (404, 422) where it can't do `verb`."""
        if name is None:
            fit = [one for one in self.served.values() if verb is None or one.verb == verb]
            if len(self.served) > 1 and len(fit) != 1:
                raise Refused(422, f'there are several models: name one, such as "model": "{self._names()[0]}"')
            name = (fit or list(self.served.values()))[0].name
        if name not in self.served:
            raise Refused(404, f"there is no model '{name}': there are {', '.join(self._names())}")
        found = self.served[name]
        if verb is not None and found.verb != verb:
            if found.verb is None:
                raise Refused(404, f"the run '{name}' has no model yet: it is written at the first evaluation")
            route, does = VERBS[found.verb]
            raise Refused(422, f"the model '{name}' {does}: ask {route}")
        return found

    def run(self, name: str) -> Path:
        """The run folder of this name. Raises Refused (404)."""
        if name not in self.served:
            raise Refused(404, f"there is no run '{name}': there are {', '.join(self._names())}")
        if self.served[name].run is None:
            raise Refused(404, f"'{name}' is a model, not a run folder: there is nothing to watch")
        return self.served[name].run

    async def follow_runs(self, every: float = LOOK_AGAIN) -> None:
        """Open models of runs that still train when they are there, and again when they are better; until cancelled.

        Every batch is answered by one model; a large request may get its first texts from the one before.
        """
        runs = [served for served in self.served.values() if served.run is not None]
        while runs:
            await asyncio.sleep(every)
            for served in runs:
                try:
                    await asyncio.to_thread(refresh, served)
                except UserError:
                    continue  # no model yet
                except Exception:  # files of two moments; the next look finds them whole
                    log.warning("%s could not be opened again", served.path, exc_info=True)

    def _names(self) -> list[str]:
        return list(self.served)


def open_models(named: list[str]) -> Models:
    """Each of `named` is a MODEL, as `adverb.load` takes it, or NAME=MODEL.

    Raises UserError for two of one name, for what can't be opened, and for weights in pickles.
    """
    pairs = [_named(one) for one in named]
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two models are called '{name}': name them, as in {name}-2={pairs[names.index(name)][1]}")
    return Models([open_model(name, path) for name, path in pairs])


def _named(one: str) -> tuple[str, str]:
    """(name, model)"""
    name, equals, path = one.partition("=")
    if equals and name and "/" not in name:
        return name, path
    return (Path(one).resolve().name if Path(one).exists() else one), one


def open_model(name: str, path: str) -> Served:
    served = Served(name, path)
    if (Path(path) / "recipe.yaml").is_file():
        served.run = Path(path)
        if not any((served.run / part / "config.json").is_file() for part in ("best", "model")):
            return served
    refresh(served)
    return served


def refresh(served: Served) -> bool:
    """Open the model, or open it again if its files have changed; whether it was opened."""
    from adverb.pipelines import load, model_folder

    folder = model_folder(served.path)
    written = max((file.stat().st_mtime for file in folder.glob("*.safetensors")), default=1.0)
    if served.model is not None and written == served.written:
        return False
    _refuse_pickles(folder)
    model = load(served.path)
    if isinstance(model, Reader):
        model.to("auto")
    _warm_up(model)
    served.model, served.written = model, written
    return True


def _refuse_pickles(folder: Path) -> None:
    if (folder / READER).is_dir():
        _refuse_pickles(folder / READER)
    values = config_of(folder)
    if EXPORT in values or values.get("model_type") in GENERATORS:
        return  # opened from a graph, or from safetensors alone
    from adverb.bert.checkpoint import weight_files

    for file in weight_files(folder):
        if file.suffix != ".safetensors":
            raise UserError(
                f"{file} is a pickle, which serve does not open: "
                "write the weights as safetensors, such as by `adverb export --to hf`"
            )


def _verb(model: Any) -> str:
    """Of VERBS. A reader that generates writes; its class is not imported to be asked for, as it needs torch."""
    if not isinstance(model, Reader):
        return "generate"
    return "write" if hasattr(model, "generate") else model.verb


def _warm_up(model: Any) -> None:
    """Pay now what the first request would: measurements of the machine, copies of weights, first calls."""
    verb = _verb(model)
    if verb in ("generate", "write"):
        model.generate(1)
    elif verb == "answer":
        model.answer("a", "b")
    elif verb == "fill_mask":
        model.fill_mask(model.tokenizer.mask_token)
    else:
        getattr(model, verb)("a")
