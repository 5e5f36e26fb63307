"""Frames from images, folders, videos, cameras and streams."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import SourceError
from edge_yolov9.latest import Latest

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
"""Lower-case suffixes by which images are found in a folder."""

Image = NDArray[np.uint8]
Report = Callable[[SourceError], None]


@dataclass(frozen=True)
class Frame:
    """One picture of a source."""

    image: Image
    """(H, W, 3) uint8 BGR."""
    name: str
    """File name, or the source's name for videos and live sources."""
    index: int
    """Place in the source from 0; a gap says that frames were dropped or did not decode."""
    timestamp: float
    """Seconds: position in a video file, ``time.monotonic()`` of arrival for live sources, 0 for images."""


class Source:
    """An opened source: a context manager that is iterated once."""

    def __init__(
        self,
        name: str,
        kind: str,
        frames: Iterator[Frame],
        close: Callable[[], None] = lambda: None,
        total: int | None = None,
        fps: float | None = None,
    ) -> None:
        """Use :func:`open_source`."""
        self.name = name
        self.kind = kind
        """image, folder, video or live."""
        self.total = total
        """How many frames to expect, as far as that is known."""
        self.fps = fps
        """Frames per second of a video or live source, as far as that is known."""
        self._frames = frames
        self._close = close

    @property
    def live(self) -> bool:
        """Whether frames arrive on their own: a camera or a network stream."""
        return self.kind == "live"

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the camera or file. Calling it twice does no harm."""
        self._close()


def open_source(spec: str | int | Path, *, latest: bool | None = None, broken: Report | None = None) -> Source:
    """Open anything that gives frames.

    Args:
        spec: image, folder of images (in natural order, without its subfolders), video file, camera index or device
            ("0", "/dev/video0"), or a URL that OpenCV reads (rtsp, http, udp, ...).
        latest: for live sources, give only the newest frame and drop those that arrived meanwhile; the default when
            None. Images, folders and video files always give every frame.
        broken: is told of an image in a folder that does not decode, and the next one follows; when None it raises.

    Raises:
        SourceError: there is no such source, or nothing in it decodes. Decoding errors come while iterating.
    """
    text = str(spec).strip()
    path = Path(text)
    if isinstance(spec, int) or re.fullmatch(r"\d+", text):
        return _live(int(text), f"camera {int(text)}", latest)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        return _live(text, _without_password(text), latest)
    if text and path.is_char_device():
        return _live(text, text, latest)
    if text and path.is_dir():
        return _folder(path, broken)
    if text and path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return Source(str(path), "image", _images([path], None), total=1)
        return _video(path)
    raise SourceError(f"no source {text!r}; expected an image, a folder, a video file, a camera index or a URL")


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
    with _quiet():
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
    capture = _capture(str(path), f"{path} is neither an image nor a video that decodes")
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    frames = _grab(capture, path.name, lambda: max(0.0, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000))
    return Source(str(path), "video", frames, capture.release, count if count > 0 else None, _fps(capture))


def _live(spec: int | str, name: str, latest: bool | None) -> Source:
    capture = _capture(spec, f"{name} does not open; check that it is connected and not in use")
    fps = _fps(capture)
    frames = _grab(capture, name, time.monotonic)
    if latest is False:
        return Source(name, "live", frames, capture.release, fps=fps)
    reader = Latest(frames, capture.release)
    return Source(name, "live", iter(reader), reader.close, fps=fps)


def _capture(spec: int | str, failure: str) -> cv2.VideoCapture:
    with _quiet():
        try:
            capture = cv2.VideoCapture(spec)
        except cv2.error as error:
            raise SourceError(failure) from error
        if not capture.isOpened():
            capture.release()
            raise SourceError(failure)
    return capture


def _grab(capture: cv2.VideoCapture, name: str, clock: Callable[[], float]) -> Iterator[Frame]:
    index = 0
    while True:
        try:
            fine, image = capture.read()
        except cv2.error as error:
            raise SourceError(f"{name}: reading failed at frame {index}") from error
        if not fine:
            break
        yield Frame(np.asarray(image, np.uint8), name, index, clock())
        index += 1
    if index == 0:
        raise SourceError(f"{name} opened but gave no frame that decodes")


def _fps(capture: cv2.VideoCapture) -> float | None:
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps < 1000 else None


def _without_password(url: str) -> str:
    """For messages and file names: the credentials are nobody's business."""
    return re.sub(r"//[^/@]*@", "//", url)


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


@contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV's own warnings are left out where ours say the same."""
    log: Any = getattr(cv2.utils, "logging", None)
    if log is None:
        yield
        return
    before = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(before)
