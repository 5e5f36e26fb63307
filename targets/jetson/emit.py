"""Compile side of the jetson target: ONNX from which the device builds its TensorRT engine.

``model.onnx`` (opset 17, float32 between the pairs; builder flags choose FP16 and INT8) is for TensorRT 8.5 to 10.11
and for ONNX Runtime; ``model_typed.onnx`` (opset 19, float16 body) is for 10.12 and later: types stand in the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.job import INPUT_NAME, CalibrationSet, EmitJob, Emitted
from edge_yolov9.errors import CalibrationError

from . import qdq, ranges
from .half import to_half

MODEL = "model.onnx"
TYPED = "model_typed.onnx"
JUDGES = 16
"""Calibration images on which the range rules compete."""


def emit(job: EmitJob) -> Emitted:
    """Write the ONNX flavours of one bundle.

    Raises:
        CalibrationError: INT8 without calibration images.
        CompileError: the graph holds an operator that the INT8 rules do not cover.
    """
    model = onnx.load(job.onnx)
    extra: dict[str, Any] = {"portable": MODEL, "typed": MODEL if job.precision == "fp32" else TYPED}
    if job.precision == "int8":
        model, extra["ranges"] = _quantized(job, model)
    onnx.save(model, job.folder / MODEL)
    if job.precision != "fp32":
        with job.stage("strongly typed flavour"):
            onnx.save(to_half(model), job.folder / TYPED)
    height, width = job.input_size
    return Emitted(
        model=MODEL,
        input=InputRule(TensorSpec(INPUT_NAME, (1, 3, height, width), "float32", "NCHW"), height, width),
        outputs=tuple(_spec(item) for item in model.graph.output),
        tools={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        extra=extra,
    )


def _quantized(job: EmitJob, model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The graph with its pairs, and the measured error of each range rule."""
    if job.calibration is None or not len(job.calibration):
        raise CalibrationError("INT8 for jetson needs calibration images; give --calibration FOLDER, or use fp16")
    images = Tensors(job.calibration)
    plan = qdq.plan(model)
    with job.stage(f"measure ranges on {len(images)} images"):
        histograms = ranges.measure(model, plan.measured, images)
    with job.stage("choose ranges by output error"):
        candidates = ranges.candidates(histograms, plan.group)
        judges = list(images.few(JUDGES))
        float_maps = ranges.raw_maps(model, judges)
        graphs = {rule: qdq.insert(model, plan, scales) for rule, scales in candidates.items()}
        errors = {rule: ranges.relative_error(ranges.raw_maps(g, judges), float_maps) for rule, g in graphs.items()}
    best = min(errors, key=lambda rule: errors[rule])
    return graphs[best], {"rule": best, "relative_error": {rule: round(value, 5) for rule, value in errors.items()}}


@dataclass(frozen=True)
class Tensors:
    """Calibration images as the network wants them, decoded anew on every pass."""

    images: CalibrationSet

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """(1, 3, height, width) float32 RGB in [0, 1]."""
        for image in self.images:
            yield np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / np.float32(255)

    def few(self, count: int) -> Tensors:
        """At most ``count`` of them, evenly spread."""
        paths: Sequence[Any] = self.images.paths
        return Tensors(CalibrationSet(tuple(paths[:: -(-len(paths) // count)]), self.images.input_size))


def _spec(item: onnx.ValueInfoProto) -> TensorSpec:
    shape = tuple(size.dim_value for size in item.type.tensor_type.shape.dim)
    return TensorSpec(item.name, shape, "float32", "NCHW")
