"""A run folder on disk: recipe, model, checkpoints, metrics. Every write is atomic; a kill leaves whole files."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from adverb.errors import UserError

KEPT_CHECKPOINTS = 2
SOUND = "sound.pt"  # the checkpoint to go back to, where training may have to


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """While entered, what keeps `path` from being written, such as a full disk, becomes a UserError."""
    try:
        yield
    except Exception as error:  # OSError; of torch.save RuntimeError, of safetensors and tokenizers their own
        if (why := _why_not(path, error)) is None:
            raise
        raise UserError(f"can't write {path}: {why}. What was written before is whole.") from None


def _why_not(path: Path, error: Exception) -> str | None:
    """In words, where it is the disk's fault."""
    full = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))
    if type(error) is RuntimeError:  # torch.save's does not say so
        full = full or shutil.disk_usage(next(p for p in path.absolute().parents if p.is_dir())).free < 2**20
    return "the disk is full" if full else error.strerror or str(error) if isinstance(error, OSError) else None


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """`write(beside)`, flush to disk, then rename over `path`: readers see the old file or the new, never a part.

    Raises UserError where that can't be done, as when the disk is full; `path` is then as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(beside)
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()


class Run:
    """A run folder. `Run.create` makes one, `Run(path)` opens one."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def best(self) -> Path:
        """The best model so far; the last one where nothing says which is better."""
        return self.path / "best" if (self.path / "best").is_dir() else self.model

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @classmethod
    def create(cls, recipe_yaml: str, name: str, out: str | Path | None) -> Run:
        """A new folder with its recipe, where `free` says."""
        run = cls.free(name, out)
        run.write_text("recipe.yaml", recipe_yaml)
        return run

    @classmethod
    def free(cls, name: str, out: str | Path | None) -> Run:
        """Where a new run goes: `out`, or the next free runs/NAME-0001. Raises UserError if `out` has a run."""
        run = cls(cls._next(name) if out is None else out)
        if run.exists():
            raise UserError(f"{run.path} already holds a run: go on with it by --resume, or name another --out")
        return run

    @staticmethod
    def _next(name: str, parent: Path = Path("runs")) -> Path:
        taken = [int(p.name[len(name) + 1 :]) for p in parent.glob(f"{name}-*") if p.name[len(name) + 1 :].isdecimal()]
        return parent / f"{name}-{max(taken, default=0) + 1:04d}"

    @classmethod
    def newest(cls, name: str, parent: Path = Path("runs")) -> Run | None:
        """The last numbered run of a recipe, for `--resume` without `--out`."""
        found = sorted(p for p in parent.glob(f"{name}-*") if p.name[len(name) + 1 :].isdigit() and cls(p).exists())
        return cls(found[-1]) if found else None

    def exists(self) -> bool:
        return (self.path / "recipe.yaml").is_file()

    def recipe(self) -> dict[str, Any]:
        return yaml.safe_load((self.path / "recipe.yaml").read_text(encoding="utf-8"))

    def facts(self) -> dict[str, Any]:
        """What is known of the run beside its recipe (see `training.facts_of`); empty where nothing was written."""
        try:
            return json.loads((self.path / "facts.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def write_text(self, name: str, text: str) -> None:
        write_atomically(self.path / name, lambda beside: beside.write_text(text, encoding="utf-8"))

    # -- metrics: one JSON object a line; the line of step N is written before the checkpoint of step N

    def log(self, row: dict[str, Any]) -> None:
        path = self.path / "metrics.jsonl"
        with writing(path), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """All rows; a last line torn by a kill is left out."""
        try:
            lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def rewind_metrics(self, step: int) -> None:
        """Drop what was logged after `step`, which will be trained, and logged, again."""
        kept = [json.dumps(row) + "\n" for row in self.metrics() if row["step"] <= step]
        self.write_text("metrics.jsonl", "".join(kept))

    # -- checkpoints: the whole state, the newest two kept

    def save_checkpoint(self, state: dict[str, Any], step: int) -> None:
        import torch

        folder = self.path / "checkpoints"
        write_atomically(folder / f"step-{step:09d}.pt", lambda beside: torch.save(state, beside))
        for old in self._checkpoints()[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)
        for torn in folder.glob(".step-*"):
            torn.unlink(missing_ok=True)

    def keep_checkpoint(self, step: int) -> None:
        """Keep the checkpoint of `step`, however old it gets, as the one to go back to."""
        folder = self.path / "checkpoints"
        beside = folder / f".{SOUND}"
        with writing(folder / SOUND):
            beside.unlink(missing_ok=True)
            try:
                os.link(folder / f"step-{step:09d}.pt", beside)
            except OSError:  # a file system without hard links
                shutil.copyfile(folder / f"step-{step:09d}.pt", beside)
            os.replace(beside, folder / SOUND)

    def kept_checkpoint(self) -> dict[str, Any] | None:
        """The state that `keep_checkpoint` kept, on the CPU; None when there is none."""
        import torch

        path = self.path / "checkpoints" / SOUND
        return torch.load(path, map_location="cpu", weights_only=True) if path.is_file() else None

    def resumable(self) -> bool:
        return bool(self._checkpoints())

    def _checkpoints(self) -> list[Path]:
        return sorted((self.path / "checkpoints").glob("step-*.pt"))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The newest whole state, on the CPU; None when there is none yet. Raises UserError where none is whole."""
        import torch

        paths = self._checkpoints()
        for path in reversed(paths):
            try:
                with zipfile.ZipFile(path) as file:
                    if file.testzip() is None:  # by checksums, which torch writes but does not look at
                        return torch.load(path, map_location="cpu", weights_only=True)
            except Exception:  # which one, depends on the byte that something other than adverb damaged
                continue  # the one before it is as good a start
        if paths:
            raise UserError(f"{self.path} can't go on: all its checkpoints are damaged; train with another --out")
        return None

    def replace_folder(self, name: str, fill: Callable[[Path], None]) -> None:
        """Fill a folder beside, then move its files over the old ones one by one, each atomically.

        Only the weights differ between two versions of a model, so that a kill in between leaves a whole model.
        """
        beside, target = self.path / f".{name}.new", self.path / name
        shutil.rmtree(beside, ignore_errors=True)
        try:
            with writing(target):
                beside.mkdir(parents=True)
                fill(beside)
                for source in sorted(p for p in beside.rglob("*") if p.is_file()):
                    place = target / source.relative_to(beside)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    with open(source, "rb+") as file:
                        os.fsync(file.fileno())
                    os.replace(source, place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
