"""The result of one frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Detections:
    """N objects, the most confident first."""

    xyxy: NDArray[np.float32]
    """(N, 4) corners x1, y1, x2, y2 in pixels of the frame that was given."""
    confidence: NDArray[np.float32]
    """(N,) score in [0, 1]."""
    class_id: NDArray[np.int64]
    """(N,) index into ``names``."""
    names: tuple[str, ...]
    """All class names of the model."""

    def __len__(self) -> int:
        return len(self.confidence)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], float, int]]:
        """(box (4,), score, class) of each object."""
        for box, score, index in zip(self.xyxy, self.confidence, self.class_id, strict=True):
            yield box, float(score), int(index)

    def as_dicts(self) -> list[dict[str, Any]]:
        """One plain dict per object: ``xyxy`` (pixels), ``confidence``, ``class_id``, ``name``."""
        return [
            {
                "xyxy": [round(float(value), 2) for value in box],
                "confidence": round(score, 5),
                "class_id": index,
                "name": self.names[index],
            }
            for box, score, index in self
        ]
