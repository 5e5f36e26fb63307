"""A bundle for ONNX Runtime that is made in milliseconds: pooling and 1x1 convolutions, one object in every frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_yolov9 import bundle as bundles
from edge_yolov9.bundle import InputRule, Manifest, TensorSpec

SIZE = 64
CHANNELS = {"box": 64, "class": 2}


def make(folder: Path) -> Path:
    """Write and seal the bundle."""
    folder.mkdir(parents=True)
    nodes, constants, outputs = [], [], []
    for level, stride in zip((3, 4, 5), (8, 16, 32), strict=True):
        pooled = f"pooled{level}"
        nodes.append(
            helper.make_node("AveragePool", ["images"], [pooled], kernel_shape=[stride] * 2, strides=[stride] * 2)
        )
        for kind, channels in CHANNELS.items():
            name, cells = f"{kind}_p{level}", SIZE // stride
            bias = np.full((1, channels, cells, cells), -8 if kind == "class" else 0, np.float32)
            if name == "class_p3":
                bias[0, 1, 2, 2] = 4
            constants += [
                numpy_helper.from_array(np.zeros((channels, 3, 1, 1), np.float32), f"w_{name}"),
                numpy_helper.from_array(bias, f"b_{name}"),
            ]
            nodes.append(helper.make_node("Conv", [pooled, f"w_{name}"], [f"c_{name}"]))
            nodes.append(helper.make_node("Add", [f"c_{name}", f"b_{name}"], [name]))
            outputs.append(TensorSpec(name, (1, channels, cells, cells), "float32", "NCHW"))
    image = TensorSpec("images", (1, 3, SIZE, SIZE), "float32", "NCHW")
    ports = [helper.make_tensor_value_info(spec.name, onnx.TensorProto.FLOAT, spec.shape) for spec in (image, *outputs)]
    graph = helper.make_graph(nodes, "tiny", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    rule = InputRule(image, SIZE, SIZE)
    bundles.seal(folder, Manifest("tiny", ("cat", "dog"), "onnx", "cpu", "fp32", rule, tuple(outputs), "model.onnx"))
    return folder
