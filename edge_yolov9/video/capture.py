"""One opened camera, stream or video file, by OpenCV."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from edge_yolov9.errors import SourceError
from edge_yolov9.images import Image, quiet
from edge_yolov9.text import shown
from edge_yolov9.video.mp4 import has_index

OPEN_SECONDS = 10
"""How long a source may take to open."""
READ_SECONDS = 5
"""Without a frame for so long, a network stream is lost."""


class Capture(Protocol):
    """What gives frames until it ends or breaks. One thread at a time."""

    fps: float | None
    """Frames per second, as far as that is known."""
    total: int | None
    """How many frames something that ends has, as far as that is known; None for what goes on for ever."""

    def read(self) -> Image | None:
        """The next frame (H, W, 3) uint8 BGR, which nobody writes to again; None when it has ended or broken.

        Raises:
            SourceError: reading failed, with a reason.
        """
        ...

    def position(self) -> float:
        """Seconds from the start of a file to the frame read last."""
        ...

    def release(self) -> None:
        """Free the device. Calling it twice does no harm."""
        ...


class OpenCVCapture:
    """``cv2.VideoCapture``."""

    def __init__(self, name: str, *spec: Any, patience: float = float("inf"), hint: str = "") -> None:
        """Open ``spec``, the arguments of ``cv2.VideoCapture``; messages hold ``name``, and ``hint`` where it fails.

        A read of more than ``patience`` seconds is an error also where it ends with a frame: after its limit FFmpeg
        hands out what the decoder still held, and waits again for each.

        Raises:
            SourceError: it does not open.
        """
        self._name, self._patience = name, patience
        failure = f"{name} does not open; check that it is connected, reachable and not in use{hint}"
        with quiet():
            try:
                self._device = cv2.VideoCapture(*spec)
            except cv2.error:  # its own words may hold what ``name`` leaves out
                raise SourceError(failure) from None
            if not self._device.isOpened():
                self._device.release()
                raise SourceError(failure)
        fps, count = (float(self._device.get(key)) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.fps = fps if 0 < fps < 1000 else None
        self.total = int(count) if 0 < count < 1e9 else None

    def read(self) -> Image | None:
        """See :class:`Capture`."""
        start = time.monotonic()
        try:
            fine, image = self._device.read()
        except cv2.error:  # its own words may hold what the name leaves out
            raise SourceError(f"{self._name}: OpenCV failed to read a frame") from None
        if time.monotonic() - start > 0.9 * self._patience:
            raise SourceError(f"{self._name}: no frame for {self._patience} s")
        return np.asarray(image, np.uint8) if fine else None

    def position(self) -> float:
        """See :class:`Capture`."""
        return max(0.0, self._device.get(cv2.CAP_PROP_POS_MSEC) / 1000)

    def release(self) -> None:
        """See :class:`Capture`."""
        self._device.release()


def open_film(path: Path) -> OpenCVCapture:
    """A video file, by the first of OpenCV's readers that can; a name like ``v%03d.avi`` or ``10:00.mp4`` is a name.

    Raises:
        SourceError: none can.
    """
    if not has_index(path):
        raise SourceError(
            f"{shown(str(path))} does not decode: its index is missing; it was cut off while it was written"
        )
    for backend in cv2.videoio_registry.getStreamBackends():
        if backend == cv2.CAP_IMAGES:  # takes digits in a name for a row of pictures
            continue
        text = f"file:{path.absolute()}" if backend == cv2.CAP_FFMPEG else str(path.absolute())
        try:
            return OpenCVCapture(path.name, text, backend)
        except SourceError:
            continue
    raise SourceError(f"{shown(str(path))} is neither an image nor a video that decodes")


def open_url(url: str, name: str, hint: str = "") -> OpenCVCapture:
    """A network stream by FFmpeg, over TCP where RTSP offers it, with limits on the wait.

    One thread decodes what is live: several would hold back as many frames. What that is too slow for (4K HEVC on a
    small board) wants the board's own decoder, in a GStreamer pipeline.

    Raises:
        SourceError: it does not open.
    """
    if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return OpenCVCapture(name, url, hint=hint)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * OPEN_SECONDS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000 * READ_SECONDS]
    if not re.match(r"https?:", url, re.IGNORECASE):
        limits += [cv2.CAP_PROP_N_THREADS, 1]
    return OpenCVCapture(name, url, cv2.CAP_FFMPEG, limits, patience=READ_SECONDS, hint=hint)
