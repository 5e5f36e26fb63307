"""Letterbox on the GPU: a small engine in front of the model's, on the same stream, for frames of one size.

It takes ``frame`` (H, W, 3) uint8 BGR and writes the model's input, so that neither resizing nor the float image
passes through the CPU. The compiler makes its ONNX (``letterbox.py``) for ``--camera HEIGHTxWIDTH``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle
from edge_yolov9.bundle.manifest import LONGEST_SIDE
from edge_yolov9.errors import BundleError, InferenceError
from edge_yolov9.geometry import letterbox, planes
from edge_yolov9.text import logger, shown

from ..names import FRAME, read_extra
from . import engine as engines
from .cuda import Buffer, Cuda, Stream
from .engine import Loaded

log = logger("edge_yolov9.jetson")

PART = "letterbox"

TOLERANCE = 1.01 / 255
"""One grey level, in the unit of the model's input."""


@dataclass(frozen=True)
class Camera:
    """The letterbox engine of a bundle."""

    loaded: Loaded
    size: tuple[int, int]
    """(height, width) of its frames, pixels."""
    output: str
    """Name of the model's input."""

    @classmethod
    def open(cls, trt: Any, cuda: Cuda, bundle: Bundle) -> Camera | None:
        """Build or load it; None where the bundle has none, or, with a warning, where the host must do it.

        Raises:
            BundleError: as for the model's engine.
        """
        given = read_extra(bundle).camera
        if given is None:
            return None
        size = (given.height, given.width)
        if not all(1 <= side <= LONGEST_SIDE for side in size):
            raise BundleError(f"{bundle.path}: the manifest's camera has frames of {shown(size)}; compile it again")
        output = bundle.manifest.input.tensor

        def wrong(loaded: Loaded) -> str:
            return _wrong(trt, cuda, cls(loaded, size, output.name), output.shape)

        try:
            camera = cls(engines.load(trt, cuda, bundle, wrong, part=PART), size, output.name)
            if other := _other_tensors(trt, camera, output.shape):  # in the cache, for a manifest that was changed
                raise InferenceError(other)
            return camera
        except InferenceError as error:
            log.warning("frames are letterboxed on the host: %s", error)
            return None

    def attach(self, cuda: Cuda, images: Buffer) -> CameraInput:
        """A frame buffer and an execution context that write into the model's input."""
        return CameraInput(self, cuda, images)


class CameraInput:
    """What one session needs to letterbox a frame."""

    def __init__(self, camera: Camera, cuda: Cuda, images: Buffer) -> None:
        self.size = camera.size
        self._buffer = Buffer(cuda, (*camera.size, 3), np.uint8)
        self._context: Any = camera.loaded.engine.create_execution_context()
        placed = self._context is not None
        for name, buffer in ((FRAME, self._buffer), (camera.output, images)):
            placed = placed and self._context.set_tensor_address(name, buffer.address)
        if not placed:
            self.close()
            raise InferenceError("TensorRT could not prepare the letterbox engine; free some memory and try again")

    @property
    def frame(self) -> NDArray[np.uint8]:
        """Where the frame goes, (H, W, 3) uint8 BGR."""
        return self._buffer.array

    def enqueue(self, stream: Stream) -> None:
        """Queue the letterbox of ``frame``."""
        self._buffer.upload(stream)
        if not self._context.execute_async_v3(stream.handle):
            raise InferenceError("TensorRT could not start the letterbox")

    def close(self) -> None:
        """Free it; harmless when repeated."""
        self._context = None
        self._buffer.close()


def _other_tensors(trt: Any, camera: Camera, shape: tuple[int, ...]) -> str:
    """What the engine's tensors are, where they are not those of the manifest; else ""."""
    engine = camera.loaded.engine
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    tensors = {name: tuple(engine.get_tensor_shape(name)) for name in names}
    wanted = {FRAME: (*camera.size, 3), camera.output: tuple(shape)}
    if tensors == wanted and engine.get_tensor_dtype(FRAME) == trt.uint8:
        return ""
    return f"the letterbox engine has the tensors {tensors}, expected {wanted} with a uint8 frame"


def _wrong(trt: Any, cuda: Cuda, camera: Camera, shape: tuple[int, ...]) -> str:
    """Letterbox a test picture on the GPU and on the host; "" when they agree within a grey level."""
    if other := _other_tensors(trt, camera, shape):
        return other
    picture = np.random.default_rng(0).integers(0, 256, (*camera.size, 3), np.uint8)
    stream, images = Stream(cuda), Buffer(cuda, shape)
    try:
        part = camera.attach(cuda, images)
        try:
            part.frame[...] = picture
            part.enqueue(stream)
            images.download(stream)
            stream.wait()
            host = planes(letterbox(picture, (shape[2], shape[3]))[0])
            error = float(np.abs(images.array - host).max())
        finally:
            part.close()
    finally:
        images.close()
        stream.close()
    return "" if error <= TOLERANCE else f"the letterbox on the GPU is {error * 255:.1f} grey levels off the host's"
