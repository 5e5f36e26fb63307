"""From a frame to detections: one session, its input canvas and the decoder. Threads take turns, first come first."""

from __future__ import annotations

import os
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
    """A lock that goes to whoever has waited longest: with ``threading.Lock`` one busy camera can starve another.

    Who holds it may take it again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holder, self._depth = 0, 0
        """The thread that holds it, and how often."""

    @property
    def waiting(self) -> int:
        """How many threads hold it or wait for it."""
        with self._changed:
            return len(self._waiting)

    def __enter__(self) -> None:
        me = object()
        with self._changed:
            if self._holder == threading.get_ident():
                self._depth += 1
                return
            self._waiting.append(me)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is me)
            except BaseException:  # Ctrl-C: the others must not wait for one that has gone
                self._waiting.remove(me)
                self._changed.notify_all()
                raise
            self._holder, self._depth = threading.get_ident(), 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._depth -= 1
            if self._depth:
                return
            self._holder = 0
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
        """The postprocessing of a bundle's model."""
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
        """Held while a frame is on its way; a caller who needs several steps without another frame between holds it."""
        self._session: Session | None = session
        self._process = os.getpid()
        self._size = postprocess.input_size
        self.finish = postprocess
        """Raw maps, their placement and options to detections in pixels of the frame."""
        self._canvas = np.full((*self._size, 3), PAD_VALUE, np.uint8)
        """The session's input, (height, width, 3) uint8 BGR, after :meth:`place`; not used where the session itself
        letterboxes."""

    def detect(self, frame: Any, options: DecodeOptions) -> Detections:
        """Find objects in one frame (H, W, 3) uint8 BGR or (H, W) grey, when it is its turn.

        Raises:
            InputError: the frame is of another type or shape.
            InferenceError: the runtime failed, the model gave NaN, or the lane is closed.
        """
        self._check_process()  # the turn may have been another thread's when the process forked
        with self.turn:
            return self.finish(*self.run(frame), options)

    def run(self, frame: Any) -> tuple[list[NDArray[Any]], Letterbox]:
        """The raw maps of a frame, and where it lies in the input; errors as for :meth:`detect`."""
        frame = checked_frame(frame)
        placed = self.place(frame)
        return self.infer(frame), placed

    def place(self, frame: NDArray[np.uint8]) -> Letterbox:
        """Where a frame (H, W, 3) BGR lies in the input; letterboxed, unless the session does that.

        Raises:
            InferenceError: the lane is closed.
        """
        placed = Letterbox.fit((frame.shape[0], frame.shape[1]), self._size)
        if frame.shape[:2] != self._open().frame_size:
            placed.apply(frame, self._canvas)
        return placed

    def infer(self, frame: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """The raw maps of a frame that has just been placed.

        Raises:
            InferenceError: the runtime failed, or the lane is closed.
        """
        session = self._open()
        return session.infer_frame(frame) if frame.shape[:2] == session.frame_size else session.infer(self._canvas)

    @property
    def note(self) -> str:
        """What the session says of itself; see :class:`edge_yolov9.registry.Session`."""
        return "" if self._session is None else self._session.note

    def bare(self) -> None:
        """Run the runtime once more on what is in place: what :meth:`infer` costs without our part of it.

        Raises:
            InferenceError: the lane is closed.
        """
        self._open().bare()

    def _open(self) -> Session:
        if self._session is None:
            raise InferenceError("this Detector is closed; open the bundle again")
        return self._session

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise InferenceError(
                "this Detector was opened before a fork, which its threads do not survive; open the bundle here"
            )

    def close(self) -> None:
        """Free the runtime, after the frame under way. Calling it twice does no harm.

        A forked process leaves it alone: it belongs to the one that opened it.
        """
        if os.getpid() != self._process:
            return
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
