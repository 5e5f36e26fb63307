"""Which graph a file's keys and shapes belong to, and under whose names it keeps the tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.checkpoint.foreign import Weights
from edge_yolov9.checkpoint.others import OTHER_TASKS, other_network
from edge_yolov9.errors import CheckpointError
from edge_yolov9.model.published import Shaped
from edge_yolov9.variants import REG_MAX, STRIDES, GraphOptions

LAST = {
    "mit": r"(?P<prefix>.*?)(?P<layer>\d+)\.heads\.0\.class_conv\.2\.weight",
    "libre": r"(?P<prefix>.*?)head\.cv3\.0\.2\.weight",
    "published": r"(?P<prefix>.*?)(?P<layer>\d+)\.cv3\.0\.2\.weight",
    "own": r"(?P<prefix>.*?)head\.cls\.0\.2\.weight",
}
"""Layout -> key of the last kernel of the class branch at stride 8, behind whatever wrappers put before it."""

SPP = {
    "mit": r"\d+\.conv5\.conv\.weight",
    "libre": r"backbone\.spp\.cv5\.conv\.weight",
    "published": r"\d+\.cv5\.conv\.weight",
    "own": r"neck\.top_down\.spp\.exit\.conv\.weight",
}
"""Layout -> key of the last kernel of the SPP block, whose shapes tell the five sizes apart."""

SIZES = {
    (128, 256, 128): "t",
    (256, 512, 256): "s",
    (480, 960, 480): "m",
    (512, 1024, 512): "c",
    (512, 1024, 1024): "e",
}
"""(width behind SPP, four times the width inside, width before) -> size."""

ENTRY = {"conv5.": "conv1.", "cv5.": "cv1.", "exit.": "entry."}

IGNORED = re.compile(r"(^|\.)(dfl2?|anc2vec)\.")
"""Tensors that say nothing: the fixed projection 0..15 of the box bins."""

LEFTOVER = re.compile(r"^aux\.")
"""What LibreYOLO keeps of an auxiliary branch of M and C when it converts MIT YOLO's weights: parts without a head."""

MAX_CLASSES = 100_000


@dataclass(frozen=True)
class Graph:
    """A graph of ours, and how a file names its tensors."""

    layout: str
    """A key of ``model.layouts.LAYOUTS``."""
    prefix: str
    """What stands before every key in the file."""
    variant: str
    num_classes: int
    options: GraphOptions

    def keys(self, shapes: Mapping[str, Shaped]) -> dict[str, str]:
        """``{key of the layout: key in the file}`` of every tensor of the model; others are not its."""
        own = {key[len(self.prefix) :]: key for key in shapes if key.startswith(self.prefix)}
        dot = "model." if self.layout == "published" else ""
        rest = LEFTOVER if self.layout == "libre" and self.variant.startswith("gelan") else IGNORED
        return {f"{dot}{key}": file for key, file in own.items() if not (IGNORED.search(key) or rest.search(key))}


def recognize(path: Path, shapes: Mapping[str, Shaped], weights: Weights | None = None) -> Graph:
    """The graph that a file holds, by the keys that all graphs of a layout have.

    Raises:
        CheckpointError: no YOLOv9 of ours has such keys and shapes.
    """
    weights = weights or Weights({})
    for layout, pattern in {} if weights.layers & OTHER_TASKS else LAST.items():
        matches = [match for key in shapes if (match := re.fullmatch(pattern, key))]
        if not matches:
            continue
        match = min(matches, key=lambda match: ("ema" not in match["prefix"], len(match["prefix"])))
        prefix, last = match["prefix"], tuple(shapes[match[0]].shape)
        if len(last) != 4 or type(last[0]) is not int or not 0 < last[0] <= MAX_CLASSES:
            break
        own = {key[len(prefix) :]: tuple(value.shape) for key, value in shapes.items() if key.startswith(prefix)}
        size = _size(layout, own)
        if size is None or any(re.match(r"\d+\.proto\.", key) for key in own):
            break
        _check_head(path, match[0][len(prefix) :], own)
        family, auxiliary = _auxiliary(layout, own, size)
        options = GraphOptions(auxiliary=auxiliary, head="dense" if _dense(layout, own) else "published")
        return Graph(layout, prefix, f"{family}-{size}", last[0], options)
    raise CheckpointError(
        f"{path} holds {other_network(weights, shapes)}, not a YOLOv9 detector: none has such keys and shapes; "
        "train one with edge-yolov9 train"
    )


def _check_head(path: Path, last: str, own: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a head of more levels or other bins; ``last`` is the key of the class branch's last kernel."""
    levels = sum(re.sub(r"\.0\.(?=2\.|class_conv)", f".{level}.", last) in own for level in range(8))
    box = own.get(last.replace("class_conv", "anchor_conv").replace("cv3.", "cv2.").replace("cls.", "box."), ())
    known = f"{len(STRIDES)} levels and {REG_MAX} bins"
    if levels != len(STRIDES):
        raise CheckpointError(f"{path} holds a YOLOv9 of {levels} levels; only {known} (reg_max) are known here")
    if box and box[0] != 4 * REG_MAX:
        raise CheckpointError(f"{path} holds a YOLOv9 of reg_max {box[0] // 4}; only {known} (reg_max) are known here")


def _size(layout: str, own: Mapping[str, tuple[int, ...]]) -> str | None:
    for key, exit_shape in own.items():
        if not re.fullmatch(SPP[layout], key) or len(exit_shape) != 4:
            continue
        entry = key
        for name, first in ENTRY.items():
            entry = entry.replace(name, first)
        entry_shape = own.get(entry, (0, 0))
        return SIZES.get((exit_shape[0], exit_shape[1], entry_shape[1]))
    return None


def _auxiliary(layout: str, own: Mapping[str, tuple[int, ...]], size: str) -> tuple[str, str]:
    """The family, and what the auxiliary head hangs on as an option."""
    reversible = "published" if size in "mc" else "icn"
    top_down = "fpn" if size in "mc" else "published"
    if layout == "mit":
        heads = {key.partition(".heads.")[0] for key in own if ".heads." in key}
        if len(heads) < 2:
            return "gelan", "published"
        return "yolov9", reversible if "23.conv.weight" in own else top_down
    if layout == "libre":
        return ("yolov9", top_down) if any(key.startswith("aux_head.") for key in own) else ("gelan", "published")
    if layout == "own":
        return ("yolov9" if any(key.startswith("auxiliary.") for key in own) else "gelan"), "published"
    return ("yolov9" if any(re.match(r"\d+\.cv5\.\d+\.", key) for key in own) else "gelan"), "published"


def _dense(layout: str, own: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the second convolution of a box branch reads all channels of the first."""
    second = {
        "mit": r"\d+\.heads\.0\.anchor_conv\.1\.conv\.weight",
        "libre": r"head\.cv2\.0\.1\.conv\.weight",
        "published": r"\d+\.cv2\.0\.1\.conv\.weight",
        "own": r"head\.box\.0\.1\.conv\.weight",
    }[layout]
    shapes = [shape for key, shape in own.items() if re.fullmatch(second, key) and len(shape) == 4]
    return any(shape[0] == shape[1] for shape in shapes)
