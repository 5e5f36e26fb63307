"""The loss of one head, and the weighted sum over heads.

    class: BCE over every cell      box: 1 - CIoU of positives      dfl: cross-entropy of the two bins around each side

each divided by the sum of soft targets; box and dfl weighted by the soft target of their cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edge_yolov9.train.assignment import Targets, assign, ciou
from edge_yolov9.train.settings import Settings
from edge_yolov9.variants import REG_MAX, STRIDES

TermSums = Tensor
"""(heads, 3) float32: class, box and dfl of each head, gains applied."""


@dataclass(frozen=True)
class Grid:
    """Geometry of the A cells of all levels."""

    centres: Tensor
    """(A, 2) x, y, in pixels of the input."""
    strides: Tensor
    """(A, 1) pixels per cell."""

    @classmethod
    def of(cls, size: int, device: torch.device) -> Grid:
        """Cells of a square input of ``size`` pixels: P3, P4, P5, each row by row."""
        centres, strides = [], []
        for stride in STRIDES:
            line = (torch.arange(size // stride, device=device, dtype=torch.float32) + 0.5) * stride
            y, x = torch.meshgrid(line, line, indexing="ij")
            centres.append(torch.stack((x.flatten(), y.flatten()), 1))
            strides.append(torch.full((len(centres[-1]), 1), float(stride), device=device))
        return cls(torch.cat(centres), torch.cat(strides))


def flatten(maps: Sequence[Tensor]) -> Tensor:
    """Raw maps (B, C, H, W) of all levels -> (B, A, C) float32."""
    return torch.cat([m.permute(0, 2, 3, 1).flatten(1, 2) for m in maps], 1).float()


def sides(bins: Tensor) -> Tensor:
    """Box bins (..., 4 R) -> expected distance to left, top, right, bottom (..., 4), in cells."""
    weights = bins.view(*bins.shape[:-1], 4, REG_MAX).softmax(-1)
    return weights @ torch.arange(REG_MAX, dtype=weights.dtype, device=weights.device)


def boxes(distance: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """Distances (..., 4) in cells -> xyxy (..., 4) in pixels."""
    pixels = distance * strides
    return torch.cat((centres - pixels[..., :2], centres + pixels[..., 2:]), -1)


@dataclass(frozen=True)
class Head:
    """The flattened predictions of one head."""

    bins: Tensor
    """(B, A, 4 R) float32."""
    logits: Tensor
    """(B, A, nc) float32."""

    @classmethod
    def of(cls, maps: Sequence[Tensor]) -> Head:
        """From the three raw maps of a head."""
        flat = flatten(maps)
        return cls(flat[..., : 4 * REG_MAX], flat[..., 4 * REG_MAX :])

    def targets(self, grid: Grid, objects: Tensor, settings: Settings) -> Targets:
        """The cells of this head that answer for ``objects`` (G, 6)."""
        with torch.no_grad():
            predicted = boxes(sides(self.bins), grid.centres, grid.strides)
            return assign(self.logits, predicted, grid.centres, objects, settings.topk, settings.alpha, settings.beta)

    def terms(self, targets: Targets, grid: Grid, objects: Tensor, settings: Settings) -> Tensor:
        """(3,) class, box and dfl, with gains, not yet divided by the sum of soft targets."""
        wanted = torch.zeros_like(self.logits)
        wanted[targets.image, targets.cell, objects[targets.object, 1].long()] = targets.score
        cls = F.binary_cross_entropy_with_logits(self.logits, wanted, reduction="sum")
        bins = self.bins[targets.image, targets.cell]
        truth = objects[targets.object, 2:]
        centre, stride = grid.centres[targets.cell], grid.strides[targets.cell]
        box = ((1 - ciou(boxes(sides(bins), centre, stride), truth)) * targets.score).sum()
        distance = torch.cat((centre - truth[:, :2], truth[:, 2:] - centre), 1) / stride
        dfl = (focal(bins, distance) * targets.score).sum()
        return torch.stack((settings.class_gain * cls, settings.box_gain * box, settings.dfl_gain * dfl))


def focal(bins: Tensor, distance: Tensor) -> Tensor:
    """Cross-entropy of the two bins around each side, weighted by nearness, mean over sides.

    Args:
        bins: (P, 4 R).
        distance: (P, 4) to left, top, right, bottom, in cells.

    Returns:
        (P,).
    """
    target = distance.clamp(0, REG_MAX - 1.01)
    low = target.floor()
    log = bins.view(-1, 4, REG_MAX).log_softmax(-1)
    left = log.gather(-1, low.long()[..., None])[..., 0]
    right = log.gather(-1, low.long()[..., None] + 1)[..., 0]
    return -(left * (low + 1 - target) + right * (target - low)).mean(-1)


Reduce = Callable[[Tensor], Tensor]
"""Sum of a tensor over all processes."""


class Loss:
    """Sums the loss over heads: main with weight 1, auxiliary with ``settings.auxiliary_weight``."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.settings = settings
        self.grid = Grid.of(settings.imgsz, device)

    def __call__(self, heads: Sequence[Sequence[Tensor]], objects: Tensor, reduce: Reduce = lambda t: t) -> TermSums:
        """Terms of every head, divided by that head's sum of soft targets in the whole global batch.

        Args:
            heads: raw maps of the main head, then of an auxiliary one if there is one.
            objects: (G, 6) rows (image, class, x1, y1, x2, y2), pixels.
            reduce: adds up over processes.
        """
        flat = [Head.of(maps) for maps in heads]
        targets = [flat[0].targets(self.grid, objects, self.settings)]
        for head in flat[1:]:
            own = self.settings.assign == "own"
            targets.append(head.targets(self.grid, objects, self.settings) if own else targets[0])
        total = reduce(torch.stack([t.score.sum() for t in targets])).clamp(min=1)
        terms = [h.terms(t, self.grid, objects, self.settings) for h, t in zip(flat, targets, strict=True)]
        return torch.stack(terms) / total[:, None]

    def total(self, terms: TermSums) -> Tensor:
        """The scalar to minimise, before multiplication by the batch size."""
        weights = terms.new_tensor([1.0, self.settings.auxiliary_weight])[: len(terms)]
        return (terms.sum(1) * weights).sum()
