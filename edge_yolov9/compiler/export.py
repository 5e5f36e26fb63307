"""From a folded model to simplified ONNX, the common ground of the ONNX-based targets."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from edge_yolov9.compiler.job import INPUT_NAME, OUTPUT_NAMES
from edge_yolov9.errors import CompileError
from edge_yolov9.model import RawHeads

OPSET = 17


def export_onnx(heads: RawHeads, input_size: tuple[int, int], path: Path) -> Path:
    """Write float32 ONNX with static shapes: ``images`` (1, 3, H, W) RGB in [0, 1] -> the six raw tensors."""
    import onnx
    import onnxsim

    example = torch.zeros(1, 3, *input_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            heads,
            (example,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=list(OUTPUT_NAMES),
        )
    simplified, same = onnxsim.simplify(onnx.load(path))
    if not same:
        raise CompileError("onnxsim changed what the exported graph computes; report this checkpoint")
    onnx.save(simplified, path)
    return path
