"""Compile side of the jetson target: ONNX from which the device builds its TensorRT engine.

``model.onnx`` (opset 17, float32 between the pairs; builder flags choose FP16 and INT8) is for TensorRT 8.5 to 10.11
and for ONNX Runtime; ``model_typed.onnx`` (opset 19, float16 body) is for 10.12 and later: types stand in the graph.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime

from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.job import INPUT_NAME, EmitJob, Emitted
from edge_yolov9.compiler.quantization import Scheme

from .half import to_half

MODEL = "model.onnx"
TYPED = "model_typed.onnx"
SCHEME = Scheme(symmetric=True, integers=False)
"""TensorRT takes int8 with zero point 0 only; activations stay in the convolution's kernel, in float."""


def emit(job: EmitJob) -> Emitted:
    """Write the ONNX flavours of one bundle.

    Raises:
        CompileError: INT8 without a plan.
    """
    model = onnx.load(job.onnx)
    extra: dict[str, Any] = {"portable": MODEL, "typed": MODEL if job.precision == "fp32" else TYPED}
    if job.precision == "int8":
        model = job.int8.insert()
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


def _spec(item: onnx.ValueInfoProto) -> TensorSpec:
    shape = tuple(size.dim_value for size in item.type.tensor_type.shape.dim)
    return TensorSpec(item.name, shape, "float32", "NCHW")
