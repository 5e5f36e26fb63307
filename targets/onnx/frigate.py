"""The bundle's model once more, in the layout that the NVR Frigate calls ``yolo-generic``, and how to configure it.

Frigate gives RGB in [0, 1] as (1, 3, H, W) float32 and expects one output (1, 4 + classes, cells): centre x, centre y,
width and height in pixels of the input, then a score in [0, 1] per class. It thresholds and suppresses by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_yolov9.bundle import Manifest
from edge_yolov9.errors import CompileError
from edge_yolov9.text import label, yaml_scalar

FOLDER = "frigate"
MODEL, LABELS, CONFIG = "edge-yolov9.onnx", "edge-yolov9.txt", "config.yml"
OUTPUT = "predictions"

SNIPPET = """\
# Copy {model} and {labels} to /config/model_cache of Frigate, and these lines into its config.yml.
# On Intel hardware the detector may also be "type: openvino" with "device: CPU" or "GPU".
detectors:
  onnx:
    type: onnx

model:
  model_type: yolo-generic
  path: /config/model_cache/{model}
  labelmap_path: /config/model_cache/{labels}
  width: {width}
  height: {height}
  input_tensor: nchw
  input_dtype: float
  input_pixel_format: rgb

objects:
  track:
{track}
"""


def write(folder: Path, manifest: Manifest) -> None:
    """Add ``frigate/`` to a bundle folder that is not sealed yet: model, label map and configuration.

    Raises:
        CompileError: Frigate could not tell the output's axes apart, because there are more classes than cells.
    """
    names = [label(name, index) for index, name in enumerate(manifest.names)]
    cells = sum(spec.shape[2] * spec.shape[3] for spec in manifest.outputs[::2])
    if cells <= 4 + len(names):
        raise CompileError(
            f"Frigate takes the output's longer axis for the cells: {cells} cells are too few for {len(names)} "
            "classes; choose a larger --imgsz"
        )
    place = folder / FOLDER
    place.mkdir()
    model = onnx.load(folder / manifest.model)
    _decode(model.graph, manifest, cells)
    onnx.checker.check_model(model)
    onnx.save(model, place / MODEL)
    lines = "".join(f"{index} {name}\n" for index, name in enumerate(names))
    (place / LABELS).write_text(lines, encoding="utf-8")
    track = "\n".join(f"    - {yaml_scalar(name)}" for name in names)
    size = {"width": manifest.input.width, "height": manifest.input.height}
    text = SNIPPET.format(model=MODEL, labels=LABELS, track=track, **size)
    (place / CONFIG).write_text(text, encoding="utf-8")


def _decode(graph: Any, manifest: Manifest, cells: int) -> None:
    """Append what :mod:`edge_yolov9.decode` does before its suppression, for every cell, and make it the output."""
    boxes = _flat(graph, [spec.name for spec in manifest.outputs[::2]], "bins", (1, 4, manifest.reg_max, -1))
    logits = _flat(graph, [spec.name for spec in manifest.outputs[1::2]], "logits", (1, len(manifest.names), -1))
    shapes = [spec.shape[2:] for spec in manifest.outputs[::2]]
    centres, strides = _grid(shapes, manifest.strides)
    bins = np.arange(manifest.reg_max, dtype=np.float32).reshape(1, 1, -1, 1)
    # distances left, top, right, bottom in cells: expected values over the bins
    weights = _node(graph, "Softmax", [boxes], "weights", axis=2)
    weighted = _node(graph, "Mul", [weights, _constant(graph, "bin_values", bins)], "weighted")
    axis = _constant(graph, "bin_axis", np.array([2], np.int64))
    sides = _node(graph, "ReduceSum", [weighted, axis], "sides", keepdims=0)
    halves = _constant(graph, "halves", np.array([2, 2], np.int64))
    graph.node.append(helper.make_node("Split", [sides, halves], ["frigate_low", "frigate_high"], axis=1))
    size = _node(graph, "Add", ["frigate_low", "frigate_high"], "size")
    skew = _node(graph, "Sub", ["frigate_high", "frigate_low"], "skew")
    moved = _node(graph, "Mul", [skew, _constant(graph, "half", np.array(0.5, np.float32))], "moved")
    centre = _node(graph, "Add", [moved, _constant(graph, "centres", centres)], "centre")
    xywh = _node(graph, "Concat", [centre, size], "cells", axis=1)
    pixels = _node(graph, "Mul", [xywh, _constant(graph, "strides", strides)], "pixels")
    scores = _node(graph, "Sigmoid", [logits], "scores")
    graph.node.append(helper.make_node("Concat", [pixels, scores], [OUTPUT], axis=1))
    del graph.output[:]
    shape = (1, 4 + len(manifest.names), cells)
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))


def _flat(graph: Any, names: Sequence[str], label: str, shape: tuple[int, ...]) -> str:
    """The maps of all levels side by side: cells along the last axis of ``shape``."""
    target = _constant(graph, f"{label}_shape", np.array(shape, np.int64))
    parts = [_node(graph, "Reshape", [name, target], f"{label}_{name}") for name in names]
    return _node(graph, "Concat", parts, label, axis=len(shape) - 1)


def _grid(shapes: Sequence[tuple[int, ...]], strides: Sequence[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cell centres (1, 2, cells), x then y, in cells, and the stride (1, 1, cells) of each cell in pixels."""
    centres = [np.mgrid[:rows, :columns][::-1].reshape(2, -1) + 0.5 for rows, columns in shapes]
    steps = [np.full(rows * columns, stride) for (rows, columns), stride in zip(shapes, strides, strict=True)]
    return np.concatenate(centres, 1)[None].astype(np.float32), np.concatenate(steps)[None, None].astype(np.float32)


def _node(graph: Any, kind: str, inputs: list[str], label: str, **attributes: int) -> str:
    name = f"frigate_{label}"
    graph.node.append(helper.make_node(kind, inputs, [name], **attributes))
    return name


def _constant(graph: Any, label: str, value: NDArray[Any]) -> str:
    name = f"frigate_{label}"
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name
