"""Compile side of the jetson target: ONNX from which the device builds its TensorRT engine.

``model.onnx`` (opset 17, float32 between the pairs; builder flags choose FP16 and INT8) is for TensorRT 8.5 to 10.11
and for ONNX Runtime; ``model_typed.onnx`` (opset 19, float16 body) is for 10.12 and later: types stand in the graph.
An INT8 bundle has ``model_fp16.onnx`` too (opset 17, float16 body, for every version): what the device falls back on.
Beside them: the raw maps that an engine is checked against, the list of layers, and what trtexec and DeepStream need.
"""

from __future__ import annotations

from .. import quiet  # noqa: F401  (before the runtime)

# isort: split

import json
from collections.abc import Mapping

import onnx
import onnxruntime

from edge_yolov9 import registry
from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.floatgraph import raw_maps
from edge_yolov9.compiler.job import INPUT_NAME, EmitJob, Emitted, read_options
from edge_yolov9.compiler.quantization import QuantizationScheme
from edge_yolov9.geometry import planes
from edge_yolov9.registry import Board

from . import check as checks
from .board import JetsonBoard, JetsonOptions
from .graphs import dla, handover, layers, letterbox
from .graphs.half import to_half
from .names import FALLBACK, LAYERS, LETTERBOX, MODEL, TYPED, CameraExtra, Extra

QUANTIZATION = QuantizationScheme(symmetric=True, integers=False)
"""TensorRT takes int8 with zero point 0 only; activations stay in the convolution's kernel, in float."""

PICTURES = 2
"""On which the device checks its engine."""


def check(board: Board, precision: str, target_options: Mapping[str, object]) -> None:
    """Refuse ``--dla`` where there is none.

    Raises:
        TargetError: the board has no DLA, or the precision does not run on it.
    """
    if read_options(JetsonOptions, target_options).dla:
        dla.check(precision, board)


def emit(job: EmitJob) -> Emitted:
    """Write the ONNX flavours of one bundle, and what the device checks its engine with.

    Raises:
        TargetError: the DLA was asked for where there is none.
    """
    floats = onnx.load(job.onnx)
    model = floats if job.plan is None else job.plan.insert()
    options, board = read_options(JetsonOptions, job.target_options), job.board.own(JetsonBoard)
    onnx.save(model, job.folder / MODEL)
    (job.folder / LAYERS).write_text(json.dumps(layers.Layers(model).convolutions(), indent=1), encoding="utf-8")
    if job.precision != "fp32":
        with job.stage("strongly typed flavour"):
            onnx.save(to_half(model), job.folder / TYPED)
    if job.plan is not None:
        onnx.save(to_half(floats, opset=17), job.folder / FALLBACK)
    with job.stage("expected raw maps"):
        checked = _expect(job, floats, model)
    extra = Extra(
        portable=MODEL,
        typed=MODEL if job.precision == "fp32" else TYPED,
        fallback=None if job.plan is None else FALLBACK,
        check=checked,
        jetson=layers.describe(model, job.precision, registry.boards("jetson")),
        workspace_mib=board.workspace_mib,
        dla=dla.assign(floats, job.precision, job.board) if options.dla else None,
        camera=_camera(job, options.camera),
    )
    height, width = job.input_size
    outputs = tuple(_spec(item) for item in model.graph.output)
    handover.write(job.folder, extra, job.precision, job.input_size, outputs, board.jetpack == ("4.6",))
    return Emitted(
        model=MODEL,
        input=InputRule(TensorSpec(INPUT_NAME, (1, 3, height, width), "float32", "NCHW"), height, width),
        outputs=outputs,
        tools={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        extra=extra.as_dict(),
    )


def _camera(job: EmitJob, frame_size: tuple[int, int] | None) -> CameraExtra | None:
    """Write the letterbox of frames (height, width), where one was asked for."""
    if frame_size is None:
        return None
    onnx.save(letterbox.build(frame_size, job.input_size, INPUT_NAME), job.folder / LETTERBOX)
    return CameraExtra(*frame_size, LETTERBOX)


def _expect(job: EmitJob, floats: onnx.ModelProto, model: onnx.ModelProto) -> dict[str, object]:
    """Write the raw maps of a few pictures: of the float model and of the bundle's own graph."""
    frames = list(job.pictures.frames(PICTURES, PICTURES))
    images = [planes(frame) for frame in frames]
    wanted = raw_maps(floats, images)
    own = wanted if model is floats else raw_maps(model, images)
    checks.write(job.folder, [item.name for item in model.graph.output], frames, wanted, own)
    return {"file": checks.FILE, "pictures": len(frames), "of": job.pictures.kind}


def _spec(item: onnx.ValueInfoProto) -> TensorSpec:
    shape = tuple(size.dim_value for size in item.type.tensor_type.shape.dim)
    return TensorSpec(item.name, shape, "float32", "NCHW")
