"""Stages of a compilation: each is reported with its seconds when it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stages:
    """``with stages("quantize"):`` reports a line with the seconds that it took, and keeps them."""

    def __init__(self, report: Callable[[str], None], clock: Callable[[], float] = time.perf_counter) -> None:
        """``report`` takes one line of text; ``clock`` gives seconds."""
        self.report = report
        self.seconds: dict[str, float] = {}
        """Seconds by stage; of one that comes several times, their sum."""
        self._clock = clock

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one stage."""
        start = self._clock()
        yield
        spent = self._clock() - start
        self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 2)
        self.report(f"{name:<24}{spent:7.1f} s")

    def beside(self) -> Stages:
        """Stages that report to the same place and keep their own seconds."""
        return Stages(self.report, self._clock)
