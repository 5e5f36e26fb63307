"""Data sets: what is in them, and what is wrong with them. One reader for every command.

``dataset`` opens a DATA file, ``labels`` and ``coco`` read ground truth, ``checks`` look at every file, ``findings``
says what a person must know. Commands call :func:`read_data`.
"""

from edge_yolov9.data.classes import check_names
from edge_yolov9.data.dataset import SPLITS, YAML_SUFFIXES, Dataset, image_paths, load_data
from edge_yolov9.data.reader import Reading, read_data
from edge_yolov9.data.records import ImageRecord, Split

__all__ = [
    "SPLITS",
    "YAML_SUFFIXES",
    "Dataset",
    "ImageRecord",
    "Reading",
    "Split",
    "check_names",
    "image_paths",
    "load_data",
    "read_data",
]
