"""The names under which the published checkpoints keep their tensors.

The published files number the layers of one flat list (``model.15.cv2.0.m.1.cv1.conv1.conv.weight``). Walking our
modules in the same order and asking each block for its ``published_names`` gives the same keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Protocol

import torch
from torch import Tensor, nn

from edge_yolov9.errors import CheckpointError
from edge_yolov9.model.graph import AuxiliaryNeck, Backbone, DualBackbone, Links, ReversibleBranch, TopDown, YOLOv9
from edge_yolov9.model.heads import Head
from edge_yolov9.text import short

Layer = tuple[nn.Module, str]


class Shaped(Protocol):
    """A tensor, or what stands for one before it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its dimensions."""


def backbone_layers(
    backbone: Backbone, index: Iterator[int], links: Links | None = None, prefix: str = "model."
) -> Iterator[Layer]:
    """The layers of a backbone under their numbers; ``links`` are those that it is told by."""
    for level, (reduce, block) in enumerate(zip(backbone.reduce, backbone.blocks, strict=True)):
        yield reduce, f"{prefix}{next(index)}"
        if links is not None and level >= links.first:
            next(index)  # the fusion, a layer without tensors
        if level:
            yield block, f"{prefix}{next(index)}"


def link_layers(links: Links, index: Iterator[int], prefix: str = "model.") -> Iterator[Layer]:
    """What one backbone tells another, under their numbers."""
    for tap in links.taps:
        yield tap, f"{prefix}{next(index)}"


def top_down_layers(neck: TopDown, index: Iterator[int], prefix: str = "model.") -> Iterator[Layer]:
    """The upper half of a neck, under its numbers."""
    yield neck.spp, f"{prefix}{next(index)}"
    for block in (neck.n4, neck.p3):
        next(index), next(index)  # upsampling and concatenation
        yield block, f"{prefix}{next(index)}"


def _layers(model: YOLOv9) -> Iterator[Layer]:
    """Every module that owns tensors, with its published prefix (heads apart)."""
    variant, auxiliary = model.variant, model.auxiliary
    if model.options.changed().keys() - {"head"}:
        raise CheckpointError(f"a graph with {model.options.changed()} was never published: its keys have no names")
    starts_with_identity = variant.dual_backbone or (auxiliary is not None and variant.identity_offset == 1)
    index = count(1 if starts_with_identity else 0)
    if isinstance(model.backbone, DualBackbone):
        yield from backbone_layers(model.backbone.first, index)
        yield from link_layers(model.backbone.links, index)
        yield from backbone_layers(model.backbone.second, index, model.backbone.links)
    else:
        yield from backbone_layers(model.backbone, index)
    if isinstance(auxiliary, AuxiliaryNeck) and variant.dual_backbone:
        yield from top_down_layers(auxiliary.neck, index)
    yield from top_down_layers(model.neck.top_down, index)
    for down, block in ((model.neck.down4, model.neck.p4), (model.neck.down5, model.neck.p5)):
        yield down, f"model.{next(index)}"
        next(index)  # concatenation
        yield block, f"model.{next(index)}"
    if isinstance(auxiliary, ReversibleBranch):
        yield from link_layers(auxiliary.links, index)
        yield from backbone_layers(auxiliary.backbone, index, auxiliary.links)
    elif isinstance(auxiliary, AuxiliaryNeck) and not variant.dual_backbone:
        yield from top_down_layers(auxiliary.neck, index)
    head = f"model.{next(index)}"
    yield from _head(model.head, head, "cv4", "cv5") if auxiliary else _head(model.head, head, "cv2", "cv3")
    if auxiliary is not None:
        yield from _head(auxiliary.head, head, "cv2", "cv3")


def _head(head: Head, prefix: str, box: str, cls: str) -> Iterator[Layer]:
    yield head.box, f"{prefix}.{box}"
    yield head.cls, f"{prefix}.{cls}"


Names = Callable[[nn.Module], Mapping[str, str]]
"""What a layout calls the parts of a block: ``{our name: its name}``; a part that is missing keeps ours."""


def published_names(module: nn.Module) -> Mapping[str, str]:
    """The published names of a block's parts."""
    names: Mapping[str, str] = getattr(module, "published_names", {})
    return names


def named_tensors(module: nn.Module, prefix: str, names_of: Names = published_names) -> Iterator[tuple[str, Tensor]]:
    """(key of the layout, our tensor) of one module and everything below it."""
    names = names_of(module)
    for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        yield f"{prefix}.{name}", tensor
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList) and any(key.startswith(f"{name}.") for key in names):
            for i, item in enumerate(child):
                yield from named_tensors(item, f"{prefix}.{names[f'{name}.{i}']}", names_of)
        else:
            yield from named_tensors(child, f"{prefix}.{names.get(name, name)}", names_of)


def published_tensors(model: YOLOv9) -> dict[str, Tensor]:
    """Our tensors under their published keys. The fixed DFL projection, 0..15, is not a tensor of ours."""
    return {key: tensor for layer, prefix in _layers(model) for key, tensor in named_tensors(layer, prefix)}


def load_published(model: YOLOv9, state: Mapping[str, Tensor]) -> YOLOv9:
    """Fill ``model`` in place from ``{published key: tensor}`` and return it. Half precision is widened to float32.

    Raises:
        CheckpointError: a key is missing or left over, or a shape differs; the first few are named.
    """
    own = published_tensors(model)
    given = {key: value for key, value in state.items() if ".dfl" not in key}
    check_fit(model, own, given)
    return copy_tensors(model, own, given)


def check_fit(model: YOLOv9, own: Mapping[str, Tensor], given: Mapping[str, Shaped]) -> None:
    """Hold what a file has against what a graph needs, under the keys of one layout. Counters of batches may lack.

    Raises:
        CheckpointError: a key is missing or left over, or a shape differs; the first few are named.
    """
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = sorted(own.keys() - given.keys() - counters)
    extra = sorted(given.keys() - own.keys())
    shapes = [key for key in own.keys() & given.keys() if tuple(own[key].shape) != tuple(given[key].shape)]
    for what, keys in (("missing", missing), ("unexpected", extra), ("of another shape", sorted(shapes))):
        if keys:
            raise CheckpointError(
                f"the checkpoint does not fit {model.name} with {model.num_classes} classes: "
                f"{len(keys)} tensors {what}, among them {', '.join(short(key) for key in keys[:3])}"
            )


def copy_tensors(model: YOLOv9, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> YOLOv9:
    """Fill ``model`` through its tensors ``own`` and return it. Half precision is widened to float32."""
    with torch.no_grad():
        for key in own.keys() & given.keys():
            own[key].copy_(given[key])
    return model
