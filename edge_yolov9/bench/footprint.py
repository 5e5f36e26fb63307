"""What a bundle costs besides time: files, packages, memory, start-up."""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.bench import child, startup
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.spread import Few, few, rounded
from edge_yolov9.bench.startup import StartUp
from edge_yolov9.bundle import Bundle
from edge_yolov9.registry import target

STARTS = 3
HEADLESS = "opencv-python-headless"
"""Stands for the OpenCV that this package requires where there is no desktop."""
MB = 1e6


@dataclass(frozen=True)
class Package:
    """An installed package."""

    version: str
    mb: float


@dataclass(frozen=True)
class Packages:
    """Installed size of what a device needs for a runtime.

    What the system's own package manager brought (TensorRT, CUDA) is not counted; ``note`` says so.
    """

    total_mb: float
    by_package: Mapping[str, Package]
    note: str | None = None


@dataclass(frozen=True)
class Footprint:
    """What a bundle costs on disk and in memory, and how long it takes to start up."""

    bundle_mb: float
    files_mb: Mapping[str, float]
    packages: Packages
    memory_mb: Mapping[str, Few | Missing]
    """Resident memory when ``imported``, ``loaded`` and ``running``, and its ``peak``, over ``STARTS`` processes."""
    startup_ms: Mapping[str, Few]
    """Each of :data:`startup.STEPS`, and ``to_first_result``, their sum, over the same processes."""
    first_startup_ms: Mapping[str, float]
    """Start-up of one more process before them, which met cold caches and may have built an engine."""


def measure_footprint(bundle: Bundle, runtime: str | None = None, threads: int | None = None) -> Footprint:
    """Footprint of a checked bundle; start-up and memory in processes of their own.

    Raises:
        EdgeYoloError: the bundle does not run here.
    """
    files = {name: (bundle.path / name).stat().st_size / MB for name in ("manifest.json", *bundle.manifest.files)}
    first = _start(bundle, runtime, threads)
    starts = [_start(bundle, runtime, threads) for _ in range(STARTS)]
    return Footprint(
        bundle_mb=rounded(sum(files.values())),
        files_mb={name: rounded(size) for name, size in files.items()},
        packages=packages(runtime or bundle.manifest.target),
        memory_mb=memory_spread([start.memory_mb for start in starts]),
        startup_ms={name: few([start.startup_ms[name] for start in starts]) for name in first.startup_ms},
        first_startup_ms={name: rounded(value) for name, value in first.startup_ms.items()},
    )


def memory_spread(memory: Sequence[Mapping[str, float | None]]) -> dict[str, Few | Missing]:
    """Spread of each figure over the processes; missing where the system does not state it."""
    known = {name: [mb for mb in (process[name] for process in memory) if mb is not None] for name in memory[0]}
    return {name: few(mbs) if mbs else Missing("/proc/self/status cannot be read") for name, mbs in known.items()}


def _start(bundle: Bundle, runtime: str | None, threads: int | None) -> StartUp:
    settings = startup.Settings(str(bundle.path), runtime, threads, time.monotonic(), bundle.key)
    return child.run("startup", settings, StartUp, lambda text: None)


def packages(runtime: str) -> Packages:
    """Size of this package, the runtime's, and what they require."""
    row = target(runtime)
    module = row.runtime
    owners = importlib.metadata.packages_distributions().get(module or "", [])
    sizes: dict[str, Package] = {}
    for name in required(["edge-yolov9", HEADLESS, *owners, *([] if row.built_in else [row.distribution.split()[0]])]):
        installed = importlib.metadata.distribution(name)
        sizes[name] = Package(installed.version, rounded(installed_bytes(installed) / MB))
    absent = module is not None and not owners
    note = f"{module} was not installed by pip, so its size is not in the total" if absent else None
    return Packages(rounded(sum(package.mb for package in sizes.values())), sizes, note)


def required(names: list[str]) -> list[str]:
    """The distributions and what they require, extras left out, as far as they are installed."""
    seen: dict[str, str] = {}
    for name in (waiting := list(names)):
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        try:
            needed = importlib.metadata.distribution(name).requires or []
        except importlib.metadata.PackageNotFoundError:
            continue
        seen[key] = name
        waiting += [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in needed if "extra ==" not in line]
    return sorted(seen)


def installed_bytes(installed: importlib.metadata.Distribution) -> int:
    return sum(_bytes(path) for path in {*_files(installed)})


def _files(installed: importlib.metadata.Distribution) -> Iterator[Path]:
    """Files of a distribution; of an editable install of ours, those of the checkout."""
    if installed.metadata["Name"] == "edge-yolov9":
        from edge_yolov9 import targets

        for folder in (Path(__file__).parents[1], Path(targets.__path__[0])):
            yield from (file for file in folder.rglob("*") if file.suffix != ".pyc")
        return
    for file in installed.files or ():
        yield Path(str(installed.locate_file(file)))


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
