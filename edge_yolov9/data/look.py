"""What a picture's file is, from reading it once: whole or broken, its size, how dark it is, and what it resembles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edge_yolov9.data.findings import BROKEN, DEPTH, MISSING
from edge_yolov9.data.reading import is_file
from edge_yolov9.errors import DepthError, SourceError
from edge_yolov9.headers import upright_size
from edge_yolov9.images import decode, read_content
from edge_yolov9.text import brief

HASH_SIDE = 8
PART = 32
"""Files that a thread takes at once."""
CountProgress = Callable[[int, int], None]
"""Is called with (images done, images in all)."""


class Look(NamedTuple):
    """One image file."""

    digest: str
    """sha256 of the file; empty where it cannot be read."""
    size: tuple[int, int]
    """(height, width), pixels, as :func:`read_image` gives them."""
    brightness: float
    """Mean of the grey image, 0 to 255."""
    hash: int
    """64 bits: where the grey image grows brighter to the right, in 8 x 8 cells."""
    fault: str = ""
    """Kind of finding where the image cannot be used."""
    why: str = ""
    """What is wrong with it, for a message."""


def look(path: Path) -> Look:
    """Read a file, and decode it coarsely; :func:`read_image` decides alike."""
    digest = ""
    try:
        content = read_content(path)
        digest = hashlib.sha256(content).hexdigest()
        grey = decode(content, path, coarse=True)
        size = upright_size(content)
        if size is None:
            height, width = decode(content, path).shape[:2]
            size = height, width
    except SourceError as error:
        fault = DEPTH if isinstance(error, DepthError) else BROKEN if is_file(path) else MISSING
        return Look(digest, (0, 0), 0.0, 0, fault, str(error).removeprefix(f"{brief(path)} "))
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    return Look(digest, size, float(grey.mean()), int.from_bytes(bits.tobytes(), "big"))


def look_at(
    paths: Iterable[Path], progress: CountProgress | None = None, look_once: Callable[[Path], Look] = look
) -> list[Look]:
    """:func:`look` on every file, on all processors: hashing and decoding run beside each other.

    Args:
        paths: the files.
        progress: is called with images done and images in all.
        look_once: looks at one file; one that remembers in place of :func:`look`.
    """
    files = list(paths)
    parts = [files[first : first + PART] for first in range(0, len(files), PART)]
    looks: list[Look] = []
    pool = ThreadPoolExecutor()
    try:
        for part in pool.map(lambda part: [look_once(path) for path in part], parts):
            looks += part
            if progress is not None:
                progress(len(looks), len(files))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for what has begun alone
    return looks
