"""Coral's Edge TPU: its compiler is not on any package registry, so the model is held against the published rules.

The compiler's last release (16.0, 2021) reads no operator newer than itself: one of a later version and it refuses the
whole file. What it does not know it leaves, with everything after it, to the CPU.
"""

from __future__ import annotations

from pathlib import Path

from edge_yolov9.errors import CompileError
from edge_yolov9.registry.extra import NpuRecord

from . import operators
from .board import EdgeTpu

# fmt: off
SUPPORTED = frozenset((
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED",
    "L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PACK", "PAD", "PRELU",
    "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUARED_DIFFERENCE",
    "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM",
))
# fmt: on
"""Operators of https://coral.ai/docs/edgetpu/models-intro/#supported-operations"""

NEWEST = {"CONV_2D": 5, "TRANSPOSE_CONV": 3}
"""Versions after which 16.0 is known to refuse a file (google-coral/edgetpu issues 631 and 845); 6 means groups."""


def prepare(model: Path, profile: EdgeTpu) -> NpuRecord:
    """Hold ``model`` against the published rules; nothing is compiled.

    Args:
        model: int8 ``.tflite``.
        profile: the ``npu`` table of the board.

    Returns:
        Operators by whether the published list has them, and the command that is left to run.

    Raises:
        CompileError: an operator is of a version at which the Edge TPU compiler refuses the file.
    """
    counted = operators.count(model)
    for operator in counted:
        if operator.version > NEWEST.get(operator.name, operator.version):
            raise CompileError(
                f"the Edge TPU compiler reads {operator.name} up to version {NEWEST[operator.name]}, the model has "
                f"version {operator.version}; no bundle was written"
            )
    unlisted = {operator.name: times for operator, times in counted.items() if operator.name not in SUPPORTED}
    bad = sum(unlisted.values())
    return NpuRecord(
        compiler=profile.compiler,
        command=profile.command,
        operators={"listed": counted.total() - bad, "unlisted": bad},
        unlisted=unlisted or None,
        measured="nothing: operators are held against the published list, the Edge TPU compiler did not run",
    )
