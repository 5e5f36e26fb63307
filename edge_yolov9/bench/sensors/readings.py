"""Temperatures and clocks as the machine tells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_yolov9.bench.sensors.probe import ROOT, command, matching, number, text

NOT_A_SENSOR = re.compile(r"PMIC-Die", re.IGNORECASE)
"""Older Jetsons report a constant under this name."""

PROCESSOR = re.compile(r"cpu|gpu|soc|tj|pkg|package|core|tctl", re.IGNORECASE)
"""Sensors of the processor."""

GPU = re.compile(r"gpu|ga10b|gv11b|gp10b|gm20b|v3d", re.IGNORECASE)
"""devfreq devices that are GPUs."""


@dataclass(frozen=True)
class Reading:
    """One look at the sensors. What is absent here is left out."""

    time: float
    """``time.monotonic()``."""
    celsius: Mapping[str, float] = field(default_factory=dict)
    """Temperature by sensor."""
    mhz: Mapping[str, float] = field(default_factory=dict)
    """Clock by CPU policy and GPU."""
    held_back: int | None = None
    """Bits of ``vcgencmd get_throttled``."""
    events: int | None = None
    """Intel's count of thermal throttling since the system started."""
    watts: Mapping[str, float] = field(default_factory=dict)
    """Power by rail, and ``total``."""

    @property
    def hottest(self) -> float | None:
        """Degrees of the hottest part of the processor, or of anything where no sensor has its name."""
        named = [value for name, value in self.celsius.items() if PROCESSOR.search(name)]
        return max(named or self.celsius.values(), default=None)


def temperatures(root: Path = ROOT) -> dict[str, float]:
    """Degrees Celsius by thermal zone and hwmon sensor."""
    celsius: dict[str, float] = {}
    for zone in matching(root, "sys/class/thermal/thermal_zone*"):
        _add(celsius, text(zone / "type") or zone.name, zone / "temp")
    for sensor in matching(root, "sys/class/hwmon/hwmon*/temp*_input"):
        label = text(sensor.with_name(sensor.name.replace("_input", "_label"))) or sensor.name.removesuffix("_input")
        _add(celsius, f"{text(sensor.with_name('name')) or sensor.parent.name} {label}", sensor)
    return celsius


def _add(celsius: dict[str, float], name: str, file: Path) -> None:
    value = number(file)
    if value is not None and not NOT_A_SENSOR.search(name):
        celsius[name] = value / 1000


def clocks(root: Path = ROOT) -> dict[str, float]:
    """MHz by cpufreq policy and GPU; of a machine without cpufreq, what ``/proc/cpuinfo`` states."""
    mhz: dict[str, float] = {}
    for policy in matching(root, "sys/devices/system/cpu/cpufreq/policy*"):
        value = number(policy / "scaling_cur_freq")
        if value is not None:
            mhz[f"cpu {policy.name}"] = value / 1000
    if not mhz:
        stated = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", text(root / "proc/cpuinfo") or "", re.MULTILINE)
        mhz |= {f"cpu {index} (cpuinfo)": float(value) for index, value in enumerate(stated)}
    for device in matching(root, "sys/class/devfreq/*"):
        value = number(device / "cur_freq")
        if value is not None and GPU.search(device.name):
            mhz[f"gpu {device.name}"] = value / 1e6
    return mhz


def throttle_events(root: Path = ROOT) -> int | None:
    """Intel's throttle counts under every CPU, added up since the system started; only whether it grows means anything.

    A package counts once for each CPU of it. None where there are none.
    """
    counts = [
        number(file) for file in matching(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count")
    ]
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known else None


def held_back(root: Path = ROOT) -> int | None:
    """Raspberry Pi's throttling bits; without vcgencmd, the kernel's under-voltage alarm alone."""
    bits = re.search(r"throttled=0x([0-9a-fA-F]+)", command("vcgencmd", "get_throttled") or "")
    if bits:
        return int(bits[1], 16)
    for name in matching(root, "sys/class/hwmon/hwmon*/name"):
        if text(name) == "rpi_volt":
            alarm = number(name.with_name("in0_lcrit_alarm"))
            return None if alarm is None else int(alarm)
    return None
