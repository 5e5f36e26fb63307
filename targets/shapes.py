"""Shapes of the tensors that operators of a plain graph give, and what these operators must look like.

Every function raises ValueError, in a few words, for what no compiler of ours writes. Shapes are those of pictures,
(N, C, H, W) unless something else is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Shape = tuple[int, ...]

MOST_ELEMENTS = 1 << 28
MOST_SIDES = 6
LONGEST_STEP = 1024
"""Largest stride, dilation, padding or window of an operator."""
LARGEST_SCALE = 64
MOST_PARTS = 64


def require(holds: bool, rule: str) -> None:
    """Raise ValueError with ``rule`` unless it holds."""
    if not holds:
        raise ValueError(rule)


def elements(shape: Shape) -> int:
    """How many elements a tensor has."""
    require(len(shape) <= MOST_SIDES and all(side > 0 for side in shape), f"a tensor has the shape {shape[:9]}")
    count = math.prod(shape)
    require(count <= MOST_ELEMENTS, f"a tensor has the shape {shape}")
    return count


def window(source: Shape, kernel: Shape, strides: Shape, dilations: Shape, pads: Shape) -> tuple[int, ...]:
    """Height and width behind a window of ``kernel`` (h, w). ``pads`` are (top, left, bottom, right), pixels."""
    require(
        len(source) == 4 and tuple(map(len, (kernel, strides, dilations, pads))) == (2, 2, 2, 4),
        "a window is not two-dimensional",
    )
    require(all(1 <= step <= LONGEST_STEP for step in (*kernel, *strides, *dilations)), "a step is out of range")
    require(all(0 <= pad <= LONGEST_STEP for pad in pads), "a padding is out of range")
    return tuple(
        (source[2 + axis] + pads[axis] + pads[2 + axis] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in (0, 1)
    )


def convolution(source: Shape, kernel: Shape, group: int, strides: Shape, dilations: Shape, pads: Shape) -> Shape:
    """Output of a convolution; ``kernel`` is the shape of its weight (out, in / group, h, w)."""
    require(len(kernel) == 4 and len(source) == 4 and 1 <= group <= kernel[0], "a convolution has another form")
    require(source[1] == kernel[1] * group and kernel[0] % group == 0, "a convolution does not fit its channels")
    return (source[0], kernel[0], *window(source, kernel[2:], strides, dilations, pads))


def pool(source: Shape, kernel: Shape, strides: Shape, dilations: Shape, pads: Shape) -> Shape:
    """Output of a pooling with a window ``kernel`` (h, w); a window that sees padding alone is refused."""
    behind = window(source, kernel, strides, dilations, pads)
    require(all(pad < side for pad, side in zip(pads, kernel * 2, strict=True)), "a window sees nothing but padding")
    return (*source[:2], *behind)


def broadcast(first: Shape, second: Shape) -> Shape:
    """Output of an elementwise operation on two tensors, by numpy's broadcasting."""
    rank = max(len(first), len(second))
    pairs = list(zip((1,) * (rank - len(first)) + first, (1,) * (rank - len(second)) + second, strict=True))
    require(all(a == b or 1 in (a, b) for a, b in pairs), "shapes do not fit each other")
    return tuple(max(pair) for pair in pairs)


def concatenation(parts: Sequence[Shape], axis: int) -> Shape:
    """Output of joining tensors that differ in size along ``axis`` alone."""
    require(1 <= len(parts) <= MOST_PARTS and 0 <= axis < len(parts[0]), "parts are joined along no axis")
    rest = {(len(shape), shape[:axis], shape[axis + 1 :]) for shape in parts}
    require(len(rest) == 1, "parts differ in more than their axis")
    return (*parts[0][:axis], sum(shape[axis] for shape in parts), *parts[0][axis + 1 :])


def scaled(source: Shape, scales: Sequence[float]) -> Shape:
    """Output of an enlargement by a factor for each axis."""
    require(
        len(scales) == len(source) and all(1 <= scale <= LARGEST_SCALE for scale in scales),
        f"a resize by {tuple(scales)[:9]}",
    )
    return tuple(math.floor(side * scale) for side, scale in zip(source, scales, strict=True))


def resized(source: Shape, sizes: Shape) -> Shape:
    """Of a tensor that is enlarged to ``sizes``."""
    fit = len(sizes) == len(source) and all(a <= b <= a * LARGEST_SCALE for a, b in zip(source, sizes, strict=True))
    require(fit, f"a resize to {sizes[:9]}")
    return sizes


def sliced(source: Shape, starts: Shape, ends: Shape, axes: Shape, steps: Iterable[int]) -> Shape:
    """Output of a slice with step 1; an end past the tensor's is cut to it."""
    require(set(steps) <= {1}, "a slice in other steps than 1")
    require(len(set(axes)) == len(axes) and all(0 <= axis < len(source) for axis in axes), "a slice along no axis")
    shape = list(source)
    for axis, start, end in zip(axes, starts, ends, strict=True):
        shape[axis] = min(end, shape[axis]) - start
        require(start >= 0 and shape[axis] > 0, "a slice lies outside its tensor")
    return tuple(shape)


def split(source: Shape, axis: int, parts: Sequence[int]) -> list[Shape]:
    """Of parts of a tensor along ``axis``."""
    require(0 <= axis < len(source) and 1 <= len(parts) <= MOST_PARTS, "a split along no axis")
    require(min(parts) > 0 and sum(parts) == source[axis], "parts do not fit their whole")
    return [(*source[:axis], part, *source[axis + 1 :]) for part in parts]
