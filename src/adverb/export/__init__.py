"""`adverb export`: a model in the files of others, written, opened again, and compared with what it was."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adverb.errors import UserError
from adverb.pipelines import load, model_folder
from adverb.pipelines.generator import Generator
from adverb.pipelines.onnx_session import GRAPH
from adverb.pipelines.reader import Reader
from adverb.progress import short
from adverb.run import Run

KINDS = ("hf", "onnx", "onnx-int8")
Data = tuple[str | None, str | None, str | None]  # a file, and its columns of texts and second texts
HEADLINES = ("accuracy", "micro_f1", "f1", "spearman", "mrr", "masked_accuracy")  # the metric shown, the first there is


@dataclass
class Told:
    """What the table says. rows: name, of the model, of the export."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)
    note: str = ""

    def add(self, name: str, before: str, after: str) -> None:
        self.rows.append((name, before, after))


def export(
    model: str,
    to: str,
    out: Path,
    *,
    data: str | None = None,
    text: str | None = None,
    pair: str | None = None,
    console: Console,
) -> Path:
    """Write `model` to the new folder `out`, and print how far it is from what it was made of.

    to: one of KINDS. data: a file of texts such as the model reads, to compare by, in its columns `text` and `pair`; a
    run knows its own.
    Everything is written beside `out` and moved there when it has been compared. Raises UserError for another kind,
    for an `out` that exists, and where the export is past a bound of `adverb.export.compare`: then nothing is left.
    """
    if to not in KINDS:
        raise UserError(f"--to {to}: expected {', '.join(KINDS)}")
    if data is None and (text or pair):
        raise UserError("--text and --pair are columns of the file that --data names: name it too")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists: name another --out")
    if (model_folder(model) / GRAPH).is_file():
        raise UserError(f"{model} is an export already: export the model that it was made from")
    found = load(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        folder = scratch / "export"
        told = _write(found, model, to, folder, (data, text, pair), console)
        for file in (path for path in folder.rglob("*") if path.is_file()):
            with open(file, "rb+") as written:
                os.fsync(written.fileno())
        if out.exists():
            out.rmdir()
        folder.rename(out)
    except OSError as error:
        raise UserError(f"can't write {out}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    table = Table("", "model", f"export ({to})", box=None, header_style="dim")
    for row in told.rows:
        table.add_row(*row)
    console.print(table)
    if told.note:
        console.print(f"[dim]{told.note}[/]", highlight=False, soft_wrap=True)
    console.print(f"[cyan]{out}[/]", highlight=False, soft_wrap=True)
    return out


def _write(found: Reader | Generator, model: str, to: str, folder: Path, data: Data, console: Console) -> Told:
    if to == "hf":
        from adverb.export import hf

        hf.write(found, folder)
        told = Told(note="every weight is the same, bit by bit")
        if isinstance(found, Reader) and getattr(found.model.config, "architecture", "") != "bert":
            told.note += "; transformers has no such architecture: adverb opens it"
        temperature = found.facts.get("temperature", 1.0) if isinstance(found, Reader) else 1.0
        if temperature != 1:
            told.note += f"; for the same probabilities elsewhere, divide the logits by {temperature:.4g}"
        _sizes(told, model, folder)
        return told
    if isinstance(found, Generator):
        return _generator(found, model, to, folder)
    return _reader(found, model, to, folder, data, console)


def _generator(found: Generator, model: str, to: str, folder: Path) -> Told:
    from adverb.export import generator

    if to == "onnx-int8":
        raise UserError("int8 is for models that read: export a generator --to onnx")
    largest, equal, before, after = generator.write(found, folder)
    told = Told(note=f"{generator.COUNT} images, the same latents and labels or captions for both")
    _sizes(told, model, folder)
    told.add("one image", f"{before:.2f} ms", f"{after:.2f} ms")
    told.add("largest difference", "", short(largest))
    told.add("equal pixels", "", f"{equal:.2%}")
    return told


def _reader(found: Reader, model: str, to: str, folder: Path, data: Data, console: Console) -> Told:
    from adverb.export import onnx
    from adverb.export.compare import BOUNDS, milliseconds
    from adverb.export.samples import feeds_of, sample_of

    precision = "int8" if to == "onnx-int8" else "fp32"
    run = Run(model)
    recipe = run.recipe() if run.exists() else None
    source = onnx.network_of(found)
    sample = sample_of(found, recipe, *data)
    distance = onnx.write(found, folder, precision, feeds_of(found, sample, source.token_budget), sample.real)
    written = Reader.load(folder)
    told = Told(note=f"{len(sample.texts)} texts of {sample.name}")
    _sizes(told, model, folder)
    median = sorted(sample.texts, key=len)[len(sample.texts) // 2]
    said = [lambda one=one: _say(one, median, (sample.pairs or [""])[0]) for one in (found, written)]
    told.add("one text", *(f"{milliseconds(call):.2f} ms" for call in said))
    told.add("largest difference", "", short(distance.largest))
    told.add("equal predictions", "", f"{distance.equal:.2%}")
    try:
        both = [_judged(one, recipe, model, console) for one in (found, written)] if _judgeable(found, recipe) else []
    except UserError as error:  # the data is elsewhere, has changed, or was all learnt from
        both, told.note = [], f"{told.note}; not judged by the run's own data: {error}"
    if both:
        (name, before, rows), (_, after, _) = both
        told.add(name.replace("_", " "), f"{before:.4f}", f"{after:.4f}")
        lost = (before - after) * (1 if found.verb == "answer" else 100)  # answers are judged in per cent
        most = max(BOUNDS[precision].points, 200 / rows)  # of few rows, two that change are no finding
        if lost > most:
            raise UserError(f"the export loses {lost:.2f} points of {name}, more than {most:.2f}: nothing was written")
    return told


def _say(reader: Reader, text: str, pair: str) -> Any:
    if reader.verb == "answer":
        return reader.answer(text, pair)
    if reader.verb == "fill_mask":
        return reader.fill_mask(f"{reader.tokenizer.mask_token} {' '.join(text.split()[:20])}")
    return getattr(reader, reader.verb)(text)


def _judgeable(reader: Reader, recipe: dict[str, Any] | None) -> bool:
    """Whether the run that the reader is from has rows whose truth is known."""
    from adverb.pipelines.truth import TASKS

    if not ((recipe or {}).get("data") or {}).get("path"):
        return False
    return reader.verb == "fill_mask" or recipe["objective"] == TASKS[reader.verb][0]


def _judged(reader: Reader, recipe: dict[str, Any], model: str, console: Console) -> tuple[str, float, int]:
    """A metric, its value, and on how many rows."""
    from adverb.pipelines.truth import judged

    metrics, details, _ = judged(reader, recipe, None, model, console)
    name = next(name for name in HEADLINES if name in metrics)
    return name, metrics[name], details.rows


def _sizes(told: Told, model: str, folder: Path) -> None:
    from adverb.export.compare import megabytes

    told.add("size", *(f"{megabytes(where):.1f} MB" for where in (model_folder(model), folder)))
