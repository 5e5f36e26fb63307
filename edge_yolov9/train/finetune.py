"""Start from trained weights: whatever fits is taken over, the rest keeps its random start and is named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from edge_yolov9.checkpoint import load
from edge_yolov9.errors import CheckpointError
from edge_yolov9.model import YOLOv9

LEAST = 0.5
"""Share of the tensors outside the heads' class branches that must fit."""


@dataclass(frozen=True)
class Taken:
    """What was taken over from a checkpoint."""

    source: str
    tensors: int
    fresh: tuple[str, ...]
    """Parts with random weights: ``auxiliary branch``, ``class heads``, ``other tensors``."""
    unnamed: bool = False
    """Whether the checkpoint states no class names, so that those of the data were taken for its."""

    def __str__(self) -> str:
        new = f"; with random weights: {', '.join(self.fresh)}" if self.fresh else ""
        names = "; it states no class names, those of the data are taken for its" if self.unnamed else ""
        return f"weights of {self.source}: {self.tensors} tensors taken over{new}{names}"


def take_over(model: YOLOv9, path: Path, names: tuple[str, ...]) -> Taken:
    """Fill ``model`` in place from a checkpoint of any program that trains YOLOv9.

    Class branches are taken over only when the class names are the same, in the same order.

    Raises:
        CheckpointError: unreadable, or of another size.
    """
    checkpoint = load(path, names)
    if checkpoint.model.variant.size != model.variant.size:
        raise CheckpointError(
            f"{path} is a {checkpoint.variant}, which does not fit {model.name}; set --model to its size"
        )
    if note := checkpoint.facts.get("source", {}).get("batchnorm"):
        raise CheckpointError(f"{path}: its BatchNorm is {note}; give the checkpoint of before that")
    theirs, mine = checkpoint.model.state_dict(), model.state_dict()
    fits = {
        key
        for key, value in mine.items()
        if key in theirs and theirs[key].shape == value.shape and (checkpoint.names == names or "head.cls." not in key)
    }
    with torch.no_grad():
        for key in fits:
            mine[key].copy_(theirs[key])
    rest = mine.keys() - fits
    fresh = []
    if any(key.startswith("auxiliary.") and "head.cls." not in key for key in rest):
        fresh.append("auxiliary branch")
    if any("head.cls." in key for key in rest):
        fresh.append(f"class heads ({len(checkpoint.names)} classes there, {len(names)} here)")
    others = [key for key in rest if not key.startswith("auxiliary.") and "head.cls." not in key]
    if len(others) > LEAST * len(mine):
        raise CheckpointError(f"{path} does not fit {model.name}: {len(others)} of {len(mine)} tensors differ")
    if others:
        fresh.append(f"{len(others)} other tensors")
    return Taken(str(path), len(fits), tuple(fresh), "names" in checkpoint.facts.get("source", {}))
