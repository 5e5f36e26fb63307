"""The rows of results.csv as TensorBoard scalars."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOARD = "tensorboard"
GROUPS = {"class": "loss", "box": "loss", "dfl": "loss", "AP": "val", "AP50": "val", "AP75": "val"}


class Board:
    """Writes to ``FOLDER/tensorboard``; does nothing where the package tensorboard is not installed.

    A log is a convenience: it never stops a run. On a full disk the checkpoints of the same epoch speak up.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / BOARD
        self._writer: Any = None

    def epoch(self, row: Mapping[str, float]) -> None:
        """Add one row. After a resume, what an earlier process wrote from this epoch on is void."""
        with contextlib.suppress(ImportError, OSError):
            self._write(row)

    def _write(self, row: Mapping[str, float]) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        step = int(row["epoch"])
        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder), purge_step=step)
        for name in row.keys() - {"epoch"}:
            self._writer.add_scalar(f"{GROUPS.get(name, 'run')}/{name}", row[name], step)
        self._writer.flush()

    def close(self) -> None:
        """End the log."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
