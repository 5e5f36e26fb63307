"""Image files: finding, sizing and decoding them."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import SourceError

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
"""Lower-case suffixes by which images are found in a folder."""


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
def quiet() -> Iterator[None]:
    """Warnings of OpenCV, and of the FFmpeg within, are left out: ours say the same, and no password of a URL."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
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
