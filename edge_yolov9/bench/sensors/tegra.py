"""Watts of a Jetson: the INA3221 monitors by sysfs, or what tegrastats prints."""

from __future__ import annotations

import re
import subprocess
import threading
from pathlib import Path

from edge_yolov9.bench.sensors.power import Watts, with_total
from edge_yolov9.bench.sensors.probe import matching, number, text
from edge_yolov9.system import children

WHOLE = ("VDD_IN", "POM_5V_IN", "VDD_5V_IN")
"""Rails through which a whole module is fed."""
PART = ("VDDQ_VDD2_1V8AO",)
"""AGX Orin: a rail at the voltage of VIN_SYS_5V0, which counts it already."""
UNUSED = "NC"


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
        rails = {}
        for label, (volt, current) in self._rails.items():
            millivolt, milliampere = number(volt), number(current)
            if millivolt is not None and milliampere is not None:
                rails[label] = millivolt * milliampere / 1e6
        return with_total(rails, self._summed)

    def close(self) -> None:
        pass


def _channels(root: Path) -> list[tuple[str, tuple[Path, Path]]]:
    channels = []
    for name in matching(root, "sys/bus/i2c/devices/*/name"):
        if "ina3221" not in (text(name) or ""):
            continue
        for label in matching(name.parent, "hwmon/hwmon*/in[1-3]_label"):
            index = label.name[2]
            pair = (label.with_name(f"in{index}_input"), label.with_name(f"curr{index}_input"))
            rail = text(label)
            if rail and rail != UNUSED and pair[1].is_file():
                channels.append((rail, pair))
    return channels


def _whole(rails: list[str]) -> tuple[str, list[str]]:
    """What the total means, in words, and the rails it is the sum of."""
    for rail in WHOLE:
        if rail in rails:
            return f"the module ({rail})", [rail]
    summed = [rail for rail in rails if rail not in PART]
    return f"the sum of {' + '.join(summed)}", summed


class Tegrastats:
    """NVIDIA's own monitor, which prints a line per interval, of JetPack 4 (``VDD_IN 3140/3208``) or later (mW)."""

    source = "tegrastats"
    INTERVAL_MS = 500

    def __init__(self, first_line_s: float = 3.0) -> None:
        """Raises LookupError when it is absent or tells no watts within ``first_line_s`` seconds."""
        program = children.program("tegrastats")
        if program is None:
            raise LookupError("no tegrastats on the PATH")
        self._newest: Watts = {}
        self._first_line = threading.Event()
        try:
            self._process = subprocess.Popen(
                [program, "--interval", str(self.INTERVAL_MS)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                env=children.environment(),
            )
        except OSError as error:
            raise LookupError(f"tegrastats does not start ({error.strerror or error})") from None
        self._thread = threading.Thread(target=self._read, name="tegrastats", daemon=True)
        self._thread.start()
        self._first_line.wait(first_line_s)
        if not self._newest:
            self.close()
            raise LookupError("tegrastats tells no watts")
        self.covers, self._summed = _whole(list(self._newest))

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._newest = parse_tegrastats(line)
            if self._newest:
                self._first_line.set()
        self._newest = {}
        self._first_line.set()

    def watts(self) -> Watts:
        return with_total(self._newest, self._summed)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join(timeout=5)


def parse_tegrastats(line: str) -> Watts:
    """Watts by rail (now, not the average after the slash) in one line of tegrastats; empty where it names none."""
    pairs = re.findall(r"(?:^|\s)([A-Za-z]\w*) (\d+)(?:mW)?/\d+(?:mW)?(?=\s|$)", line)
    return {rail: int(milliwatt) / 1000 for rail, milliwatt in pairs if rail != UNUSED}
