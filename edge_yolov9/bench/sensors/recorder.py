"""Looks at the sensors twice a second, beside the process that is measured."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from edge_yolov9.bench.sensors import readings
from edge_yolov9.bench.sensors.power import Ina2xx, Meter, Pmic, Rapl
from edge_yolov9.bench.sensors.probe import ROOT, text
from edge_yolov9.bench.sensors.tegra import Ina3221, Tegrastats

INTERVAL_S = 0.5


class Recorder:
    """A context manager that collects readings in a thread of its own."""

    def __init__(self, root: Path = ROOT) -> None:
        """Opens the power meter; ``no_meter`` says why there is none."""
        self._root = root
        meter = open_meter(root)
        self.meter: Meter | None = None if isinstance(meter, str) else meter
        self.no_meter = meter if isinstance(meter, str) else ""
        self._readings: list[readings.Reading] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._record, name="sensors", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self.meter is not None:
            self.meter.close()

    def between(self, begin: float, end: float) -> list[readings.Reading]:
        """Readings of a span of ``time.monotonic()``."""
        return [reading for reading in list(self._readings) if begin <= reading.time <= end]

    def _record(self) -> None:
        while not self._stop.is_set():
            self._readings.append(self.look())
            self._stop.wait(INTERVAL_S)

    def look(self) -> readings.Reading:
        """All sensors, now."""
        return readings.Reading(
            time.monotonic(),
            readings.temperatures(self._root),
            readings.clocks(self._root),
            readings.held_back(self._root),
            readings.throttle_events(self._root),
            self.meter.watts() if self.meter is not None else {},
        )


def open_meter(root: Path = ROOT) -> Meter | str:
    """The first power meter that works here, or in words why there is none."""
    meters: tuple[Callable[[], Meter], ...] = (
        lambda: Ina3221(root),
        Tegrastats,
        lambda: Rapl(root),
        Pmic,
        lambda: Ina2xx(root),
    )
    reasons = []
    for make in meters:
        try:
            return make()
        except LookupError as error:
            reasons.append(str(error))
    return "; ".join(reasons)


class Load:
    """How many cores others keep busy, from now on."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self.begin = time.monotonic()
        """Seconds of ``time.monotonic``."""
        self._busy, self._own = busy_seconds(root), _own_seconds()

    def cores(self) -> float | None:
        """Mean since the beginning, without this process and the processes it started and saw end; None if unknown."""
        now, seconds = busy_seconds(self._root), time.monotonic() - self.begin
        if now is None or self._busy is None:
            return None
        return max(0.0, (now - self._busy - (_own_seconds() - self._own)) / seconds)


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def busy_seconds(root: Path = ROOT) -> float | None:
    """CPU time of all processes and of the hypervisor (stolen) since the system started; None without /proc."""
    fields = (text(root / "proc/stat") or "").splitlines()[:1]
    try:
        user, nice, system, _idle, _wait, irq, soft, steal = (int(word) for word in fields[0].split()[1:9])
    except (IndexError, ValueError):
        return None
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
