"""The process that starts up once, as an application does, and tells what that took in time and memory."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9.bench import child

FRAMES = 10
MB = 1e6
STEPS = ("interpreter", "import", "runtime_import", "model_load", "first_inference")
"""Of a start-up, in order: Python until it runs this module; this package with numpy and OpenCV; the target's session
module (for onnx and openvino with the vendor's runtime; tflite and jetson load theirs in ``model_load``); reading,
checking and loading the bundle; the first frame."""


@dataclass(frozen=True)
class Settings:
    """What a start-up is measured with."""

    bundle: str
    runtime: str | None
    threads: int | None
    started: float
    """``time.monotonic()`` of whoever started the process."""
    key: str | None = None
    """Public key that must have signed the bundle."""


@dataclass(frozen=True)
class StartUp:
    """One start-up."""

    startup_ms: Mapping[str, float]
    """``STEPS`` and ``to_first_result``, their sum."""
    memory_mb: Mapping[str, float | None]
    """Resident when ``imported``, when ``loaded`` and while ``running``, and its ``peak``; None where unknown."""


def time_start_up(settings: Settings, progress: child.TextProgress) -> StartUp:
    """Import, load, infer, in this process; ``progress`` is not called."""
    marks = [settings.started, time.monotonic()]
    from edge_yolov9 import Detector, bundle, registry

    marks.append(time.monotonic())
    registry.module(settings.runtime or bundle.read(settings.bundle, verify=False).manifest.target, "session")
    marks.append(time.monotonic())
    memory = {"imported": resident("VmRSS")}
    detect = Detector(settings.bundle, runtime=settings.runtime, threads=settings.threads, key=settings.key)
    marks.append(time.monotonic())
    memory["loaded"] = resident("VmRSS")
    import numpy as np

    frame = np.full((720, 1280, 3), 114, np.uint8)
    detect(frame)
    marks.append(time.monotonic())
    for _ in range(FRAMES):
        detect(frame)
    memory |= {"running": resident("VmRSS"), "peak": resident("VmHWM")}
    detect.close()
    steps = {name: 1000 * (b - a) for name, a, b in zip(STEPS, marks, marks[1:], strict=False)}
    return StartUp({**steps, "to_first_result": 1000 * (marks[-1] - settings.started)}, memory)


def resident(field: str, root: Path = Path("/")) -> float | None:
    """``VmRSS`` (now) or ``VmHWM`` (greatest so far) of this process in MB; None where there is no /proc."""
    try:
        status = (root / "proc/self/status").read_text()
    except OSError:
        return None
    line = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(line[1]) * 1024 / MB if line else None


if __name__ == "__main__":
    child.answer(Settings, time_start_up)
