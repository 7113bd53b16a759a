"""Real image files, made from the embedded digits."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from adverb.data.digits import load_digits


@pytest.fixture(scope="session")
def digits():
    """(uint8 [1500, 8, 8, 1], int64 [1500])"""
    return load_digits("train")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> Path:
    path = tmp_path_factory.mktemp("images")
    monkeypatch.setenv("ADVERB_CACHE", str(path))
    return path


@pytest.fixture
def folder(tmp_path, digits):
    """folder(n, mode="L", size=(8, 8), suffix="png", names="{i:04d}") writes n digits as files and returns its path."""

    def make(n: int, mode="L", size=(8, 8), suffix="png", names="{i:04d}", into="set", start=0) -> Path:
        root = tmp_path / into
        root.mkdir(exist_ok=True)
        for i in range(start, start + n):
            image = Image.fromarray(digits[0][i, :, :, 0]).convert(mode).resize((size[1], size[0]))
            path = root / f"{names.format(i=i, label=digits[1][i])}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, **({"lossless": True} if suffix == "webp" else {}))
        return root

    return make
