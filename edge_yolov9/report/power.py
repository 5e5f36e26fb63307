"""Watts, where the board tells: INA3221 rails and tegrastats on Jetson, RAPL on x86, the PMIC of a Raspberry Pi 5.

A meter is opened by :func:`open_meter`, which says in words why there is none. Readings are watts by rail, with the
meter's own total as ``total``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Protocol

from edge_yolov9.report.probe import ROOT, command, matching, number, text

Watts = dict[str, float]
WHOLE = ("VDD_IN", "POM_5V_IN", "VDD_5V_IN")
"""Rails through which a whole Jetson module is fed."""
PART = ("VDDQ_VDD2_1V8AO",)
"""AGX Orin: fed from VIN_SYS_5V0, which is measured too."""
UNUSED = "NC"


class Meter(Protocol):
    """Something that knows watts."""

    source: str
    """Where the figures come from."""
    covers: str
    """What the total is the power of."""

    def watts(self) -> Watts:
        """Watts by rail, and ``total``; empty where there is nothing to tell yet, or no more."""
        ...

    def close(self) -> None:
        """Stop measuring."""
        ...


class Ina3221:
    """Voltage times current of every labelled channel, by the kernel's hwmon driver (JetPack 5 and later)."""

    source = "INA3221 (sysfs)"

    def __init__(self, root: Path) -> None:
        """Raises LookupError when there is no such sensor, or none that can be read."""
        self._rails = dict(_channels(root))
        if not self._rails:
            raise LookupError("no INA3221 power monitor under /sys/bus/i2c/devices")
        self.covers, self._summed = _whole(list(self._rails))
        if not self.watts():
            raise LookupError("the INA3221 power monitor does not let itself be read")

    def watts(self) -> Watts:
        found = {}
        for label, (volt, current) in self._rails.items():
            millivolt, milliampere = number(volt), number(current)
            if millivolt is not None and milliampere is not None:
                found[label] = millivolt * milliampere / 1e6
        return _with_total(found, self._summed)

    def close(self) -> None:
        pass


def _channels(root: Path) -> list[tuple[str, tuple[Path, Path]]]:
    found = []
    for name in matching(root, "sys/bus/i2c/devices/*/name"):
        if "ina3221" not in (text(name) or ""):
            continue
        for label in matching(name.parent, "hwmon/hwmon*/in[1-3]_label"):
            index = label.name[2]
            pair = (label.with_name(f"in{index}_input"), label.with_name(f"curr{index}_input"))
            rail = text(label)
            if rail and rail != UNUSED and pair[1].is_file():
                found.append((rail, pair))
    return found


def _whole(rails: list[str]) -> tuple[str, list[str]]:
    """What the total means, in words, and the rails it is the sum of."""
    for rail in WHOLE:
        if rail in rails:
            return f"the module ({rail})", [rail]
    summed = [rail for rail in rails if rail not in PART]
    return f"the sum of {' + '.join(summed)}", summed


def _with_total(found: Watts, summed: list[str]) -> Watts:
    if not all(rail in found for rail in summed):
        return {}
    return {**found, "total": sum(found[rail] for rail in summed)}


class Tegrastats:
    """NVIDIA's own monitor, which prints a line per interval, of JetPack 4 (``VDD_IN 3140/3208``) or later (mW)."""

    source = "tegrastats"
    INTERVAL_MS = 500

    def __init__(self, first_line_s: float = 3.0) -> None:
        """Raises LookupError when it is absent or tells no watts within ``first_line_s`` seconds."""
        program = shutil.which("tegrastats")
        if program is None:
            raise LookupError("no tegrastats on the PATH")
        self._newest: Watts = {}
        self._told = threading.Event()
        try:
            self._process = subprocess.Popen(
                [program, "--interval", str(self.INTERVAL_MS)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise LookupError(f"tegrastats does not start ({error.strerror or error})") from None
        self._thread = threading.Thread(target=self._read, name="tegrastats", daemon=True)
        self._thread.start()
        self._told.wait(first_line_s)
        if not self._newest:
            self.close()
            raise LookupError("tegrastats tells no watts")
        self.covers, self._summed = _whole(list(self._newest))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._newest = parse_tegrastats(line)
            if self._newest:
                self._told.set()
        self._newest = {}
        self._told.set()

    def watts(self) -> Watts:
        return _with_total(self._newest, self._summed)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join(timeout=5)


def parse_tegrastats(line: str) -> Watts:
    """Watts by rail (now, not the average after the slash) in one line of tegrastats; empty where it names none."""
    pairs = re.findall(r"(?:^|\s)([A-Za-z]\w*) (\d+)(?:mW)?/\d+(?:mW)?(?=\s|$)", line)
    return {rail: int(milliwatt) / 1000 for rail, milliwatt in pairs if rail != UNUSED}


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
        now, energy = time.monotonic(), self._energy()
        seconds, before = now - self._time, self._before
        self._time, self._before = now, energy
        found = {}
        for name in energy.keys() & before.keys():
            used = energy[name] - before[name]
            if used < 0:  # the counter wrapped
                used += number(self._zones[name] / "max_energy_range_uj") or 0
            found[name] = used / 1e6 / max(seconds, 1e-6)
        summed = [name for name in found if name.startswith("package") or name.endswith("dram")]
        return _with_total(dict(sorted(found.items())), summed) if summed else {}

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
        if shutil.which("vcgencmd") is None:
            raise LookupError("no vcgencmd on the PATH")
        if not self.watts():
            raise LookupError("vcgencmd pmic_read_adc tells no currents (a Raspberry Pi 5 does)")

    def watts(self) -> Watts:
        found = parse_pmic(command("vcgencmd", "pmic_read_adc") or "")
        return _with_total(found, list(found)) if found else {}

    def close(self) -> None:
        pass


def parse_pmic(output: str) -> Watts:
    """Watts of the rails that have both a current and a voltage."""
    values = dict(re.findall(r"(\w+_[AV])(?: \w+\(\d+\))?=(\d*\.?\d+)[AV]", output))
    rails = [name[:-2] for name in values if name.endswith("_A") and f"{name[:-2]}_V" in values]
    return {rail: float(values[f"{rail}_A"]) * float(values[f"{rail}_V"]) for rail in rails}


def open_meter(root: Path = ROOT) -> Meter | str:
    """The first meter that works here, or in words why there is none."""
    reasons = []
    for make in (lambda: Ina3221(root), Tegrastats, lambda: Rapl(root), Pmic):
        try:
            meter: Meter = make()
            return meter
        except LookupError as error:
            reasons.append(str(error))
    return "; ".join(reasons)
