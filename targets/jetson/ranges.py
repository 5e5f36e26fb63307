"""Activation ranges for symmetric INT8, measured once on calibration images with ONNX Runtime.

One pass over the images keeps a histogram of magnitudes per tensor, nothing else, so memory does not grow with the
number of images. A histogram that turns out too short doubles its range by adding neighbouring bins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_yolov9.errors import CompileError

from .qdq import LEVELS, round_up

BINS = 4096
SAMPLES = 1 << 14
"""Values per tensor and image that enter the histogram (the largest always counts); larger tensors are thinned."""

Scales = dict[str, float]
"""Real value of one INT8 step of each group."""

Images = Iterable[NDArray[np.float32]]
"""(1, 3, H, W) RGB in [0, 1]; iterated once."""


@dataclass
class Histogram:
    """Magnitudes of one tensor: ``counts`` (BINS,) over [0, ``top``], and the ``largest`` of all."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    top: float = 2.0**-20
    largest: float = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count one tensor."""
        largest = max(float(values.max()), -float(values.min()))
        if not np.isfinite(largest):
            raise CompileError("the float model gives NaN or infinity on a calibration image; check the checkpoint")
        self.largest = max(self.largest, largest)
        while self.top < largest:
            self.counts = np.concatenate((self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)))
            self.top *= 2
        flat = values.ravel()
        if flat.size > SAMPLES:
            flat = flat[:: flat.size // SAMPLES | 1]  # an odd stride walks through all columns
        index = np.minimum(np.abs(flat) * np.float32(BINS / self.top), BINS - 1).astype(np.int32)
        self.counts += np.bincount(index, minlength=BINS)


def measure(model: onnx.ModelProto, tensors: Iterable[str], images: Images) -> dict[str, Histogram]:
    """Run the float ``model`` on every image and count the magnitudes of ``tensors``.

    Raises:
        CompileError: a value is not finite.
    """
    found = {name: Histogram() for name in tensors}
    inputs = [item.name for item in model.graph.input]
    inner = [name for name in found if name not in inputs]
    session = run_session(expose(model, inner))
    for image in images:
        feed = dict.fromkeys(inputs, image)
        for name, values in (feed | dict(zip(inner, session.run(inner, feed), strict=True))).items():
            if name in found:
                found[name].add(values)
    return found


def candidates(histograms: Mapping[str, Histogram], group: Mapping[str, str]) -> dict[str, Scales]:
    """``{rule: {group: step}}`` for the rules that do not harm detectors (entropy does).

    Each tensor's limit follows the rule; a group takes the largest of its members'.
    """
    rules = {"min-max": lambda h: h.largest, "percentile 99.99": _percentile, "mse": _least_error}
    found: dict[str, Scales] = {}
    for rule, limit in rules.items():
        limits: dict[str, float] = {}
        for name, histogram in histograms.items():
            limits[group[name]] = max(limits.get(group[name], 0.0), limit(histogram))
        found[rule] = {name: float(round_up(np.asarray(value / LEVELS))) for name, value in limits.items()}
    return found


def _percentile(histogram: Histogram, share: float = 0.9999) -> float:
    total = np.cumsum(histogram.counts)
    index = int(np.searchsorted(total, share * total[-1]))
    return min(histogram.largest, histogram.top * (index + 1) / BINS)


def _least_error(histogram: Histogram) -> float:
    """The limit with the least squared rounding and clipping error over the histogram."""
    if not histogram.largest:
        return 0.0
    centres = (np.arange(BINS) + 0.5) * (histogram.top / BINS)
    limits = histogram.largest * np.linspace(1, 1 / 8, 113)
    steps = limits[:, None] / LEVELS
    rounded = np.minimum(np.round(centres / steps), LEVELS) * steps
    errors = ((rounded - centres) ** 2) @ histogram.counts
    return float(limits[int(np.argmin(errors))])


def expose(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy of ``model`` whose outputs are ``tensors``."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tensors)
    return copy


def run_session(model: onnx.ModelProto) -> Any:
    """``model`` in ONNX Runtime on the CPU, pairs computed as they stand (fusing them has no float16 kernels)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def raw_maps(model: onnx.ModelProto, images: Images) -> list[list[NDArray[np.float32]]]:
    """The raw maps of every image."""
    session = run_session(model)
    name = session.get_inputs()[0].name
    return [session.run(None, {name: image}) for image in images]


def relative_error(maps: list[list[NDArray[np.float32]]], wanted: list[list[NDArray[np.float32]]]) -> float:
    """Root of squared error over squared value, the mean over the raw maps."""
    errors = []
    for got, want in zip(zip(*maps, strict=True), zip(*wanted, strict=True), strict=True):
        squares = sum(float(((a - b) ** 2).sum()) for a, b in zip(got, want, strict=True))
        errors.append((squares / sum(float((b**2).sum()) for b in want)) ** 0.5)
    return float(np.mean(errors))
