"""The structure of an ONNX file, checked before ONNX Runtime opens it.

ONNX Runtime trusts some numbers in a graph: a stride of 0 ends the process. The compiler writes plain graphs: nodes in
order, of few kinds of operators, on tensors whose shapes follow from the input's; no subgraph, no function, no operator
of another domain, nothing outside the file. Anything else is refused here, loops without end among it. The layout is
that of ``onnx.proto``; numbers are those of its fields.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_yolov9.text import shown

from .. import shapes
from ..protobuf import Form, integer, integers, message
from ..shapes import Shape, elements, require

ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 10: 2}
"""Bytes per element by TensorProto.DataType: FLOAT, UINT8, INT8, INT32, INT64, FLOAT16. No other occurs."""
INT64, FLOAT, FLOAT16 = 7, 1, 10

MODEL = Form(ints=(1, 5), bytes=(2, 3, 4, 6, 7, 8, 14), many=(8, 14))
OPSET = Form(ints=(2,), bytes=(1,))
GRAPH = Form(bytes=(1, 2, 5, 10, 11, 12, 13), many=(1, 5, 11, 12, 13))
NODE = Form(bytes=(1, 2, 3, 4, 5, 6, 7), many=(1, 2, 5))
ATTRIBUTE = Form(ints=(3, 8, 20), floats=(2,), bytes=(1, 4, 5, 8), many=(8,))
TENSOR = Form(ints=(1, 2), bytes=(1, 8, 9), many=(1,))
VALUE, TYPE, ARRAY, SHAPE = (
    Form(bytes=(1, 2)),
    Form(bytes=(1,)),
    Form(ints=(1,), bytes=(2,)),
    Form(bytes=(1,), many=(1,)),
)
SIDE = Form(ints=(1,))


@dataclass(frozen=True)
class Array:
    """A tensor: its shape, and type and content where it is a constant."""

    shape: Shape
    kind: int = 0
    content: memoryview | None = None

    def numbers(self) -> tuple[int, ...]:
        """The whole numbers of a constant that an operator takes as a list.

        Raises:
            ValueError: it is no such constant.
        """
        require(self.content is not None and self.kind == INT64 and len(self.shape) == 1, "a list is no constant")
        return struct.unpack(f"<{self.shape[0]}q", self.content or b"")

    def floats(self) -> tuple[float, ...]:
        """Likewise, of floating point."""
        require(self.content is not None and self.kind in (FLOAT, FLOAT16), "a scale is no constant")
        return struct.unpack(f"<{math.prod(self.shape)}{'f' if self.kind == FLOAT else 'e'}", self.content or b"")


@dataclass(frozen=True)
class Node:
    """An operator's inputs, None where one is left out, and its attributes."""

    inputs: Sequence[Array | None]
    attributes: Mapping[bytes, object]
    outputs: int = 1
    given: Sequence[Array] = field(default=())
    """The inputs that are not left out."""

    def numbers(self, name: bytes, count: int, default: int) -> tuple[int, ...]:
        """A list of whole numbers, ``count`` times ``default`` where it is not given."""
        value = self.attributes.get(name, (default,) * count)
        require(isinstance(value, tuple) and len(value) == count, f"{name!r} is not a list of {count}")
        return value  # type: ignore[return-value]

    def number(self, name: bytes, default: int) -> int:
        """A whole number."""
        value = self.attributes.get(name, default)
        require(isinstance(value, int), f"{name!r} is no whole number")
        return value  # type: ignore[return-value]


def check(data: bytes) -> None:
    """Refuse what ONNX Runtime would open and could not survive.

    Raises:
        ValueError: what is wrong, in a few words.
    """
    try:
        _check(memoryview(data))
    except (struct.error, LookupError, OverflowError) as error:
        raise ValueError(f"it is malformed ({error})") from None


def _check(data: memoryview) -> None:
    model = message(data, MODEL)
    for opset in model.get(8, ()):
        fields = message(opset, OPSET)
        require(bytes(fields.get(1, [b""])[0]) in (b"", b"ai.onnx"), "operators of another domain")
        require(13 <= integer(fields, 2) <= 30, "operators of another version")
    require(7 in model, "there is no graph")
    graph = message(model[7][0], GRAPH)
    arrays: dict[bytes, Array] = {}
    for tensor in graph.get(5, ()):
        _define(arrays, *_tensor(tensor))
    for value in graph.get(11, ()):
        name, shape = _value(value)
        _define(arrays, name, Array(shape))
    for node in graph.get(1, ()):
        _node(node, arrays)
    for value in (*graph.get(12, ()), *graph.get(13, ())):
        name, shape = _value(value)
        require(name in arrays, "an output is never computed")
        require(arrays[name].shape == shape, f"a tensor is said to have the shape {shape}")


def _define(arrays: dict[bytes, Array], name: bytes, array: Array) -> None:
    require(name not in arrays and name != b"", "a tensor has no name, or one of another")
    elements(array.shape)
    arrays[name] = array


def _tensor(data: memoryview) -> tuple[bytes, Array]:
    """Name and content of a constant."""
    fields = message(data, TENSOR)
    shape = integers(fields.get(1, ()))
    kind = integer(fields, 2)
    require(kind in ITEM_BYTES, f"constants of type {kind} are not known here")
    content = fields[9][0] if 9 in fields else memoryview(b"")
    require(len(content) == elements(shape) * ITEM_BYTES[kind], "a constant has another size than its shape")
    return bytes(fields.get(8, [b""])[0]), Array(shape, kind, content)


def _value(data: memoryview) -> tuple[bytes, Shape]:
    """Name and shape of a tensor that the graph declares."""
    fields = message(data, VALUE)
    return bytes(fields[1][0]), _declared(bytes(fields[2][0]))


@functools.lru_cache(256)
def _declared(data: bytes) -> Shape:
    """The shape in a TypeProto: few occur, and often."""
    array = message(message(memoryview(data), TYPE)[1][0], ARRAY)
    sides = message(array[2][0], SHAPE).get(1, ()) if 2 in array else ()
    return tuple(integer(message(side, SIDE), 1) for side in sides)


def _node(data: memoryview, arrays: dict[bytes, Array]) -> None:
    """Check one operator, whose inputs must be computed before it; add its outputs to ``arrays``."""
    fields = message(data, NODE)
    kind = bytes(fields.get(4, [b""])[0])
    require(not fields.get(7) or not fields[7][0], "an operator of another domain")
    attributes = dict(
        _attribute(item) if len(item) > 64 else _short_attribute(bytes(item)) for item in fields.get(5, ())
    )
    require(len(attributes) == len(fields.get(5, ())), "an attribute stands twice")
    names = [bytes(name) for name in fields.get(1, ())]
    outputs = [bytes(name) for name in fields.get(2, ())]
    require(all(name == b"" or name in arrays for name in names), "an operator reads what is not computed before it")
    if kind == b"Constant":
        value = attributes.get(b"value")
        require(isinstance(value, Array) and len(attributes) == 1 and not names, "a constant without content")
        results: Sequence[Array] = [value]  # type: ignore[list-item]
    else:
        rule = RULES.get(kind)
        if rule is None:
            raise ValueError(f"the operator {shown(kind.decode('ascii', 'replace'))} is none that the compiler writes")
        inputs = [arrays[name] if name else None for name in names]
        given = [array for array in inputs if array is not None]
        require(attributes.keys() <= rule.attributes, f"{kind!r} has an attribute that is not known here")
        require(rule.fewest <= len(inputs) <= rule.most, f"{kind!r} has {len(inputs)} inputs")
        require(len(given) == len(inputs) or kind in (b"Resize", b"Clip"), f"{kind!r} lacks an input")
        results = [Array(shape) for shape in rule.shapes(Node(inputs, attributes, len(outputs), given))]
        if kind == b"Cast" and given[0].kind == FLOAT16:  # how the converter to float16 gives a resize its scales
            results = given
    require(len(outputs) == len(results), f"{kind!r} has {len(outputs)} outputs")
    for name, array in zip(outputs, results, strict=True):
        _define(arrays, name, array)


def _attribute(data: memoryview) -> tuple[bytes, object]:
    fields = message(data, ATTRIBUTE)
    kind, name = integer(fields, 20), bytes(fields[1][0])
    if kind == 7:
        return name, integers(fields.get(8, ()))
    if kind == 2:
        return name, integer(fields, 3)
    if kind == 4:
        return name, _tensor(fields[5][0])[1]
    require(kind in (1, 3), f"attributes of type {kind} are not known here")
    return name, bytes(fields[4][0]) if kind == 3 else struct.unpack("<f", fields[2][0])[0]


@functools.lru_cache(256)
def _short_attribute(data: bytes) -> tuple[bytes, object]:
    """An attribute of which there are many alike."""
    return _attribute(memoryview(data))


@dataclass(frozen=True)
class Rule:
    """What an operator must look like, and the shapes that it gives."""

    fewest: int
    most: int
    """Inputs."""
    shapes: Callable[[Node], list[Shape]]
    attributes: frozenset[bytes] = frozenset()


def _window(node: Node) -> tuple[Shape, Shape, Shape]:
    """Strides, dilations and padding."""
    require(node.number(b"ceil_mode", 0) == 0, "a window leaves the picture")
    return node.numbers(b"strides", 2, 1), node.numbers(b"dilations", 2, 1), node.numbers(b"pads", 4, 0)


def _conv(node: Node) -> list[Shape]:
    source, kernel = node.given[0].shape, node.given[1].shape
    require(node.attributes.get(b"kernel_shape", kernel[2:]) == kernel[2:], "a window has two sizes")
    require(len(node.given) == 2 or node.given[2].shape == kernel[:1], "a bias does not fit its convolution")
    return [shapes.convolution(source, kernel, node.number(b"group", 1), *_window(node))]


def _pool(node: Node) -> list[Shape]:
    return [shapes.pool(node.given[0].shape, node.numbers(b"kernel_shape", 2, 0), *_window(node))]


def _same(node: Node) -> list[Shape]:
    return [node.given[0].shape]


def _clip(node: Node) -> list[Shape]:
    require(node.inputs[0] is not None and all(not array.shape for array in node.given[1:]), "a bound is no number")
    return _same(node)


def _broadcast(node: Node) -> list[Shape]:
    return [shapes.broadcast(node.given[0].shape, node.given[1].shape)]


def _concat(node: Node) -> list[Shape]:
    return [shapes.concatenation([array.shape for array in node.given], node.number(b"axis", -1))]


def _resize(node: Node) -> list[Shape]:
    require(node.inputs[0] is not None and node.inputs[1] is None, "a resize has another form")
    require(node.attributes.get(b"mode", b"nearest") == b"nearest", "a resize of another kind")
    if len(node.inputs) == 3 and node.inputs[2] is not None:
        return [shapes.scaled(node.given[0].shape, node.inputs[2].floats())]
    require(len(node.inputs) == 4 and node.inputs[2] is None and node.inputs[3] is not None, "a resize has two sizes")
    return [shapes.resized(node.given[0].shape, node.given[1].numbers())]


def _slice(node: Node) -> list[Shape]:
    starts, ends, *others = (array.numbers() for array in node.given[1:])
    axes = others[0] if others else tuple(range(len(starts)))
    return [shapes.sliced(node.given[0].shape, starts, ends, axes, others[1] if len(others) > 1 else ())]


def _split(node: Node) -> list[Shape]:
    source, axis = node.given[0].shape, node.number(b"axis", 0)
    require(node.number(b"num_outputs", node.outputs) == node.outputs > 0, "a split has two numbers of parts")
    require(0 <= axis < len(source), "a split along no axis")
    parts = (source[axis] // node.outputs,) * node.outputs
    return shapes.split(source, axis, node.given[1].numbers() if len(node.given) == 2 else parts)


def _quantize(node: Node) -> list[Shape]:
    """QuantizeLinear and DequantizeLinear: one scale, or one per channel of a constant's axis."""
    source, (scale, zero), axis = node.given[0].shape, node.given[1:], node.number(b"axis", 1)
    require(scale.shape == zero.shape and zero.content is not None, "scales and zero points differ in number")
    require(all(0 < value < math.inf for value in scale.floats()), "a scale is not a positive number")
    channels = 0 <= axis < len(source) and scale.shape == (source[axis],)
    require(scale.shape in ((), (1,)) or channels, "scales do not fit the channels")
    return [source]


_WINDOW = frozenset({b"kernel_shape", b"strides", b"pads", b"dilations"})
_RESIZE = frozenset({b"mode", b"nearest_mode", b"coordinate_transformation_mode", b"cubic_coeff_a"})

RULES = {
    b"Add": Rule(2, 2, _broadcast),
    b"AveragePool": Rule(1, 1, _pool, _WINDOW | {b"ceil_mode", b"count_include_pad"}),
    b"Cast": Rule(1, 1, _same, frozenset({b"to"})),
    b"Clip": Rule(1, 3, _clip),
    b"Concat": Rule(1, 64, _concat, frozenset({b"axis"})),
    b"Conv": Rule(2, 3, _conv, _WINDOW | {b"group"}),
    b"DequantizeLinear": Rule(3, 3, _quantize, frozenset({b"axis"})),
    b"HardSigmoid": Rule(1, 1, _same, frozenset({b"alpha", b"beta"})),
    b"HardSwish": Rule(1, 1, _same),
    b"MaxPool": Rule(1, 1, _pool, _WINDOW | {b"ceil_mode"}),
    b"Mul": Rule(2, 2, _broadcast),
    b"QuantizeLinear": Rule(3, 3, _quantize, frozenset({b"axis"})),
    b"Relu": Rule(1, 1, _same),
    b"Resize": Rule(3, 4, _resize, _RESIZE),
    b"Sigmoid": Rule(1, 1, _same),
    b"Slice": Rule(3, 5, _slice),
    b"Split": Rule(1, 2, _split, frozenset({b"axis", b"num_outputs"})),
}
"""By operator: those of :mod:`edge_yolov9.compiler.quantization.interpret`, and what quantization and float16 add."""
