"""Compile side: the exported graph as it is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from edge_yolov9.bundle import InputRule, TensorSpec
from edge_yolov9.compiler.job import INPUT_NAME, EmitJob, Emitted, read_options
from edge_yolov9.compiler.quantization import QuantizationScheme
from edge_yolov9.errors import TargetError
from edge_yolov9.registry import Board

MODEL = "model.onnx"

QUANTIZATION = QuantizationScheme()
"""How INT8 is placed; the boards take no INT8, so that nothing asks for it."""


@dataclass(frozen=True)
class CvOptions:
    """The options of the row."""

    no_winograd: bool = False


@dataclass(frozen=True)
class CvBoard:
    """What target.toml states for this target alone."""

    largest: int
    """Largest side of the input, pixels."""


def check(board: Board, precision: str, target_options: Mapping[str, object]) -> None:
    """Refuse a board that is too small for anything."""
    if board.own(CvBoard).largest < 32:
        raise TargetError(f"{board.name} takes no input of 32 pixels; choose another board")


def emit(job: EmitJob) -> Emitted:
    """Copy the graph, and tell the session of it."""
    shutil.copyfile(job.onnx, job.folder / MODEL)
    height, width = job.input_size
    outputs = tuple(
        TensorSpec(item.name, tuple(size.dim_value for size in item.type.tensor_type.shape.dim), "float32", "NCHW")
        for item in onnx.load(job.onnx).graph.output
    )
    image = TensorSpec(INPUT_NAME, (1, 3, height, width), "float32", "NCHW")
    extra = {"no_winograd": read_options(CvOptions, job.target_options).no_winograd}
    return Emitted(MODEL, InputRule(image, height, width), outputs, {"onnx": onnx.__version__}, extra)
