"""The structure of an OpenVINO IR, checked before OpenVINO opens it.

OpenVINO trusts what some layers say of themselves: a layer of another type than its attributes ends the process. The
compiler writes plain graphs: layers in order, of few types, on tensors whose shapes follow from the input's; weights
that lie in the file beside it. Anything else is not accepted here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from edge_yolov9.text import shown

from .. import shapes
from ..shapes import Shape, broadcast, elements, require

ITEM_BYTES = {"f32": 4, "f16": 2, "i64": 8, "i32": 4, "i8": 1, "u8": 1}
"""Bytes per element of the types that occur."""
NUMBERS = {"i64": "q", "i32": "i", "f32": "f", "f16": "e"}
"""Letters of :mod:`struct` of the types of lists."""
MOST_LAYERS = 20_000


@dataclass(frozen=True)
class Array:
    """A tensor: its shape, and type and content where it is a constant."""

    shape: Shape
    kind: str = ""
    content: memoryview | None = None

    def numbers(self) -> tuple[int, ...]:
        """The numbers of a constant that a layer takes as a list."""
        require(self.content is not None and self.kind in NUMBERS and len(self.shape) < 2, "a list is no constant")
        return struct.unpack(f"<{elements(self.shape)}{NUMBERS[self.kind]}", self.content or b"")


Data = Mapping[str, str]
"""Attributes of a layer."""


def check(graph: bytes, weights: bytes) -> None:
    """Refuse what OpenVINO would open and could not survive.

    Args:
        graph: the ``.xml`` file.
        weights: the ``.bin`` file.

    Raises:
        ValueError: what is wrong, in a few words.
    """
    require(b"<!" not in graph, "it has declarations")  # entities, of which some name other files
    try:
        _check(ElementTree.fromstring(graph), memoryview(weights))
    except (ElementTree.ParseError, struct.error, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise ValueError(f"it is malformed ({error})") from None


def _check(net: Element, weights: memoryview) -> None:
    require(net.tag == "net" and net.get("version") == "11", "it is no IR of version 11")
    parts = sorted(part.tag for part in net if part.tag != "rt_info")
    require(parts == ["edges", "layers"] and len(net) <= 3, "it has other parts")
    layers, edges = net.find("layers"), net.find("edges")
    require(layers is not None and edges is not None and len(layers) <= MOST_LAYERS, "it has no layers, or too many")
    sources: dict[tuple[str, str], tuple[str, str]] = {}
    for edge in edges if edges is not None else ():
        place = (edge.attrib["to-layer"], edge.attrib["to-port"])
        require(place not in sources, "an input has two sources")
        sources[place] = (edge.attrib["from-layer"], edge.attrib["from-port"])
    arrays: dict[tuple[str, str], Array] = {}
    known: set[str] = set()
    for layer in layers if layers is not None else ():
        require(layer.attrib["id"] not in known, "two layers have one number")
        known.add(layer.attrib["id"])
        _layer(layer, sources, arrays, weights)
    require(not sources, "an edge leads nowhere")


def _layer(
    layer: Element,
    sources: dict[tuple[str, str], tuple[str, str]],
    arrays: dict[tuple[str, str], Array],
    weights: memoryview,
) -> None:
    """Check one layer, whose inputs must stand before it; add its outputs to ``arrays``."""
    kind, number = layer.attrib["type"], layer.attrib["id"]
    rule = RULES.get(kind)
    if rule is None or layer.attrib["version"] not in rule.versions:
        raise ValueError(f"the layer {shown(kind)} {shown(layer.get('version'))} is none that the compiler writes")
    require({part.tag for part in layer} <= {"data", "input", "output", "rt_info"}, f"{kind} has other parts")
    data = next((part.attrib for part in layer if part.tag == "data"), {})
    require(data.keys() <= rule.attributes, f"{kind} has an attribute that is not known here")
    inputs = []
    for port in _ports(layer, "input"):
        source = arrays[sources.pop((number, port.attrib["id"]))]
        require(_sides(port) == source.shape, "an input has another shape than its source")
        inputs.append(source)
    require(rule.fewest <= len(inputs) <= rule.most, f"{kind} has {len(inputs)} inputs")
    outputs = _ports(layer, "output")
    if kind == "Const":
        made = [_constant(data, weights)]
    elif kind == "Convert" and inputs[0].content is not None:
        made = [inputs[0]]  # a list that is converted is still one
    else:
        made = [Array(shape) for shape in rule.shapes(inputs, data, len(outputs))]
    require(len(made) == len(outputs), f"{kind} has {len(outputs)} outputs")
    for port, array in zip(outputs, made, strict=True):
        require(_sides(port) == array.shape, f"an output of {kind} has another shape than follows")
        require((number, port.attrib["id"]) not in arrays, "two outputs have one number")
        elements(array.shape)
        arrays[number, port.attrib["id"]] = array


def _ports(layer: Element, part: str) -> list[Element]:
    found = layer.findall(part)
    require(len(found) <= 1, "a layer has two lists of ports")
    return list(found[0]) if found else []


def _sides(port: Element) -> Shape:
    return tuple(int(side.text or "") for side in port if side.tag == "dim")


def _list(data: Data, name: str, default: str = "") -> Shape:
    text = data.get(name, default)
    return tuple(int(word) for word in text.split(",")) if text else ()


def _is(data: Data, **expected: str) -> None:
    """Require these values, where any is given."""
    for name, value in expected.items():
        found = data.get("exclude-pad" if name == "exclude_pad" else name)
        if found is not None and found not in value.split("|"):
            raise ValueError(f"{name} is {shown(found)}")


def _constant(data: Data, weights: memoryview) -> Array:
    kind, shape = data["element_type"], _list(data, "shape")
    offset, size = int(data["offset"]), int(data["size"])
    require(kind in ITEM_BYTES, f"constants of type {shown(kind)} are not known here")
    require(size == elements(shape) * ITEM_BYTES[kind], "a constant has another size than its shape")
    require(0 <= offset <= len(weights) - size, "a constant lies outside the file")
    return Array(shape, kind, weights[offset : offset + size])


@dataclass(frozen=True)
class Rule:
    """What a layer must look like, and the shapes that it gives."""

    fewest: int
    most: int
    """Inputs."""
    shapes: Callable[[Sequence[Array], Data, int], list[Shape]]
    """From inputs, attributes and the number of outputs."""
    attributes: frozenset[str] = frozenset()
    versions: tuple[str, ...] = ("opset1",)


def _window(data: Data) -> tuple[Shape, Shape, Shape]:
    """Strides, dilations and padding."""
    _is(data, auto_pad="explicit", rounding_type="floor")
    pads = _list(data, "pads_begin"), _list(data, "pads_end")
    require(len(pads[0]) == len(pads[1]) == 2, "a padding is flat")
    return _list(data, "strides", "1,1"), _list(data, "dilations", "1,1"), (*pads[0], *pads[1])


def _parameter(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    require(data["element_type"] in ITEM_BYTES, "the input has another type")
    return [_list(data, "shape")]


def _convolution(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    source, kernel = inputs[0].shape, inputs[1].shape
    return [shapes.convolution(source, kernel, 1, *_window(data))]


def _grouped(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    """The kernel is (group, out / group, in / group, h, w)."""
    source, kernel = inputs[0].shape, inputs[1].shape
    require(len(kernel) == 5, "a convolution in groups has another form")
    return [shapes.convolution(source, (kernel[0] * kernel[1], *kernel[2:]), kernel[0], *_window(data))]


def _pool(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    """MaxPool since opset8 also tells where the largest pixels are."""
    _is(data, exclude_pad="true|false", axis="0", index_element_type="i64|i32")
    return [shapes.pool(inputs[0].shape, _list(data, "kernel"), *_window(data))] * outputs


def _same(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    return [inputs[0].shape]


def _swish(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    require(all(array.shape == () for array in inputs[1:]), "an activation's constant is no number")
    return [inputs[0].shape]


def _result(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    return []


def _pairs(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    _is(data, auto_broadcast="numpy")
    return [broadcast(inputs[0].shape, inputs[1].shape)]


def _concat(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    return [shapes.concatenation([array.shape for array in inputs], int(data["axis"]))]


def _slice(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    starts, ends, steps, *axes = (array.numbers() for array in inputs[1:])
    return [shapes.sliced(inputs[0].shape, starts, ends, axes[0] if axes else tuple(range(len(starts))), steps)]


def _split(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    (axis,) = inputs[1].numbers()
    source = inputs[0].shape
    require(0 <= axis < len(source) and int(data.get("num_splits", outputs)) == outputs > 0, "a split along no axis")
    parts = inputs[2].numbers() if len(inputs) == 3 else (source[axis] // outputs,) * outputs
    return shapes.split(source, axis, parts)


def _transpose(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    order, source = inputs[1].numbers(), inputs[0].shape
    require(sorted(order) == list(range(len(source))), "axes are exchanged with others")
    return [tuple(source[axis] for axis in order)]


def _reshape(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    shape = inputs[1].numbers()
    require(elements(shape) == elements(inputs[0].shape), "a tensor gets another size by its shape")
    return [shape]


def _interpolate(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    _is(data, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor", antialias="false")
    _is(data, pads_begin="0, 0, 0, 0", pads_end="0, 0, 0, 0")
    if data["shape_calculation_mode"] == "scales":
        return [shapes.scaled(inputs[0].shape, inputs[1].numbers())]
    _is(data, shape_calculation_mode="sizes")
    return [shapes.resized(inputs[0].shape, inputs[1].numbers())]


def _fake_quantize(inputs: Sequence[Array], data: Data, outputs: int) -> list[Shape]:
    _is(data, auto_broadcast="numpy")
    require(2 <= int(data["levels"]) <= 65536, "a quantization has too many levels")
    source = inputs[0].shape
    require(all(broadcast(source, bound.shape) == source for bound in inputs[1:]), "bounds do not fit")
    return [source]


_WINDOW = frozenset({"strides", "dilations", "pads_begin", "pads_end", "auto_pad"})
_POOL = _WINDOW | {"kernel", "rounding_type", "exclude-pad", "axis", "index_element_type"}
_INTERPOLATE = frozenset(
    {"mode", "shape_calculation_mode", "coordinate_transformation_mode", "nearest_mode", "antialias", "pads_begin"}
    | {"pads_end", "cube_coeff"}
)
_PAIRS = Rule(2, 2, _pairs, frozenset({"auto_broadcast"}))

RULES = {
    "Add": _PAIRS,
    "AvgPool": Rule(1, 1, _pool, _POOL, ("opset1", "opset14")),
    "Clamp": Rule(1, 1, _same, frozenset({"min", "max"})),
    "Concat": Rule(1, 64, _concat, frozenset({"axis"})),
    "Const": Rule(0, 0, _result, frozenset({"element_type", "shape", "offset", "size"})),
    "Convert": Rule(1, 1, _same, frozenset({"destination_type"})),
    "Convolution": Rule(2, 2, _convolution, _WINDOW),
    "FakeQuantize": Rule(5, 5, _fake_quantize, frozenset({"levels", "auto_broadcast"})),
    "GroupConvolution": Rule(2, 2, _grouped, _WINDOW),
    "HSigmoid": Rule(1, 1, _same, versions=("opset5",)),
    "HSwish": Rule(1, 1, _same, versions=("opset4",)),
    "Interpolate": Rule(2, 2, _interpolate, _INTERPOLATE, ("opset11",)),
    "MaxPool": Rule(1, 1, _pool, _POOL, ("opset1", "opset8", "opset14")),
    "Multiply": _PAIRS,
    "Parameter": Rule(0, 0, _parameter, frozenset({"element_type", "shape"})),
    "ReLU": Rule(1, 1, _same),
    "Reshape": Rule(2, 2, _reshape, frozenset({"special_zero"})),
    "Result": Rule(1, 1, _result),
    "Sigmoid": Rule(1, 1, _same),
    "Slice": Rule(4, 5, _slice, versions=("opset8",)),
    "Split": Rule(2, 2, _split, frozenset({"num_splits"})),
    "Subtract": _PAIRS,
    "Swish": Rule(1, 2, _swish, versions=("opset4",)),
    "Transpose": Rule(2, 2, _transpose),
    "VariadicSplit": Rule(3, 3, _split),
}
"""By type: what OpenVINO's converter makes of the compiler's graphs."""
