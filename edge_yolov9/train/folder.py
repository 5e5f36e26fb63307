"""The folder of a run: ``best.safetensors``, ``last.safetensors``, ``results.csv`` and the state for ``--resume``.

Everything is written whole or not at all, the state last: killed in between, the run resumes one saving earlier and
writes the same files again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as serialize

from edge_yolov9.checkpoint import Checkpoint, save
from edge_yolov9.errors import CheckpointError, InputError, TrainingError
from edge_yolov9.outputs import make_folder
from edge_yolov9.system.folders import turn
from edge_yolov9.train.dataset import Batch
from edge_yolov9.train.state import STATE, Position, atomic_write, read_state, write_state

BEST, LAST, RESULTS, BAD_BATCH = "best.safetensors", "last.safetensors", "results.csv", "bad-batch-{rank}.safetensors"


@dataclass(frozen=True)
class Folder:
    """Where one run writes."""

    path: Path

    @classmethod
    def fresh(cls, path: Path) -> Folder:
        """A new or empty folder.

        Raises:
            InputError: something is in it, or it cannot be made.
        """
        make_folder("--out", path)
        try:
            if any(path.iterdir()):
                hint = "go on with --resume" if (path / STATE).exists() else "choose another --out"
                raise InputError(f"--out {path} is not empty, nothing was overwritten; {hint}")
        except OSError as error:
            raise InputError(f"--out {path} cannot be used: {error.strerror or error}") from None
        return cls(path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The only process that writes to the folder, in this block.

        Raises:
            InputError: another run writes there, or nobody can.
        """
        make_folder("--out", self.path)
        with turn(self.path) as held:
            if not held:
                raise InputError(f"another run writes to {self.path}; wait for its end, or choose another --out")
            yield

    @property
    def state(self) -> Path:
        """The file that ``--resume`` reads."""
        return self.path / STATE

    def read(self) -> tuple[dict[str, Any], Position, dict[str, Any]]:
        """Tensors, position, and what identifies the run."""
        return read_state(self.state)

    def save_state(self, tensors: Mapping[str, Any], position: Position, run: Mapping[str, Any]) -> None:
        """Make ``position`` the place where ``--resume`` goes on."""
        write_state(self.state, tensors, position, run)

    def save_epoch(self, checkpoint: Checkpoint, history: Sequence[Mapping[str, float]], best: bool) -> None:
        """Write the checkpoints and results of a finished epoch."""
        try:
            for name in (BEST, LAST) if best else (LAST,):
                save(checkpoint, self.path / name)
        except CheckpointError as error:
            raise TrainingError(f"{error}; the last good files are kept: make room, then --resume") from error
        text = io.StringIO()
        writer = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        atomic_write(self.path / RESULTS, text.getvalue().encode())

    def save_batch(self, batch: Batch, names: Sequence[str], rank: int) -> Path:
        """Keep a batch that broke the loss: images (B, S, S, 3) RGB and boxes as the model saw them; its file."""
        path = self.path / BAD_BATCH.format(rank=rank)
        data = serialize({"images": batch.images, "boxes": batch.boxes}, {"files": "\n".join(names)})
        atomic_write(path, data)
        return path
