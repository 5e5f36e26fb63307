"""The names under which the published checkpoints keep their tensors.

The published files number the layers of one flat list (``model.15.cv2.0.m.1.cv1.conv1.conv.weight``). Walking our
modules in the same order and asking each block for its ``published_names`` gives the same keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import torch
from torch import Tensor, nn

from edge_yolov9.errors import CheckpointError
from edge_yolov9.model.graph import AuxiliaryNeck, Backbone, DualBackbone, Links, ReversibleBranch, TopDown, YOLOv9
from edge_yolov9.model.heads import Head

Layer = tuple[nn.Module, str]


def _backbone(backbone: Backbone, index: Iterator[int], links: Links | None = None) -> Iterator[Layer]:
    for level, (reduce, block) in enumerate(zip(backbone.reduce, backbone.blocks, strict=True)):
        yield reduce, f"model.{next(index)}"
        if links is not None and level >= links.first:
            next(index)  # the fusion, a layer without tensors
        if level:
            yield block, f"model.{next(index)}"


def _links(links: Links, index: Iterator[int]) -> Iterator[Layer]:
    for tap in links.taps:
        yield tap, f"model.{next(index)}"


def _top_down(neck: TopDown, index: Iterator[int]) -> Iterator[Layer]:
    yield neck.spp, f"model.{next(index)}"
    for block in (neck.n4, neck.p3):
        next(index), next(index)  # upsampling and concatenation
        yield block, f"model.{next(index)}"


def _layers(model: YOLOv9) -> Iterator[Layer]:
    """Every module that owns tensors, with its published prefix (heads apart)."""
    variant, auxiliary = model.variant, model.auxiliary
    if model.options.changed():
        raise CheckpointError(f"a graph with {model.options.changed()} was never published: its keys have no names")
    starts_with_identity = variant.dual_backbone or (auxiliary is not None and variant.identity_offset == 1)
    index = count(1 if starts_with_identity else 0)
    if isinstance(model.backbone, DualBackbone):
        yield from _backbone(model.backbone.first, index)
        yield from _links(model.backbone.links, index)
        yield from _backbone(model.backbone.second, index, model.backbone.links)
    else:
        yield from _backbone(model.backbone, index)
    if isinstance(auxiliary, AuxiliaryNeck) and variant.dual_backbone:
        yield from _top_down(auxiliary.neck, index)
    yield from _top_down(model.neck.top_down, index)
    for down, block in ((model.neck.down4, model.neck.p4), (model.neck.down5, model.neck.p5)):
        yield down, f"model.{next(index)}"
        next(index)  # concatenation
        yield block, f"model.{next(index)}"
    if isinstance(auxiliary, ReversibleBranch):
        yield from _links(auxiliary.links, index)
        yield from _backbone(auxiliary.backbone, index, auxiliary.links)
    elif isinstance(auxiliary, AuxiliaryNeck) and not variant.dual_backbone:
        yield from _top_down(auxiliary.neck, index)
    head = f"model.{next(index)}"
    yield from _head(model.head, head, "cv4", "cv5") if auxiliary else _head(model.head, head, "cv2", "cv3")
    if auxiliary is not None:
        yield from _head(auxiliary.head, head, "cv2", "cv3")


def _head(head: Head, prefix: str, box: str, cls: str) -> Iterator[Layer]:
    yield head.box, f"{prefix}.{box}"
    yield head.cls, f"{prefix}.{cls}"


def _tensors(module: nn.Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """(published key, our tensor) of one module and everything below it."""
    names: Mapping[str, str] = getattr(module, "published_names", {})
    for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        yield f"{prefix}.{name}", tensor
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList) and any(key.startswith(f"{name}.") for key in names):
            for i, item in enumerate(child):
                yield from _tensors(item, f"{prefix}.{names[f'{name}.{i}']}")
        else:
            yield from _tensors(child, f"{prefix}.{names.get(name, name)}")


def published_tensors(model: YOLOv9) -> dict[str, Tensor]:
    """Our tensors under their published keys. The fixed DFL projection, 0..15, is not a tensor of ours."""
    return {key: tensor for layer, prefix in _layers(model) for key, tensor in _tensors(layer, prefix)}


def load_published(model: YOLOv9, state: Mapping[str, Tensor]) -> YOLOv9:
    """Fill ``model`` in place from ``{published key: tensor}`` and return it. Half precision is widened to float32.

    Raises:
        CheckpointError: a key is missing or left over, or a shape differs; the first few are named.
    """
    own = published_tensors(model)
    given = {key: value for key, value in state.items() if ".dfl" not in key}
    counters = {key for key in own if key.endswith("num_batches_tracked")}
    missing = sorted(own.keys() - given.keys() - counters)
    extra = sorted(given.keys() - own.keys())
    shapes = [key for key in own.keys() & given.keys() if own[key].shape != given[key].shape]
    for what, keys in (("missing", missing), ("unexpected", extra), ("of another shape", sorted(shapes))):
        if keys:
            raise CheckpointError(
                f"the checkpoint does not fit {model.name} with {model.num_classes} classes: "
                f"{len(keys)} tensors {what}, among them {', '.join(keys[:3])}"
            )
    with torch.no_grad():
        for key in own.keys() & given.keys():
            own[key].copy_(given[key])
    return model
