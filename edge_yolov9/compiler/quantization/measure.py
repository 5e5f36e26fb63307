"""What flows through the float graph on calibration images: extremes per channel, and a fixed number of samples.

One pass with ONNX Runtime, one image at a time; memory does not grow with the number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.compiler.floatgraph import Images, expose, run_session
from edge_yolov9.compiler.quantization.rules import Graph, audible
from edge_yolov9.errors import CompileError
from edge_yolov9.geometry import planes

PIXELS = 1024
"""Places per tensor, over all images together, whose channels are kept."""


@dataclass
class Seen:
    """One tensor over all images: extremes per channel, ``low`` and ``high`` (C,), and ``samples`` (N, C)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    rows: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def samples(self) -> NDArray[np.float32]:
        """Channels of some places, in the order of the images."""
        if len(self.rows) > 1:
            self.rows = [np.concatenate(self.rows)]
        return self.rows[0]

    @property
    def magnitude(self) -> float:
        """Largest absolute value."""
        return float(max(self.high.max(), -self.low.min(), 0.0))


def measure(graph: Graph, images: Sequence[Any] | Images, count: int) -> dict[str, Seen]:
    """Run the float graph on ``count`` images and look at every tensor that the plan needs.

    Raises:
        CompileError: a value is not finite.
    """
    wanted = dict.fromkeys((*graph.measured, *graph.inner))
    for node in graph.convolutions:
        wanted |= dict.fromkeys((node.input[0], node.output[0]))
    inner = [name for name in wanted if name not in graph.inputs]
    session = run_session(expose(graph.model, inner))
    found: dict[str, Seen] = {}
    per, every = max(1, PIXELS // max(count, 1)), -(-count // PIXELS)
    for index, image in enumerate(images):
        feed = dict.fromkeys(graph.inputs, image)
        for name, values in (feed | dict(zip(inner, session.run(inner, feed), strict=True))).items():
            _look(found, name, values[0].reshape(values.shape[1], -1), index, 0 if index % every else per)
    return found


def _look(found: dict[str, Seen], name: str, flat: NDArray[np.float32], index: int, per: int) -> None:
    low, high = flat.min(axis=1), flat.max(axis=1)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise CompileError("the float model gives NaN or infinity on a calibration image; check the checkpoint")
    seen = found.setdefault(name, Seen(low, high))
    seen.low, seen.high = np.minimum(seen.low, low), np.maximum(seen.high, high)
    if per:
        places = np.random.default_rng(index).integers(0, flat.shape[1], per)  # the same ones in all maps of one size
        seen.rows.append(np.ascontiguousarray(flat[:, places].T))


@dataclass(frozen=True)
class Tensors:
    """Calibration images as the network wants them, decoded anew on every pass."""

    images: CalibrationSet

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Any:
        """(1, 3, height, width) float32 RGB in [0, 1]."""
        for image in self.images:
            yield planes(image)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """One of them."""
        (image,) = replace(self.images, paths=(self.images.paths[index],))
        return planes(image)

    def few(self, count: int) -> Tensors:
        """At most ``count`` of them, evenly spread."""
        paths = self.images.paths
        return Tensors(CalibrationSet(tuple(paths[:: -(-len(paths) // count)]), self.images.input_size))


def heard(maps: list[list[NDArray[np.float32]]]) -> list[list[NDArray[np.float32]]]:
    """Raw maps of every image as decoding hears them.

    Box bins (1, 4 * bins, H, W) become (1, 4, bins, H, W): how far below the largest of their side each is, down to a
    weight of a thousandth in the softmax. What all bins of a side share is no signal.
    """

    def below(bins: NDArray[np.float32]) -> NDArray[np.float32]:
        sides = bins.reshape(len(bins), 4, -1, *bins.shape[2:])
        return audible(sides - sides.max(axis=2, keepdims=True))

    return [[item if index % 2 else below(item) for index, item in enumerate(image)] for image in maps]


def relative_error(maps: list[list[NDArray[np.float32]]], wanted: list[list[NDArray[np.float32]]]) -> float:
    """Root of squared error over squared value, the mean over the raw maps; class logits as far as they are audible."""
    errors = []
    for index, pairs in enumerate(zip(zip(*maps, strict=True), zip(*wanted, strict=True), strict=True)):
        got, want = ([audible(item) for item in items] if index % 2 else items for items in pairs)
        squares = sum(float(((a - b) ** 2).sum()) for a, b in zip(got, want, strict=True))
        errors.append((squares / max(sum(float((b**2).sum()) for b in want), 1e-30)) ** 0.5)
    return float(np.mean(errors))
