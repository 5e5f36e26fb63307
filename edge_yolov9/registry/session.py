"""What a target's ``session.py`` gives: a model that is loaded in a vendor runtime."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import InferenceError


class Session(ABC):
    """A model loaded in one vendor runtime. One thread at a time.

    A target implements :meth:`infer`, :meth:`bare` and :meth:`close`; what it does not override has a default.
    """

    @abstractmethod
    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Run one letterboxed frame.

        Args:
            image: (height, width, 3) uint8 BGR, C-contiguous, of the bundle's input size.

        Returns:
            The six raw tensors in the order of ``manifest.outputs``, each as a 2-D view (channels, cells) with cells
            in row order, in the dtype that the manifest states. Valid until the next call.

        Raises:
            InferenceError: the runtime failed, or the session is closed.
        """

    @abstractmethod
    def bare(self) -> None:
        """Run the runtime once more on the input that is in place: what a frame costs without our part of it."""

    @abstractmethod
    def close(self) -> None:
        """Free what the runtime holds. Calling it twice does no harm."""

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(height, width) of frames that :meth:`infer_frame` takes; None where the host letterboxes every frame."""
        return None

    def infer_frame(self, frame: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Letterbox one frame (H, W, 3) uint8 BGR of ``frame_size`` on the device, and run it; as :meth:`infer`.

        Raises:
            InferenceError: the runtime failed, or the session letterboxes no frames.
        """
        raise InferenceError("this session letterboxes no frames; letterbox on the host and call infer")

    @property
    def precision(self) -> str:
        """What the model computes in (fp32, fp16 or int8) where that is not the bundle's precision; "" where it is."""
        return ""

    @property
    def note(self) -> str:
        """What a reader of figures must know of this session, one line: a fall-back and its reason; "" for nothing."""
        return ""
