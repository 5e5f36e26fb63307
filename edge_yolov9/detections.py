"""The result of one frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import InputError, RuntimeNotInstalled


@dataclass(frozen=True)
class Times:
    """When a frame passed through a stream, in seconds of ``time.monotonic()``."""

    captured: float
    """When the frame arrived."""
    started: float
    """When the detector took the frame."""
    finished: float
    """When the boxes were there."""


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
    track_id: NDArray[np.int64] | None = None
    """(N,) which object of the stream it is, from 1; 0 for one seen once so far; None where nothing tracks."""
    times: Times | None = None
    """When the frame passed through a stream; None for results of other calls."""

    def __len__(self) -> int:
        return len(self.confidence)

    def __iter__(self) -> Iterator[tuple[NDArray[np.float32], float, int]]:
        """(box (4,), score, class) of each object."""
        for box, score, index in zip(self.xyxy, self.confidence, self.class_id, strict=True):
            yield box, float(score), int(index)

    @property
    def captured(self) -> float | None:
        """``times.captured``; None where there are no times."""
        return None if self.times is None else self.times.captured

    @property
    def started(self) -> float | None:
        """``times.started``; None where there are no times."""
        return None if self.times is None else self.times.started

    @property
    def finished(self) -> float | None:
        """``times.finished``; None where there are no times."""
        return None if self.times is None else self.times.finished

    def select(self, index: NDArray[Any]) -> Detections:
        """The objects that ``index`` names: an (N,) bool mask, or integer positions in the order wanted."""
        track_id = None if self.track_id is None else self.track_id[index]
        parts = {"xyxy": self.xyxy[index], "confidence": self.confidence[index], "class_id": self.class_id[index]}
        return replace(self, **parts, track_id=track_id)

    def draw(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of ``frame`` (H, W, 3) uint8 BGR with boxes and labels, the most confident on top.

        Every class has its colour; the label is track, class name and confidence. A name in other letters than ASCII
        needs Pillow and a font that has them (:mod:`edge_yolov9.letters`); without, the class index stands for it.

        Raises:
            InputError: the frame is of another type.
        """
        from edge_yolov9.draw import boxes, class_colours
        from edge_yolov9.letters import drawable

        names = {index: self.names[index] for index in self.class_id.tolist()}
        names = {index: name if drawable(name) else str(index) for index, name in names.items()}
        labels = [f"{names[index]} {score:.2f}" for _, score, index in self]
        if self.track_id is not None:
            labels = [f"#{k} {label}" if k else label for k, label in zip(self.track_id, labels, strict=True)]
        return boxes(frame, self.xyxy, labels, class_colours(self.class_id))

    def as_dicts(self) -> list[dict[str, Any]]:
        """One plain dict per object: ``xyxy`` (pixels), ``confidence``, ``class_id``, ``name`` (and ``track_id``,
        None for an object seen once so far)."""
        rows: list[dict[str, Any]] = [
            {
                "xyxy": [round(float(value), 2) for value in box],
                "confidence": round(score, 5),
                "class_id": index,
                "name": self.names[index],
            }
            for box, score, index in self
        ]
        if self.track_id is not None:
            for row, track in zip(rows, self.track_id, strict=True):
                row["track_id"] = int(track) or None
        return rows

    def as_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Entries of a COCO results file: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height), ``score``.

        Args:
            image_id: of the picture in the annotation file.
            category_ids: category of each class of the model; 1, 2, 3, ... when None. COCO's own have gaps.

        Raises:
            InputError: there are not as many categories as classes.
        """
        if category_ids is not None and len(category_ids) != len(self.names):
            raise InputError(f"expected {len(self.names)} category ids, one per class, got {len(category_ids)}")
        rows = []
        for box, score, index in self:
            x1, y1, x2, y2 = (float(value) for value in box)
            category = index + 1 if category_ids is None else int(category_ids[index])
            box_wh = [x1, y1, x2 - x1, y2 - y1]
            rows.append({"image_id": image_id, "category_id": category, "bbox": box_wh, "score": score})
        return rows

    def as_supervision(self) -> Any:
        """``supervision.Detections`` of the same objects, class names in ``data["class_name"]``.

        Raises:
            RuntimeNotInstalled: the package ``supervision`` is absent.
        """
        try:
            import supervision
        except ImportError:
            raise RuntimeNotInstalled(
                "as_supervision() needs the package supervision; pip install supervision"
            ) from None
        names = np.array([self.names[index] for index in self.class_id], dtype=np.str_)
        return supervision.Detections(
            xyxy=self.xyxy.copy(),
            confidence=self.confidence.copy(),
            class_id=self.class_id.copy(),
            tracker_id=None if self.track_id is None else np.where(self.track_id > 0, self.track_id, -1),
            data={"class_name": names},
        )
