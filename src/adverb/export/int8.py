"""A graph of float32 to one whose weights are int8, and which computes matrix products in int8.

Weights have a scale for each output of their layer, or for each word of an embedding, and are stored as one byte each
(Jacob et al. 2018, §2, symmetric). Activations are rounded to int8 while the engine computes, by a scale for each group
of numbers of each token (dynamic quantisation): nothing is calibrated, so no text is needed, and what is said of a
text does not depend on the texts beside it. Norms, softmax, GELU and the products inside of attention stay in floating
point.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adverb.errors import UserError

SMALLEST = 4096  # numbers of a weight that is worth it
LEVELS = 127  # on each side of 0


def quantise(path: Path) -> None:
    """Rewrite the graph at `path`. Raises UserError where onnx is not installed."""
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError:
        raise UserError("to write int8 needs pip install 'adverb[onnx]'") from None
    model = onnx.load(path)
    graph = model.graph
    axes = _axes(graph)
    added = []
    for weight in [one for one in graph.initializer if one.name in axes]:
        name, axis = weight.name, axes[weight.name]
        values, scales = rounded(numpy_helper.to_array(weight), axis)
        graph.initializer.remove(weight)
        graph.initializer.append(numpy_helper.from_array(values, f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scale"))
        added.append(
            helper.make_node("DequantizeLinear", [f"{name}.int8", f"{name}.scale"], [name], f"{name}.float", axis=axis)
        )
    for node in reversed(added):  # before whatever reads them
        graph.node.insert(0, node)
    onnx.save(model, path)


def rounded(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 of the shape of `weight`, and float32 scales, one for each place along `axis`; their product is near it."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    scales = np.maximum(abs(weight).max(axis=others), np.finfo(np.float32).tiny) / LEVELS
    shape = [1] * weight.ndim
    shape[axis] = -1
    return np.rint(weight / scales.reshape(shape)).astype(np.int8), scales.astype(np.float32)


def _axes(graph) -> dict[str, int]:
    """Which weights become int8, and along which axis each has its scales: the outputs of a layer, the words."""
    from onnx import TensorProto

    known = {
        one.name for one in graph.initializer
        if one.data_type == TensorProto.FLOAT and len(one.dims) == 2 and np.prod(one.dims) >= SMALLEST
    }  # fmt: skip
    axes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] in known:
            axes[node.input[0]] = 0
        elif node.op_type == "Transpose" and node.input[0] in known:  # the words, as the weights of the last layer
            axes[node.input[0]] = 0
        elif node.op_type in ("MatMul", "Gemm") and node.input[1] in known:
            turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axes.setdefault(node.input[1], 0 if turned else 1)
    return axes
