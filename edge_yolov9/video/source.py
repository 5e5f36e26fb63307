"""Frames from images, folders, videos, cameras and streams."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from numbers import Integral
from pathlib import Path
from urllib.parse import unquote

import cv2

from edge_yolov9.errors import SourceError
from edge_yolov9.images import IMAGE_SUFFIXES, image_files, read_image
from edge_yolov9.system.closing import Closing
from edge_yolov9.text import printable, shown
from edge_yolov9.video import capture, pyav
from edge_yolov9.video.address import PIPELINE, Address, read_address
from edge_yolov9.video.capture import Capture, OpenCVCapture, open_film, open_url
from edge_yolov9.video.frames import Frame as Frame
from edge_yolov9.video.frames import Frames, Iterated, Shortfall
from edge_yolov9.video.gstreamer import ENDS, open_pipeline
from edge_yolov9.video.latest import Latest
from edge_yolov9.video.mp4 import counts_frames
from edge_yolov9.video.reader import Reader, Status

Report = Callable[[SourceError], None]

USUAL_FPS = 30.0
"""Frames per second that are assumed where a source does not state its own."""

DEVICE = re.compile(r"/dev/(video|v4l)")
"""The beginning of a camera's path."""


class Source(Closing):
    """An opened source: a context manager that is iterated once, by one thread or by several in turn."""

    def __init__(self, name: str, kind: str, frames: Frames) -> None:
        """Use :func:`open_source`, or hand over frames of your own as :class:`~edge_yolov9.video.frames.Iterated`.

        Args:
            name: for messages and file names.
            kind: image, folder, video or live.
            frames: the frames in order; the source owns them.
        """
        self.name, self.kind, self.total, self.fps = name, kind, frames.total, frames.fps
        self._frames = frames
        self._reading = threading.Lock()
        self._closed = False

    @property
    def live(self) -> bool:
        """Whether frames arrive on their own: a camera or a network stream."""
        return self.kind == "live"

    @property
    def frame_rate(self) -> float:
        """Frames per second, measured of a live source; ``USUAL_FPS`` where that is not known."""
        return self._frames.rate or USUAL_FPS

    @property
    def latest(self) -> bool:
        """Whether frames that nobody asked for in time are dropped."""
        return self._frames.newest_only

    @property
    def dropped(self) -> int:
        """Frames that were dropped because newer ones had arrived."""
        return self._frames.dropped

    @property
    def reconnects(self) -> int:
        """How often a live source was lost and came back."""
        return self._frames.reconnects

    @property
    def shortfall(self) -> Shortfall | None:
        """What is missing of a film that has ended; None where nothing is, and while it is read."""
        return self._frames.shortfall

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Frame:
        with self._reading:
            try:
                if not self._closed:
                    return next(self._frames)
            finally:
                if self._closed:  # meanwhile, by a thread that would not wait for us
                    self._frames.close()
            raise StopIteration

    def fresher(self, frame: Frame) -> Frame:
        """``frame``, or the one that has replaced it meanwhile; does not wait."""
        return self._frames.fresher(frame)

    def hurry(self) -> None:
        """Let :meth:`close` wait a moment only for a read that hangs: the process ends."""
        self._frames.patience = 0.2

    @property
    def patience(self) -> float:
        """Seconds that closing waits for a read under way."""
        return self._frames.patience

    def close(self) -> None:
        """Free the camera or file; a thread that reads it comes to an end. Calling it twice does no harm.

        A read that hangs is waited for five seconds; its thread frees the device when it returns.
        """
        self._closed = True
        self._frames.stop()
        if self._reading.acquire(timeout=self._frames.patience):
            self._frames.close()
            self._reading.release()


def open_source(
    spec: str | int | Path,
    *,
    latest: bool | None = None,
    fps: float | None = None,
    broken: Report | None = None,
    status: Callable[[Status], None] | None = None,
) -> Source:
    """Open anything that gives frames.

    Args:
        spec: image, folder of images (in natural order, without its subfolders), video file, camera index or device
            ("0", "/dev/video0"), a URL that OpenCV reads (rtsp, http, udp, ...), or a GStreamer pipeline from its
            source to raw video ("v4l2src ! image/jpeg ! jpegdec"), told by its " ! ". A text is a path where a file or
            folder of that name exists (camera 0 is then 0, or "/dev/video0"); a :class:`~pathlib.Path` always is.
            "env:NAME" and "@FILE" are what the environment variable or the file holds: a password in it is then in no
            list of processes.
        latest: for live sources, give only the newest frame and drop those that arrived meanwhile; the default when
            None. What ends (images, folders, video files, also those behind a URL) always gives every frame.
        fps: pictures per second of a folder whose pictures were taken in a row; their times follow from it.
        broken: is told of an image in a folder that does not decode, and the next one follows; when None it raises.
        status: is told when a live source is lost and when it is back, see
            :class:`edge_yolov9.video.reader.Reader`. It is opened again for ever, after half a second first and 30
            seconds at most.

    Raises:
        SourceError: there is no such source, or nothing in it decodes. Decoding errors come while iterating.
    """
    if not isinstance(spec, (str, Path, Integral)) or isinstance(spec, bool):  # of an array, str() would be pixels
        raise SourceError(
            f"expected a source as text, path or camera index, got {type(spec).__name__}; call detect(frame) or "
            "detect.batch(frames) for frames of your own"
        )
    if fps is not None and not 0 < fps < float("inf"):
        raise SourceError(f"expected fps > 0, got {fps}")
    index, text = isinstance(spec, Integral), str(spec)
    if not isinstance(spec, Path) and (index or not _on_disk(text)):
        text = read_address(text.strip()).text
    address = Address(text)
    if not index and _on_disk(text):
        return _from_path(Path(text), broken, fps)
    if isinstance(spec, Path) and not DEVICE.match(text):
        raise _no_source(address)
    if file := re.match(r"file:(?://(?:localhost)?(?=/))?", text, re.IGNORECASE):
        places = (text[file.end() :], unquote(text[file.end() :]))
        place = next((place for place in places if _on_disk(place)), None)
        if place is None:
            raise _no_source(address)
        source = _from_path(Path(place), broken, fps)
        source.name = address.name if source.kind == "video" else source.name
        return source
    return _from_address(address, latest, status)


def _on_disk(text: str) -> bool:
    """Whether a file or folder of that name exists; not where it is a device or a pipe."""
    with suppress(OSError, ValueError):  # too long for a name, or with a zero in it
        return bool(text) and (Path(text).is_dir() or Path(text).is_file())
    return False


def _from_path(path: Path, broken: Report | None, fps: float | None) -> Source:
    if path.is_dir():
        return _folder(path, broken, fps)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return Source(str(path), "image", Iterated(_images([path], None, None), total=1))
    reader = Reader(lambda: open_film(path), path.name, live=False, counted=counts_frames(path))
    return Source(str(path), "video", reader)


def _from_address(address: Address, latest: bool | None, status: Callable[[Status], None] | None) -> Source:
    """A camera, a URL or a pipeline."""
    text, live = address.text, True
    open_capture: Callable[[], Capture]
    if re.fullmatch(r"\d{1,9}", text):  # OpenCV crashes on a negative index
        address = Address(f"camera {int(text)}")
        open_capture = partial(_open_camera, address.text, text)
    elif PIPELINE.search(text):
        open_capture, live = partial(open_pipeline, text, address.short), not ENDS.search(text)
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        open_capture = partial(_open_stream, text, address.short, address.hint)
    elif DEVICE.match(text):
        open_capture = partial(OpenCVCapture, address.short, text, cv2.CAP_V4L2)
    else:
        raise _no_source(address)
    return _captured(open_capture, address, latest, status, live)


def _open_stream(url: str, name: str, hint: str) -> Capture:
    """By PyAV where that is here and the stream is live, else by OpenCV."""
    if pyav.installed():
        start = time.monotonic()
        try:
            return pyav.PyAVCapture(url, name)
        except SourceError as error:
            if time.monotonic() - start > capture.OPEN_SECONDS / 2:  # it would take as long again
                raise SourceError(f"{error}; check that it is reachable{hint}") from None
    return open_url(url, name, hint)


def _open_camera(name: str, index: str) -> Capture:
    try:
        return OpenCVCapture(name, int(index))
    except SourceError as error:
        raise SourceError(f"{error}; for a file or folder {index} write its path, ./{index}") from None


def _no_source(address: Address) -> SourceError:
    return SourceError(
        f"no source {shown(address.name)}; expected an image, a folder, a video file, a camera index, a URL or a "
        "GStreamer pipeline"
    )


def _folder(path: Path, broken: Report | None, fps: float | None) -> Source:
    files = image_files(path)
    if not files:
        camera = f"; camera {path} is /dev/video{path}" if re.fullmatch(r"\d{1,9}", str(path)) else ""
        expected = ", ".join(sorted(IMAGE_SUFFIXES))
        raise SourceError(f"{printable(path)} holds no image; expected files ending in {expected}{camera}")
    return Source(str(path), "folder", Iterated(_images(files, broken, fps), total=len(files), fps=fps))


def _images(files: Iterable[Path], broken: Report | None, fps: float | None) -> Iterator[Frame]:
    for index, file in enumerate(files):
        try:
            image = read_image(file)
        except SourceError as error:
            if broken is None:
                raise
            broken(error)
            continue
        yield Frame(image, file.name, index, 0.0 if fps is None else index / fps)


def _captured(
    open_capture: Callable[[], Capture],
    address: Address,
    latest: bool | None,
    status: Callable[[Status], None] | None,
    live: bool,
) -> Source:
    """A live source, or one that turns out to have an end."""
    reader, name = Reader(open_capture, address.short, live=live, status=status), address.name
    if not reader.live:
        return Source(name, "video", reader)
    return Source(name, "live", reader if latest is False else Latest(reader))
