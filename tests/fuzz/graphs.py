"""Fuzzing of graphs: runtimes open and run what the checks of structure let through; a process that dies is a finding.

    python -m tests.fuzz.graphs BUNDLE [COUNT] [SEED]

BUNDLE is one for onnx, openvino or tflite. Each of COUNT graphs gets one to four random changes of its structure; those
that are still plain are opened, and run once, in a process of their own. Findings are written to the current folder.
"""

from __future__ import annotations

import copy
import importlib
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from edge_yolov9.bundle import Bundle, read
from edge_yolov9.errors import EdgeYoloError

NUMBERS = (0, -1, 1, 2, 3, 7, 64, 255, 1 << 15, 10**6, (1 << 31) - 1, -(1 << 31), 1 << 31, 1 << 62, -(1 << 63))
SECONDS = 30
"""How long one graph may take, of the processor's time."""
GIGABYTES = 8

Made = tuple[dict[str, bytes], Callable[[], None]]
"""The changed files of a bundle, and the check of their structure."""


@dataclass(frozen=True)
class Mutant(Bundle):
    """A bundle of which some files are others."""

    changed: Mapping[str, bytes] = field(default_factory=dict)

    def content(self, name: str) -> bytes:
        """See :class:`Bundle`."""
        return self.changed[name] if name in self.changed else super().content(name)


def onnx_graphs(bundle: Bundle, numbers: Iterator[random.Random]) -> Iterator[Made]:
    """Changed ONNX files."""
    import onnx
    from edge_yolov9.targets.onnx import structure

    name = bundle.manifest.model
    original = onnx.load_model_from_string(bundle.content(name))
    for choose in numbers:
        model = onnx.ModelProto()
        model.CopyFrom(original)
        for _ in range(choose.choice((1, 1, 2, 4))):
            _change_onnx(model.graph, choose)
        data = model.SerializeToString()
        yield {name: data}, lambda data=data: structure.check(data)  # type: ignore[misc]


def _change_onnx(graph: Any, choose: random.Random) -> None:
    from onnx import numpy_helper

    node = choose.choice(graph.node)
    tensor = choose.choice(graph.initializer)
    what = choose.randrange(7)
    if what < 2:
        _change_attribute(choose.choice([item for item in graph.node if item.attribute]), choose)
    elif what == 2 and node.input:
        names = [output for item in graph.node for output in item.output] + [item.name for item in graph.initializer]
        node.input[choose.randrange(len(node.input))] = choose.choice(names)
    elif what == 3 and node.input:
        if choose.random() < 0.5:
            del node.input[choose.randrange(len(node.input))]
        else:
            node.input.append(choose.choice(list(node.input)))
    elif what == 4:
        node.op_type = choose.choice(graph.node).op_type
    elif what == 5:
        lists = [item for item in graph.initializer if item.data_type == 7]
        tensor = choose.choice(lists)
        values = numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[choose.randrange(values.size)] = choose.choice(NUMBERS)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    elif tensor.dims:
        shape = list(tensor.dims)
        choose.shuffle(shape)
        tensor.dims[:] = shape
        tensor.data_type = choose.choice((tensor.data_type, 1, 2, 3, 6, 7, 10))


def _change_attribute(node: Any, choose: random.Random) -> None:
    changed = choose.choice(node.attribute)
    if changed.type == 7 and changed.ints:
        changed.ints[choose.randrange(len(changed.ints))] = choose.choice(NUMBERS)
    elif changed.type == 2:
        changed.i = choose.choice(NUMBERS)
    elif changed.type == 1:
        changed.f = choose.choice((0.0, -1.0, float("nan"), float("inf"), 1e30))


def openvino_graphs(bundle: Bundle, numbers: Iterator[random.Random]) -> Iterator[Made]:
    """Changed IR files."""
    from edge_yolov9.targets.openvino import structure

    name = bundle.manifest.model
    original = ElementTree.fromstring(bundle.content(name))
    weights = bundle.content(str(Path(name).with_suffix(".bin")))
    for choose in numbers:
        net = copy.deepcopy(original)
        for _ in range(choose.choice((1, 1, 2, 3))):
            _change_ir(net, choose)
        data = ElementTree.tostring(net)
        yield {name: data}, lambda data=data: structure.check(data, weights)  # type: ignore[misc]


def _change_ir(net: ElementTree.Element, choose: random.Random) -> None:
    layers = list(net.iter("layer"))
    layer, what = choose.choice(layers), choose.randrange(6)
    if what < 2:
        data = choose.choice([item for item in net.iter("data") if item.attrib])
        name = choose.choice(list(data.attrib))
        parts = data.attrib[name].split(",")
        if parts[0].strip().lstrip("-").isdigit():
            parts[choose.randrange(len(parts))] = str(choose.choice((*NUMBERS, 4, 5)))
            data.attrib[name] = ",".join(parts)
        elif choose.random() < 0.3:
            del data.attrib[name]
        else:
            data.attrib[name] = choose.choice([item.get(name, "") for item in net.iter("data") if name in item.attrib])
    elif what == 2:
        edge = choose.choice(list(net.iter("edge")))
        edge.attrib["from-layer"] = choose.choice(layers).attrib["id"]
    elif what == 3:
        layer.attrib.update(type=(other := choose.choice(layers)).attrib["type"], version=other.attrib["version"])
    elif what == 4:
        port = choose.choice(list(net.iter("port")))
        port.attrib["precision"] = choose.choice(("FP32", "U8", "I64", "FP16", "BOOL", "I8", ""))
    else:
        next(iter(choose.choice(list(net.iter("port"))).iter("dim")), ElementTree.Element("dim")).text = "1"


def tflite_graphs(bundle: Bundle, numbers: Iterator[random.Random]) -> Iterator[Made]:
    """Changed flatbuffers. The weights lie behind the flatbuffer, which is packed anew before them."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from edge_yolov9.targets.tflite import structure

    name = bundle.manifest.model
    content = bundle.content(name)
    for choose in numbers:
        model = schema.ModelT.InitFromPackedBuf(content)
        for buffer in model.buffers:
            if buffer.offset > 1:
                data = np.frombuffer(content[buffer.offset : buffer.offset + buffer.size], np.uint8)
                buffer.data, buffer.offset, buffer.size = data, 0, 0
        for _ in range(choose.choice((1, 1, 2, 4))):
            _change_flatbuffer(model, choose)
        builder = flatbuffers.Builder(1 << 22)
        builder.Finish(model.Pack(builder), b"TFL3")
        data = bytes(builder.Output())
        yield {name: data}, lambda data=data: structure.check(data)  # type: ignore[misc]


def _change_flatbuffer(model: Any, choose: random.Random) -> None:
    graph = model.subgraphs[0]
    operator, tensor, what = choose.choice(graph.operators), choose.choice(graph.tensors), choose.randrange(9)
    small = [number for number in NUMBERS if -(1 << 31) <= number < 1 << 31]
    if what == 0 and operator.builtinOptions is not None:
        names = [name for name, value in vars(operator.builtinOptions).items() if type(value) is int]
        if names:
            setattr(operator.builtinOptions, choose.choice(names), choose.choice((0, 1, 2, 3, 4, 5, 6, 7)))
    elif what == 1:
        inputs = [int(index) for index in operator.inputs]
        inputs[choose.randrange(len(inputs))] = choose.randrange(-1, len(graph.tensors))
        operator.inputs = inputs
    elif what == 2:
        operator.opcodeIndex = choose.randrange(len(model.operatorCodes))
    elif what == 3 and tensor.shape is not None and len(tensor.shape):
        shape = [int(side) for side in tensor.shape]
        shape[choose.randrange(len(shape))] = choose.choice((1, 2, 3, 7, 64, *small))
        tensor.shape = shape
    elif what == 4 and tensor.shape is not None and len(tensor.shape):
        shape = [int(side) for side in tensor.shape]
        choose.shuffle(shape)
        tensor.shape = shape
    elif what == 5:
        tensor.type = choose.choice((0, 1, 2, 3, 9))
    elif what == 6 and tensor.quantization is not None and tensor.quantization.scale is not None:
        count = len(tensor.quantization.scale)
        tensor.quantization.scale = [choose.choice((1e-19, 1e19, 1.0, 0.5, 1e-6))] * count
        tensor.quantization.zeroPoint = [choose.choice((0, -128, 127, 255, -255))] * count
    elif what == 7:
        tensor.buffer = choose.choice(graph.tensors).buffer
    else:
        code = choose.choice(model.operatorCodes)
        code.version = choose.choice((0, 1, 2, 5, 99))


GRAPHS = {"onnx": onnx_graphs, "openvino": openvino_graphs, "tflite": tflite_graphs}
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "tflite": "ai_edge_litert.interpreter"}


def run(bundle: Bundle, count: int, seed: int) -> tuple[Counter[str], list[dict[str, bytes]]]:
    """How the graphs ended, and the files of those that ended a process."""
    target = bundle.manifest.target
    importlib.import_module(f"edge_yolov9.targets.{target}.session")
    importlib.import_module(RUNTIMES[target])
    ends: Counter[str] = Counter()
    findings = []
    for files, check in GRAPHS[target](bundle, (random.Random(seed + index) for index in range(count))):
        try:
            check()
        except ValueError:
            ends["refused"] += 1
            continue
        end = _opened(Mutant(bundle.path, bundle.manifest, None, files))
        ends[end] += 1
        if end.startswith("signal"):
            findings.append(files)
    return ends, findings


def _opened(mutant: Mutant) -> str:
    """Open and run a graph in a process of its own; how that ended."""
    import resource

    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES << 30, GIGABYTES << 30))
        for handle in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), handle)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))  # a machine may be busy
        signal.alarm(20 * SECONDS)
        code = 1
        try:
            from edge_yolov9.registry import open_session

            rule = mutant.manifest.input
            session = open_session(mutant, threads=1)
            code = 2
            session.infer(np.full((rule.height, rule.width, 3), 114, np.uint8))
            code = 0
        except EdgeYoloError:
            pass
        except BaseException:
            code = 3
        os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return ("ran", "does not open", "does not run", "traceback")[os.WEXITSTATUS(status)]


def main() -> None:
    bundle = read(sys.argv[1])
    count, seed = (int(word) for word in (*sys.argv[2:], *("1000", "0")[len(sys.argv) - 2 :]))
    ends, findings = run(bundle, count, seed)
    print(dict(ends), flush=True)
    for index, files in enumerate(findings):
        for name, data in files.items():
            Path(f"crash-{bundle.manifest.target}-{seed}-{index}-{Path(name).name}").write_bytes(data)
    sys.exit(bool(findings) or bool(ends["traceback"]))


if __name__ == "__main__":
    main()
