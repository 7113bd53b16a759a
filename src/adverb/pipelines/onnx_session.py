"""An ONNX graph on this machine's CPU, run by OpenVINO: arrays in, arrays out."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from adverb.errors import UserError

GRAPH = "model.onnx"  # in the folder of an export
OPTIONS = {
    "fp32": {"INFERENCE_PRECISION_HINT": "f32"},
    "int8": {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 64},  # numbers of a token with a scale of their own
}


class Session:
    """inputs: the names of what the graph takes.

    precision: "fp32" computes everything in float32, so that answers are the same on every machine; "int8" computes
    products with weights of int8 in int8, and the rest in bf16 where the machine has it.
    As many threads as there are cores, or as OMP_NUM_THREADS says.
    Raises UserError where OpenVINO is not installed, or the file is not a graph.
    """

    def __init__(self, path: Path, precision: str):
        if not path.is_file():
            raise UserError(f"{path.parent} lacks its {path.name}: export the model again")
        try:
            import openvino
        except ImportError:
            raise UserError(f"{path.parent} is an ONNX export: it needs pip install 'adverb[onnx]'") from None
        options = {"PERFORMANCE_HINT": "LATENCY"} | OPTIONS[precision]
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdecimal():
            options["INFERENCE_NUM_THREADS"] = int(threads)
        try:
            self._compiled = openvino.Core().compile_model(path, "CPU", options)
        except RuntimeError as error:
            raise UserError(f"{path} cannot be opened: {str(error).strip().splitlines()[0]}") from None
        self.inputs = [one.get_any_name() for one in self._compiled.inputs]
        self._request, self._turn = self._compiled.create_infer_request(), threading.Lock()  # one caller at a time

    def __call__(self, **arrays: np.ndarray) -> list[np.ndarray]:
        """The outputs in their order, for one array an input, by its name; others than inputs are left out."""
        with self._turn:
            found = self._request.infer({name: arrays[name] for name in self.inputs})
            return [np.array(found[output]) for output in self._compiled.outputs]
