"""The names under which other programs keep the tensors of the same graphs.

MIT YOLO (MultimediaTechLab/YOLO) numbers the layers too, but the main head comes before the auxiliary branch, no layer
is an identity, and its blocks call their parts otherwise. LibreYOLO names rooms. Ultralytics has the published names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count

from torch import Tensor, nn

from edge_yolov9.errors import CheckpointError
from edge_yolov9.model.blocks import AConv
from edge_yolov9.model.graph import AuxiliaryNeck, Backbone, DualBackbone, Neck, ReversibleBranch, TopDown, YOLOv9
from edge_yolov9.model.heads import Head
from edge_yolov9.model.published import (
    Layer,
    backbone_layers,
    link_layers,
    named_tensors,
    published_names,
    published_tensors,
    top_down_layers,
)


def _own(model: YOLOv9) -> dict[str, Tensor]:
    return dict(model.state_dict(keep_vars=True))


def _mit_names(module: nn.Module) -> Mapping[str, str]:
    if isinstance(module, AConv):
        return {"conv": "conv"}
    names = {part: re.sub(r"^cv(?=\d)", "conv", name) for part, name in published_names(module).items()}
    return {part: "bottleneck" if name == "m" else name for part, name in names.items()}


def _libre_names(module: nn.Module) -> Mapping[str, str]:
    return {"conv": "cv"} if isinstance(module, AConv) else published_names(module)


def _mit_head(head: Head, prefix: str) -> Iterator[Layer]:
    for i, (box, cls) in enumerate(zip(head.box, head.cls, strict=True)):
        yield box, f"{prefix}.heads.{i}.anchor_conv"
        yield cls, f"{prefix}.heads.{i}.class_conv"


def _neck_layers(neck: Neck, index: Iterator[int], prefix: str) -> Iterator[Layer]:
    yield from top_down_layers(neck.top_down, index, prefix)
    for down, block in ((neck.down4, neck.p4), (neck.down5, neck.p5)):
        yield down, f"{prefix}{next(index)}"
        next(index)  # concatenation
        yield block, f"{prefix}{next(index)}"


def _single(model: YOLOv9, program: str) -> Backbone:
    if isinstance(model.backbone, DualBackbone):
        raise CheckpointError(f"{program} has no YOLOv9-E")
    return model.backbone


def _mit_layers(model: YOLOv9) -> Iterator[Layer]:
    index = count()
    yield from backbone_layers(_single(model, "MIT YOLO"), index, prefix="")
    yield from _neck_layers(model.neck, index, "")
    yield from _mit_head(model.head, f"{next(index)}")
    auxiliary = model.auxiliary
    if isinstance(auxiliary, ReversibleBranch):
        yield from link_layers(auxiliary.links, index, "")
        yield from backbone_layers(auxiliary.backbone, index, auxiliary.links, "")
    elif isinstance(auxiliary, AuxiliaryNeck):
        yield from top_down_layers(auxiliary.neck, index, "")
    if auxiliary is not None:
        yield from _mit_head(auxiliary.head, f"{next(index)}")


def _libre_layers(model: YOLOv9) -> Iterator[Layer]:
    backbone = _single(model, "LibreYOLO")
    yield backbone.reduce[0], "backbone.conv0"
    yield backbone.reduce[1], "backbone.conv1"
    for level in range(1, 5):
        if level > 1:
            yield backbone.reduce[level], f"backbone.down{level}"
        yield backbone.blocks[level], f"backbone.elan{level}"
    neck: Neck = model.neck
    yield neck.top_down.spp, "backbone.spp"
    yield neck.top_down.n4, "neck.elan_up1"
    yield neck.top_down.p3, "neck.elan_up2"
    yield neck.down4, "neck.down1"
    yield neck.p4, "neck.elan_down1"
    yield neck.down5, "neck.down2"
    yield neck.p5, "neck.elan_down2"
    yield from ((model.head.box, "head.cv2"), (model.head.cls, "head.cv3"))
    if isinstance(model.auxiliary, AuxiliaryNeck):
        above: TopDown = model.auxiliary.neck
        yield from ((above.spp, "aux.spp"), (above.n4, "aux.elan_a4"), (above.p3, "aux.elan_a3"))
        head = model.auxiliary.head
        yield from ((head.box, "aux_head.cv2"), (head.cls, "aux_head.cv3"))


def mit_tensors(model: YOLOv9) -> dict[str, Tensor]:
    """Our tensors under the keys of MIT YOLO."""
    layers = _mit_layers(model)
    return {key: tensor for layer, prefix in layers for key, tensor in named_tensors(layer, prefix, _mit_names)}


def libre_tensors(model: YOLOv9) -> dict[str, Tensor]:
    """Our tensors under the keys of LibreYOLO."""
    layers = _libre_layers(model)
    return {key: tensor for layer, prefix in layers for key, tensor in named_tensors(layer, prefix, _libre_names)}


LAYOUTS: dict[str, Callable[[YOLOv9], dict[str, Tensor]]] = {
    "published": published_tensors,
    "mit": mit_tensors,
    "libre": libre_tensors,
    "own": _own,
}
"""Layout -> our tensors under its keys."""
