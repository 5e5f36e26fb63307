"""Device side: ONNX in OpenCV's dnn module."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InferenceError
from edge_yolov9.registry import Session


def open_sessions(bundle: Bundle, threads: int | None, count: int) -> list[CvSession]:
    """Load the model once per session; OpenCV's threads are the process's, so that ``threads`` is set for all."""
    if threads is not None:
        cv2.setNumThreads(threads)
    return [CvSession(bundle) for _ in range(count)]


class CvSession(Session):
    """A network with its input."""

    def __init__(self, bundle: Bundle) -> None:
        try:
            self._net: Any = cv2.dnn.readNetFromONNX(str(bundle.model_path))
        except cv2.error as error:
            raise BundleError(f"{bundle.path}: OpenCV cannot read {bundle.manifest.model}: {error.err}") from error
        self._net.enableWinograd(not bundle.manifest.extra.get("no_winograd", False))
        self._names = [spec.name for spec in bundle.manifest.outputs]
        self._maps: list[NDArray[Any]] = []

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """See :class:`edge_yolov9.registry.Session`."""
        if self._net is None:
            raise InferenceError("this session is closed; open the bundle again")
        self._net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True))
        self.bare()
        return [array.reshape(array.shape[1], -1) for array in self._maps]

    def bare(self) -> None:
        """The network once more."""
        try:
            self._maps = self._net.forward(self._names)
        except cv2.error as error:
            raise InferenceError(f"OpenCV failed to run the model: {error.err}") from error

    def close(self) -> None:
        """Free the network."""
        self._net = None
