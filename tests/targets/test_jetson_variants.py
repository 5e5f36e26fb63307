"""All five variants: the Q/DQ rules on their graphs, and TensorRT's own parser and builder on the CPU.

The rules depend on a graph's shape, not on its width: here every variant has an eighth of its channels.
``EDGE_YOLOV9_ALL_VARIANTS=1`` takes them in full width (minutes each).
"""

from __future__ import annotations

import os
import time
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from edge_yolov9.targets.jetson import emit
from edge_yolov9.targets.jetson.board import JetsonBoard
from edge_yolov9.targets.jetson.graphs import dla, layers
from edge_yolov9.targets.jetson.graphs.half import to_half

from edge_yolov9 import registry
from edge_yolov9.compiler.export import export_onnx
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.quantization import qdq, rules
from edge_yolov9.compiler.quantization.ranges import Range
from edge_yolov9.errors import TargetError
from edge_yolov9.model import RawHeads
from edge_yolov9.model.graph import YOLOv9
from edge_yolov9.variants import VARIANTS, GraphOptions
from tests.targets.real_tensorrt import build_rtx
from tests.targets.test_jetson import Graph, assert_rules

FULL = bool(os.environ.get("EDGE_YOLOV9_ALL_VARIANTS"))
FLAVOURS = ("fp32", "fp16", "int8", "int8_typed")
BOARDS = registry.boards("jetson")


def slim(plan: Any, name: str = "") -> Any:
    """The same plan with an eighth of the channels; depths, kinds and published figures stay."""
    if FULL:
        return plan
    if is_dataclass(plan) and not isinstance(plan, type):
        parts = {f.name: getattr(plan, f.name) for f in fields(plan) if f.name not in ("published", "size")}
        return replace(plan, **{key: slim(value, key) for key, value in parts.items()})
    if isinstance(plan, tuple):
        return tuple(slim(item) for item in plan)
    keeps = isinstance(plan, (bool, str)) or name in ("depth", "stages")
    return plan if keeps else max(4, plan // 8 // 2 * 2)


class Graphs:
    """Float and Q/DQ graphs of variants, made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._floats: dict[tuple[str, str], onnx.ModelProto] = {}

    def floats(self, variant: str, activation: str = "silu") -> onnx.ModelProto:
        key = (variant, activation)
        if key not in self._floats:
            torch.manual_seed(0)
            options = GraphOptions(activation=activation)
            model = YOLOv9(options.apply(slim(VARIANTS[variant])), 3, None, options)
            heads = RawHeads(fold(model.eval())).eval()
            self._floats[key] = onnx.load(export_onnx(heads, (32, 32), self._folder / "-".join(key)))
        return self._floats[key]

    def int8(self, variant: str, activation: str = "silu") -> onnx.ModelProto:
        graph = rules.read(self.floats(variant, activation), emit.QUANTIZATION)
        return qdq.insert(graph, dict.fromkeys(graph.group.values(), Range(-8, 8, "min-max")), emit.QUANTIZATION)

    def files(self, variant: str) -> dict[str, Path]:
        floats, int8 = self.floats(variant), self.int8(variant)
        made = {"fp32": floats, "fp16": to_half(floats), "int8": int8, "int8_typed": to_half(int8)}
        for name, model in made.items():
            onnx.save(model, self._folder / f"{variant}_{name}.onnx")
        return {name: self._folder / f"{variant}_{name}.onnx" for name in made}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return Graphs(tmp_path_factory.mktemp("variants"))


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_rules_hold(variant: str, graphs: Graphs) -> None:
    """E has what T lacks: ADown, which splits and pools, and sums of resized taps."""
    model = graphs.int8(variant)
    assert_rules(model)
    assert_rules(to_half(model))


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_convolution_is_int8_and_nothing_is_reformatted(variant: str, graphs: Graphs) -> None:
    model = graphs.int8(variant)
    found = layers.describe(model, "int8", BOARDS)
    assert found["int8"] == found["convolutions"] == len(Graph(model).of("Conv")) > 100
    assert found["float"] == "none"
    assert not any(found["reformat_points"].values())
    assert {"Concat", "Add"} <= found["reformat_points"].keys()


def test_what_is_not_int8_is_named_and_counted(graphs: Graphs) -> None:
    graph = rules.read(graphs.floats("t"), emit.QUANTIZATION)
    ranges = dict.fromkeys(graph.group.values(), Range(-8, 8, "min-max"))
    conv = graph.convolutions[5]
    model = qdq.insert(graph, ranges, emit.QUANTIZATION, frozenset({graph.group[conv.input[0]]}))
    found = layers.describe(model, "int8", BOARDS)
    assert conv.input[1].removesuffix(".weight") in found["float"]
    assert found["int8"] == found["convolutions"] - len(found["float"])
    pairs = (Graph(model).producer[node.input[0]] for node in Graph(model).of("Concat"))
    pair = next(node for node in pairs if node.op_type == "DequantizeLinear")
    scale = next(item for item in model.graph.initializer if item.name == pair.input[1])
    scale.CopyFrom(onnx.numpy_helper.from_array(np.asarray(0.5, np.float32), scale.name))
    changed = layers.describe(model, "int8", BOARDS)["reformat_points"]["Concat"]
    assert changed > found["reformat_points"]["Concat"]


def test_the_roofline_is_arithmetic_or_memory_whichever_is_larger(graphs: Graphs) -> None:
    """By hand, from the list of convolutions, on boards that lack one or the other."""
    model = layers.Layers(graphs.floats("t"))
    macs = sum(conv["macs"] for conv in model.convolutions())
    slow = JetsonBoard("8.7", (), 8, fp16_tflops=1e-3, bandwidth_gbs=1e9)
    assert layers.roofline(model, "fp16", slow) == pytest.approx(2 * macs / 1e9 * 1e3, rel=1e-2)
    narrow = JetsonBoard("8.7", (), 8, fp16_tflops=1e9, bandwidth_gbs=1e-3)
    values = sum(conv["read"] + conv["weights"] + conv["written"] for conv in model.convolutions())
    values += sum(count for count, _ in model.moves())
    assert layers.roofline(model, "fp16", narrow) == pytest.approx(2 * values / 1e6 * 1e3, rel=1e-2)
    assert layers.roofline(model, "fp32", slow) is None
    int8 = layers.Layers(graphs.int8("t"))
    parts = [(c["read"] + c["weights"], 1) for c in int8.convolutions()]
    parts += [(c["written"], 1 if c["writes_int8"] else 2) for c in int8.convolutions()]
    traffic = sum(count * size for count, size in (*parts, *((count, 1) for count, _ in int8.moves())))
    assert layers.roofline(int8, "int8", replace(narrow, int8_tops=1e9)) == pytest.approx(traffic / 1e6 * 1e3, rel=1e-2)
    assert layers.roofline(int8, "int8", replace(slow, int8_tops=1e-3)) == pytest.approx(2 * macs / 1e9 * 1e3, rel=1e-2)


def test_int8_is_estimated_faster_where_the_board_has_it(graphs: Graphs) -> None:
    int8 = layers.describe(graphs.int8("t"), "int8", BOARDS)["estimated_ms"]
    fp16 = layers.describe(graphs.floats("t"), "fp16", BOARDS)["estimated_ms"]
    assert int8.pop("thor") == "unknown: its profile has no INT8 rate"
    assert set(int8) == {"orin-nano", "orin-nx", "agx-orin", "xavier-nx", "agx-xavier"}
    assert set(fp16) == set(BOARDS)
    assert all(int8[board] < fp16[board] for board in int8)


@pytest.mark.parametrize("activation", ["hardswish", "relu6"])
def test_other_activations_are_counted_alike(activation: str, graphs: Graphs) -> None:
    model = graphs.int8("t", activation)
    found = layers.describe(model, "int8", BOARDS)
    assert found["int8"] == found["convolutions"]
    fused = [conv for conv in layers.Layers(model).convolutions() if conv["writes_int8"]]
    assert len(fused) > found["convolutions"] / 2


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_dla_takes_what_nvidia_documents(variant: str, graphs: Graphs) -> None:
    model = graphs.floats(variant)
    found = dla.assign(model, "fp16", BOARDS["agx-orin"])
    operators = [node for node in model.graph.node if node.op_type != "Constant"]
    assert found["dla"] + len(found["gpu"]) == len(operators)
    assert found["dla"] > 0.95 * len(operators)
    assert "never" in found["tested"]


def changed(model: onnx.ModelProto, kind: str, attribute: str, value: Any) -> tuple[onnx.ModelProto, str]:
    """A copy whose first operator of this kind has another attribute, and that operator's name."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    node = next(node for node in copy.graph.node if node.op_type == kind)
    kept = [item for item in node.attribute if item.name != attribute]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(attribute, value)])
    return copy, node.name


@pytest.mark.parametrize(
    ("kind", "attribute", "value", "reason"),
    [
        ("Conv", "pads", [32, 0, 0, 0], "paddings of Conv go from 0 to 31"),
        ("Conv", "strides", [9, 1], "strides of Conv go from 1 to 8"),
        ("Conv", "dilations", [33, 1], "dilations of Conv go from 1 to 32"),
        ("MaxPool", "kernel_shape", [9, 9], "windows of MaxPool go from 1 to 8"),
        ("AveragePool", "strides", [17, 1], "strides of AveragePool go from 1 to 16"),
        ("Concat", "axis", 2, "concatenation is along the channels only"),
        ("Resize", "mode", "linear", "only nearest-neighbour resizing is taken here"),
        ("Resize", "nearest_mode", "ceil", "nearest-neighbour resizing has another rounding there"),
    ],
)
def test_dla_leaves_to_the_gpu_what_it_cannot_do(
    kind: str, attribute: str, value: Any, reason: str, graphs: Graphs
) -> None:
    model, name = changed(graphs.floats("t"), kind, attribute, value)
    assert dla.assign(model, "fp16", BOARDS["orin-nx"])["gpu"][name] == reason


@pytest.mark.parametrize(
    ("kind", "operand", "value", "reason"),
    [
        ("Resize", 2, np.array([1, 2, 2, 2], np.float32), "resize factors must be 1, 1 and two whole numbers"),
        ("Resize", 2, np.array([1, 1, 2.5, 2], np.float32), "resize factors must be 1, 1 and two whole numbers"),
        ("Slice", 3, np.array([0]), "slices are in steps of 1 and not along the batch"),
        ("Slice", 4, np.array([2]), "slices are in steps of 1 and not along the batch"),
        ("Slice", 1, None, "slices must be constant"),
    ],
)
def test_dla_reads_constants(kind: str, operand: int, value: Any, reason: str, graphs: Graphs) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(graphs.floats("t"))
    node = next(node for node in model.graph.node if node.op_type == kind)
    node.input.extend([""] * (operand + 1 - len(node.input)))
    node.input[operand] = "other"
    if value is not None:
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, "other"))
    refused = dla.assign(model, "fp16", BOARDS["orin-nx"])["gpu"]
    assert refused[node.name].startswith(reason)


@pytest.mark.parametrize(("width", "where"), [(8192, {}), (8193, {"pool": "a dimension is over 8192"})])
def test_dla_takes_8192_pixels(width: int, where: dict[str, str]) -> None:
    pool = onnx.helper.make_node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[1, 2], strides=[1, 2])
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 8, 1, size])
        for name, size in (("x", width), ("y", width // 2))
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph([pool], "one", ends[:1], ends[1:]))
    assert dla.assign(model, "fp16", BOARDS["agx-orin"])["gpu"] == where


def test_dla_refuses_what_cannot_run_there(graphs: Graphs) -> None:
    model = graphs.floats("t")
    for board, precision, reason in (
        ("orin-nano", "fp16", "orin-nano has no DLA"),
        ("thor", "fp16", "thor has no DLA"),
        ("agx-orin", "int8", "explicit INT8 quantization, which is what this compiler makes, is not supported there"),
        ("agx-orin", "fp32", "the DLA does not compute in FP32"),
    ):
        with pytest.raises(TargetError, match=reason):
            dla.assign(model, precision, BOARDS[board])


@pytest.mark.slow
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_tensorrt_builds_every_flavour_for_three_architectures(variant: str, graphs: Graphs, tmp_path: Path) -> None:
    """SM86, SM89 and SM120 in one engine; T in full width is built in test_jetson.py."""
    files, start = graphs.files(variant), time.monotonic()
    found = build_rtx(tmp_path, *(files[name] for name in FLAVOURS), architectures="SM86,SM89,SM120")
    print(f"{variant}: {found} in {time.monotonic() - start:.0f} s")
    for name, built in zip(FLAVOURS, found, strict=True):
        graph = Graph(onnx.load(files[name]))
        assert built.get("bytes", 0) > 1e5, built
        assert built["convolutions"] == len(graph.of("Conv"))
        assert built["quantize"] == len(graph.of("QuantizeLinear"))
        assert [kind for _, kind in built["inputs"]] == ["FLOAT"]
