"""What a runtime does to the process that loads it: no CPU while it waits, no thread outside the allowed CPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CHILD = """
import json, os, sys, time
allowed = {int(cpu) for cpu in sys.argv[2].split(",")}
os.sched_setaffinity(0, allowed)
import numpy as np
from edge_yolov9 import Detector
from edge_yolov9.errors import InferenceError

frame = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
with Detector(sys.argv[1]) as detect:
    for _ in range(3):
        detect(frame)
    threads = os.listdir("/proc/self/task")
    outside = [sorted(cpus) for t in threads if not (cpus := os.sched_getaffinity(int(t))) <= allowed]
    idle = []
    for _ in range(10):
        detect(frame)
        before = time.process_time()
        time.sleep(0.15)
        idle.append(1000 * (time.process_time() - before))
    child = os.fork()
    if not child:
        try:
            detect(frame)
        except InferenceError as error:
            os._exit(7 if "fork" in str(error) else 8)
        os._exit(9)
    forked = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    detect(frame)
print(json.dumps([outside, sorted(idle)[5], forked]))
"""


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_a_runtime_rests_between_frames_and_stays_on_its_cpus(compiled, target: str) -> None:
    mine = sorted(os.sched_getaffinity(0))
    for allowed in {tuple(mine), tuple(mine[:1])}:
        words = [sys.executable, "-c", CHILD, str(compiled(target, "fp32")), ",".join(map(str, allowed))]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT)
        outside, idle, forked = json.loads(done.stdout.splitlines()[-1])
        assert outside == []
        assert idle < 10, f"{idle:.1f} ms of CPU in a pause of 150 ms"
        assert forked == 7, "a detector that was opened before a fork is refused in the child"
