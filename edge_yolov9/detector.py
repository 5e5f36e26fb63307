"""The one class a camera application needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle, read
from edge_yolov9.decode import DecodeOptions, Decoder
from edge_yolov9.detections import Detections
from edge_yolov9.errors import InferenceError, InputError
from edge_yolov9.geometry import PAD_VALUE, Letterbox
from edge_yolov9.registry import open_session


class Detector:
    """Opens a bundle and finds objects in frames.

    Not for sharing between threads: give each its own.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        confidence: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
        multi_label: bool = False,
        threads: int | None = None,
        runtime: str | None = None,
    ) -> None:
        """Check and load a bundle.

        Args:
            bundle: folder written by ``edge-yolov9 compile``, or one that has been read already.
            confidence: least score, in [0, 1]; the bundle's default (0.25) when None.
            iou: overlap above which the weaker box of a class goes, in [0, 1]; the bundle's default (0.45) when None.
            max_detections: most objects per frame; the bundle's default (300) when None.
            multi_label: give every class above the threshold its own box.
            threads: CPU threads of the runtime; its sensible default when None.
            runtime: another target's session, see :func:`edge_yolov9.registry.open_session`.

        Raises:
            BundleError: the bundle is missing, changed, incomplete or too new.
            RuntimeNotInstalled: the vendor runtime is absent.
            InputError: a threshold is out of range.
        """
        self.bundle = bundle if isinstance(bundle, Bundle) else read(bundle)
        manifest = self.bundle.manifest
        defaults = manifest.thresholds
        self.options = checked_options(
            defaults.confidence if confidence is None else confidence,
            defaults.iou if iou is None else iou,
            defaults.max_detections if max_detections is None else max_detections,
            multi_label,
        )
        if threads is not None and threads < 1:
            raise InputError(f"threads must be at least 1, got {threads}")
        self.names = manifest.names
        self.input_size = (manifest.input.height, manifest.input.width)
        self._decode = Decoder(self.input_size, manifest.outputs, manifest.strides, manifest.reg_max)
        self._canvas = np.full((*self.input_size, 3), PAD_VALUE, np.uint8)
        self._session = open_session(self.bundle, runtime, threads)
        self._closed = False

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """Find objects in one frame.

        Args:
            frame: (H, W, 3) uint8 BGR of any size, also a non-contiguous view; (H, W) grey is accepted too.

        Returns:
            Detections in pixels of ``frame``.

        Raises:
            InputError: the frame is of another type or shape.
            InferenceError: the runtime failed, or the detector is closed.
        """
        if self._closed:
            raise InferenceError("this Detector is closed; open the bundle again")
        frame = checked_frame(frame)
        placed = Letterbox.fit((frame.shape[0], frame.shape[1]), self.input_size)
        raw = self._session.infer(placed.apply(frame, self._canvas))
        boxes, scores, classes = self._decode(raw, self.options)
        return Detections(placed.to_frame(boxes), scores, classes, self.names)

    def stream(self, source: str | int | Path, *, latest: bool | None = None) -> Iterator[tuple[Any, Detections]]:
        """Frames of a source with what is in them.

        Args:
            source: image, folder, video file, camera index, or a stream's URL.
            latest: drop frames that arrived while the detector was busy; on for live sources when None.

        Yields:
            (frame (H, W, 3) uint8 BGR, Detections).

        Raises:
            SourceError: the source does not open.
        """
        from edge_yolov9.sources import open_source

        with open_source(source, latest=latest) as frames:
            for frame in frames:
                yield frame.image, self(frame.image)

    def close(self) -> None:
        """Free the runtime. Calling it twice does no harm."""
        if not self._closed:
            self._closed = True
            self._session.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checked_options(confidence: float, iou: float, max_detections: int, multi_label: bool) -> DecodeOptions:
    """Thresholds in range, or an InputError that says which is not."""
    for name, value in (("confidence", confidence), ("iou", iou)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} must lie in [0, 1], got {value}")
    if max_detections < 1:
        raise InputError(f"max_detections must be at least 1, got {max_detections}")
    return DecodeOptions(float(confidence), float(iou), int(max_detections), multi_label)


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
