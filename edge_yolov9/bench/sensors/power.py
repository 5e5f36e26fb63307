"""Watts, where the machine tells: RAPL on x86, a Raspberry Pi 5's PMIC, INA2xx monitors; Jetsons are in ``tegra.py``.

Readings are watts by rail, with the meter's own total as ``total``. A meter's constructor raises LookupError, which
says in words why it does not work here.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Protocol

from edge_yolov9.bench.sensors.probe import command, matching, number, text
from edge_yolov9.system import children

Watts = dict[str, float]
LEAST_S = 0.05
"""The shortest span over which energy counters give power."""


class Meter(Protocol):
    """Something that knows watts."""

    source: str
    """Where the figures come from."""
    covers: str
    """Which part of the machine the total is of."""

    def watts(self) -> Watts:
        """Watts by rail, and ``total``; empty where there is no reading yet, or no more."""
        ...

    def close(self) -> None:
        """Stop measuring."""
        ...


def with_total(rails: Watts, summed: list[str]) -> Watts:
    """``rails`` with the sum of some of its rails as ``total``; empty when one of them could not be read."""
    if not all(rail in rails for rail in summed):
        return {}
    return {**rails, "total": sum(rails[rail] for rail in summed)}


class Rapl:
    """Energy counters of x86 processors; a reading is the mean since the one before. The kernel shows them to root."""

    source = "RAPL (powercap)"
    covers = "the processor packages and, where counted, their memory; not the board"

    def __init__(self, root: Path) -> None:
        """Raises LookupError when there are no counters, or they are for root alone."""
        zones = [path.parent for path in matching(root, "sys/class/powercap/intel-rapl:*/energy_uj")]
        self._zones = {_zone_name(zone): zone for zone in zones}
        if not self._zones:
            raise LookupError("no RAPL energy counters under /sys/class/powercap")
        if not any(name.startswith("package") for name in self._energy()):
            raise LookupError("the RAPL energy counters can be read by root alone: run the report as root")
        self._before, self._time = self._energy(), time.monotonic()

    def _energy(self) -> dict[str, float]:
        """Microjoules by zone."""
        read = {name: number(zone / "energy_uj") for name, zone in self._zones.items()}
        return {name: value for name, value in read.items() if value is not None}

    def watts(self) -> Watts:
        now = time.monotonic()
        seconds, before = now - self._time, self._before
        if seconds < LEAST_S:
            return {}
        energy = self._energy()
        self._time, self._before = now, energy
        by_zone = {}
        for name in energy.keys() & before.keys():
            used = energy[name] - before[name]
            if used < 0:  # the counter wrapped
                used += number(self._zones[name] / "max_energy_range_uj") or 0
            by_zone[name] = used / 1e6 / seconds
        summed = [name for name in by_zone if re.fullmatch(r"package-\d+(/dram)?", name)]
        return with_total(dict(sorted(by_zone.items())), summed) if summed else {}

    def close(self) -> None:
        pass


def _zone_name(zone: Path) -> str:
    """``package-0``; ``package-0/core`` for a part of it, which sysfs also lists beside it."""
    name = text(zone / "name") or zone.name
    parent = zone.with_name(zone.name.rpartition(":")[0])
    return f"{text(parent / 'name')}/{name}" if zone.name.count(":") > 1 else name


class Pmic:
    """The Raspberry Pi 5's power chip, as ``vcgencmd pmic_read_adc`` shows it."""

    source = "vcgencmd pmic_read_adc"
    covers = "the rails that the power chip feeds; not what hangs on 5 V (USB, HATs), nor the chip's own loss"

    def __init__(self) -> None:
        """Raises LookupError when there is no vcgencmd, or this board's chip measures no currents."""
        if children.program("vcgencmd") is None:
            raise LookupError("no vcgencmd on the PATH")
        if not self.watts():
            raise LookupError(
                "vcgencmd pmic_read_adc tells no currents: a Raspberry Pi 5 does, to members of group video"
            )

    def watts(self) -> Watts:
        rails = parse_pmic(command("vcgencmd", "pmic_read_adc") or "")
        return with_total(rails, list(rails)) if rails else {}

    def close(self) -> None:
        pass


def parse_pmic(output: str) -> Watts:
    """Watts of the rails that have both a current and a voltage."""
    values = dict(re.findall(r"(\w+_[AV])(?: \w+\(\d+\))?=(\d*\.?\d+)[AV]", output))
    rails = [name[:-2] for name in values if name.endswith("_A") and f"{name[:-2]}_V" in values]
    return {rail: float(values[f"{rail}_A"]) * float(values[f"{rail}_V"]) for rail in rails}


class Ina2xx:
    """Single-rail monitors (INA219, 226, 238, 260) on a HAT or carrier board, by the kernel's hwmon driver."""

    source = "INA2xx (hwmon)"

    def __init__(self, root: Path) -> None:
        """Raises LookupError when there is none that can be read."""
        files = matching(root, "sys/class/hwmon/hwmon*/power1_input")
        self._rails = {
            f"{text(file.with_name('name'))} {file.parent.name}": file
            for file in files
            if (text(file.with_name("name")) or "").startswith("ina2")
        }
        self.covers = f"the sum of {' + '.join(self._rails)}"
        if not self.watts():
            raise LookupError("no INA2xx power monitor under /sys/class/hwmon")

    def watts(self) -> Watts:
        read = {rail: number(file) for rail, file in self._rails.items()}
        rails = {rail: value / 1e6 for rail, value in read.items() if value is not None}
        return with_total(rails, list(self._rails)) if rails else {}

    def close(self) -> None:
        pass
