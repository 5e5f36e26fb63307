"""Image files: finding, sizing and decoding them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import DepthError, SourceError
from edge_yolov9.files import open_regular, read_regular
from edge_yolov9.headers import JPEG, PNG, TIFF_KINDS, claimed_size, upright_size
from edge_yolov9.text import brief, shown
from edge_yolov9.whole import is_whole, with_more_data

Image = NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
"""Lower-case suffixes by which images are found in a folder."""


MOST_PIXELS = 178_956_970
"""Pixels of a picture, at most, as for Pillow: a small file may claim millions, and decoding makes room for them."""
MOST_BYTES_PER_PIXEL = 8
"""Bytes of a file for each pixel that is allowed, at most."""
FILLS, FILL_SLACK = (128, 64), 6
"""Grey of what a JPEG's scan lacks, of four colours the second, and how far neighbours' colours may shift it."""
PIXELS_VARIABLE = "EDGE_YOLOV9_MAX_PIXELS"
"""Environment variable that states another limit than ``MOST_PIXELS``."""


def read_image(path: str | Path) -> Image:
    """Decode one image file to (H, W, 3) uint8 BGR, turned upright by its EXIF tag.

    The size that the file claims is looked at first: more than 178,956,970 pixels are refused, or more than the
    environment variable EDGE_YOLOV9_MAX_PIXELS says.

    Raises:
        SourceError: the file is missing, is no regular file, has too many pixels, or does not decode.
        DepthError: it has 16 bits a pixel, and the upper ones are empty.
    """
    file = Path(path)
    return decode(read_content(file), file)


def read_content(file: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        SourceError: the file is missing, is no regular file, or is too large.
    """
    try:
        return read_regular(file, MOST_BYTES_PER_PIXEL * most_pixels())
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None


def decode(content: bytes, file: Path, coarse: bool = False) -> Image:
    """The image in the bytes of ``file``: (H, W, 3) uint8 BGR; or, to judge it soon, a smaller grey one.

    Raises:
        SourceError, DepthError: as for :func:`read_image`; both forms are refused alike.
    """
    most, size = most_pixels(), claimed_size(content)
    if size is not None and size[0] * size[1] > most:
        raise SourceError(
            f"{brief(file)} has {size[1]} x {size[0]} pixels, expected {most} in all at most; make it smaller, or set "
            f"{PIXELS_VARIABLE} if you trust it"
        )
    if size is not None and not is_whole(content):
        raise SourceError(f"{brief(file)} does not decode: the file ends before the picture does; copy it again")
    small = cv2.IMREAD_REDUCED_GRAYSCALE_8 if content[:2] == JPEG else cv2.IMREAD_GRAYSCALE
    image = None if size is None else decoded(content, small if coarse else cv2.IMREAD_COLOR)
    if image is None:
        raise SourceError(f"{brief(file)} does not decode as an image; expected JPEG, PNG, BMP, WebP or TIFF")
    if content[:4] in TIFF_KINDS or (content[:8] == PNG and content[24:25] == b"\x10"):
        _check_depth(content, file)
    return image


def _check_depth(content: bytes, file: Path) -> None:
    """Refuse 10, 12 or 14 bits that lie in the lower end of 16: eight bits of them would be nearly black."""
    with quiet():
        deep = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16:
        return
    largest = int(deep.max())
    if 0 < largest < 1 << 14 and (deep % 257).any():
        bits = largest.bit_length()
        raise DepthError(
            f"{brief(file)} has 16 bits a pixel and values up to {largest} alone ({bits} bits): as 8 bits it would be "
            f"nearly black; expected 8 bits, or values up to 65535: multiply them by {2 ** (16 - bits)}"
        )


def decoded(content: bytes, flags: int = cv2.IMREAD_COLOR) -> Image | None:
    """The pixels of a picture's file, alike on every OpenCV; None where it does not decode or part of it is missing.

    Args:
        content: the file; what follows the picture's end is no matter.
        flags: as for ``cv2.imdecode``.
    """
    if not is_whole(content):
        return None
    image = _pixels(content, flags)
    if image is None or content[:2] != JPEG or not _ends_grey(image, 1):
        return image
    full = image if flags == cv2.IMREAD_COLOR else _pixels(content, cv2.IMREAD_COLOR)
    if full is None or not _ends_grey(full, 8):
        return image
    once, again = (_pixels(data, cv2.IMREAD_REDUCED_GRAYSCALE_8) for data in (content, with_more_data(content)))
    return image if once is not None and again is not None and np.array_equal(once, again) else None


def _ends_grey(image: Image, side: int) -> bool:
    """Whether a corner of ``side`` pixels has the grey of a JPEG without data; an EXIF tag turns the last to any."""
    rows = (image[:side], image[-side:])
    corners = [corner.astype(np.int16) for row in rows for corner in (row[:, :side], row[:, -side:])]
    return any((abs(corner - fill) <= FILL_SLACK).all() for corner in corners for fill in FILLS)


def _pixels(content: bytes, flags: int) -> Image | None:
    with quiet():
        try:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error:  # e.g. a header that claims more pixels than OpenCV allows
            return None
    return None if image is None else np.asarray(image, np.uint8)


def most_pixels() -> int:
    """The limit on a picture's pixels.

    Raises:
        SourceError: the environment variable holds no whole number over 0.
    """
    stated = os.environ.get(PIXELS_VARIABLE, "").strip()
    if not stated:
        return MOST_PIXELS
    if not (re.fullmatch("[0-9]{1,18}", stated) and int(stated)):
        raise SourceError(f"{PIXELS_VARIABLE} must be a whole number over 0, got {shown(stated)}")
    return int(stated)


def _unreadable(path: Path, error: OSError | ValueError) -> SourceError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return SourceError(f"cannot read image {brief(path)}: {reason}")


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels as :func:`read_image` gives them; read from the header alone where that is possible.

    Raises:
        SourceError: the file is missing or does not decode.
    """
    try:
        with open_regular(path) as file:
            head = file.read(1 << 16)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    size = upright_size(head) if head[:2] == JPEG else None
    if size is None:
        height, width = read_image(path).shape[:2]
        size = (height, width)
    return size


def image_files(folder: Path, recursive: bool = False) -> list[Path]:
    """The images of a folder by suffix, in natural order ("2.jpg" before "10.jpg"); hidden files are left out.

    With ``recursive`` those of its subfolders, too, also behind links; a folder that is reached twice is read once.
    """
    entries = _walk(folder) if recursive else folder.iterdir()
    files = [file for file in entries if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")]
    return sorted((file for file in files if file.is_file()), key=natural_order)


def _walk(folder: Path) -> Iterator[Path]:
    """Files of a folder and its subfolders. Of several ways to one folder that without a link counts."""
    seen: set[tuple[int, int]] = set()
    waiting, linked = [folder], list[Path]()
    while waiting or linked:
        place = waiting.pop() if waiting else linked.pop(0)
        try:
            own = place.stat()
            entries = list(os.scandir(place))
        except OSError:
            continue
        if own.st_ino and (own.st_dev, own.st_ino) in seen:
            continue
        seen.add((own.st_dev, own.st_ino))
        for entry in entries:
            if not entry.is_dir():
                yield place / entry.name
            elif entry.is_symlink():
                linked.append(place / entry.name)
            else:
                waiting.append(place / entry.name)


def natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key: numbers by value, the rest by letter; the path itself breaks ties."""
    parts = re.findall(r"\d+|\D+", path.as_posix())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.as_posix()


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
