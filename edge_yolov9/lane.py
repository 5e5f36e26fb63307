"""From a frame to detections: one session, its input canvas and the decoder. Threads take turns, first come first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Manifest, TensorSpec
from edge_yolov9.decode import FLOAT_TENSOR, DecodeOptions, Decoder
from edge_yolov9.detections import Detections
from edge_yolov9.errors import InferenceError, InputError
from edge_yolov9.geometry import PAD_VALUE, Letterbox
from edge_yolov9.registry import Session
from edge_yolov9.variants import REG_MAX, STRIDES


class Turn:
    """A lock that goes to whoever has waited longest: with ``threading.Lock`` one busy camera can starve another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    def __enter__(self) -> None:
        me = object()
        with self._changed:
            self._waiting.append(me)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is me)
            except BaseException:  # Ctrl-C: the others must not wait for one that has gone
                self._waiting.remove(me)
                self._changed.notify_all()
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._waiting.popleft()
            self._changed.notify_all()


class Postprocess:
    """Raw maps of one frame to detections in its pixels. Holds nothing that changes, so threads may share it."""

    def __init__(
        self,
        names: tuple[str, ...],
        input_size: tuple[int, int],
        outputs: Sequence[TensorSpec] = (FLOAT_TENSOR,) * 6,
        strides: Sequence[int] = STRIDES,
        reg_max: int = REG_MAX,
    ) -> None:
        """``names`` are the model's classes; the rest as for :class:`edge_yolov9.decode.Decoder`."""
        self.names, self.input_size = names, input_size
        self._decode = Decoder(input_size, outputs, strides, reg_max)

    @classmethod
    def of(cls, manifest: Manifest) -> Postprocess:
        """That of a bundle's model."""
        size = (manifest.input.height, manifest.input.width)
        return cls(manifest.names, size, manifest.outputs, manifest.strides, manifest.reg_max)

    def __call__(self, raw: Sequence[NDArray[Any]], placed: Letterbox, options: DecodeOptions) -> Detections:
        """Six maps (channels, cells) of a frame that lies in the input as ``placed`` says."""
        boxes, scores, classes = self._decode(raw, options)
        return Detections(placed.to_frame(boxes), scores, classes, self.names)


class Lane:
    """Runs frames one after the other, without any allocation of a frame's size."""

    def __init__(self, session: Session, postprocess: Postprocess) -> None:
        self.turn = Turn()
        """Held while a frame is on its way."""
        self._session: Session | None = session
        self._size = postprocess.input_size
        self.finish = postprocess
        """Raw maps, their placement and options to detections in pixels of the frame."""
        self.canvas = np.full((*self._size, 3), PAD_VALUE, np.uint8)
        """The session's input, (height, width, 3) uint8 BGR, after :meth:`place`."""

    def detect(self, frame: Any, options: DecodeOptions) -> Detections:
        """Find objects in one frame (H, W, 3) uint8 BGR or (H, W) grey; the caller has the turn.

        Raises:
            InputError: the frame is of another type or shape.
            InferenceError: the runtime failed, the model gave NaN, or the lane is closed.
        """
        return self.finish(*self.run(frame), options)

    def run(self, frame: Any) -> tuple[list[NDArray[Any]], Letterbox]:
        """The raw maps of a frame, and where it lies in the input; errors as for :meth:`detect`."""
        if self._session is None:
            raise InferenceError("this Detector is closed; open the bundle again")
        frame = checked_frame(frame)
        if frame.shape[:2] == getattr(self._session, "frame_size", None):
            raw = self._session.infer_frame(frame)  # type: ignore[attr-defined]  # letterboxed on the GPU
            return raw, Letterbox.fit(frame.shape[:2], self._size)
        placed = self.place(frame)
        return self._session.infer(self.canvas), placed

    def place(self, frame: NDArray[np.uint8]) -> Letterbox:
        """Letterbox (H, W, 3) BGR into ``canvas``."""
        placed = Letterbox.fit((frame.shape[0], frame.shape[1]), self._size)
        placed.apply(frame, self.canvas)
        return placed

    def close(self) -> None:
        """Free the runtime, after the frame under way. Calling it twice does no harm."""
        with self.turn:
            session, self._session = self._session, None
            if session is not None:
                session.close()


def checked_frame(frame: Any) -> NDArray[np.uint8]:
    """A frame (H, W, 3) uint8; grey (H, W) is repeated on three channels."""
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
        kind = getattr(frame, "dtype", type(frame).__name__)
        raise InputError(f"a frame must be a uint8 numpy array (H, W, 3) in BGR order, got {kind}")
    if frame.ndim == 2:
        frame = np.repeat(frame[:, :, None], 3, axis=2)
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise InputError(f"a frame must be (H, W, 3) uint8 in BGR order with at least one pixel, got {frame.shape}")
    return np.asarray(frame, np.uint8)
