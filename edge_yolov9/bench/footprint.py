"""What a bundle costs besides time: files, packages, memory, start-up."""

from __future__ import annotations

import importlib.metadata
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_yolov9.bench import child
from edge_yolov9.bench.sensors.probe import missing
from edge_yolov9.bench.spread import few, rounded
from edge_yolov9.bundle import Bundle
from edge_yolov9.registry import target

STARTS = 3
MB = 1e6


def measure(bundle: Bundle, runtime: str | None = None, threads: int | None = None) -> dict[str, Any]:
    """Footprint of a checked bundle; start-up and memory in processes of their own.

    Returns:
        ``bundle_mb``, ``files_mb`` by name, ``packages`` (see :func:`packages`), ``memory_mb`` (``imported``,
        ``loaded``, ``running``, ``peak``) and ``startup_ms`` (see ``startup.py``), each with its
        range over ``STARTS`` processes; ``first_startup_ms`` of one more before them, which found cold caches and may
        have built an engine.

    Raises:
        EdgeYoloError: the bundle does not run here.
    """
    files = {name: (bundle.path / name).stat().st_size / MB for name in ("manifest.json", *bundle.manifest.files)}
    first = _start(bundle, runtime, threads)
    starts = [_start(bundle, runtime, threads) for _ in range(STARTS)]
    return {
        "bundle_mb": rounded(sum(files.values())),
        "files_mb": {name: rounded(size) for name, size in files.items()},
        "packages": packages(runtime or bundle.manifest.target),
        "memory_mb": _gathered(starts, "memory_mb"),
        "startup_ms": _gathered(starts, "startup_ms"),
        "first_startup_ms": {name: rounded(value) for name, value in first["startup_ms"].items()},
    }


def _gathered(starts: list[dict[str, Any]], key: str) -> dict[str, Any]:
    first = starts[0][key]
    return {
        name: few([start[key][name] for start in starts]) if first[name] is not None else _no_memory() for name in first
    }


def _no_memory() -> str:
    return missing("/proc/self/status cannot be read")


def _start(bundle: Bundle, runtime: str | None, threads: int | None) -> dict[str, Any]:
    settings = {"bundle": str(bundle.path), "runtime": runtime, "threads": threads, "started": time.monotonic()}
    return child.run("startup", settings, lambda text: None)


def packages(runtime: str) -> dict[str, Any]:
    """Installed size of what a device needs for a runtime: ``total_mb`` and ``by_package`` {name: {version, mb}}.

    What the system's own package manager brought (TensorRT, CUDA) is not counted; ``note`` says so.
    """
    row = target(runtime)
    module = row.runtime
    owners = importlib.metadata.packages_distributions().get(module or "", [])
    found: dict[str, dict[str, Any]] = {}
    for name in required(["edge-yolov9", *owners, *([] if row.built_in else [row.distribution.split()[0]])]):
        installed = importlib.metadata.distribution(name)
        found[name] = {"version": installed.version, "mb": rounded(installed_bytes(installed) / MB)}
    total = rounded(sum(package["mb"] for package in found.values()))
    entry: dict[str, Any] = {"total_mb": total, "by_package": found}
    if module is not None and not owners:
        entry["note"] = f"{module} was not installed by pip, so its size is not in the total"
    return entry


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
