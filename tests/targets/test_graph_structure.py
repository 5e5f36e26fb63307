"""Graphs that ONNX Runtime and OpenVINO take and that would end the process: none gets that far."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from edge_yolov9.targets import protobuf
from edge_yolov9.targets.onnx import structure as onnx_structure
from edge_yolov9.targets.openvino import structure as openvino_structure

from edge_yolov9 import Detector
from edge_yolov9.bundle import MANIFEST
from edge_yolov9.errors import BundleError
from edge_yolov9.registry import trial
from tests.conftest import Compiled

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Graph = Any


def node(graph: Graph, kind: str) -> Any:
    """The first operator of a kind."""
    return next(item for item in graph.node if item.op_type == kind)


def attribute(graph: Graph, kind: str, name: str) -> Any:
    return next(item for item in node(graph, kind).attribute if item.name == name)


def constant(graph: Graph, kind: str, place: int, values: list[int]) -> None:
    name = node(graph, kind).input[place]
    array = onnx.numpy_helper.from_array(np.array(values, np.int64), name)
    for item in graph.initializer:
        if item.name == name:
            item.CopyFrom(array)
    for item in graph.node:
        if item.op_type == "Constant" and item.output[0] == name:
            item.attribute[0].t.CopyFrom(array)


def loop(graph: Graph) -> None:
    body = onnx.helper.make_graph([], "body", [], [])
    graph.node.append(onnx.helper.make_node("Loop", ["images"], ["endless"], body=body))


def outside(graph: Graph) -> None:
    entry = graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "weights.bin"


ONNX_EDITS: dict[str, Callable[[Graph], object]] = {
    "stride 0": lambda g: attribute(g, "Conv", "strides").ints.__setitem__(0, 0),
    "stride -1": lambda g: attribute(g, "Conv", "strides").ints.__setitem__(1, -1),
    "stride 2^62": lambda g: attribute(g, "Conv", "strides").ints.__setitem__(0, 1 << 62),
    "dilation 0": lambda g: attribute(g, "Conv", "dilations").ints.__setitem__(0, 0),
    "padding -1": lambda g: attribute(g, "Conv", "pads").ints.__setitem__(0, -1),
    "padding without end": lambda g: attribute(g, "MaxPool", "pads").ints.__setitem__(3, 1 << 40),
    "padding larger than the window": lambda g: attribute(g, "MaxPool", "pads").ints.__setitem__(3, 6),
    "window 0": lambda g: attribute(g, "AveragePool", "kernel_shape").ints.__setitem__(0, 0),
    "window of three": lambda g: attribute(g, "AveragePool", "kernel_shape").ints.append(2),
    "window that leaves the picture": lambda g: setattr(attribute(g, "AveragePool", "ceil_mode"), "i", 1),
    "group 0": lambda g: setattr(attribute(g, "Conv", "group"), "i", 0),
    "group 3": lambda g: setattr(attribute(g, "Conv", "group"), "i", 3),
    "axis": lambda g: setattr(attribute(g, "Concat", "axis"), "i", 9),
    "attribute": lambda g: node(g, "Conv").attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER")),
    "attribute twice": lambda g: node(g, "Conv").attribute.append(onnx.helper.make_attribute("group", 2)),
    "kernel of another shape": lambda g: g.initializer[0].dims.__setitem__(0, 1 << 40),
    "kernel shorter than its shape": lambda g: setattr(g.initializer[0], "raw_data", g.initializer[0].raw_data[:-1]),
    "type of constant": lambda g: setattr(g.initializer[0], "data_type", 8),
    "weights in another file": outside,
    "input of nothing": lambda g: node(g, "Conv").input.__setitem__(0, "nothing"),
    "input left out": lambda g: node(g, "Conv").input.__setitem__(1, ""),
    "input missing": lambda g: node(g, "Add").input.pop(),
    "input that comes later": lambda g: node(g, "Conv").input.__setitem__(0, "box_p5"),
    "output twice": lambda g: node(g, "Sigmoid").output.__setitem__(0, node(g, "Conv").output[0]),
    "operator": lambda g: setattr(node(g, "Sigmoid"), "op_type", "NonZero"),
    "operator of another domain": lambda g: setattr(node(g, "Sigmoid"), "domain", "com.microsoft"),
    "loop": loop,
    "slice before the beginning": lambda g: constant(g, "Slice", 1, [-(1 << 40)]),
    "slice of nothing": lambda g: constant(g, "Slice", 2, [0]),
    "slice along no axis": lambda g: constant(g, "Slice", 3, [7]),
    "picture without end": lambda g: setattr(g.input[0].type.tensor_type.shape.dim[2], "dim_value", 1 << 40),
    "output of another shape": lambda g: setattr(g.output[0].type.tensor_type.shape.dim[1], "dim_value", 7),
    "sparse": lambda g: g.sparse_initializer.add(),
}


@pytest.fixture(scope="module")
def content(compiled: Compiled) -> bytes:
    return (compiled("onnx", "fp32") / "model.onnx").read_bytes()


@pytest.mark.parametrize("edit", ONNX_EDITS.values(), ids=ONNX_EDITS)
def test_an_edit_of_an_onnx_graph_is_not_plain(content: bytes, edit: Callable[[Graph], object]) -> None:
    model = onnx.load_model_from_string(content)
    edit(model.graph)
    with pytest.raises(ValueError, match=r"."):
        onnx_structure.check(model.SerializeToString())


def layer(net: ElementTree.Element, kind: str) -> ElementTree.Element:
    """The first layer of a type."""
    return next(item for item in net.iter("layer") if item.get("type") == kind)


def set_data(net: ElementTree.Element, kind: str, name: str, value: str) -> None:
    next(layer(net, kind).iter("data")).set(name, value)


def set_edge(net: ElementTree.Element, name: str, value: str) -> None:
    next(net.iter("edge")).set(name, value)


def another_type(net: ElementTree.Element) -> None:
    """SIGSEGV in OpenVINO 2026.4."""
    layer(net, "Swish").attrib.update(type="MaxPool", version="opset8")


OPENVINO_EDITS: dict[str, Callable[[ElementTree.Element], object]] = {
    "another type": another_type,
    "stride 0": lambda n: set_data(n, "Convolution", "strides", "0, 1"),
    "dilation 2^63": lambda n: set_data(n, "Convolution", "dilations", str(1 << 63)),
    "padding": lambda n: set_data(n, "MaxPool", "pads_begin", "9, 9"),
    "automatic padding": lambda n: set_data(n, "Convolution", "auto_pad", "same_upper"),
    "window": lambda n: set_data(n, "AvgPool", "kernel", "0, 0"),
    "axis": lambda n: set_data(n, "Concat", "axis", "-9"),
    "attribute": lambda n: set_data(n, "Concat", "other", "1"),
    "offset": lambda n: set_data(n, "Const", "offset", str(1 << 62)),
    "offset -1": lambda n: set_data(n, "Const", "offset", "-1"),
    "size": lambda n: set_data(n, "Const", "size", "1"),
    "type of constant": lambda n: set_data(n, "Const", "element_type", "string"),
    "shape": lambda n: set_data(n, "Const", "shape", "99999999, 99999999"),
    "version": lambda n: layer(n, "Swish").set("version", "opset99"),
    "source": lambda n: set_edge(n, "from-layer", "99999"),
    "port": lambda n: set_edge(n, "from-port", "7"),
    "edge to nowhere": lambda n: set_edge(n, "to-port", "7"),
    "side": lambda n: setattr(next(layer(n, "Convolution").iter("dim")), "text", "0"),
    "side that is no number": lambda n: setattr(next(layer(n, "Convolution").iter("dim")), "text", "x"),
    "two layers of one number": lambda n: layer(n, "Concat").set("id", "0"),
    "levels": lambda n: layer(n, "Swish").set("type", "FakeQuantize"),
    "subgraph": lambda n: layer(n, "Swish").set("type", "Loop"),
    "no layers": lambda n: n.remove(next(n.iter("layers"))),
}


@pytest.mark.parametrize("edit", OPENVINO_EDITS.values(), ids=OPENVINO_EDITS)
def test_an_edit_of_an_openvino_graph_is_not_plain(
    compiled: Compiled, edit: Callable[[ElementTree.Element], object]
) -> None:
    pytest.importorskip("openvino")
    folder = compiled("openvino", "fp32")
    net = ElementTree.parse(folder / "model.xml").getroot()
    weights = (folder / "model.bin").read_bytes()
    edit(net)
    with pytest.raises(ValueError, match=r"."):
        openvino_structure.check(ElementTree.tostring(net), weights)


@pytest.mark.parametrize(
    "data", [b"", b"<net/>", b"<!DOCTYPE a>", b"<net version='11'>" * 9, b"\xff" * 64, b"\x08" * 9]
)
def test_what_is_no_graph(data: bytes) -> None:
    for check in (onnx_structure.check, lambda data: openvino_structure.check(data, b"")):
        with pytest.raises(ValueError, match=r"."):
            check(data)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("target", ["onnx", "openvino", "jetson"])
def test_what_the_compiler_writes_is_plain(compiled: Compiled, target: str, precision: str) -> None:
    folder = compiled(target, precision)
    if target == "openvino":
        openvino_structure.check((folder / "model.xml").read_bytes(), (folder / "model.bin").read_bytes())
    else:
        name = json.loads((folder / MANIFEST).read_text())["model"] if target == "onnx" else "model.onnx"
        onnx_structure.check((folder / name).read_bytes())


def bundle_with(source: Path, folder: Path, name: str, data: bytes) -> Path:
    """A copy of a bundle whose file ``name`` is another, with its digest."""
    shutil.copytree(source, folder)
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = hashlib.sha256(data).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_a_graph_that_crashes_the_runtime_crashes_a_trial(compiled: Compiled, content: bytes, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(content)
    for item in model.graph.node:  # SIGFPE in ONNX Runtime 1.32
        if item.op_type == "Conv":
            next(a for a in item.attribute if a.name == "strides").ints[:] = [0, 0]
    folder = bundle_with(compiled("onnx", "fp32"), tmp_path / "bundle", "model.onnx", model.SerializeToString())
    with pytest.raises(
        BundleError, match=r"a step is out of range\), and onnx (crashes on it|does not end)|cannot open"
    ) as e:
        Detector(folder)
    assert "\n" not in str(e.value)


def test_an_odd_graph_that_harms_nobody_opens_and_is_tried_once(
    compiled: Compiled, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load_model_from_string(content)
    model.graph.node.append(onnx.helper.make_node("Identity", ["images"], ["unused"]))
    folder = bundle_with(compiled("onnx", "fp32"), tmp_path / "bundle", "model.onnx", model.SerializeToString())
    tried: list[str] = []
    real = trial.run_apart
    monkeypatch.setattr(
        trial, "run_apart", lambda bundle, runtime, why: (tried.append(why), real(bundle, runtime, why))
    )
    frame = np.zeros((40, 40, 3), np.uint8)
    for _ in range(2):
        with Detector(folder) as detect:
            detect(frame)
    assert tried == ["the operator 'Identity' is none that the compiler writes"]


def test_a_trial_that_dies_hangs_or_cannot_begin_is_one_line(
    compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = bundle_with(compiled("onnx", "fp32"), tmp_path / "bundle", "model.onnx", b"odd")
    for command, said in {
        ("-c", "import os; os.kill(os.getpid(), 11)"): "onnx crashes on it (signal 11); do not use the bundle",
        ("-c", "import time; time.sleep(60)"): "onnx does not end with it; do not use the bundle",
        ("-c", "raise SystemExit('no such module')"): "cannot be tried in a process of its own: no such module",
    }.items():
        monkeypatch.setattr(trial.children, "python", lambda code, command=command: [sys.executable, *command])
        monkeypatch.setattr(trial, "PATIENCE_S", 5.0)
        with pytest.raises(BundleError) as raised:
            Detector(opened)
        assert said in str(raised.value)
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # there sys.executable is the application
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a process was started"))
    with pytest.raises(BundleError, match="compile the bundle again"):
        Detector(opened)


def test_protobuf_is_read_strictly() -> None:
    form = protobuf.Form(ints=(1, 2), bytes=(3,), floats=(4,), many=(2,))
    fields = protobuf.message(memoryview(b"\x08\x96\x01\x10\x01\x10\x02\x1a\x02ab\x25\0\0\x80\x3f"), form)
    assert (fields[1], fields[2], bytes(fields[3][0])) == ([150], [1, 2], b"ab")
    minus = protobuf.message(memoryview(b"\x08" + b"\xff" * 9 + b"\x01"), form)
    assert protobuf.integer(minus, 1) == -1
    for wrong in (b"\x08\x01\x08\x01", b"\x0a\x00", b"\x0b", b"\x30\x01", b"\x08" + b"\xff" * 11):
        with pytest.raises(ValueError, match=r"."):
            protobuf.message(memoryview(wrong), form)
    for short in (b"\x08", b"\x1a\x05ab", b"\x25\0", b"\x08\xff"):
        with pytest.raises(IndexError):
            protobuf.message(memoryview(short), form)
