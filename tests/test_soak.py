"""Nothing grows. 1,500 frames here; EDGE_YOLOV9_SOAK=20000 for the full run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.soak import LAP

WARM = 500 // LAP
"""Laps before memory has to be flat."""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc for memory, threads and handles")
@pytest.mark.parametrize("target", ["openvino", "tflite"])
def test_memory_threads_and_handles_stay(compiled: Callable[..., Path], target: str) -> None:
    frames = os.environ.get("EDGE_YOLOV9_SOAK", "1500")
    command = [sys.executable, "-m", "tests.soak", str(compiled(target, "int8")), frames]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    seen = json.loads(done.stdout.splitlines()[-1])
    memory, threads, handles = (seen[part][WARM - 1 :] for part in ("memory", "threads", "handles"))
    print(f"\n{target}, {frames} frames: {memory[0]:.1f} MB at first, then {min(memory):.1f} to {max(memory):.1f}")
    print(f"threads {sorted(set(threads))}, handles {sorted(set(handles))}")
    assert len(memory) == int(frames) // LAP - WARM + 1 > 2
    assert max(memory) - memory[0] < 5
    assert len(set(threads)) == len(set(handles)) == 1
