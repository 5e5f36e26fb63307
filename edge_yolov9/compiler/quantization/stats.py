"""What flows through the float graph on calibration images: extremes per channel, and a fixed number of samples.

One pass with ONNX Runtime, one image at a time; memory does not grow with the number of images.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.compiler.floatgraph import NetworkInputs, expose, run_session
from edge_yolov9.compiler.quantization.rules import Graph
from edge_yolov9.errors import CompileError

SAMPLES = 1024
"""Cells per tensor, over all images together, whose channels are kept."""


@dataclass
class TensorStats:
    """One tensor over all images: extremes per channel, ``low`` and ``high`` (C,), and ``samples`` (N, C)."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    rows: list[NDArray[np.float32]] = field(default_factory=list)
    """Parts of ``samples``, one per image."""

    @property
    def samples(self) -> NDArray[np.float32]:
        """Channels of some cells, in the order of the images."""
        if len(self.rows) > 1:
            self.rows = [np.concatenate(self.rows)]
        return self.rows[0]

    @property
    def magnitude(self) -> float:
        """Largest absolute value."""
        return max(float(self.high.max()), -float(self.low.min()), 0.0)


def collect_stats(graph: Graph, images: NetworkInputs, count: int) -> dict[str, TensorStats]:
    """Run the float graph on ``count`` images; statistics of every tensor that the plan needs, by name.

    Raises:
        CompileError: a value is not finite.
    """
    wanted = dict.fromkeys((*graph.measured, *graph.inner))
    for node in graph.convolutions:
        wanted |= dict.fromkeys((node.input[0], node.output[0]))
    inner = [name for name in wanted if name not in graph.inputs]
    session = run_session(expose(graph.model, inner))
    stats: dict[str, TensorStats] = {}
    per_image, every = max(1, SAMPLES // max(count, 1)), -(-count // SAMPLES)
    for index, image in enumerate(images):
        feed = dict.fromkeys(graph.inputs, image)
        for name, values in (feed | dict(zip(inner, session.run(inner, feed), strict=True))).items():
            flat = values[0].reshape(values.shape[1], -1)
            _add_image(stats, name, flat, index, 0 if index % every else per_image)
    return stats


def _add_image(stats: dict[str, TensorStats], name: str, flat: NDArray[np.float32], index: int, samples: int) -> None:
    """Extremes and ``samples`` cells of one image's tensor (channels, cells)."""
    low, high = flat.min(axis=1), flat.max(axis=1)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise CompileError("the float model gives NaN or infinity on a calibration image; check the checkpoint")
    tensor = stats.setdefault(name, TensorStats(low, high))
    tensor.low, tensor.high = np.minimum(tensor.low, low), np.maximum(tensor.high, high)
    if samples:
        cells = np.random.default_rng(index).integers(0, flat.shape[1], samples)  # the same in all maps of one size
        tensor.rows.append(np.ascontiguousarray(flat[:, cells].T))
