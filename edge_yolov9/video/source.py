"""Frames from images, folders, videos, cameras and streams."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from types import TracebackType

import cv2

from edge_yolov9.errors import SourceError
from edge_yolov9.images import IMAGE_SUFFIXES, image_files, read_image
from edge_yolov9.video.capture import Capture, OpenCVCapture, open_url
from edge_yolov9.video.gstreamer import ENDS, open_pipeline
from edge_yolov9.video.latest import Latest
from edge_yolov9.video.reader import Frame as Frame
from edge_yolov9.video.reader import Reader, Status

Report = Callable[[SourceError], None]


class Source:
    """An opened source: a context manager that is iterated once, by one thread or by several in turn."""

    def __init__(
        self,
        name: str,
        kind: str,
        frames: Iterator[Frame],
        *,
        total: int | None = None,
        fps: float | None = None,
        stop: Callable[[], None] = lambda: None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """Use :func:`open_source`, or hand over frames of your own.

        Args:
            name: for messages and file names.
            kind: image, folder, video or live.
            frames: the frames in order; a :class:`Latest` gives the newest only.
            total: how many to expect, as far as that is known.
            fps: frames per second, as far as that is known.
            stop: makes a thread that waits for a frame give up; called from another thread.
            close: frees the device, when no thread waits for a frame.
        """
        self.name, self.kind, self.total, self.fps = name, kind, total, fps
        self._frames, self._stop, self._close = frames, stop, close
        self._reading = threading.Lock()
        self._closed = False

    @property
    def live(self) -> bool:
        """Whether frames arrive on their own: a camera or a network stream."""
        return self.kind == "live"

    @property
    def latest(self) -> bool:
        """Whether frames that nobody asked for in time are dropped."""
        return isinstance(self._frames, Latest)

    @property
    def dropped(self) -> int:
        """How many were."""
        return self._frames.dropped if isinstance(self._frames, Latest) else 0

    @property
    def reconnects(self) -> int:
        """How often a live source was lost and came back."""
        items = self._frames.items if isinstance(self._frames, Latest) else self._frames
        return items.reconnects if isinstance(items, Reader) else 0

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Frame:
        with self._reading:
            try:
                if not self._closed:
                    return next(self._frames)
            finally:
                if self._closed:  # meanwhile, by a thread that would not wait for us
                    self._close()
            raise StopIteration

    def fresher(self, frame: Frame) -> Frame:
        """``frame``, or the one that has replaced it meanwhile; does not wait."""
        return (self._frames.waiting() or frame) if isinstance(self._frames, Latest) else frame

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the camera or file; a thread that reads it comes to an end. Calling it twice does no harm.

        A read that hangs is waited for five seconds; its thread frees the device when it returns.
        """
        self._closed = True
        self._stop()
        if self._reading.acquire(timeout=5):
            self._close()
            self._reading.release()


def open_source(
    spec: str | int | Path,
    *,
    latest: bool | None = None,
    broken: Report | None = None,
    status: Callable[[Status], None] | None = None,
) -> Source:
    """Open anything that gives frames.

    Args:
        spec: image, folder of images (in natural order, without its subfolders), video file, camera index or device
            ("0", "/dev/video0"), a URL that OpenCV reads (rtsp, http, udp, ...), or a GStreamer pipeline from its
            source to raw video ("v4l2src ! image/jpeg ! jpegdec"), told by its " ! ".
        latest: for live sources, give only the newest frame and drop those that arrived meanwhile; the default when
            None. What ends (images, folders, video files, also those behind a URL) always gives every frame.
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
    text = str(spec).strip()
    if re.fullmatch(r"\d{1,9}", text):  # OpenCV crashes on a negative index
        name = f"camera {int(text)}"
        return _captured(lambda: OpenCVCapture(name, int(text)), name, latest, status)
    if re.search(r"\s!\s", text):
        name = _without_password(text)
        return _captured(lambda: open_pipeline(text, name), name, latest, status, live=not ENDS.search(text))
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        name = _without_password(text)
        return _captured(lambda: open_url(text, name), name, latest, status)
    if re.match(r"/dev/(video|v4l)", text):
        return _captured(lambda: OpenCVCapture(text, text, cv2.CAP_V4L2), text, latest, status)
    return _from_path(text, broken)


def _from_path(text: str, broken: Report | None) -> Source:
    path = Path(text)
    with suppress(OSError, ValueError):  # too long for a name, or with a zero in it
        if text and path.is_dir():
            return _folder(path, broken)
        if text and path.is_file():
            if path.suffix.lower() in IMAGE_SUFFIXES:
                return Source(str(path), "image", _images([path], None), total=1)
            return _video(path)
    raise SourceError(
        f"no source {text!r}; expected an image, a folder, a video file, a camera index, a URL or a GStreamer pipeline"
    )


def _folder(path: Path, broken: Report | None) -> Source:
    files = image_files(path)
    if not files:
        raise SourceError(f"{path} holds no image; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return Source(str(path), "folder", _images(files, broken), total=len(files))


def _images(files: Iterable[Path], broken: Report | None) -> Iterator[Frame]:
    for index, file in enumerate(files):
        try:
            image = read_image(file)
        except SourceError as error:
            if broken is None:
                raise
            broken(error)
            continue
        yield Frame(image, file.name, index, 0.0)


def _video(path: Path) -> Source:
    try:
        reader = Reader(lambda: OpenCVCapture(path.name, str(path)), path.name, live=False)
    except SourceError:
        raise SourceError(f"{path} is neither an image nor a video that decodes") from None
    return Source(str(path), "video", reader, total=reader.total, fps=reader.fps, close=reader.close)


def _captured(
    open_capture: Callable[[], Capture],
    name: str,
    latest: bool | None,
    status: Callable[[Status], None] | None,
    live: bool = True,
) -> Source:
    """A live source, or one that turns out to have an end."""
    reader = Reader(open_capture, name, live=live, status=status)
    if not reader.live:
        return Source(name, "video", reader, total=reader.total, fps=reader.fps, stop=reader.stop, close=reader.close)
    if latest is False:
        return Source(name, "live", reader, fps=reader.fps, stop=reader.stop, close=reader.close)
    newest = Latest(reader, stop=reader.stop, release=reader.close)
    return Source(name, "live", newest, fps=reader.fps, stop=newest.close)


def _without_password(url: str) -> str:
    """For messages and file names: the credentials are nobody's business. A password may hold an @ or a / itself."""
    url = re.sub(r"//([^/:\s]*:(?!\d+/)\S*|[^/\s]*)@", "//", url)
    url = re.sub(r"""\b(user-id|user-pw)=("[^"]*"|\S+)\s*""", "", url)
    return re.sub(r"(?i)(?<![a-z])(pass|passwd|password|pwd|token)=[^&\s]*", r"\1=***", url)
