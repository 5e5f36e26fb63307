"""The float model as a session: what a runtime's session is to a bundle, PyTorch is to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_yolov9.geometry import Image, planes
from edge_yolov9.registry import Session

Heads = Callable[[Tensor], Sequence[Tensor]]
"""(N, 3, H, W) RGB in [0, 1] -> the six raw tensors, each (N, channels, H/s, W/s)."""


def image_batch(images: Sequence[Image]) -> Tensor:
    """Letterboxed frames (height, width, 3) uint8 BGR -> (N, 3, height, width) float32 RGB in [0, 1]."""
    return torch.from_numpy(np.concatenate([planes(image) for image in images]))


class TorchSession(Session):
    """Raw heads in PyTorch; see :class:`edge_yolov9.registry.Session`."""

    def __init__(self, heads: Heads, device: torch.device | str = "cpu") -> None:
        """``heads`` is in eval mode and on ``device``."""
        self._heads, self._device = heads, device
        self._batch = torch.empty(0)

    def infer(self, image: Image) -> list[NDArray[np.float32]]:
        """One letterboxed frame (height, width, 3) uint8 BGR -> six float32 arrays (channels, cells)."""
        return self._run(image_batch([image]).to(self._device))[0]

    def infer_batch(self, images: Sequence[Image]) -> list[list[NDArray[np.float32]]]:
        """The six arrays of each of several frames of one size, computed together."""
        if not images:
            return []
        return self._run(image_batch(images).to(self._device, memory_format=torch.channels_last))

    @torch.inference_mode()
    def _run(self, batch: Tensor) -> list[list[NDArray[np.float32]]]:
        self._batch = batch
        maps = [tensor.float().flatten(2).cpu().numpy() for tensor in self._heads(batch)]
        return [[array[index] for array in maps] for index in range(len(batch))]

    @torch.inference_mode()
    def bare(self) -> None:
        """The heads once more on the images that came last."""
        self._heads(self._batch)

    def close(self) -> None:
        """Nothing is held."""
