"""The information bottleneck, drawn: figures 6 and 7 of the paper (Wang, Yeh, Liao, arXiv 2402.13616).

Figure 6: what networks of random weights keep of an image at growing depth. Figure 7: what the neck of GELAN, and of
GELAN trained with PGI, looks at after a short warm-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from edge_yolov9.geometry import Image, letterbox
from edge_yolov9.model import YOLOv9, build
from edge_yolov9.model.blocks import CSP, ELAN, Conv, Residual
from edge_yolov9.model.session import image_batch
from edge_yolov9.scoring.curves import figure, plain, png
from edge_yolov9.train.check import Survey
from edge_yolov9.train.dataset import Loader, Order, TrainingSet
from edge_yolov9.train.distributed import Group
from edge_yolov9.train.engine import Engine
from edge_yolov9.train.optimizer import Schedule
from edge_yolov9.train.settings import Settings
from edge_yolov9.variants import ElanPlan, Variant, parse_name

ARCHITECTURES = ("PlainNet", "ResNet", "CSPNet", "GELAN")
DEPTHS = (50, 100, 150, 200)
"""3x3 convolutions on the longest path."""
STAGES = 4
"""Stages of CSPNet and GELAN: as many as a backbone of the family has."""

ReportLine = Callable[[str], None]


def network_input(frame: Image, imgsz: int) -> Tensor:
    """(1, 3, S, S) RGB in [0, 1] of a frame (H, W, 3) BGR."""
    return image_batch([letterbox(frame, (imgsz, imgsz))[0]])


def network(kind: str, variant: Variant, depth: int) -> nn.Sequential:
    """About ``depth`` 3x3 convolutions on the longest path, at stride 4 and as wide as the variant is there.

    As real networks grow, CSPNet and GELAN have a fixed number of stages and become deeper inside them.
    """
    stem, width = variant.backbone.reduce[:2]
    first = [Conv(3, stem, 3, 2), Conv(stem, width, 3, 2)]
    if kind == "PlainNet":
        return nn.Sequential(*first, *(Conv(width, width, 3) for _ in range(depth)))
    if kind == "ResNet":
        return nn.Sequential(*first, *(Residual(width, width, 3) for _ in range(depth // 2)))
    if kind == "CSPNet":
        return nn.Sequential(*first, *(CSP(width, width, round(depth / STAGES / 2)) for _ in range(STAGES)))
    inside = round((depth / STAGES / 2 - 1) / 2)  # two CSP blocks in a row, each with a Conv3x3 behind it
    plan = ElanPlan(width, width, width // 2, inside)
    return nn.Sequential(*first, *(ELAN(width, plan) for _ in range(STAGES)))


@torch.no_grad()
def depth_maps(image: Tensor, variant: Variant, seed: int) -> dict[str, list[Tensor]]:
    """Per architecture its maps (1, C, S/4, S/4) at ``DEPTHS``. BatchNorm takes the statistics of the image."""
    by_architecture: dict[str, list[Tensor]] = {kind: [] for kind in ARCHITECTURES}
    for kind, maps in by_architecture.items():
        for depth in DEPTHS:
            torch.manual_seed(seed)
            maps.append(network(kind, variant, depth).to(image.device)(image))
    return by_architecture


def explained_variance(feature: Tensor, image: Tensor) -> float:
    """Share of the image's variance that the best linear map from a cell's channels to its colour explains."""
    _, channels, height, width = feature.shape
    target = F.adaptive_avg_pool2d(image, (height, width)).reshape(3, -1).T.double()
    known = torch.cat((feature.reshape(channels, -1).T, feature.new_ones(height * width, 1)), 1).double()
    error = target - known @ torch.linalg.pinv(known) @ target
    return 1 - float(error.square().sum() / (target - target.mean(0)).square().sum().clamp(min=1e-12))


def warm_up(
    name: str, num_classes: int, data: Survey, settings: Settings, group: Group, iterations: int, report: ReportLine
) -> YOLOv9:
    """A model after the first iterations of training."""
    torch.manual_seed(settings.seed)
    engine = Engine(build(name, num_classes), replace(settings, model=name), group)
    samples = TrainingSet(data.pictures, settings)
    order = Order(len(samples), settings)
    schedule, loader = Schedule(settings, order.batches), Loader(samples, order, 0, pin=False)
    batches = ((epoch, pair) for epoch in count() for pair in enumerate(loader.epoch(epoch)))
    for done, (epoch, (number, batch)) in enumerate(islice(batches, iterations), 1):
        outcome = engine.gradients(batch, len(batch.images))
        engine.step(schedule.at(epoch, number))
        report(f"{name}: iteration {done}/{iterations}, class loss {outcome.terms[0]:.3f}")
    return engine.model


@torch.no_grad()
def neck_maps(model: YOLOv9, image: Tensor) -> list[Tensor]:
    """P3, P4, P5: (1, C, S/s, S/s). BatchNorm takes the statistics of the image: its own are young yet."""
    model.train()
    return model.neck(model.features(image)[0])  # type: ignore[no-any-return]


def figure6(frame: Image, model: str, imgsz: int, seed: int, group: Group) -> bytes:
    """A PNG: one row per architecture, one column per depth, and how much of the image is left at each."""
    image = network_input(frame, imgsz).to(group.device)
    by_architecture = depth_maps(image, parse_name(model)[0], seed)
    rows = [
        [
            ("input", _picture(image)),
            *((f"{depth} layers, {explained_variance(m, image):.0%}", _heat(m)) for depth, m in _with_depth(maps)),
        ]
        for maps in by_architecture.values()
    ]
    return _grid(
        list(by_architecture),
        rows,
        f"random weights, width of {model}; %: image variance linearly readable per cell",
    )


def figure7(
    frame: Image, data: Survey, num_classes: int, settings: Settings, iterations: int, group: Group, report: ReportLine
) -> bytes:
    """A PNG: the neck's levels of GELAN and of GELAN + PGI, from the same random weights, after the same batches."""
    image = network_input(frame, settings.imgsz).to(group.device)
    size = parse_name(settings.model)[0].size
    rows = []
    for name in (f"gelan-{size}", f"yolov9-{size}"):
        maps = neck_maps(warm_up(name, num_classes, data, settings, group, iterations, report), image)
        rows.append([("input", _picture(image)), *((f"P{i}", _heat(level)) for i, level in enumerate(maps, 3))])
    labels = ["GELAN", "GELAN + PGI"]
    return _grid(labels, rows, f"neck of {size.upper()} after {iterations} iterations of warm-up")


def _with_depth(maps: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
    return zip(DEPTHS, maps, strict=True)


def _picture(image: Tensor) -> NDArray[np.float32]:
    return np.asarray(image[0].permute(1, 2, 0).cpu().numpy(), np.float32)


def _heat(feature: Tensor) -> NDArray[np.float32]:
    """Mean magnitude over the channels (H, W), from 0 to 1 between the 1st and 99th percentile of its inner cells."""
    heat = feature[0].float().abs().mean(0).cpu().numpy()
    inner = heat[1:-1, 1:-1] if min(heat.shape) > 4 else heat  # the padding of the convolutions shows at the edge
    low, high = np.percentile(inner, (1, 99))
    return np.asarray(((heat - low) / max(high - low, 1e-12)).clip(0, 1), np.float32)


@plain
def _grid(labels: Sequence[str], rows: Sequence[Sequence[tuple[str, NDArray[np.float32]]]], title: str) -> bytes:
    drawn = figure(2.6 * len(rows[0]), 2.8 * len(rows) + 0.4)
    axes: Any = drawn.subplots(len(rows), len(rows[0]), squeeze=False)
    for label, line, row in zip(labels, axes, rows, strict=True):
        for axis, (text, tile) in zip(line, row, strict=True):
            axis.imshow(tile, cmap="viridis", vmin=0, vmax=1)
            axis.set_title(text, fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(label)
    drawn.suptitle(title, fontsize=10)
    return png(drawn)
