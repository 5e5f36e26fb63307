"""Compile side of the jetson target: ONNX from which the device builds its TensorRT engine.

``model.onnx`` (opset 17, float32 between the pairs; builder flags choose FP16 and INT8) is for TensorRT 8.5 to 10.11
and for ONNX Runtime; ``model_typed.onnx`` (opset 19, float16 body) is for 10.12 and later: types stand in the graph.
An INT8 bundle has ``model_fp16.onnx`` too (opset 17, float16 body, for every version): what the device falls back on.
Beside them: the raw maps that an engine is checked against, the list of layers, and what trtexec and DeepStream need.
"""

from __future__ import annotations

import json
from typing import Any

import onnx
import onnxruntime

from edge_yolov9 import registry
from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.floatgraph import raw_maps
from edge_yolov9.compiler.job import INPUT_NAME, EmitJob, Emitted
from edge_yolov9.compiler.quantization import Scheme
from edge_yolov9.geometry import planes

from . import check
from .graphs import dla, handover, layers, letterbox
from .graphs.half import to_half
from .names import FRAME

MODEL = "model.onnx"
TYPED = "model_typed.onnx"
FALLBACK = "model_fp16.onnx"
LETTERBOX = "letterbox.onnx"
LAYERS = "layers.json"
SCHEME = Scheme(symmetric=True, integers=False)
"""TensorRT takes int8 with zero point 0 only; activations stay in the convolution's kernel, in float."""

PICTURES = 2
"""On which the device checks its engine."""


def emit(job: EmitJob) -> Emitted:
    """Write the ONNX flavours of one bundle, and what the device checks its engine with.

    Raises:
        CompileError: INT8 without a plan.
        TargetError: the DLA was asked for where there is none.
    """
    floats = onnx.load(job.onnx)
    model = job.int8.insert() if job.precision == "int8" else floats
    extra: dict[str, Any] = {"portable": MODEL, "typed": MODEL if job.precision == "fp32" else TYPED}
    onnx.save(model, job.folder / MODEL)
    if job.precision != "fp32":
        with job.stage("strongly typed flavour"):
            onnx.save(to_half(model), job.folder / TYPED)
    if job.precision == "int8":
        onnx.save(to_half(floats, opset=17), job.folder / FALLBACK)
        extra["fallback"] = FALLBACK
    with job.stage("expected raw maps"):
        extra["check"] = _expect(job, floats, model)
    extra |= _board(job, floats, model)
    height, width = job.input_size
    outputs = tuple(_spec(item) for item in model.graph.output)
    old = job.board.get("jetpack") == ["4.6"]
    handover.write(job.folder, extra, job.precision, job.input_size, outputs, old)
    return Emitted(
        model=MODEL,
        input=InputRule(TensorSpec(INPUT_NAME, (1, 3, height, width), "float32", "NCHW"), height, width),
        outputs=outputs,
        tools={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        extra=extra,
    )


def _board(job: EmitJob, floats: onnx.ModelProto, model: onnx.ModelProto) -> dict[str, Any]:
    """What depends on the board: estimates, workspace, DLA, the camera's letterbox."""
    (job.folder / LAYERS).write_text(json.dumps(layers.Layers(model).convolutions(), indent=1), encoding="utf-8")
    found: dict[str, Any] = {"jetson": layers.describe(model, job.precision, registry.boards("jetson"))}
    if "workspace_mib" in job.board:
        found["workspace_mib"] = job.board["workspace_mib"]
    if job.board.get("dla"):
        found["dla"] = dla.assign(floats, job.precision, job.board)
    if camera := job.board.get("camera"):
        onnx.save(letterbox.build(camera, job.input_size, INPUT_NAME), job.folder / LETTERBOX)
        found["camera"] = {"letterbox": LETTERBOX, "height": camera[0], "width": camera[1], "input": FRAME}
    return found


def _expect(job: EmitJob, floats: onnx.ModelProto, model: onnx.ModelProto) -> dict[str, Any]:
    """Write the raw maps of a few pictures: of the float model and of the bundle's own graph."""
    frames = list(job.pictures(PICTURES, PICTURES))
    images = [planes(frame) for frame in frames]
    wanted = raw_maps(floats, images)
    own = wanted if model is floats else raw_maps(model, images)
    check.write(job.folder, [item.name for item in model.graph.output], frames, wanted, own)
    return {"file": check.FILE, "pictures": len(frames), "of": job.pictures_are}


def _spec(item: onnx.ValueInfoProto) -> TensorSpec:
    shape = tuple(size.dim_value for size in item.type.tensor_type.shape.dim)
    return TensorSpec(item.name, shape, "float32", "NCHW")
