"""ONNX for ONNX Runtime: the exported graph as it is, with a float16 body, or with Q/DQ pairs for int8."""

from __future__ import annotations

from .. import quiet  # noqa: F401  (before the runtime)

# isort: split

import contextlib
import importlib.metadata
import io
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx

from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.job import INPUT_NAME, EmitJob, Emitted
from edge_yolov9.compiler.quantization import QuantizationScheme
from edge_yolov9.errors import CompileError
from edge_yolov9.registry import Board

MODEL = "model.onnx"

QUANTIZATION = QuantizationScheme(weight_levels=63, everywhere=True)
"""uint8 with any zero point, because on x86 ONNX Runtime fuses only that into integer kernels, and a float operator
in between keeps it from fusing the neighbours; 7-bit weights, because CPUs without VNNI saturate on full ones."""


def check(board: Board, precision: str, target_options: Mapping[str, object]) -> None:
    """Nothing: every board takes what its table says."""


def emit(job: EmitJob) -> Emitted:
    """Write ``model.onnx``. Input and outputs are float32 at every precision.

    Raises:
        CompileError: ONNX Runtime's tools refused the graph.
    """
    path = job.folder / MODEL
    if job.plan is not None:
        onnx.save(job.plan.insert(), path)
    elif job.precision == "fp16":
        with job.stage("convert to float16"), _quiet():
            _write_half(job.onnx, path)
    else:
        shutil.copyfile(job.onnx, path)
    return _emitted(job, path)


def _write_half(source: Path, destination: Path) -> None:
    """Weights and arithmetic in float16 between float32 input and outputs."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    try:
        model = OnnxModel(convert_float_to_float16(onnx.load(source), keep_io_types=True))
    except (RuntimeError, ValueError) as error:
        raise CompileError(f"ONNX Runtime's float16 converter cannot take this graph: {error}") from error
    model.topological_sort()  # the converter appends its casts; the standard wants nodes in order
    onnx.save(model.model, destination)


def _emitted(job: EmitJob, path: Path) -> Emitted:
    height, width = job.input_size
    graph = onnx.load(path).graph
    outputs = tuple(
        TensorSpec(item.name, tuple(d.dim_value for d in item.type.tensor_type.shape.dim), "float32", "NCHW")
        for item in graph.output
    )
    return Emitted(
        MODEL,
        InputRule(TensorSpec(INPUT_NAME, (1, 3, height, width), "float32", "NCHW"), height, width),
        outputs,
        tools={name: importlib.metadata.version(name) for name in ("onnx", "onnxsim", "onnxruntime")},
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow notices of the toolchain, and the root log handler that it sets up to print them."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
