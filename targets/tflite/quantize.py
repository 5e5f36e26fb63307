"""float16 weights, and INT8 weights per channel with INT8 activations, by ``ai_edge_quantizer``.

Range of an activation: on each side midway between the extreme over all calibration images and the mean of the
images' own extremes. Measured on GELAN-T, BCCD, three calibration sets: it loses less AP than the extremes, the means
(which the quantizer's own moving average comes near) and 99.9 or 99.99 percentiles, and varies least from set to set.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.compiler.job import INPUT_NAME

RANGE_RULE = "midway between the extreme over all images and the mean of the images' extremes"

Ranges = dict[str, dict[str, NDArray[np.float32]]]
"""``{tensor: {"min": (1,), "max": (1,)}}``, real values."""


def activation_ranges(model: Path, images: Iterable[NDArray[np.uint8]], threads: int) -> Ranges:
    """Run the float model over ``images`` (height, width, 3) uint8 BGR and measure every activation."""
    from ai_edge_quantizer import calibrator, recipe, recipe_manager

    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe.static_wi8_ai8())
    mode = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED  # in C++, with the same figures
    runs = calibrator.Calibrator(model.read_bytes(), num_threads=threads, mode=mode)
    signature = next(iter(runs.get_signature_list()))
    low: dict[str, list[float]] = {}
    high: dict[str, list[float]] = {}
    for image in images:
        runs.reset_model_qsvs()
        runs.calibrate({signature: [{INPUT_NAME: image[None].astype(np.float32)}]}, rules)
        for name, seen in runs.get_model_qsvs().items():
            low.setdefault(name, []).append(float(np.min(seen["min"])))
            high.setdefault(name, []).append(float(np.max(seen["max"])))
    return {name: {"min": _midway(low[name], min), "max": _midway(high[name], max)} for name in low}


def to_int8(model: Path, ranges: Ranges, input_tensor: str) -> bytes:
    """The model with int8 weights per channel and int8 activations, inputs and outputs; pixels keep scale 1."""
    from ai_edge_quantizer import recipe

    pixels = {"min": np.zeros(1, np.float32), "max": np.full(1, 255, np.float32)}
    return _quantized(model, recipe.static_wi8_ai8(), {**ranges, input_tensor: pixels})


def to_fp16(model: Path) -> bytes:
    """The model with float16 convolution weights; arithmetic, inputs and outputs stay float32."""
    from ai_edge_quantizer import qtyping, quantizer

    weights = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    casting = quantizer.Quantizer(str(model))
    for operation in (qtyping.TFLOperationName.CONV_2D, qtyping.TFLOperationName.DEPTHWISE_CONV_2D):
        casting.update_quantization_recipe(".*", operation, config, quantizer.AlgorithmName.FLOAT_CASTING)
    return _quantized(model, casting.get_quantization_recipe(), None)


def _quantized(model: Path, recipe: Any, ranges: Ranges | None) -> bytes:
    from ai_edge_quantizer import quantizer

    result = quantizer.Quantizer(str(model), recipe).quantize(
        ranges, enable_progress_bar=False, enable_progress_report=False
    )
    return bytes(result.quantized_model)


def _midway(extremes: list[float], outermost: Any) -> NDArray[np.float32]:
    return np.array([(outermost(extremes) + np.mean(extremes)) / 2], np.float32)
