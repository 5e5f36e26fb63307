"""A network stream by PyAV (extra ``streams``): each frame in its own size.

OpenCV converts every frame to the size of the first. When a camera changes its size, OpenCV 4.8 to 4.12 give the last
old picture for ever, and later ones squeeze the new one into the old size; nothing in its interface tells.
"""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import numpy as np

from edge_yolov9.errors import SourceError
from edge_yolov9.images import Image
from edge_yolov9.video import capture


def installed() -> bool:
    """Whether PyAV is here."""
    return importlib.util.find_spec("av") is not None


class PyAVCapture:
    """A live stream, see :class:`edge_yolov9.video.capture.Capture`. One thread decodes: it holds no frame back."""

    total: int | None = None

    def __init__(self, url: str, name: str) -> None:
        """Open ``url``; messages hold ``name``.

        Raises:
            SourceError: it does not open, holds no video, or has an end.
        """
        import av

        self._name, self._failures = name, (av.error.FFmpegError, ValueError)
        av.logging.set_level(av.logging.PANIC)  # FFmpeg's own words may hold a password
        options = {"rtsp_transport": "tcp"} if url.lower().startswith("rtsp") else {}
        try:
            self._container: Any = av.open(url, options=options, timeout=(capture.OPEN_SECONDS, capture.READ_SECONDS))
        except self._failures:  # its words hold the URL
            raise SourceError(f"{name} does not open") from None
        streams = self._container.streams.video
        if not streams or self._container.duration:
            self.release()
            raise SourceError(f"{name} is no live video")
        streams[0].codec_context.thread_count = 1
        rate = streams[0].average_rate
        self.fps = float(rate) if rate and 0 < rate < 1000 else None
        self._frames = self._container.decode(streams[0])

    def read(self) -> Image | None:
        """See :class:`edge_yolov9.video.capture.Capture`. Frames that do not decode are passed over."""
        patience = capture.READ_SECONDS
        deadline = time.monotonic() + patience
        while self._container is not None and time.monotonic() < deadline:
            try:
                frame = next(self._frames, None)
            except self._failures as error:
                if error.__class__.__name__ != "InvalidDataError":
                    timed_out = error.__class__.__name__ == "ExitError"
                    reason = f"no frame for {patience} s" if timed_out else "the connection broke"
                    raise SourceError(f"{self._name}: {reason}") from None
                self._frames = self._container.decode(video=0)
                continue
            if frame is None:
                return None
            if not frame.is_corrupt:
                return np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
        raise SourceError(f"{self._name}: no frame that decodes for {patience} s")

    def position(self) -> float:
        """Live streams have no position: 0."""
        return 0.0

    def release(self) -> None:
        """Close the connection. Calling it twice does no harm."""
        container, self._container = self._container, None
        if container is not None:
            container.close()
