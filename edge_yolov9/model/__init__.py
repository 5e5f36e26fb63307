"""The YOLOv9 graphs in PyTorch."""

from edge_yolov9.model.graph import RawHeads, YOLOv9, build
from edge_yolov9.model.published import load_published, published_tensors

__all__ = ["RawHeads", "YOLOv9", "build", "load_published", "published_tensors"]
