"""Task-aligned assignment: which cells answer for which object, and how much.

Objects of all images of a batch lie in one flat list (G of them), so nothing is padded; only cells whose centre lies
inside an object's box are looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

EPS = 1e-9


@dataclass(frozen=True)
class Targets:
    """The P positive cells of a batch."""

    image: Tensor
    """(P,) int64, image in the batch."""
    cell: Tensor
    """(P,) int64, cell in the concatenation of all levels."""
    object: Tensor
    """(P,) int64, row of the object that the cell answers for."""
    score: Tensor
    """(P,) float32 soft target in 0..1."""


def ciou(a: Tensor, b: Tensor, eps: float = 1e-7) -> Tensor:
    """Complete IoU of boxes (..., 4) xyxy, pairwise along the leading axes. Differentiable.

    The weight of the aspect term is a constant for the gradient.
    """
    aw, ah = a[..., 2] - a[..., 0], a[..., 3] - a[..., 1]
    bw, bh = b[..., 2] - b[..., 0], b[..., 3] - b[..., 1]
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    iou = inter / (aw * ah + bw * bh - inter + eps)
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).square().sum(-1) / 4
    v = (4 / math.pi**2) * (torch.atan(bw / (bh + eps)) - torch.atan(aw / (ah + eps))).square()
    with torch.no_grad():
        weight = v / (v - iou + 1 + eps)
    return iou - apart / (hull.square().sum(-1) + eps) - weight * v


def inside(centres: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (object, cell), sorted by object, whose cell centre (A, 2) lies inside the box (G, 4)."""
    x, y = centres[:, 0], centres[:, 1]
    within = (x > boxes[:, :1]) & (x < boxes[:, 2:3]) & (y > boxes[:, 1:2]) & (y < boxes[:, 3:])
    pair = within.nonzero()
    return pair[:, 0], pair[:, 1]


@torch.no_grad()
def assign(
    logits: Tensor, predicted: Tensor, centres: Tensor, objects: Tensor, topk: int, alpha: float, beta: float
) -> Targets:
    """Pick for every object the ``topk`` cells that agree with it best.

    Args:
        logits: (B, A, nc) class logits.
        predicted: (B, A, 4) xyxy in pixels of the input.
        centres: (A, 2) cell centres, pixels.
        objects: (G, 6) rows (image, class, x1, y1, x2, y2).
        topk: cells per object at most.
        alpha: exponent of the class score.
        beta: exponent of the CIoU.
    """
    image, label, boxes = objects[:, 0].long(), objects[:, 1].long(), objects[:, 2:]
    obj, cell = inside(centres, boxes)
    overlap = ciou(boxes[obj], predicted[image[obj], cell]).clamp(min=0)
    align = logits[image[obj], cell, label[obj]].sigmoid().pow(alpha) * overlap.pow(beta)
    some = align > 0  # the others would get a soft target of 0
    obj, cell, overlap, align = obj[some], cell[some], overlap[some], align[some]
    chosen = _best_of_each(obj, align, len(objects), topk)
    obj, cell, overlap, align = obj[chosen], cell[chosen], overlap[chosen], align[chosen]
    sole = _claimed_once(image[obj] * len(centres) + cell, overlap)
    obj, cell, overlap, align = obj[sole], cell[sole], overlap[sole], align[sole]
    best_align = align.new_zeros(len(objects)).scatter_reduce_(0, obj, align, "amax")
    best_overlap = align.new_zeros(len(objects)).scatter_reduce_(0, obj, overlap, "amax")
    return Targets(image[obj], cell, obj, align * best_overlap[obj] / (best_align[obj] + EPS))


def _best_of_each(group: Tensor, value: Tensor, groups: int, k: int) -> Tensor:
    """Indices of the ``k`` largest values of every group (ties: the first). ``group`` is sorted."""
    falling = value.argsort(descending=True, stable=True)
    order = falling[group[falling].argsort(stable=True)]  # by group, then falling value
    start = torch.searchsorted(group, torch.arange(groups, device=group.device))
    rank = torch.arange(len(group), device=group.device) - start[group]
    return order[rank < k]


def _claimed_once(key: Tensor, value: Tensor) -> Tensor:
    """Index of the largest value among the entries with equal ``key`` (ties: the first)."""
    falling = value.argsort(descending=True, stable=True)
    order = falling[key[falling].argsort(stable=True)]
    sorted_key = key[order]
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = sorted_key[1:] != sorted_key[:-1]
    return order[first]
