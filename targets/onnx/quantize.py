"""Post-training int8 for ONNX Runtime's CPU kernels.

Activations are uint8 and asymmetric, because on x86 ONNX Runtime fuses only those into integer kernels; with int8
activations the same graph runs its convolutions in float between conversions, slower than float32. Weights are
int8 per channel with 7 bits: CPUs without VNNI add two 8-bit products in 16 bits, which full weights saturate.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from edge_yolov9.compiler.job import INPUT_NAME, OUTPUT_NAMES, CalibrationSet
from edge_yolov9.errors import CompileError

QUANTIZED = ("Conv", "Sigmoid", "Mul", "Add", "Concat", "Slice", "Split", "MaxPool", "AveragePool", "Resize")
"""With a float operator in between, ONNX Runtime would not fuse its neighbours."""


def quantize(source: Path, destination: Path, images: CalibrationSet) -> None:
    """Write the Q/DQ graph; ranges are the extremes seen on ``images``.

    The last convolution of each branch stays float in weights and output: six small layers, whose integer outputs
    would cost the box bins and class logits their resolution.

    Raises:
        CompileError: ONNX Runtime's quantizer refused the graph.
    """
    last = [node.name for node in onnx.load(source).graph.node if set(node.output) & set(OUTPUT_NAMES)]
    try:
        quantize_static(
            str(source),
            str(destination),
            Reader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=last,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    except (RuntimeError, ValueError) as error:
        raise CompileError(f"ONNX Runtime's quantizer cannot take this graph: {error}") from error


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds calibration images to ONNX Runtime, one at a time."""

    def __init__(self, images: CalibrationSet) -> None:
        self._images: Iterator[NDArray[np.uint8]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next input, (1, 3, H, W) float32 RGB in [0, 1]; None at the end."""
        image = next(self._images, None)
        if image is None:
            return None
        planes = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)
        return {INPUT_NAME: planes / np.float32(255)}
