"""What a run leaves to look at: what the model was shown, what it finds, and how the run went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9 import draw
from edge_yolov9.checkpoint import load
from edge_yolov9.data import Split
from edge_yolov9.decode import DecodeOptions
from edge_yolov9.detections import Detections
from edge_yolov9.errors import SourceError
from edge_yolov9.geometry import Image, letterbox
from edge_yolov9.images import read_image
from edge_yolov9.scoring import curves
from edge_yolov9.scoring.confusion import confusion
from edge_yolov9.train.dataset import TrainingSet
from edge_yolov9.train.folder import BEST, Folder
from edge_yolov9.train.state import atomic_write
from edge_yolov9.train.validation import predict, validate

DEPLOYED = DecodeOptions()
"""Thresholds that a Detector starts with."""
TRAINING, VALIDATION = "training-batch.jpg", "validation.jpg"
RESULTS, PRECISION_RECALL, CONFUSION = "results.png", "precision-recall.png", "confusion-matrix.png"
PANELS = (("class", "box", "dfl"), ("AP", "AP50", "AP75"), ("lr",), ("images_per_s",))
"""Columns of results.csv that share an axis."""
TILE = 416
"""Side of a picture in a contact sheet, pixels."""


def training_batch(folder: Folder, data: TrainingSet, names: tuple[str, ...], count: int = 9) -> None:
    """The first images as the model sees them in the first epoch, boxes drawn in."""
    tiles = []
    for index in range(min(count, len(data))):
        image, boxes = data.sample(0, index)
        tiles.append(_with_truth(np.ascontiguousarray(image[:, :, ::-1]), boxes[:, 1:], boxes[:, 0], names))
    _save(folder, TRAINING, sheet(tiles, 3))


def outcome(folder: Folder, history: Sequence[Mapping[str, float]], val: Split, imgsz: int) -> None:
    """Figures of the whole run, and of ``best`` on the validation split.

    Raises:
        ImportError: matplotlib is not installed; the sheet of validation pictures is there all the same.
    """
    model = load(folder.path / BEST).model
    detections, used = predict(model, val, imgsz, DEPLOYED)
    _validation(folder, detections, used)

    atomic_write(folder.path / RESULTS, results(history))
    atomic_write(folder.path / PRECISION_RECALL, curves.precision_recall(validate(model, val, imgsz)))
    atomic_write(folder.path / CONFUSION, curves.confusion_matrix(confusion(detections, used), val.names))


@curves.plain
def results(history: Sequence[Mapping[str, float]]) -> bytes:
    """Losses, AP, learning rate and speed over the epochs: the rows of results.csv; a PNG's bytes."""
    drawn = curves.figure(11, 6)
    for axis, columns in zip(drawn.subplots(2, 2).flat, PANELS, strict=True):
        for column in columns:
            axis.plot([row["epoch"] for row in history], [row[column] for row in history], label=column, marker=".")
        axis.set_xlabel("epoch")
        axis.legend()
        axis.grid(alpha=0.3)
    return curves.png(drawn)


def _validation(folder: Folder, detections: Mapping[int, Detections], used: Split, count: int = 4) -> None:
    """Upper row the truth, lower row what was found, in pictures spread over the split."""
    chosen = used.images[:: max(1, len(used.images) // count)][:count]
    tiles = [_with_truth(read_image(r.path), r.xyxy, r.class_id, used.names) for r in chosen]
    tiles += [detections[r.image_id].draw(read_image(r.path)) for r in chosen]
    _save(folder, VALIDATION, sheet(tiles, len(chosen)))


def _with_truth(frame: Image, xyxy: NDArray[np.float32], class_id: NDArray[Any], names: tuple[str, ...]) -> Image:
    """``frame`` with labelled objects (N, 4) of classes (N,)."""
    return draw.boxes(frame, xyxy, [names[int(index)] for index in class_id], draw.class_colours(class_id))


def sheet(tiles: Sequence[Image], columns: int) -> Image:
    """Pictures of any size letterboxed into one, row by row: (rows * TILE, columns * TILE, 3) uint8 BGR."""
    rows = -(-len(tiles) // columns)
    canvas = np.full((rows * TILE, columns * TILE, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * TILE, (i % columns) * TILE
        canvas[y : y + TILE, x : x + TILE] = letterbox(tile, (TILE, TILE))[0]
    return canvas


def _save(folder: Folder, name: str, image: Image) -> None:
    done, data = cv2.imencode(".jpg", image)
    if not done:
        raise SourceError(f"OpenCV cannot encode {name}")
    atomic_write(folder.path / name, data.tobytes())
