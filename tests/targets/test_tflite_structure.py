"""Flatbuffers that LiteRT takes and that would end the process: all are refused before it sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edge_yolov9.targets.tflite import structure

from tests.conftest import Compiled

flatbuffers = pytest.importorskip("flatbuffers")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

Model = Any
CONV, DEPTHWISE, SLICE, POOL, RESIZE = 3, 4, 65, 17, 97


@pytest.fixture(scope="module")
def content(compiled: Compiled) -> bytes:
    """A file whose weights all lie in the flatbuffer: packing it again loses nothing."""
    return Path(compiled("tflite", "fp32") / "model.tflite").read_bytes()


def packed(model: Model) -> bytes:
    builder = flatbuffers.Builder(1 << 22)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def operator(model: Model, code: int) -> Any:
    """The first operator of a kind in the file."""
    return next(o for o in model.subgraphs[0].operators if model.operatorCodes[o.opcodeIndex].builtinCode == code)


def replace_input(model: Model, code: int, place: int, index: int) -> None:
    target = operator(model, code)
    target.inputs = [int(given) for given in target.inputs]
    target.inputs[place] = index


def constant(model: Model, code: int, place: int, values: list[int]) -> None:
    tensor = model.subgraphs[0].tensors[operator(model, code).inputs[place]]
    model.buffers[tensor.buffer].data = np.array(values, "<i4").view(np.uint8)


def constant_of(model: Model) -> Any:
    """The kernel of the first convolution."""
    return model.subgraphs[0].tensors[operator(model, CONV).inputs[1]]


def add_external_buffer(model: Model) -> None:
    entry = schema.ExternalBufferT()
    entry.id, entry.group, entry.offset, entry.length = 1, 0, 0, 4
    model.externalBuffers = [entry]


EDITS: dict[str, Callable[[Model], object]] = {
    "signature of another graph": lambda m: setattr(m.signatureDefs[0], "subgraphIndex", 7),
    "signature of another tensor": lambda m: setattr(m.signatureDefs[0].outputs[0], "tensorIndex", 99_999),
    "signature of tensor 2^31": lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 1 << 31),
    "no filter": lambda m: replace_input(m, CONV, 1, -1),
    "no input": lambda m: replace_input(m, CONV, 0, -1),
    "no depthwise filter": lambda m: replace_input(m, DEPTHWISE, 1, -1),
    "input far away": lambda m: replace_input(m, CONV, 0, 1 << 30),
    "input that is never computed": lambda m: replace_input(m, CONV, 0, int(m.subgraphs[0].outputs[0])),
    "inputs missing": lambda m: setattr(operator(m, SLICE), "inputs", [0]),
    "output far away": lambda m: setattr(operator(m, CONV), "outputs", [1 << 30]),
    "output negative": lambda m: setattr(operator(m, CONV), "outputs", [-1]),
    "output onto a constant": lambda m: setattr(operator(m, CONV), "outputs", [int(operator(m, CONV).inputs[1])]),
    "operator code": lambda m: setattr(m.subgraphs[0].operators[0], "opcodeIndex", 1000),
    "custom operator": lambda m: setattr(m.operatorCodes[0], "builtinCode", 32),
    "while loop": lambda m: setattr(m.operatorCodes[0], "builtinCode", 119),
    "second graph": lambda m: m.subgraphs.append(m.subgraphs[0]),
    "no graph": lambda m: setattr(m, "subgraphs", []),
    "graph input": lambda m: setattr(m.subgraphs[0], "inputs", [1 << 20]),
    "graph output": lambda m: setattr(m.subgraphs[0], "outputs", [-1]),
    "buffer": lambda m: setattr(constant_of(m), "buffer", 1 << 20),
    "kernel larger than its buffer": lambda m: setattr(constant_of(m), "shape", [64, 64, 64, 64]),
    "negative shape": lambda m: setattr(constant_of(m), "shape", [-1, 3, 3, 3]),
    "type": lambda m: setattr(constant_of(m), "type", 5),
    "sparse": lambda m: setattr(constant_of(m), "sparsity", schema.SparsityParametersT()),
    "variable": lambda m: setattr(m.subgraphs[0].tensors[0], "isVariable", True),
    "stride 0": lambda m: setattr(operator(m, CONV).builtinOptions, "strideW", 0),
    "dilation -1": lambda m: setattr(operator(m, CONV).builtinOptions, "dilationHFactor", -1),
    "window 2^31": lambda m: setattr(operator(m, POOL).builtinOptions, "filterWidth", (1 << 31) - 1),
    "options missing": lambda m: setattr(operator(m, CONV), "builtinOptionsType", 0),
    "slice before the beginning": lambda m: constant(m, SLICE, 1, [0, 0, 0, -9]),
    "slice behind the end": lambda m: constant(m, SLICE, 2, [1, 1 << 30, 1, 1]),
    "slice of another rank": lambda m: constant(m, SLICE, 1, [0]),
    "resize to nothing": lambda m: constant(m, RESIZE, 1, [0, 0]),
    "resize to everything": lambda m: constant(m, RESIZE, 1, [1 << 30, 1 << 30]),
    "scales without channels": lambda m: setattr(
        constant_of(m), "quantization", quantization([1.0, 2.0], [0, 0], axis=9)
    ),
    "scale of nothing": lambda m: setattr(constant_of(m), "quantization", quantization([float("nan")], [0])),
    "weights in another file": add_external_buffer,
}  # fmt: skip


def quantization(scales: list[float], zeros: list[int], axis: int = 0) -> Any:
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint, made.quantizedDimension = scales, zeros, axis
    return made


def test_what_the_compiler_writes_passes(content: bytes, compiled: Compiled) -> None:
    structure.check(content)
    structure.check((compiled("tflite", "int8") / "model.tflite").read_bytes())
    structure.check(packed(schema.ModelT.InitFromPackedBuf(content)))


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_an_edit_is_refused(content: bytes, edit: Callable[[Model], object]) -> None:
    model = schema.ModelT.InitFromPackedBuf(content)
    edit(model)
    with pytest.raises(ValueError, match=r"."):
        structure.check(packed(model))


def input_of(model: Model, code: int) -> Any:
    """The tensor that an operator of this kind reads first."""
    return model.subgraphs[0].tensors[operator(model, code).inputs[0]]


def step(model: Model, value: float, output: bool = False) -> None:
    """Give the input or output of the first convolution another scale."""
    first = operator(model, CONV)
    tensor = model.subgraphs[0].tensors[first.outputs[0] if output else first.inputs[0]]
    tensor.quantization.scale = [value]


INT8_EDITS: dict[str, Callable[[Model], object]] = {
    "scale that no fixed-point factor holds": lambda m: step(m, 1e19),
    "scale of nothing": lambda m: step(m, 1e-19),
    "scales that do not fit each other": lambda m: step(m, 1e-8, output=True),
    "int8 called float16": lambda m: setattr(input_of(m, CONV), "type", 1),
    "int8 called float32": lambda m: setattr(input_of(m, CONV), "type", 0),
}


@pytest.mark.parametrize("edit", INT8_EDITS.values(), ids=INT8_EDITS)
def test_an_edit_of_an_int8_graph_is_refused(compiled: Compiled, edit: Callable[[Model], object]) -> None:
    """The first, second and fourth ended the process in LiteRT."""
    content = (compiled("tflite", "int8") / "model.tflite").read_bytes()
    model = schema.ModelT.InitFromPackedBuf(content)
    for buffer in model.buffers:
        if buffer.offset > 1:  # behind the flatbuffer, which a packed model is not
            data = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data, buffer.offset, buffer.size = np.frombuffer(data, np.uint8), 0, 0
    structure.check(packed(model))
    edit(model)
    with pytest.raises(ValueError, match=r"scale|type"):
        structure.check(packed(model))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\xff" * 64, b"\0" * 64, b"TFL3" * 100])
def test_what_is_no_flatbuffer(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        structure.check(data)


def test_noise_and_cuts_raise_nothing_else(content: bytes) -> None:
    choose = np.random.default_rng(17)
    for _ in range(60):
        noisy = bytearray(content[: choose.integers(8, len(content))] if choose.random() < 0.3 else content)
        for place in choose.integers(0, len(noisy), 20):
            noisy[place] = choose.integers(256)
        try:
            structure.check(bytes(noisy))
        except ValueError as error:
            assert len(str(error)) < 200  # noqa: PT017
