"""Which tensor of the LiteRT graph is which of the ONNX graph, by what flows through them on one image.

The converter renames and reorders; the values stay the same. Equal values need the same range, so ties are harmless.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_yolov9.compiler.floatgraph import expose, run_session
from edge_yolov9.geometry import planes

TOLERANCE = 1e-2
"""Root of squared difference over squared value. Where values of 1e5 cancel, two runtimes differ by 4e-5 in this
measure, by more than 1e-3 of the largest value in single places; the nearest is the same tensor even then."""

Arrays = dict[str, NDArray[np.float32]]


def match(floating: Path, model: onnx.ModelProto, image: NDArray[np.uint8]) -> dict[str, str]:
    """``{LiteRT tensor: ONNX tensor}`` for every activation of the float LiteRT file that ONNX also computes.

    Args:
        floating: float32 LiteRT file, (1, H, W, 3) BGR pixels.
        model: the same network as ONNX, (1, 3, H, W) RGB in [0, 1].
        image: letterboxed frame (H, W, 3) uint8 BGR.
    """
    return nearest(_litert_values(floating, image), _onnx_values(model, image))


def nearest(given: Arrays, wanted: Arrays) -> dict[str, str]:
    """Which array of ``wanted`` each one of ``given`` is, by their names; one that is none of them is left out."""
    by_shape: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, values in wanted.items():
        by_shape[values.shape].append(name)
    pairs: dict[str, str] = {}
    for name, values in given.items():
        limit = TOLERANCE * max(float(np.linalg.norm(values)), 1e-6)
        distances = {other: float(np.linalg.norm(wanted[other] - values)) for other in by_shape[values.shape]}
        if distances and distances[best := min(distances, key=lambda other: distances[other])] <= limit:
            pairs[name] = best
    return pairs


def operators(floating: Path) -> list[tuple[list[str], list[str]]]:
    """(names of the inputs, names of the outputs) of every operator."""
    interpreter = _interpreter(floating)
    names = {item["index"]: item["name"] for item in interpreter.get_tensor_details()}
    return [
        ([names.get(i, "") for i in item["inputs"]], [names.get(i, "") for i in item["outputs"]])
        for item in interpreter._get_ops_details()
    ]


def _onnx_values(model: onnx.ModelProto, image: NDArray[np.uint8]) -> Arrays:
    names = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output]
    values = run_session(expose(model, names)).run(names, {model.graph.input[0].name: planes(image)})
    return {name: array.transpose(0, 2, 3, 1) for name, array in zip(names, values, strict=True)}


def _litert_values(floating: Path, image: NDArray[np.uint8]) -> Arrays:
    interpreter = _interpreter(floating)
    (pixels,) = interpreter.get_input_details()
    interpreter.set_tensor(pixels["index"], image[None].astype(np.float32))
    interpreter.invoke()
    made = {name for _, outputs in operators(floating) for name in outputs}
    return {
        item["name"]: interpreter.get_tensor(item["index"])
        for item in interpreter.get_tensor_details()
        if item["name"] in made and item["dtype"] == np.float32 and len(item["shape"]) == 4
    }


def _interpreter(floating: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=str(floating),
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    return interpreter
