"""Frames of a GStreamer pipeline: by OpenCV where it was built for that, else by a ``gst-launch-1.0`` of our own."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import time

import cv2
import numpy as np

from edge_yolov9.errors import SourceError
from edge_yolov9.images import Image
from edge_yolov9.system import children
from edge_yolov9.video.address import masked
from edge_yolov9.video.capture import OPEN_SECONDS, READ_SECONDS, Capture, OpenCVCapture

SINK = "edge_yolov9"
ENDS = re.compile(r"\b(filesrc|multifilesrc|file://|num-buffers *=)")
"""In a pipeline that comes to an end by itself; any other is live, and its end means that it is lost."""
CAPS = re.compile(rf"{SINK}\.GstPad:sink: caps = (.*)")
LOG_LIMIT = 1 << 14


def open_pipeline(pipeline: str, name: str) -> Capture:
    """Start a pipeline.

    Args:
        pipeline: as for ``gst-launch-1.0``, from the source to raw video; a closing ``! appsink`` is left out.
        name: for messages.

    Raises:
        SourceError: there is no GStreamer, the pipeline does not start, or it begins with an option.
    """
    if pipeline.lstrip(" \t\r\n'\"\\").startswith("-"):  # it could load code
        raise SourceError(f"{name} is no GStreamer pipeline: it begins with an option, expected an element")
    elements = re.sub(r"\s*!\s*appsink\b[^!]*$", "", pipeline.strip())
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        to_appsink = f"{elements} ! videoconvert ! video/x-raw,format=BGR ! appsink max-buffers=1"
        return OpenCVCapture(name, to_appsink, cv2.CAP_GSTREAMER)
    return GStreamerCapture(elements, name)


class GStreamerCapture:
    """A ``gst-launch-1.0`` that writes BGR frames into a pipe of ours."""

    def __init__(self, pipeline: str, name: str) -> None:
        """See :func:`open_pipeline`."""
        self._name = name
        self.total: int | None = None
        command = _command(pipeline, name)
        self._frames, sink = os.pipe()
        command += shlex.split(f"! videoconvert ! video/x-raw,format=BGR ! fdsink name={SINK} fd={sink}")
        try:
            # a session of its own: Ctrl-C is the application's business
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(sink,),
                start_new_session=True,
                env=children.environment(),
            )
        except OSError as error:
            os.close(self._frames)
            raise SourceError(f"{name}: gst-launch-1.0 does not start: {error.strerror or error}") from None
        finally:
            os.close(sink)
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        self._log = ""
        self._poll = select.poll()
        for descriptor in (self._frames, self._output):
            self._poll.register(descriptor, select.POLLIN)
        try:
            self._caps = self._first_caps()
            self.fps, self._size = _parsed(self._caps, name)
        except BaseException:
            self.release()
            raise

    def read(self) -> Image | None:
        """See :class:`edge_yolov9.video.capture.Capture`."""
        height, width = self._size
        image = np.empty((height, (3 * width + 3) // 4 * 4), np.uint8)  # GStreamer's rows are multiples of four bytes
        rest, deadline = image.reshape(-1).data, time.monotonic() + READ_SECONDS
        while rest and self._process is not None:
            ready = self._wait(deadline)
            if self._output in ready:
                self._note()
                self._check_caps()
            if self._frames in ready:
                count = os.readv(self._frames, [rest])
                if not count:
                    self._complain()
                    return None
                rest = rest[count:]
            if not ready:
                raise SourceError(f"{self._name}: no frame for {READ_SECONDS} s")
        return None if rest else image[:, : 3 * width].reshape(height, width, 3)

    def position(self) -> float:
        """Pipelines have no position that we know: 0."""
        return 0.0

    def release(self) -> None:
        """Stop the pipeline in good order: cameras dislike a kill."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
        os.close(self._frames)

    def _check_caps(self) -> None:
        caps = CAPS.findall(self._log)
        if caps and caps[-1] != self._caps:
            raise SourceError(f"{self._name}: the frames changed to another size or rate")

    def _complain(self) -> None:
        """The pipeline closed its end; an error if it says so within a second, or has said so behind its frames."""
        while self._output in self._wait(time.monotonic() + 1) and self._note():
            self._check_caps()
            reason = _reason(self._log)
            if reason is not None:
                raise SourceError(f"{self._name}: {reason}")

    def _first_caps(self) -> str:
        """What the pipeline says about its frames once it flows."""
        deadline = time.monotonic() + OPEN_SECONDS
        while not (caps := CAPS.search(self._log)):
            ready = self._wait(deadline)
            if not ready:
                raise SourceError(f"{self._name} does not start: no frame within {OPEN_SECONDS} s")
            if self._output in ready and not self._note():
                raise SourceError(f"{self._name} does not start: {_reason(self._log) or 'it ended without a frame'}")
            if self._output not in ready:  # frames wait already, and the line will follow
                time.sleep(0.001)
        return caps.group(1)

    def _wait(self, deadline: float) -> set[int]:
        """Descriptors that have something to read, or have ended; empty when the time is over."""
        left = deadline - time.monotonic()
        return {descriptor for descriptor, _ in self._poll.poll(1000 * left)} if left > 0 else set()

    def _note(self) -> bool:
        """Take what gst-launch-1.0 prints, so that it never waits for us; False at the end."""
        text = os.read(self._output, LOG_LIMIT)
        if not text:
            self._poll.unregister(self._output)
        self._log = (self._log + text.decode(errors="replace"))[-LOG_LIMIT:]
        return bool(text)


def _command(pipeline: str, name: str) -> list[str]:
    launch = children.program("gst-launch-1.0")
    if launch is None:
        raise SourceError(
            f"{name}: a GStreamer pipeline needs gst-launch-1.0, which is not installed here; "
            "run: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
        )
    try:
        return [launch, "-v", "--", *shlex.split(pipeline)]
    except ValueError as error:
        raise SourceError(f"{name} is no GStreamer pipeline: {error}") from None


def _parsed(caps: str, name: str) -> tuple[float | None, tuple[int, int]]:
    """Frames per second and (height, width) of ``video/x-raw, width=(int)640, ...``."""
    width, height = (re.search(rf"\b{key}=\(int\)(\d+)", caps) for key in ("width", "height"))
    if width is None or height is None:
        raise SourceError(f"{name} gives no raw video, but: {caps}")
    rate = re.search(r"framerate=\(fraction\)(\d+)/(\d+)", caps)
    fps = int(rate.group(1)) / int(rate.group(2)) if rate and int(rate.group(2)) else 0.0
    return fps or None, (int(height.group(1)), int(width.group(1)))


def _reason(log: str) -> str | None:
    """The words of gst-launch-1.0 that say why, without secrets; None where it names no error."""
    words = re.search(r"(?:ERROR: from element \S+ |erroneous pipeline: )(.*)", log)
    return masked(words.group(1)) if words else None
