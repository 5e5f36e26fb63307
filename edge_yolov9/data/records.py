"""One image of a data set with what is in it, and the images of a split."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data.labels import read_rows
from edge_yolov9.data.look import Look
from edge_yolov9.data.objects import Objects, make_objects, usable
from edge_yolov9.data.rows import Forms
from edge_yolov9.errors import DataError, SourceError
from edge_yolov9.images import image_size


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image and what is in it. Size and labels are read on first use and kept."""

    path: Path
    image_id: int
    """COCO's id, or the place in the split from 1."""
    num_classes: int
    labels: Path | None = None
    """YOLO text file; None where there is none."""
    annotated: Objects | None = None
    """Ground truth of a COCO file, which comes with the split."""
    stated_size: tuple[int, int] | None = None
    """(height, width) of a COCO file."""
    keypoints: int = 0
    """Numbers behind the box in a row of keypoints, as ``kpt_shape`` says."""
    look: Look | None = None
    """The image file, where it was looked at; see :mod:`edge_yolov9.data.check`."""

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels.

        Raises:
            DataError: the image does not decode.
        """
        if self.look is not None:
            return self.look.size
        if self.stated_size is not None:
            return self.stated_size
        try:
            return image_size(self.path)
        except SourceError as error:
            raise DataError(str(error)) from None

    @cached_property
    def objects(self) -> Objects:
        """Ground truth in pixels of the image: what trains and is scored. A box that covers nothing of the image is
        left out.

        Raises:
            DataError: the label file is malformed; file and line are named.
        """
        labelled = self.labelled
        known = self.labels is not None or self.stated_size is not None or self.look is not None
        return usable(labelled, self.size) if known and len(labelled) else labelled

    @property
    def labelled(self) -> Objects:
        """Ground truth as it is annotated; errors as for :attr:`objects`."""
        return self._read[0]

    @property
    def forms(self) -> Forms:
        """What the long rows of the label file look like; errors as for :attr:`objects`."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Objects, Forms]:
        if self.annotated is not None:
            return self.annotated, Forms()
        if self.labels is None:
            return make_objects([]), Forms()
        return read_rows(self.labels, self.size, self.num_classes, self.keypoints)

    @property
    def height(self) -> int:
        """Pixels."""
        return self.size[0]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.size[1]

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """(N, 4) corners, pixels of the image."""
        return self.objects.xyxy

    @property
    def class_id(self) -> NDArray[np.int64]:
        """(N,) index into the data set's names."""
        return self.objects.class_id

    @property
    def iscrowd(self) -> NDArray[np.bool_]:
        """(N,) COCO's crowd regions."""
        return self.objects.iscrowd

    @property
    def area(self) -> NDArray[np.float64]:
        """(N,) square pixels."""
        return self.objects.area


@dataclass(frozen=True)
class Split:
    """The images of one split, in a fixed order; never empty."""

    name: str
    names: tuple[str, ...]
    images: tuple[ImageRecord, ...]
    left_over: tuple[Path, ...] = ()
    """Annotation files that no image has, beside YOLO's, which :mod:`edge_yolov9.data.checks.files` finds."""

    def __len__(self) -> int:
        return len(self.images)
