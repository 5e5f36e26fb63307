"""Checkpoints made fragile on purpose: a few channels are huge and what reads them hardly listens.

Float AP stays where it was; one range for the whole tensor leaves a handful of integers to all other channels.
``python -m tests.compiler.fragile`` prints what plain quantization (min-max ranges, nothing corrected) loses on each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from edge_yolov9.targets.onnx.emit import QUANTIZATION
from torch import nn

from edge_yolov9.checkpoint import Checkpoint, load
from edge_yolov9.compiler.calibration import choose
from edge_yolov9.compiler.export import export_onnx
from edge_yolov9.compiler.floatgraph import GraphSession
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.gate import Gate
from edge_yolov9.compiler.prune import prune
from edge_yolov9.compiler.quantization import qdq, ranges
from edge_yolov9.compiler.quantization.rules import read
from edge_yolov9.compiler.quantization.stats import collect_stats
from edge_yolov9.geometry import planes
from edge_yolov9.model import RawHeads, YOLOv9
from edge_yolov9.scoring.accuracy import labelled_split
from tests.conftest import DATA, DEMO

Readers = Sequence[tuple[str, int]]
"""Convolutions (module names) and the input channel where the tensor begins."""

STEM = ("backbone.reduce.0", [("backbone.reduce.1.conv", 0)])
HEAD = ("head.cls.0.0", [("head.cls.0.1.conv", 0)])
REPCONV = (
    "backbone.blocks.2.stages.0.0.blocks.0.rep.conv3",
    [("backbone.blocks.2.stages.0.0.blocks.0.conv.conv", 0)],
)
CONCAT = (
    "backbone.blocks.3.stages.0.1",
    [
        ("backbone.blocks.3.exit.conv", 96),
        ("backbone.blocks.3.stages.1.0.through.conv", 0),
        ("backbone.blocks.3.stages.1.0.past.conv", 0),
    ],
)
POOLS = ("neck.top_down.spp.entry", [("neck.top_down.spp.exit.conv", offset) for offset in (0, 64, 128, 192)])
RESIDUAL = (
    "neck.p4.stages.0.0.through",
    [
        *(
            (f"neck.p4.stages.0.0.blocks.{block}.rep.{branch}.conv", 0)
            for block in range(3)
            for branch in ("conv3", "conv1")
        ),
        ("neck.p4.stages.0.0.merge.conv", 0),
    ],
)


def offset(model: YOLOv9, place: tuple[str, Readers], channels: int, size: float) -> None:
    """Lift the least used channels by ``size``; their readers all but lose their weights."""
    name, readers = place
    producer, weights = _parts(model, name, readers)
    for channel in _least_used(weights, len(producer.bias), channels):
        producer.bias.data[channel] += size
        for weight in weights:
            weight[:, channel] *= 1e-6


def scale(model: YOLOv9, place: tuple[str, Readers], channels: int, factor: float) -> None:
    """Make the least used channels ``factor`` times as large, and their readers' weights smaller by as much."""
    name, readers = place
    producer, weights = _parts(model, name, readers)
    for channel in _least_used(weights, len(producer.bias), channels):
        producer.weight.data[channel] *= factor
        producer.bias.data[channel] *= factor
        for weight in weights:
            weight[:, channel] /= factor


def _parts(model: YOLOv9, name: str, readers: Readers) -> tuple[nn.BatchNorm2d, list[torch.Tensor]]:
    producer = model.get_submodule(f"{name}.bn")
    assert isinstance(producer, nn.BatchNorm2d)
    width = len(producer.bias)
    found = []
    for reader, first in readers:
        weight = model.get_submodule(reader).weight
        assert isinstance(weight, torch.Tensor)
        found.append(weight.data[:, first : first + width])
    return producer, found


def _least_used(weights: Sequence[torch.Tensor], width: int, channels: int) -> list[int]:
    used = torch.stack([weight.abs().sum(dim=(0, 2, 3)) for weight in weights]).sum(dim=0)
    assert used.shape == (width,)
    return used.argsort()[:channels].tolist()


def fragile(kind: str) -> Checkpoint:
    """The demo checkpoint without its auxiliary branch, made fragile in one of the ways below."""
    demo = load(DEMO)
    model = prune(demo.model)
    with torch.no_grad():
        RECIPES[kind](model)
    return Checkpoint(model, demo.names, demo.input_size)


def _several(model: YOLOv9) -> None:
    for place in (REPCONV, CONCAT, HEAD):
        offset(model, place, 3, 2000.0)


def _paths(model: YOLOv9) -> None:
    for place in (POOLS, RESIDUAL):
        offset(model, place, 2, 3000.0)


def _scaled(model: YOLOv9) -> None:
    for place in (STEM, CONCAT):
        scale(model, place, 2, 200.0)


def _kernels(model: YOLOv9) -> None:
    for place in (STEM, CONCAT):
        scale(model, place, 10, 1 / 400)


RECIPES = {
    "stem": lambda model: offset(model, STEM, 2, 500.0),
    "several": _several,
    "paths": _paths,
    "scaled": _scaled,
    "kernels": _kernels,
}
"""``kernels`` is the other way round: the channels all but vanish and the readers' weights for them are huge."""


def plain_loss(kind: str, folder: Path) -> tuple[float, float]:
    """Float AP in points, and the points that INT8 loses with the least and largest values of 32 images as ranges."""
    made = fragile(kind)
    model = onnx.load(export_onnx(RawHeads(fold(made.model)).eval(), made.input_size, folder / f"{kind}.onnx"))
    gate = Gate(GraphSession(model), made.names, made.input_size, DATA, labelled_split(DATA, "val"), 0.5)
    images = choose(DATA, 32, 0, made.input_size, made.names)
    graph = read(model, QUANTIZATION)
    stats = collect_stats(graph, map(planes, images), len(images))
    widest = {
        group: ranges.Range(*ranges.extremes(graph, stats, [n for n in graph.measured if graph.group[n] == group]), "")
        for group in {graph.group[name] for name in graph.measured}
    }
    after = gate.simulate(GraphSession(qdq.insert(graph, widest, QUANTIZATION)))
    return 100 * gate.before.ap, gate.drop(after)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for name in RECIPES:
            print("{}: float AP {:.2f}, plain INT8 loses {:.2f} points".format(name, *plain_loss(name, Path(scratch))))
