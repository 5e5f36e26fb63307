"""The YOLOv9 graphs in PyTorch, as the paper draws them.

``blocks.py`` has the layers, ``graph.py`` backbones and necks, ``heads.py`` the detection heads; ``published.py`` maps
the names of published weights to ours, ``cost.py`` counts parameters and operations.
"""

from edge_yolov9.model.graph import RawHeads, YOLOv9, build
from edge_yolov9.model.published import load_published, published_tensors

__all__ = ["RawHeads", "YOLOv9", "build", "load_published", "published_tensors"]
