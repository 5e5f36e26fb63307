"""The float checkpoint behind the interface of a Detector: what every artifact is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_yolov9.checkpoint import Checkpoint
from edge_yolov9.compiler.prune import prune
from edge_yolov9.decode import EVALUATION, DecodeOptions, Decoder
from edge_yolov9.detections import Detections
from edge_yolov9.errors import InputError
from edge_yolov9.geometry import Letterbox
from edge_yolov9.lane import checked_frame
from edge_yolov9.model import RawHeads

if TYPE_CHECKING:
    import onnx

Heads = Callable[[Tensor], Sequence[Tensor]]
"""(1, 3, H, W) RGB in [0, 1] -> the six raw tensors."""


LARGEST = 8192
"""Pixels; the activations of larger images fit no memory."""


def checked_input_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width), each a multiple of 32 up to LARGEST.

    Raises:
        InputError: it is not.
    """
    for side in size:
        if side < 32 or side % 32:
            near = max(32, round(side / 32) * 32)
            raise InputError(f"the image size must be a multiple of 32, got {side}; use {near}")
        if side > LARGEST:
            raise InputError(f"the image size must be at most {LARGEST}, got {side}")
    return size


def run_heads(heads: Heads, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """One letterboxed frame (height, width, 3) uint8 BGR -> six float32 arrays (channels, cells)."""
    tensor = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        return [out[0].flatten(1).numpy() for out in heads(tensor)]


class OnnxHeads:
    """Raw heads that ONNX Runtime computes."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """``model`` takes the pixels and gives the six raw tensors."""
        from edge_yolov9.compiler.floatgraph import run_session

        self._session = run_session(model)
        self._input = self._session.get_inputs()[0].name

    def __call__(self, images: Tensor) -> list[Tensor]:
        """(1, 3, H, W) RGB in [0, 1] -> the six raw tensors."""
        return [torch.from_numpy(out) for out in self._session.run(None, {self._input: images.numpy()})]


class HeadsDetector:
    """Raw heads with the letterbox and decode of :class:`edge_yolov9.Detector`."""

    def __init__(
        self, heads: Heads, names: tuple[str, ...], input_size: tuple[int, int], options: DecodeOptions
    ) -> None:
        """``input_size`` is (height, width) pixels."""
        self.names = names
        self.input_size = input_size
        self._heads = heads
        self._options = options
        self._decode = Decoder(input_size)

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """Find objects in one frame (H, W, 3) uint8 BGR; boxes in its pixels."""
        frame = checked_frame(frame)
        placed = Letterbox.fit((frame.shape[0], frame.shape[1]), self.input_size)
        boxes, scores, classes = self._decode(run_heads(self._heads, placed.apply(frame)), self._options)
        return Detections(placed.to_frame(boxes), scores, classes, self.names)


def checkpoint_detector(
    checkpoint: Checkpoint, input_size: tuple[int, int] | None = None, options: DecodeOptions = EVALUATION
) -> HeadsDetector:
    """The deployed part of a checkpoint as a detector; ``input_size`` (height, width) is its own when None.

    Raises:
        InputError: a side is not a multiple of 32.
    """
    size = checked_input_size(input_size or checkpoint.input_size)
    return HeadsDetector(RawHeads(prune(checkpoint.model)).eval(), checkpoint.names, size, options)
