"""Frames from images, folders, videos, cameras and streams."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import SourceError


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Decode one image file to (H, W, 3) uint8 BGR.

    Raises:
        SourceError: the file is missing or does not decode.
    """
    file = Path(path)
    try:
        data = np.frombuffer(file.read_bytes(), np.uint8)
    except OSError as error:
        raise SourceError(f"cannot read image {file}: {error.strerror or error}") from None
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise SourceError(f"{file} does not decode as an image; expected JPEG, PNG, BMP, WebP or TIFF")
    return np.asarray(image, np.uint8)
