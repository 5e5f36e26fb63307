"""COCO AP of a model in training, on its own device: the deployed letterbox, decode, suppression and evaluator."""

from __future__ import annotations

from edge_yolov9.data import ImageRecord, Split
from edge_yolov9.decode import EVALUATION, DecodeOptions
from edge_yolov9.detections import Detections
from edge_yolov9.errors import SourceError
from edge_yolov9.geometry import Image, Letterbox, letterbox
from edge_yolov9.images import read_image
from edge_yolov9.lane import Postprocess
from edge_yolov9.model import RawHeads, YOLOv9
from edge_yolov9.model.session import TorchSession
from edge_yolov9.scoring.accuracy import Accuracy, evaluate


def validate(model: YOLOv9, split: Split, imgsz: int) -> Accuracy:
    """Evaluate the main branch of ``model`` at ``imgsz`` x ``imgsz`` pixels; images that do not decode are left out.

    Raises:
        DataError: the classes differ, or the split holds no labelled object.
    """
    detections, used = predict(model, split, imgsz)
    return evaluate(detections, used, split.names)


def predict(
    model: YOLOv9, split: Split, imgsz: int, options: DecodeOptions = EVALUATION, batch: int = 16
) -> tuple[dict[int, Detections], Split]:
    """Detections by ``image_id`` in pixels of each image, and the split without the images that do not decode."""
    session = TorchSession(RawHeads(model).eval(), next(model.parameters()).device)
    postprocess = Postprocess(split.names, (imgsz, imgsz))
    detections: dict[int, Detections] = {}
    used: list[ImageRecord] = []
    for first in range(0, len(split.images), batch):
        readable = _letterboxed(split.images[first : first + batch], imgsz)
        maps = session.infer_batch([image for _, image, _ in readable])
        for (record, _, placed), raw in zip(readable, maps, strict=True):
            detections[record.image_id] = postprocess(raw, placed, options)
            used.append(record)
    return detections, Split(split.name, split.names, tuple(used))


def _letterboxed(records: tuple[ImageRecord, ...], imgsz: int) -> list[tuple[ImageRecord, Image, Letterbox]]:
    """The images that decode, as (imgsz, imgsz, 3) uint8 BGR, and where each lies in it."""
    readable = []
    for record in records:
        try:
            readable.append((record, *letterbox(read_image(record.path), (imgsz, imgsz))))
        except SourceError:
            continue
    return readable
