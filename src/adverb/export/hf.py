"""The files of transformers and sentence-transformers, or a generator's own: the weights as they are, bit by bit."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from adverb.errors import UserError
from adverb.pipelines import load
from adverb.pipelines.generator import Generator
from adverb.pipelines.reader import Reader


def write(model: Reader | Generator, folder: Path) -> None:
    """Save into the folder, open it again, and compare every weight. Raises UserError where one differs."""
    if isinstance(model, Generator):
        model.save(folder)
        before, after = model.network, load(folder).network
    else:
        model.save_pretrained(folder)
        before, after = model.model.network, load(folder).model.network
    if not _same(before, after):
        raise UserError(f"what was written to {folder} is not the model: is the disk sound? Nothing was kept")


def _same(before: nn.Module, after: nn.Module) -> bool:
    ours, theirs = before.state_dict(), after.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name].cpu(), theirs[name]) for name in ours)
