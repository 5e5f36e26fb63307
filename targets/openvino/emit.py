"""ONNX -> OpenVINO IR with a uint8 BGR input, quantized by NNCF for int8.

The float graph is quantized first and gets its uint8 input afterwards, so that the input's scaling merges with the
first quantization.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.job import INPUT_NAME, OUTPUT_NAMES, CalibrationSet, EmitJob, Emitted
from edge_yolov9.errors import CompileError

MODEL = "model.xml"


def emit(job: EmitJob) -> Emitted:
    """Write ``model.xml`` and ``model.bin``.

    Raises:
        CompileError: OpenVINO or NNCF refused the graph.
    """
    import openvino as ov

    try:
        with job.stage("convert to OpenVINO"), _quiet():
            model = ov.convert_model(job.onnx)
        if job.calibration is not None:
            with job.stage("quantize"), _quiet():
                model = _quantized(model, job.calibration)
        with job.stage("write OpenVINO IR"), _quiet():
            model = _with_uint8_input(model)
            ov.save_model(model, job.folder / MODEL, compress_to_fp16=job.precision == "fp16")
    except RuntimeError as error:  # OpenVINO's and NNCF's own exceptions are RuntimeErrors
        raise CompileError(f"OpenVINO cannot take this graph: {_first_line(error)}") from error
    return _emitted(job, model)


def _quantized(model: Any, images: CalibrationSet) -> Any:
    """Symmetric weights per channel, asymmetric activations; the six raw heads stay float.

    Weights use 7 of their 8 bits: CPUs without VNNI add two 8-bit products in 16 bits, which full weights saturate
    (BCCD AP on an AVX2 CPU, float .607: .609 with 7 bits, .603 with 8).
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    quantized = nncf.quantize(
        model,
        nncf.Dataset(images, _network_input),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(images),
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
    )
    return quantized


def _network_input(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 BGR -> (1, 3, H, W) float32 RGB in [0, 1]."""
    return np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def _with_uint8_input(model: Any) -> Any:
    """The same model behind a (1, H, W, 3) uint8 BGR input."""
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
    tools = ("openvino", "onnx", "onnxsim", *(("nncf",) if job.calibration is not None else ()))
    return Emitted(
        MODEL,
        InputRule(tensor, height, width, color="BGR", scaling=1.0),
        outputs,
        tools={name: importlib.metadata.version(name) for name in tools},
        extra={"device": job.board.get("device", "CPU")},
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow the progress bars and notices of the toolchain."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
