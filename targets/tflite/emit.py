"""Compile side: folded heads -> ``model.tflite`` in NHWC.

The artifact takes BGR pixels as they are (int8: pixel - 128) and ends at the six raw tensors, boxes and classes never
in one tensor: an int8 tensor has one scale, and the class logits would drown in it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.job import INPUT_NAME, OUTPUT_NAMES, EmitJob, Emitted, Pictures
from edge_yolov9.compiler.quantization import Plan, QuantizationScheme
from edge_yolov9.errors import CompileError, EdgeYoloError
from edge_yolov9.files import finite
from edge_yolov9.model import RawHeads
from edge_yolov9.registry import Board

from .board import TfliteBoard, Vela

MODEL = "model.tflite"

QUANTIZATION = QuantizationScheme(everywhere=True, outputs=True)
"""Full integer: every tensor int8 with any zero point, the raw maps too."""

TOOLS = ("litert-torch", "litert-converter", "ai-edge-quantizer", "ai-edge-litert")


def check(board: Board, precision: str, target_options: Mapping[str, object]) -> None:
    """Refuse an Ethos-U board where vela is not installed. The Edge TPU's compiler runs elsewhere.

    Raises:
        CompileError: the board's NPU needs vela, which is not installed.
    """
    from . import vela

    if isinstance(board.own(TfliteBoard).npu, Vela):
        vela.check_installed()


def emit(job: EmitJob) -> Emitted:
    """Write ``model.tflite`` into the job's folder.

    Raises:
        CompileError: the converter or the quantizer failed.
        CalibrationError, SourceError: a calibration image cannot be used.
    """
    from . import edgetpu, lower, quantize, vela

    check(job.board, job.precision, job.target_options)
    npu = job.board.own(TfliteBoard).npu
    log, floating, artifact = job.scratch / "tflite.log", job.scratch / "float.tflite", job.folder / MODEL
    extra: dict[str, Any] = {}
    with job.stage("convert to TFLite"), _vendor("the conversion to TFLite", log):
        lower.convert(_heads(job), job.input_size, floating)
    if job.plan is not None:
        with job.stage("quantize"), _vendor("the quantization", log):
            artifact.write_bytes(_int8(job.plan, job.pictures, floating))
    elif job.precision == "fp16":
        with job.stage("cast to float16"), _vendor("the cast to float16", log):
            artifact.write_bytes(quantize.to_fp16(floating))
    else:
        artifact.write_bytes(floating.read_bytes())
    with _vendor("loading the emitted model", log):
        inputs, outputs = _signature(artifact)
    if npu is not None:
        with job.stage("prepare for the NPU"), _vendor("the preparation for the NPU", log):
            prepared = (
                vela.prepare(artifact, npu, job.scratch) if isinstance(npu, Vela) else edgetpu.prepare(artifact, npu)
            )
            extra["npu"] = finite(prepared)
    images = _spec(INPUT_NAME, inputs)
    height, width = job.input_size
    rule = InputRule(images, height, width, color="BGR", scaling=1.0)
    tools = {name: version(name) for name in TOOLS}
    return Emitted(MODEL, rule, tuple(_spec(name, outputs) for name in OUTPUT_NAMES), tools, extra)


def _heads(job: EmitJob) -> RawHeads:
    """The model, without grouped convolutions for boards whose compiler does not read them."""
    heads = job.heads if job.plan is None else job.plan.prepared(job.heads)
    from . import lower

    return heads if job.board.own(TfliteBoard).grouped_convolutions else lower.ungrouped(heads)


def _int8(plan: Plan, pictures: Pictures, floating: Path) -> bytes:
    from . import quantize

    pixels = _signature(floating)[0][INPUT_NAME]["name"]
    return quantize.to_int8(floating, plan, next(pictures.frames(1, 1)), pixels)


def _signature(model: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensor details of inputs and outputs by their names in the model's signature."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(model)).get_signature_runner()
    return runner.get_input_details(), runner.get_output_details()


def _spec(name: str, details: dict[str, Any]) -> TensorSpec:
    tensor = details[name]
    shape, dtype = tuple(int(size) for size in tensor["shape"]), np.dtype(tensor["dtype"]).name
    if dtype == "float32":
        return TensorSpec(name, shape, dtype, "NHWC")
    scale, zero_point = tensor["quantization"]
    return TensorSpec(name, shape, dtype, "NHWC", float(scale), int(zero_point))


@contextmanager
def _vendor(step: str, log: Path) -> Iterator[None]:
    """Send what the toolchain prints, from C++ too, to ``log``; silence its warnings; map its exceptions.

    Raises:
        CompileError: the toolchain raised; its own exception is the cause.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        with log.open("a", encoding="utf-8") as file, contextlib.ExitStack() as stack:
            for descriptor in (1, 2):
                saved = os.dup(descriptor)
                stack.callback(os.close, saved)
                stack.callback(os.dup2, saved, descriptor)
                os.dup2(file.fileno(), descriptor)
            stack.enter_context(contextlib.redirect_stdout(file))
            stack.enter_context(contextlib.redirect_stderr(file))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            yield
    except EdgeYoloError:
        raise
    except Exception as error:  # the toolchain raises whatever its layers raise
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise CompileError(f"{step} failed: {type(error).__name__}: {reason}; no bundle was written") from error
