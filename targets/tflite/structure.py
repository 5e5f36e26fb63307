"""The structure of a ``.tflite`` file, checked before LiteRT opens it.

LiteRT checks that a flatbuffer is one, and then trusts most indices in it: a wrong one ends the process. The compiler
writes plain graphs: one subgraph of few kinds of operators, no variables, nothing outside the file. Anything else is
refused here. The layout is that of TensorFlow Lite's ``schema.fbs``, version 3; slots are the numbers of its fields.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_U32: Callable[[bytes, int], tuple[Any, ...]] = struct.Struct("<I").unpack_from
_I32: Callable[[bytes, int], tuple[Any, ...]] = struct.Struct("<i").unpack_from
_U16: Callable[[bytes, int], tuple[Any, ...]] = struct.Struct("<H").unpack_from
_U64: Callable[[bytes, int], tuple[Any, ...]] = struct.Struct("<Q").unpack_from

ITEM_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 9: 1}
"""Bytes per element by TensorType: FLOAT32, FLOAT16, INT32, UINT8, INT8. No other occurs."""
FLOAT32, FLOAT16, INT32, UINT8, INT8 = ITEM_BYTES
QUANTIZED = (UINT8, INT8)
MOST_ELEMENTS = 1 << 28
LONGEST_SIDE = 1 << 14
LONGEST_STEP = 1024
"""Largest stride, dilation or window of an operator."""


@dataclass(frozen=True)
class Rule:
    """What an operator of the schema must look like."""

    fewest: int
    most: int
    """Inputs."""
    options: int = 0
    """BuiltinOptions type, where there are ``steps``."""
    steps: tuple[int, ...] = ()
    """Slots of the options that must be from 1 to LONGEST_STEP."""
    optional: int = -1
    """Index of an input that may be missing (-1): the bias."""
    gain: float = math.inf
    """Largest ratio of the inputs' scale (of convolutions and MUL: the product) to the output's, which LiteRT turns
    into a fixed-point factor."""


RULES = {
    0: Rule(2, 2, gain=1 << 10),  # ADD
    1: Rule(1, 1, 5, (1, 2, 3, 4)),  # AVERAGE_POOL_2D
    2: Rule(1, 64, gain=1 << 10),  # CONCATENATION
    3: Rule(2, 3, 1, (1, 2), 2, gain=256),  # CONV_2D
    4: Rule(2, 3, 2, (1, 2), 2, gain=256),  # DEPTHWISE_CONV_2D
    6: Rule(1, 1),  # DEQUANTIZE
    14: Rule(1, 1),  # LOGISTIC
    17: Rule(1, 1, 5, (1, 2, 3, 4)),  # MAX_POOL_2D
    18: Rule(2, 2, gain=256),  # MUL
    19: Rule(1, 1),  # RELU
    21: Rule(1, 1),  # RELU6
    65: Rule(3, 3),  # SLICE
    97: Rule(2, 2),  # RESIZE_NEAREST_NEIGHBOR
    114: Rule(1, 1, gain=1 << 10),  # QUANTIZE
    117: Rule(1, 1),  # HARD_SWISH
}
"""By BuiltinOperator. Their LiteRT kernels check shapes; types and scales are checked here."""
CONV, DEPTHWISE, DEQUANTIZE, MUL, SLICE, RESIZE, QUANTIZE = 3, 4, 6, 18, 65, 97, 114
SCALES = {True: (1e-20, 1e20), False: (1e-9, 1e6)}
"""Exclusive bounds of the scales of constants, and of what is computed."""


def check(data: bytes) -> None:
    """Refuse what LiteRT would open and could not survive.

    Raises:
        ValueError: what is wrong, in a few words.
    """
    try:
        _Model(data).check()
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"an offset leads out of the file ({error})") from None


class _Table:
    """One table of the flatbuffer. Tables of one form share their list of fields, which is read once."""

    __slots__ = ("_file", "_forms", "_position")

    def __init__(self, file: bytes, position: int, forms: dict[int, dict[int, int]]) -> None:
        self._file, self._position, self._forms = file, position, forms

    def slots(self, *known: int) -> dict[int, int]:
        """Position of every field that is stored, by its slot.

        There must be no others than ``known``, where these are given: a later schema may name data outside the file.
        """
        start = self._position - _I32(self._file, self._position)[0]
        form = self._forms.get(start)
        if form is None:
            _require(0 <= start < len(self._file), "a table lies outside the file")
            count = (_U16(self._file, start)[0] - 4) // 2
            offsets = struct.unpack_from(f"<{max(count, 0)}H", self._file, start + 4)
            form = self._forms[start] = {slot: offset for slot, offset in enumerate(offsets) if offset}
        _require(not known or form.keys() <= set(known), f"a field of slot {max(form, default=0)} is not known here")
        return {slot: self._position + offset for slot, offset in form.items()}

    def table(self, position: int) -> _Table:
        """The table at a field."""
        return _Table(self._file, position + _U32(self._file, position)[0], self._forms)

    def tables(self, position: int) -> Iterator[_Table]:
        """The vector of tables at a field."""
        start = position + _U32(self._file, position)[0]
        count = _U32(self._file, start)[0]
        return map(self.table, range(start + 4, start + 4 + 4 * count, 4))

    def numbers(self, position: int | None, kind: str) -> tuple[Any, ...]:
        """The vector of numbers at a field; empty where it is not stored. ``kind`` is a letter of :mod:`struct`."""
        if position is None:
            return ()
        start = position + _U32(self._file, position)[0]
        return struct.unpack_from(f"<{_U32(self._file, start)[0]}{kind}", self._file, start + 4)

    def content(self, position: int | None) -> memoryview:
        """The vector of bytes at a field; empty where it is not stored."""
        if position is None:
            return memoryview(b"")
        start = position + _U32(self._file, position)[0]
        end = start + 4 + _U32(self._file, start)[0]
        _require(end <= len(self._file), "a vector lies outside the file")
        return memoryview(self._file)[start + 4 : end]


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


class _Model:
    def __init__(self, data: bytes) -> None:
        self._data = data
        root = _Table(data, _U32(data, 0)[0], {})
        self._fields = root.slots(0, 1, 2, 3, 4, 5, 6, 7)
        _require({1, 2, 4} <= self._fields.keys(), "operators, graph or buffers are missing")
        self._root = root
        self._buffers = [self._buffer(table) for table in root.tables(self._fields[4])]
        self._codes = [self._code(table) for table in root.tables(self._fields[1])]
        self._shapes: list[tuple[int, ...]] = []
        self._constants: dict[int, memoryview] = {}
        self._kinds: list[int] = []
        self._scale: list[float] = []
        """The largest scale of each tensor; 0 where it has none."""

    def _buffer(self, table: _Table) -> memoryview:
        """Content of a buffer, in the flatbuffer or behind it."""
        fields = table.slots(0, 1, 2)
        offset, size = (int(_U64(self._data, fields[slot])[0]) if slot in fields else 0 for slot in (1, 2))
        if offset > 1:
            _require(0 < size <= len(self._data) - offset, "a buffer lies outside the file")
            return memoryview(self._data)[offset : offset + size]
        return table.content(fields.get(0))

    def _code(self, table: _Table) -> int:
        fields = table.slots(0, 2, 3)  # 1 is the name of a custom operator
        old = self._data[fields[0]] if 0 in fields else 0
        new = _I32(self._data, fields[3])[0] if 3 in fields else 0
        code = int(max(old, new))
        _require(code in RULES, f"operator {code} is none that the compiler writes")
        return code

    def check(self) -> None:
        graphs = list(self._root.tables(self._fields[2]))
        _require(len(graphs) == 1, f"expected one graph, got {len(graphs)}")
        graph, fields = graphs[0], graphs[0].slots(0, 1, 2, 3, 4)
        for index, tensor in enumerate(graph.tables(fields[0])):
            self._tensor(index, tensor)
        inputs = self._indices(graph.numbers(fields.get(1), "i"))
        defined = {*inputs, *self._constants}
        _require(not set(inputs) & self._constants.keys(), "an input of the graph is a constant")
        for operator in graph.tables(fields[3]) if 3 in fields else ():
            self._operator(operator, defined)
        _require(defined.issuperset(self._indices(graph.numbers(fields.get(2), "i"))), "an output is never computed")
        for signature in self._root.tables(self._fields[7]) if 7 in self._fields else ():
            self._signature(signature, defined)

    def _indices(self, indices: Sequence[int]) -> Sequence[int]:
        count = len(self._shapes)
        _require(all(0 <= index < count for index in indices), "the index of a tensor is out of range")
        return indices

    def _tensor(self, index: int, table: _Table) -> None:
        fields = table.slots(0, 1, 2, 3, 4, 7, 8)
        kind = self._data[fields[1]] if 1 in fields else 0
        _require(kind in ITEM_BYTES, f"tensors of type {kind} are not known here")
        shape = table.numbers(fields.get(0), "i")
        elements = math.prod(shape)
        _require(len(shape) <= 6 and all(size > 0 for size in shape), f"a tensor has the shape {shape[:9]}")
        _require(elements <= MOST_ELEMENTS, f"a tensor has the shape {shape}")
        self._shapes.append(shape)
        buffer = _U32(self._data, fields[2])[0] if 2 in fields else 0
        _require(buffer < len(self._buffers), "the index of a buffer is out of range")
        if content := self._buffers[buffer]:
            _require(len(content) == elements * ITEM_BYTES[kind], "a constant has another size than its shape")
            self._constants[index] = content
        scales = self._scales(table.table(fields[4]), shape) if 4 in fields else ()
        constant = index in self._constants
        _require(bool(scales) or kind not in QUANTIZED or constant, "an integer tensor has no scale")
        _require(len(scales) <= 1 or constant, "a tensor that is computed has several scales")
        _require(kind in (FLOAT32, *QUANTIZED) or constant, f"a tensor of type {kind} is computed")
        least, most = SCALES[constant]
        _require(all(least < scale < most for scale in scales), "a scale is out of range")
        self._kinds.append(kind)
        self._scale.append(max(scales, default=0.0))

    def _scales(self, table: _Table, shape: tuple[int, ...]) -> tuple[float, ...]:
        """The scales of a tensor: none, one, or one per channel."""
        fields = table.slots(0, 1, 2, 3, 6)
        scales, zeros = table.numbers(fields.get(2), "f"), table.numbers(fields.get(3), "q")
        axis = _I32(self._data, fields[6])[0] if 6 in fields else 0
        _require(len(zeros) in (0, len(scales)), "scales and zero points differ in number")
        _require(all(-255 <= zero <= 255 for zero in zeros), "a zero point is out of range")
        per_channel = 0 <= axis < len(shape) and len(scales) == shape[axis]
        _require(len(scales) <= 1 or per_channel, "scales do not fit the channels")
        return scales

    def _operator(self, table: _Table, defined: set[int]) -> None:
        """Check one operator, whose inputs must be computed before it; add its output to ``defined``."""
        fields = table.slots(0, 1, 2, 3, 4)
        code = self._codes[_U32(self._data, fields[0])[0] if 0 in fields else 0]
        rule = RULES[code]
        given, outputs = table.numbers(fields.get(1), "i"), self._indices(table.numbers(fields.get(2), "i"))
        if len(given) == rule.optional + 1 and given[-1] == -1:
            given = given[:-1]
        inputs = self._indices(given)
        _require(rule.fewest <= len(inputs) <= rule.most, f"operator {code} has {len(inputs)} inputs")
        _require(defined.issuperset(inputs), f"operator {code} reads a tensor that is not computed before it")
        _require(len(outputs) == 1 and outputs[0] not in defined, f"operator {code} writes a tensor that has a value")
        self._options(table, fields, code, rule)
        self._types(code, rule, inputs, outputs[0])
        if code == SLICE:
            self._slice(*inputs)
        if code == RESIZE:
            sizes = self._constant(inputs[1], 2)
            _require(all(1 <= size <= LONGEST_SIDE for size in sizes), f"a resize to {sizes}")
        defined.add(outputs[0])

    def _types(self, code: int, rule: Rule, inputs: Sequence[int], output: int) -> None:
        """One type goes through an operator; only DEQUANTIZE and QUANTIZE change it, and scales fit each other."""
        kinds, out = [self._kinds[index] for index in inputs], self._kinds[output]
        if code == DEQUANTIZE:
            holds = kinds[0] in (FLOAT16, *QUANTIZED) and out == FLOAT32
        elif code == QUANTIZE:
            holds = kinds[0] in (FLOAT32, *QUANTIZED) and out in QUANTIZED
        elif code in (CONV, DEPTHWISE):
            holds = kinds in [[out, out], [out, out, INT32 if out == INT8 else FLOAT32]] and out in (FLOAT32, INT8)
        elif code in (SLICE, RESIZE):
            holds = kinds[0] == out and set(kinds[1:]) == {INT32}
        else:
            holds = set(kinds) == {out} and out in (FLOAT32, *QUANTIZED)
        _require(holds, f"operator {code} takes types {kinds} and gives {out}")
        if out in QUANTIZED and self._scale[output]:
            steps = [self._scale[index] for index in inputs if self._kinds[index] in QUANTIZED] or [0.0]
            joined = math.prod(steps[:2]) if code in (CONV, DEPTHWISE, MUL) else max(steps)
            _require(joined <= rule.gain * self._scale[output], f"operator {code} has scales that do not fit")

    def _options(self, table: _Table, fields: dict[int, int], code: int, rule: Rule) -> None:
        """Strides, dilations and windows are from 1 to LONGEST_STEP; options of another type LiteRT ignores."""
        if not rule.steps:
            return
        kind = self._data[fields[3]] if 3 in fields else 0
        _require(kind == rule.options and 4 in fields, f"operator {code} has options of type {kind}")
        options = table.table(fields[4]).slots()
        steps = [_I32(self._data, options[slot])[0] if slot in options else 0 for slot in rule.steps]
        if code in (3, 4):
            first = 4 if code == 3 else 5
            steps += [_I32(self._data, options[slot])[0] for slot in (first, first + 1) if slot in options]
        _require(all(1 <= step <= LONGEST_STEP for step in steps), f"operator {code} has a step out of range")

    def _slice(self, source: int, begin: int, size: int) -> None:
        shape = self._shapes[source]
        begins, sizes = self._constant(begin, len(shape)), self._constant(size, len(shape))
        for start, length, side in zip(begins, sizes, shape, strict=True):
            end = side if length == -1 else start + length
            _require(0 <= start < end <= side, "a slice lies outside its tensor")

    def _constant(self, index: int, length: int) -> tuple[int, ...]:
        """``length`` whole numbers that an operator takes as a constant."""
        content = self._constants.get(index, b"")
        _require(len(content) == 4 * length, "an operator's constant is missing, or of another length")
        return struct.unpack(f"<{length}i", content)

    def _signature(self, table: _Table, defined: set[int]) -> None:
        fields = table.slots(0, 1, 2, 3, 4)
        _require(4 not in fields or _U32(self._data, fields[4])[0] == 0, "a signature is of a graph that is not there")
        for slot in (0, 1):
            for entry in table.tables(fields[slot]) if slot in fields else ():
                tensor = entry.slots(0, 1)
                index = _U32(self._data, tensor[1])[0] if 1 in tensor else 0
                _require(index in defined, "a signature names a tensor that is not computed")
