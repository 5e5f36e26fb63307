"""Frames from images, folders, videos, cameras and streams."""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from edge_yolov9.capture import Capture, Image, OpenCVCapture, open_url, quiet
from edge_yolov9.errors import SourceError
from edge_yolov9.gstreamer import ENDS, open_pipeline
from edge_yolov9.latest import Latest
from edge_yolov9.live import Frame as Frame
from edge_yolov9.live import Reader, Status

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
"""Lower-case suffixes by which images are found in a folder."""

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
        status: is told when a live source is lost and when it is back, see :class:`edge_yolov9.live.Reader`. It is
            opened again for ever, after half a second first and 30 seconds at most.

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


def read_image(path: str | Path) -> Image:
    """Decode one image file to (H, W, 3) uint8 BGR, turned upright by its EXIF tag.

    Raises:
        SourceError: the file is missing or does not decode.
    """
    file = Path(path)
    try:
        data = np.frombuffer(file.read_bytes(), np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read image {file}: {error.strerror or error}") from None
    image = None
    with quiet():
        try:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        except cv2.error:
            image = None  # e.g. a header that claims more pixels than OpenCV allows
    if image is None:
        raise SourceError(f"{file} does not decode as an image; expected JPEG, PNG, BMP, WebP or TIFF")
    return np.asarray(image, np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels as :func:`read_image` gives them; read from the header alone where that is possible.

    Raises:
        SourceError: the file is missing or does not decode.
    """
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise SourceError(f"cannot read image {path}: {error.strerror or error}") from None
    size = _jpeg_size(head)
    if size is None:
        height, width = read_image(path).shape[:2]
        size = (height, width)
    return size


def image_files(folder: Path, recursive: bool = False) -> list[Path]:
    """The images of a folder by suffix, in natural order ("2.jpg" before "10.jpg"); hidden files are left out."""
    found = folder.rglob("*") if recursive else folder.iterdir()
    files = [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")]
    return sorted((file for file in files if file.is_file()), key=natural_order)


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key: numbers by value, the rest by letter; the path itself breaks ties."""
    parts = re.findall(r"\d+|\D+", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.as_posix()


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


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """(height, width) from a JPEG's frame header; None where it is not in ``head`` or an EXIF tag might turn it."""
    at = 2
    while head[:2] == b"\xff\xd8" and at + 9 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], struct.unpack_from(">H", head, at + 2)[0]
        if marker == 0xE1:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", head, at + 5)
            return (height, width) if height and width else None
        at += 2 + length
    return None
