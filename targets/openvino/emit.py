"""ONNX -> OpenVINO IR with a uint8 BGR input.

The float graph is quantized first and gets its uint8 input afterwards, so that the input's scaling merges with the
first quantization.
"""

from __future__ import annotations

from .. import quiet  # noqa: F401  (before the runtime)

# isort: split

import contextlib
import importlib.metadata
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.job import INPUT_NAME, OUTPUT_NAMES, EmitJob, Emitted
from edge_yolov9.compiler.quantization import QuantizationScheme
from edge_yolov9.errors import CompileError
from edge_yolov9.registry import Board

MODEL = "model.xml"

QUANTIZATION = QuantizationScheme(weight_levels=63, moves=False)
"""Any zero point; activations float between a convolution and the next pair. Weights use 7 of their 8 bits: CPUs
without VNNI add two 8-bit products in 16 bits, which full weights saturate (BCCD AP on an AVX2 CPU, float .607: .609
with 7 bits, .603 with 8)."""


def check(board: Board, precision: str, target_options: Mapping[str, object]) -> None:
    """Nothing: every board takes what its table says."""


def emit(job: EmitJob) -> Emitted:
    """Write ``model.xml`` and ``model.bin``.

    Raises:
        CompileError: OpenVINO or NNCF refused the graph.
    """
    import openvino as ov

    try:
        with job.stage("convert to OpenVINO"), _quiet():
            model = ov.convert_model(_source(job))
        with job.stage("write OpenVINO IR"), _quiet():
            model = _with_uint8_input(model)
            ov.save_model(model, job.folder / MODEL, compress_to_fp16=job.precision == "fp16")
    except RuntimeError as error:  # OpenVINO's and NNCF's own exceptions are RuntimeErrors
        raise CompileError(f"OpenVINO cannot take this graph: {_first_line(error)}") from error
    return _emitted(job, model)


def _source(job: EmitJob) -> Path:
    """The float graph, or the plan's explicit pairs, which OpenVINO turns into its own FakeQuantize."""
    if job.plan is None:
        return job.onnx
    import onnx

    onnx.save(job.plan.insert(), job.scratch / "openvino.onnx")
    return job.scratch / "openvino.onnx"


def _with_uint8_input(model: Any) -> Any:
    """``model`` behind a (1, H, W, 3) uint8 BGR input."""
    import openvino as ov
    from openvino.preprocess import ColorFormat, PrePostProcessor

    processor = PrePostProcessor(model)
    tensor = processor.input().tensor()
    tensor.set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_color_format(ColorFormat.BGR)
    processor.input().model().set_layout(ov.Layout("NCHW"))
    steps = processor.input().preprocess()
    steps.convert_element_type(ov.Type.f32).convert_color(ColorFormat.RGB).scale([255.0, 255.0, 255.0])
    return processor.build()


def _emitted(job: EmitJob, model: Any) -> Emitted:
    height, width = job.input_size
    tensor = TensorSpec(INPUT_NAME, (1, height, width, 3), "uint8", "NHWC")
    outputs = tuple(TensorSpec(name, tuple(model.output(name).shape), "float32", "NCHW") for name in OUTPUT_NAMES)
    tools = ("openvino", "onnx", "onnxsim")
    return Emitted(
        MODEL,
        InputRule(tensor, height, width, color="BGR", scaling=1.0),
        outputs,
        tools={name: importlib.metadata.version(name) for name in tools},
        extra={"device": job.board.device or "CPU"},
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow the progress bars and notices of the toolchain."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
