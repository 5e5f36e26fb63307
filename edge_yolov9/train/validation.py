"""COCO AP of a model in training, on its own device: the deployed letterbox, decode, suppression and evaluator."""

from __future__ import annotations

import numpy as np
import torch

from edge_yolov9.data import Split
from edge_yolov9.decode import EVALUATION, DecodeOptions, Decoder
from edge_yolov9.detections import Detections
from edge_yolov9.errors import SourceError
from edge_yolov9.geometry import letterbox
from edge_yolov9.images import read_image
from edge_yolov9.model import RawHeads, YOLOv9
from edge_yolov9.scoring.accuracy import Accuracy, evaluate


def validate(model: YOLOv9, split: Split, imgsz: int) -> Accuracy:
    """Evaluate the main branch of ``model`` at ``imgsz`` x ``imgsz`` pixels; images that do not decode are left out.

    Raises:
        DataError: the classes differ, or the split holds no labelled object.
    """
    found, used = predict(model, split, imgsz)
    return evaluate(found, used, split.names)


@torch.inference_mode()
def predict(
    model: YOLOv9, split: Split, imgsz: int, options: DecodeOptions = EVALUATION, batch: int = 16
) -> tuple[dict[int, Detections], Split]:
    """Detections by ``image_id`` in pixels of each image, and the split without the images that do not decode."""
    heads, decode = RawHeads(model).eval(), Decoder((imgsz, imgsz))
    device = next(model.parameters()).device
    found: dict[int, Detections] = {}
    used = []
    for first in range(0, len(split.images), batch):
        placed = []
        for record in split.images[first : first + batch]:
            try:
                placed.append((record, *letterbox(read_image(record.path), (imgsz, imgsz))))
            except SourceError:
                continue
        if not placed:
            continue
        images = torch.from_numpy(np.stack([image[:, :, ::-1] for _, image, _ in placed])).to(device)
        raw = [out.float().flatten(2).cpu().numpy() for out in heads(images.permute(0, 3, 1, 2).float() / 255)]
        for i, (record, _, box) in enumerate(placed):
            xyxy, scores, classes = decode([out[i] for out in raw], options)
            found[record.image_id] = Detections(box.to_frame(xyxy), scores, classes, split.names)
            used.append(record)
    return found, Split(split.name, split.names, tuple(used))
