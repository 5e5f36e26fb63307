"""What ``--resume`` needs, in one file that is whole or absent: tensors as safetensors, the rest as JSON inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from edge_yolov9.errors import TrainingError
from edge_yolov9.files import from_json, write_whole

VERSION = 1
STATE = "state.safetensors"


@dataclass(frozen=True)
class Position:
    """Where a run stands, between two steps of the optimizer."""

    epoch: int = 0
    """The epoch that is next or under way."""
    batch: int = 0
    """The batch of it that is next."""
    updates: int = 0
    """Steps that moved the weights."""
    sums: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Class, box and dfl loss of the main head, summed over the epoch's batches so far."""
    history: tuple[Mapping[str, int | float], ...] = ()
    """One row of results.csv per finished epoch."""
    best_epoch: int = -1
    best_ap: float = -1.0
    scaler: Mapping[str, Any] = field(default_factory=dict)
    """The gradient scaler's numbers, in fp16."""
    skipped: int = 0
    """Iterations whose gradients overflowed in fp16 and were thrown away; the warm-up does not count them."""


@dataclass(frozen=True)
class _State:
    """The JSON of a state file."""

    version: int
    position: Position
    run: dict[str, Any]


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file of the run, whole or not at all.

    Raises:
        TrainingError: the disk is full or not writable; what stood at ``path`` still does.
    """
    try:
        write_whole(path, data)
    except OSError as error:
        raise TrainingError(
            f"cannot write {path}: {error.strerror or error}; the last good files are kept: "
            "make room, then go on with --resume"
        ) from error


def write_state(path: Path, tensors: Mapping[str, Tensor], position: Position, run: Mapping[str, Any]) -> None:
    """Save tensors, position and what identifies the run (settings, data)."""
    facts = {"version": VERSION, "position": asdict(position), "run": dict(run)}
    data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"state": json.dumps(facts)})
    atomic_write(path, data)


def read_state(path: Path) -> tuple[dict[str, Tensor], Position, dict[str, Any]]:
    """The inverse of :func:`write_state`.

    Raises:
        TrainingError: missing, damaged or of a newer version.
    """
    if not path.is_file():
        raise TrainingError(f"no run to resume in {path.parent}: {path.name} is missing; give the --out of a run")
    try:
        with safe_open(path, framework="pt") as file:
            state = from_json(_State, json.loads((file.metadata() or {})["state"]), "its JSON")
            if state.version > VERSION:
                raise TrainingError(f"{path} was written by a newer edge-yolov9; update to resume it")
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return tensors, state.position, state.run
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} is damaged ({type(error).__name__}: {error}); it cannot be resumed") from None
