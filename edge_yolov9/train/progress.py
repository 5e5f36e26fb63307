"""What a run says: one line that moves on a terminal, one line per epoch everywhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from edge_yolov9.text import CLEAR_LINE, printable
from edge_yolov9.train.engine import Outcome
from edge_yolov9.train.settings import Settings


@dataclass
class Progress:
    """Speaks on standard error."""

    settings: Settings
    batches: int
    """Per epoch."""
    loud: bool = True
    _since: float = field(default_factory=time.monotonic)
    _done: int = 0

    def iteration(self, epoch: int, batch: int, sums: tuple[float, ...], outcome: Outcome, lr: float) -> None:
        """After one iteration."""
        self._done += 1
        if not self.loud or not sys.stderr.isatty():
            return
        mean = [value / (batch + 1) for value in sums]
        speed = self._done / (time.monotonic() - self._since)
        left = (self.settings.epochs - epoch) * self.batches - batch - 1
        self._write(
            f"{CLEAR_LINE}epoch {epoch + 1}/{self.settings.epochs}  {batch + 1}/{self.batches}  "
            f"class {mean[0]:.3f}  box {mean[1]:.3f}  dfl {mean[2]:.3f}  lr {lr:.5f}  "
            f"{speed * self.settings.batch:.1f} images/s  left {clock(left / speed)}"
        )

    def epoch(self, row: dict[str, float], best_ap: float) -> None:
        """After the validation of an epoch."""
        if sys.stderr.isatty():
            self._write(CLEAR_LINE)
        self.say(
            f"epoch {row['epoch']:.0f}/{self.settings.epochs}  class {row['class']:.3f}  box {row['box']:.3f}  "
            f"dfl {row['dfl']:.3f}  lr {row['lr']:.5f}  {row['images_per_s']:.1f} images/s  "
            f"AP {row['AP']:.4f}  AP50 {row['AP50']:.4f}  best {best_ap:.4f}"
        )

    def say(self, text: str) -> None:
        """One line."""
        self._write(printable(text) + "\n")

    def _write(self, text: str) -> None:
        if self.loud:
            sys.stderr.write(text)
            sys.stderr.flush()


def clock(seconds: float) -> str:
    """``1:02:03``."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
