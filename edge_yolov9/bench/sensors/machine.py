"""Facts about the machine that make a number reproducible."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_yolov9.bench.sensors import readings
from edge_yolov9.bench.sensors.probe import ROOT, Missing, command, matching, number, text
from edge_yolov9.bench.spread import NOT_A_ROW
from edge_yolov9.bundle import Bundle
from edge_yolov9.registry import target
from edge_yolov9.registry.extra import shared_extra
from edge_yolov9.system.cpu import cores

PACKAGES = ("edge-yolov9", "numpy", "opencv-python", "opencv-python-headless")
JETPACKS = {
    (35, 1): "5.0.2", (35, 2): "5.1", (35, 3): "5.1.1", (35, 4): "5.1.2", (35, 5): "5.1.3", (35, 6): "5.1.4 or later",
    (36, 2): "6.0 DP", (36, 3): "6.0", (36, 4): "6.1 or 6.2", (38, 2): "7.0", (38, 4): "7.1", (39, 2): "7.2",
}  # fmt: skip
"""Jetson Linux (release, major revision) to JetPack; sources in ``targets/jetson/target.toml``."""


@dataclass(frozen=True)
class MeasuredBundle:
    """The bundle that a machine measured; ``input`` is (height, width), pixels."""

    path: str
    sha256: str
    variant: str
    target: str
    board: str
    precision: str
    input: tuple[int, int]


@dataclass(frozen=True)
class Runtime:
    """A target's vendor runtime."""

    name: str
    version: Missing | str


@dataclass(frozen=True)
class Machine:
    """Facts about machine, software and bundle; what a machine does not have is :class:`Missing`."""

    board: Missing | str
    soc: Missing | str
    """The chip."""
    architecture: str
    cores: int
    """Physical cores that this process may use."""
    cpus: int
    """Logical processors that this process may use."""
    memory_mb: int | Missing
    governor: Mapping[str, str] | Missing
    """cpufreq governor by policy."""
    clock_limits_mhz: Mapping[str, tuple[float, float]] | Missing
    clocks_mhz: Mapping[str, float] | Missing
    power_mode: Missing | str
    jetson_clocks: Missing | str
    jetpack: Missing | str
    os: str
    kernel: str
    python: str
    packages: Mapping[str, str]
    runtime: Runtime
    threads: int | str
    """CPU threads of the runtime."""
    bundle: MeasuredBundle = field(metadata=NOT_A_ROW)
    command_line: str
    date: str


def facts(bundle: Bundle, runtime: str | None = None, threads: int | None = None, root: Path = ROOT) -> Machine:
    """The facts that make figures of a bundle, run in a runtime with so many threads, reproducible."""
    manifest = bundle.manifest
    no_cpufreq = Missing("no cpufreq under /sys/devices/system/cpu")
    return Machine(
        board=board(root),
        soc=soc(root),
        architecture=platform.machine(),
        cores=cores(),
        cpus=_usable(),
        memory_mb=memory(root),
        governor=governors(root) or no_cpufreq,
        clock_limits_mhz=limits(root) or no_cpufreq,
        clocks_mhz=readings.clocks(root) or Missing("neither cpufreq nor /proc/cpuinfo gives clocks"),
        power_mode=power_mode(),
        jetson_clocks=command("jetson_clocks", "--show") or Missing("jetson_clocks is absent, or root's alone"),
        jetpack=jetpack(root),
        os=_release(root),
        kernel=platform.release(),
        python=platform.python_version(),
        packages={name: version for name in PACKAGES if (version := _version(name))},
        runtime=installed_runtime(runtime or manifest.target),
        threads=threads or _threads(bundle, runtime or manifest.target),
        bundle=MeasuredBundle(
            path=str(bundle.path),
            sha256=bundle.digest,
            variant=manifest.variant,
            target=manifest.target,
            board=manifest.board,
            precision=manifest.precision,
            input=(manifest.input.height, manifest.input.width),
        ),
        command_line=shlex.join(sys.argv),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )


def board(root: Path = ROOT) -> str | Missing:
    """Model of the device tree, or vendor and product of DMI."""
    model = text(root / "proc/device-tree/model") or text(root / "sys/firmware/devicetree/base/model")
    dmi = [text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    return model or " ".join(filter(None, dmi)) or Missing("neither a device tree nor DMI names the board")


def soc(root: Path = ROOT) -> str | Missing:
    """The chip: its device-tree name on Arm, the processor's brand on x86."""
    brand = re.search(r"^model name\s*:\s*(.+)$", text(root / "proc/cpuinfo") or "", re.MULTILINE)
    compatible = text(root / "proc/device-tree/compatible")
    if compatible:
        return compatible.split("\0")[-1]
    return brand[1] if brand else Missing("neither a device tree nor /proc/cpuinfo names the chip")


def memory(root: Path = ROOT) -> int | Missing:
    """Main memory in MB."""
    total = re.search(r"^MemTotal:\s+(\d+) kB", text(root / "proc/meminfo") or "", re.MULTILINE)
    return round(int(total[1]) * 1024 / 1e6) if total else Missing("/proc/meminfo cannot be read")


def governors(root: Path = ROOT) -> dict[str, str]:
    """cpufreq governor by policy; empty where there is no cpufreq."""
    policies = matching(root, "sys/devices/system/cpu/cpufreq/policy*")
    return {policy.name: name for policy in policies if (name := text(policy / "scaling_governor"))}


def limits(root: Path = ROOT) -> dict[str, tuple[float, float]]:
    """(least, greatest) MHz that each policy may use now."""
    by_policy = {}
    for policy in matching(root, "sys/devices/system/cpu/cpufreq/policy*"):
        least, most = number(policy / "scaling_min_freq"), number(policy / "scaling_max_freq")
        if least is not None and most is not None:
            by_policy[policy.name] = (least / 1000, most / 1000)
    return by_policy


def power_mode() -> str | Missing:
    """Name of the power mode that ``nvpmodel -q`` states."""
    mode = re.search(r"NV Power Mode\s*:\s*(\S+)", command("nvpmodel", "-q") or "")
    return mode[1] if mode else Missing("no nvpmodel on the PATH, or it does not answer")


def jetpack(root: Path = ROOT) -> str | Missing:
    """JetPack and Jetson Linux, from ``/etc/nv_tegra_release``."""
    release = text(root / "etc/nv_tegra_release") or ""
    stated = re.search(r"R(\d+) \(release\), REVISION: (\d+)\.(\d+)", release)
    if not stated:
        return Missing("no /etc/nv_tegra_release; not a Jetson")
    number_, major, minor = (int(part) for part in stated.groups())
    name = JETPACKS.get((number_, major))
    return f"JetPack {name} (R{number_}.{major}.{minor})" if name else f"R{number_}.{major}.{minor}"


def _threads(bundle: Bundle, runtime: str) -> str:
    """CPU threads that our sessions take by default."""
    on_cpu = target(runtime).sessions is None and shared_extra(bundle).device == "CPU"
    return f"{cores()}, one per physical core" if on_cpu else "the runtime's default"


def _usable() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _release(root: Path) -> str:
    pretty = re.search(r'^PRETTY_NAME="?([^"\n]+)', text(root / "etc/os-release") or "", re.MULTILINE)
    return pretty[1] if pretty else platform.platform()


def installed_runtime(name: str) -> Runtime:
    """The vendor runtime of target ``name``, as pip or the module itself states its version."""
    module = target(name).runtime
    if module is None:
        return Runtime(name, Missing("the runtime is not installed"))
    owners = sorted(set(importlib.metadata.packages_distributions().get(module, [])))
    versions = ", ".join(f"{owner} {_version(owner)}" for owner in owners)
    return Runtime(name, versions or _stated(module))


def _stated(module: str) -> str | Missing:
    """What a module that pip did not bring says of itself: TensorRT of JetPack."""
    try:
        return f"{module} {importlib.import_module(module).__version__}"
    except (ImportError, OSError, AttributeError) as error:
        return Missing(f"{module} does not state its version ({error})")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
