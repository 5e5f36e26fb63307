"""What a model is that is no YOLOv9 of ours: by the classes of its layers, or by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edge_yolov9.checkpoint.foreign import Weights

LAYERS = (
    ({"Classify"}, "a classifier of Ultralytics"),
    ({"v10Detect"}, "a YOLOv10 model"),
    ({"RTDETRDecoder"}, "an RT-DETR model"),
    ({"Segment", "Segment26", "YOLOESegment", "YOLOESegment26"}, "a segmentation model of Ultralytics"),
    ({"Pose", "Pose26"}, "a pose model of Ultralytics"),
    ({"OBB", "OBB26"}, "a model of rotated boxes of Ultralytics"),
    ({"WorldDetect", "YOLOEDetect"}, "an open-vocabulary model of Ultralytics"),
    ({"A2C2f"}, "a YOLO12 model"),
    ({"C3k2", "C2PSA"}, "a YOLO11 or YOLO26 model"),
    ({"C2f"}, "a YOLOv8 model"),
    ({"C3"}, "a YOLOv5 model"),
    ({"ResNet", "EfficientNet", "MobileNetV3", "VisionTransformer", "ConvNeXt"}, "a classifier"),
)
"""(a class of layers that it has, what such a model is)."""

KEYS = (
    (r"proto\.cv\d\.", "a segmentation model"),
    (r"one2one_cv\d\.", "a YOLOv10 or YOLO26 model"),
    (r"(class_embed|transformer|decoder)\.", "a DETR"),
    (r"\d+\.m\.\d\.(weight|bias)$", "a YOLOv5 or YOLOv7 model"),
    (r"\d+\.(m\.\d\.)+attn\.", "a YOLO11, YOLO12 or YOLO26 model"),
    (r"22\.cv3\.0\.2\.weight$", "a YOLOv8 model"),
    (r"(fc|classifier(\.\d)?|linear)\.weight$", "a classifier"),
)
"""(part of a tensor's name behind its prefix, what such a model is)."""

OTHER_TASKS = {"Segment", "Pose", "OBB", "WorldDetect", "YOLOEDetect", "YOLOESegment", "v10Detect"}
"""Heads of models whose body may be that of a YOLOv9."""


def other_network(weights: Weights, keys: Iterable[str]) -> str:
    """What the model is, in words, where it is no YOLOv9."""
    what = next((what for layers, what in LAYERS if layers & weights.layers), None)
    if what is None and not weights.layers:
        keys = list(keys)
        what = next((what for sign, what in KEYS if any(re.search(rf"(^|\.){sign}", key) for key in keys)), None)
    what = what or "another network"
    plan = re.sub(r".*[/\\]", "", weights.plan) if weights.plan else ""
    return f"{what} ({plan})" if plan else what
