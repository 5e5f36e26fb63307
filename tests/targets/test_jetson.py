"""What the jetson compiler writes: the Q/DQ rules, the two flavours, ranges, and a real TensorRT parse and build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from edge_yolov9.targets.jetson import emit as emitter
from edge_yolov9.targets.jetson.board import JetsonBoard
from edge_yolov9.targets.jetson.runtime import engine
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.floatgraph import raw_maps
from edge_yolov9.compiler.quantization import rules
from edge_yolov9.compiler.quantization.ranges import SMALLEST_STEP
from edge_yolov9.compiler.quantization.rawmaps import relative_error
from edge_yolov9.errors import CompileError
from tests.targets.jobs import frames, make_bundle, make_job
from tests.targets.real_tensorrt import build_rtx

OUTPUTS = ["box_p3", "class_p3", "box_p4", "class_p4", "box_p5", "class_p5"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """A bundle of the demo model at 320 px per precision."""
    folder = tmp_path_factory.mktemp("jetson")
    return {
        precision: make_bundle("jetson", make_job(folder / precision, precision, target="jetson"))
        for precision in ("int8", "fp16", "fp32")
    }


class Graph:
    """Questions about a Q/DQ graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.values = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        self.producer = {name: node for node in self.nodes for name in node.output}

    def kind(self, tensor: str) -> str:
        """Operator that makes a tensor; "" for inputs and constants."""
        return self.producer[tensor].op_type if tensor in self.producer else ""

    def of(self, *kinds: str) -> list[NodeProto]:
        return [node for node in self.nodes if node.op_type in kinds]

    def readers(self, tensor: str) -> list[NodeProto]:
        return [node for node in self.nodes if tensor in node.input]

    def scale(self, dequantized: str) -> float:
        """Step of the pair that ends in this tensor."""
        return float(self.values[self.producer[dequantized].input[1]])


def assert_rules(model: onnx.ModelProto) -> None:
    """Every rule of facts.md on placement, type and sharing."""
    graph = Graph(model)
    assert_symmetric_int8(graph)
    assert_weights_per_channel(graph)
    assert_placement(graph)
    assert_residual_adds(graph)
    assert_shared_scales(graph)


def assert_symmetric_int8(graph: Graph) -> None:
    types = {item.data_type for item in graph.model.graph.initializer}
    assert TensorProto.UINT8 not in types
    assert not [node for node in graph.of("Cast") if node.attribute[0].i == TensorProto.UINT8]
    pairs = graph.of("QuantizeLinear", "DequantizeLinear")
    assert len(pairs) > 600
    for node in pairs:
        assert len(node.input) == 3, f"{node.name} has no zero point, which would mean uint8"
        zero = graph.values[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert (graph.values[node.input[1]] > 0).all()
    for node in graph.of("DequantizeLinear"):
        (source,) = [graph.producer[node.input[0]]]
        assert source.op_type == "QuantizeLinear"
        assert list(source.input[1:]) == list(node.input[1:])


def assert_weights_per_channel(graph: Graph) -> None:
    for conv in graph.of("Conv"):
        pair = graph.producer[conv.input[1]]
        assert pair.op_type == "DequantizeLinear"
        quantize = graph.producer[pair.input[0]]
        kernel, scale = graph.values[quantize.input[0]], graph.values[quantize.input[1]]
        for node in (pair, quantize):
            assert [(a.name, a.i) for a in node.attribute] == [("axis", 0)]
        assert scale.shape == (len(kernel),)
        steps = kernel / scale.reshape(-1, 1, 1, 1)
        assert np.abs(steps).max() < 127.5
        assert np.abs(steps).reshape(len(kernel), -1).max(axis=1).min() > 100 or scale.min() <= SMALLEST_STEP
        assert np.abs(steps - np.rint(steps)).max() < 0.1
        bias = graph.values[conv.input[2]]
        assert bias.dtype in (np.float32, np.float16)
        assert graph.kind(conv.input[2]) == ""


def assert_placement(graph: Graph) -> None:
    kernels = {graph.producer[graph.producer[conv.input[1]].input[0]].output[0] for conv in graph.of("Conv")}
    for node in graph.of("QuantizeLinear"):
        if node.output[0] in kernels:
            continue
        assert graph.values[node.input[1]].shape == (), "activations have one scale per tensor"
        assert graph.kind(node.input[0]) != "Sigmoid"
    for conv in graph.of("Conv"):
        assert graph.kind(conv.input[0]) == "DequantizeLinear"
    for node in graph.of("Sigmoid"):  # SiLU stays bare between a convolution and the next pair
        assert graph.kind(node.input[0]) == "Conv"
        assert sorted(reader.op_type for reader in graph.readers(node.input[0])) == ["Mul", "Sigmoid"]
    for node in graph.of("Concat", "AveragePool", "MaxPool", "Slice", "Split", "Resize"):
        for name in node.input if node.op_type == "Concat" else node.input[:1]:
            assert graph.kind(name) == "DequantizeLinear"
    for pool in graph.of("AveragePool"):
        assert {node.op_type for node in graph.readers(pool.output[0])} <= {"QuantizeLinear"}
    final = [graph.producer[item.name] for item in graph.model.graph.output]
    final = [graph.producer[node.input[0]] if node.op_type == "Cast" else node for node in final]
    assert [node.op_type for node in final] == ["Conv"] * 6
    assert [item.name for item in graph.model.graph.output] == OUTPUTS


def assert_residual_adds(graph: Graph) -> None:
    for node in graph.of("Add"):
        pairs = [graph.kind(name) == "DequantizeLinear" for name in node.input]
        assert sum(pairs) == 1, f"{node.name} has {sum(pairs)} quantized operands"
        straight, skip = node.input[pairs.index(False)], node.input[pairs.index(True)]
        assert graph.kind(straight) in ("Mul", "Add", "Resize", "Conv")
        if "/blocks/blocks." in node.name:  # x + conv(...) of a bottleneck
            assert graph.kind(straight) == "Mul"
            assert "/conv/" in straight
            readers = {reader.op_type for reader in graph.readers(skip)}
            assert "Conv" in readers, "the skip operand is the bottleneck's own input"


def assert_shared_scales(graph: Graph) -> None:
    for node in graph.of("Concat", "MaxPool", "Slice", "Split", "Resize"):
        inputs = {graph.scale(name) for name in (node.input if node.op_type == "Concat" else node.input[:1])}
        outputs = {
            float(graph.values[reader.input[1]])
            for name in node.output
            for reader in graph.readers(name)
            if reader.op_type == "QuantizeLinear"
        }
        assert len(inputs | outputs) == 1, f"{node.name} would requantize"


@pytest.mark.parametrize("flavour", ["portable", "typed"])
def test_rules_hold_in_the_emitted_graphs(flavour: str, made: dict[str, Bundle]) -> None:
    bundle = made["int8"]
    assert_rules(onnx.load(bundle.path / bundle.manifest.extra[flavour]))


def test_an_operator_without_a_rule_is_refused(made: dict[str, Bundle]) -> None:
    model = onnx.load(made["fp32"].path / "model.onnx")
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Softplus"
    with pytest.raises(CompileError, match="this graph also has Softplus"):
        rules.read(model, emitter.QUANTIZATION)


def test_flavours_have_the_types_they_promise(made: dict[str, Bundle]) -> None:
    for precision, bundle in made.items():
        portable, typed = (onnx.load(bundle.path / bundle.manifest.extra[key]) for key in ("portable", "typed"))
        assert portable.opset_import[0].version == 17
        for model in (portable, typed):
            ends = [*model.graph.input, *model.graph.output]
            assert {item.type.tensor_type.elem_type for item in ends} == {TensorProto.FLOAT}
            assert [item.name for item in model.graph.output] == OUTPUTS
        assert not types(portable) & {TensorProto.FLOAT16}
        if precision != "fp32":
            assert typed.opset_import[0].version >= 19
            floats = [i for i in typed.graph.initializer if i.data_type == TensorProto.FLOAT]
            assert {reader.op_type for i in floats for reader in Graph(typed).readers(i.name)} <= {"Resize"}
            assert TensorProto.FLOAT16 in types(typed)


def types(model: onnx.ModelProto) -> set[int]:
    return {item.data_type for item in model.graph.initializer}


def test_manifest_describes_the_tensors(made: dict[str, Bundle]) -> None:
    manifest = made["int8"].manifest
    assert (manifest.input.tensor.name, manifest.input.tensor.shape) == ("images", (1, 3, 320, 320))
    assert (manifest.input.tensor.dtype, manifest.input.color) == ("float32", "RGB")
    assert manifest.input.scaling == pytest.approx(1 / 255)
    assert [spec.name for spec in manifest.outputs] == OUTPUTS
    assert manifest.outputs[0].shape == (1, 64, 40, 40)
    assert manifest.outputs[5].shape == (1, 3, 10, 10)
    assert {spec.dtype for spec in manifest.outputs} == {"float32"}


def test_two_real_pictures_are_expected(made: dict[str, Bundle]) -> None:
    bundle = made["int8"]
    assert bundle.manifest.extra["check"] == {"file": "check.npz", "pictures": 2, "of": "calibration images"}
    with np.load(bundle.path / "check.npz") as stored:
        np.testing.assert_array_equal(stored["frames"], frames(16, split="train")[::8])
        assert all(stored[f"{kind}_{name}"].shape[0] == 2 for kind in ("float", "graph") for name in OUTPUTS)


def images(count: int, size: int = 320) -> list[NDArray[np.float32]]:
    """Pictures of the val split, which did not calibrate."""
    return [f[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255 for f in frames(count, size)]


def maps(bundle: Bundle, flavour: str) -> list[list[NDArray[np.float32]]]:
    return raw_maps(onnx.load(bundle.path / bundle.manifest.extra[flavour]), images(4))


def test_every_flavour_stays_near_the_float_model(made: dict[str, Bundle]) -> None:
    wanted = maps(made["fp32"], "portable")
    assert relative_error(maps(made["fp16"], "portable"), wanted) < 1e-6
    assert relative_error(maps(made["fp16"], "typed"), wanted) < 2e-3
    portable, typed = maps(made["int8"], "portable"), maps(made["int8"], "typed")
    assert relative_error(portable, wanted) < 0.06
    assert relative_error(typed, wanted) < 0.06


def test_every_board_is_described() -> None:
    releases, boards = registry.profiles("jetson").releases, registry.boards("jetson")
    assert list(boards) == ["orin-nano", "orin-nx", "agx-orin", "xavier-nx", "agx-xavier", "thor", "nano"]
    for name, board in boards.items():
        own = board.own(JetsonBoard)
        assert set(own.jetpack) <= set(releases)
        assert board.tested == ()
        assert "untested on hardware" in board.limits
        assert own.workspace_mib is not None
        assert own.memory_gb * 1024 >= 4 * own.workspace_mib
        assert board.input_size is not None
        assert "dla_cores" in board.table
        int8 = own.compute_capability not in engine.NO_INT8
        assert board.precision == ("int8" if int8 else "fp16")
        assert set(board.precisions) == set(registry.PRECISIONS) - (set() if int8 else {"int8"})
        assert (own.int8_tops is not None) == (int8 and name != "thor")
    assert all(float(release["tensorrt"].partition(".")[0]) >= 8 for release in releases.values())


# TensorRT itself: the builder and parser of TensorRT-RTX, on the CPU


@pytest.mark.slow
def test_tensorrt_parses_and_builds_every_flavour(made: dict[str, Bundle], tmp_path: Path) -> None:
    flavours = [("int8", "portable"), ("int8", "typed"), ("fp16", "typed"), ("fp32", "typed")]
    paths = [made[precision].path / made[precision].manifest.extra[key] for precision, key in flavours]
    for (precision, _), path, found in zip(flavours, paths, build_rtx(tmp_path, *paths), strict=True):
        assert found.get("bytes", 0) > 1e6, found
        assert found["inputs"] == [["images", "FLOAT"]]
        wanted = {spec.name: [list(spec.shape), "FLOAT"] for spec in made[precision].manifest.outputs}
        assert found["outputs"] == wanted
        graph = Graph(onnx.load(path))
        for kind in ("Quantize", "Dequantize"):
            assert found[kind.lower()] == len(graph.of(f"{kind}Linear"))


def test_tensorrt_refuses_a_zero_point(made: dict[str, Bundle], tmp_path: Path) -> None:
    """The parser is no rubber stamp. (It does let uint8 pass, read as int8: the rule above is ours to check.)"""
    model = onnx.load(made["int8"].path / "model.onnx")
    zero = next(item for item in model.graph.initializer if item.name == "images_zero")
    zero.CopyFrom(numpy_helper.from_array(np.asarray(3, np.int8), zero.name))
    onnx.save(model, tmp_path / "shifted.onnx")
    (found,) = build_rtx(tmp_path, tmp_path / "shifted.onnx")
    assert "Non-zero zero point is not supported" in found["error"]
