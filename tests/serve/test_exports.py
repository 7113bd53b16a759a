"""Exports as a server has them: the answers of the models that they were made from, without torch."""

from __future__ import annotations

import pytest
from rich.console import Console
from test_api import TEXT, pixels, same

from adverb.export import export

pytest.importorskip("onnxscript")
pytest.importorskip("openvino")
REQUESTS = (
    ("/classify", {"texts": [TEXT, "a bad film"]}),
    ("/explain", {"text": TEXT}),
    ("/embed", {"texts": TEXT}),
    ("/generate", {"model": "draws", "n": 4, "seed": 3, "truncation": 0.7, "format": "json"}),
    ("/walk", {"model": "draws", "n": 4, "second": 3, "label": "two", "frames": 5}),
    ("/generate", {"model": "drawer", "n": 3, "text": "a big cat", "strength": 2.0, "format": "json"}),
)


def test_exports_are_served_without_torch(start, small, captioned, tmp_path):
    models = [small["classes"], small["vectors"], small["draws"], captioned]
    exports = [export(str(model), "onnx", tmp_path / model.name, console=Console(quiet=True)) for model in models]
    with_torch, without = start(*models), start(*exports, torch=False)
    assert without.ask("/models")[1] == with_torch.ask("/models")[1]
    for path, body in REQUESTS:
        expected, found = (server.ask(path, body) for server in (with_torch, without))
        assert expected[0] == found[0] == 200, (path, found[1])
        if "images" not in expected[1]:
            assert same(found[1], expected[1], 2e-4), path
            continue
        assert found[1]["labels"] == expected[1]["labels"]
        for ours, theirs in zip(found[1]["images"], expected[1]["images"], strict=True):
            assert abs(pixels(ours).astype(int) - pixels(theirs)).max() <= 1
