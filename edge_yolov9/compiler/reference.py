"""The float checkpoint behind the interface of a Detector: what every artifact is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_yolov9.checkpoint import Checkpoint, load
from edge_yolov9.compiler.prune import prune
from edge_yolov9.decode import Decoder
from edge_yolov9.detections import Detections
from edge_yolov9.detector import checked_frame, checked_options
from edge_yolov9.errors import InputError
from edge_yolov9.geometry import Letterbox
from edge_yolov9.model import RawHeads


def checked_input_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width), each a positive multiple of 32.

    Raises:
        InputError: it is not.
    """
    for side in size:
        if side < 32 or side % 32:
            near = max(32, round(side / 32) * 32)
            raise InputError(f"the image size must be a multiple of 32, got {side}; use {near}")
    return size


def run_heads(heads: RawHeads, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """One letterboxed frame (height, width, 3) uint8 BGR -> six float32 arrays (channels, cells)."""
    tensor = torch.from_numpy(np.ascontiguousarray(image[:, :, ::-1])).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        return [out[0].flatten(1).numpy() for out in heads(tensor)]


class CheckpointDetector:
    """Runs a checkpoint in PyTorch with the letterbox and decode of :class:`edge_yolov9.Detector`."""

    def __init__(
        self,
        checkpoint: str | Path | Checkpoint,
        *,
        input_size: tuple[int, int] | None = None,
        confidence: float = 0.25,
        iou: float = 0.45,
        max_detections: int = 300,
        multi_label: bool = False,
    ) -> None:
        """``input_size`` is (height, width) pixels; the checkpoint's own when None. Other arguments as Detector's."""
        opened = checkpoint if isinstance(checkpoint, Checkpoint) else load(checkpoint)
        self.options = checked_options(confidence, iou, max_detections, multi_label)
        self.names = opened.names
        self.input_size = checked_input_size(input_size or opened.input_size)
        self.heads = RawHeads(prune(opened.model)).eval()
        self._decode = Decoder(self.input_size)

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """Find objects in one frame (H, W, 3) uint8 BGR; boxes in its pixels."""
        frame = checked_frame(frame)
        placed = Letterbox.fit((frame.shape[0], frame.shape[1]), self.input_size)
        boxes, scores, classes = self._decode(run_heads(self.heads, placed.apply(frame)), self.options)
        return Detections(placed.to_frame(boxes), scores, classes, self.names)

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> CheckpointDetector:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
