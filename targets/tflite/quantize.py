"""float16 weights, and the plan's INT8, by ``ai_edge_quantizer``: weights per channel, activations int8."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.compiler.quantization import Plan
from edge_yolov9.errors import CompileError

from .match import match, operators

Ranges = dict[str, dict[str, NDArray[np.float32]]]
"""``{tensor: {"min": (1,), "max": (1,)}}``, real values."""


def to_int8(model: Path, plan: Plan, image: NDArray[np.uint8], input_tensor: str) -> bytes:
    """The model with int8 weights per channel and int8 activations; pixels have scale 1.

    Operators that touch a tensor that the plan keeps float stay float32; all outputs do where it keeps one of them.

    Args:
        model: float32 file made of the plan's weights.
        plan: ranges by the names of the ONNX graph.
        image: letterboxed calibration image (H, W, 3) uint8 BGR, for both graphs: tensors of equal values are paired.
        input_tensor: name of the pixels.

    Raises:
        CompileError: a tensor has no counterpart in the plan.
    """
    from ai_edge_quantizer import recipe

    pairs = match(model, plan.graph.model, image)
    made = [name for _, outputs in operators(model) for name in outputs]
    if lost := [name for name in made if name not in pairs or pairs[name] not in plan.graph.group]:
        raise CompileError(f"{len(lost)} tensors of the LiteRT graph are not in the plan, the first is {lost[0]}")
    ranges = {input_tensor: _range(0.0, 255.0)}
    for name, in_plan in pairs.items():
        chosen = plan.range_of(in_plan)
        ranges[name] = _range(chosen.low, chosen.high)
    floats = plan.graph.floats(plan.floating)
    stay = {name for name, in_plan in pairs.items() if in_plan in floats}
    if plan.graph.inputs[0] in floats:
        stay.add(input_tensor)
    skipped = [outputs[0] for inputs, outputs in operators(model) if stay & {*inputs, *outputs}]
    return _quantized(model, recipe.static_wi8_ai8(), ranges, skipped, bool(floats & set(plan.graph.outputs)))


def _range(low: float, high: float) -> dict[str, NDArray[np.float32]]:
    return {"min": np.full(1, low, np.float32), "max": np.full(1, high, np.float32)}


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


def _quantized(
    model: Path, recipe: Any, ranges: Ranges | None, skipped: Iterable[str] = (), float_outputs: bool = False
) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer

    vendor = quantizer.Quantizer(str(model), recipe)
    for name in skipped:
        vendor.update_quantization_recipe(
            f"^{re.escape(name)};?$",
            qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE,
        )
    if float_outputs:  # of all maps or of none; those that are INT8 are dequantized at the border
        outputs = qtyping.TFLOperationName.OUTPUT
        vendor.update_quantization_recipe(".*", outputs, algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE)
    result = vendor.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)
