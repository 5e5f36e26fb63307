"""The bounds that issue 2 puts on speed. Ratios and medians; each prints what it measured (pytest -s)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_yolov9.decode import DecodeOptions, Decoder
from edge_yolov9.geometry import Letterbox
from tests.conftest import DEMO, PICTURES

pytestmark = [pytest.mark.bench, pytest.mark.slow]


@pytest.mark.parametrize("target", ["openvino", "tflite", "jetson", "onnx"])
def test_int8_compile_of_t_at_320_with_128_images(target: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_yolov9", "compile", str(DEMO), "--target", target, "--precision", "int8"]
    start = time.perf_counter()
    subprocess.run(
        [*command, "--calibration", str(PICTURES.parent / "train"), "--imgsz", "320", "-o", str(tmp_path / "b")],
        check=True,
        timeout=300,
    )
    seconds = time.perf_counter() - start
    print(f"\n{target}: INT8 compile of T at 320 with 128 images {seconds:.1f} s")
    assert seconds < 90


IMPORT = """
import numpy, cv2, time
start = time.perf_counter()
import edge_yolov9
package = time.perf_counter() - start
from edge_yolov9 import Detector
print(1000 * package, 1000 * (time.perf_counter() - start))
"""


def test_import_adds_under_20_ms() -> None:
    """Timed inside fresh processes, after numpy and cv2; medians of 11."""
    runs = [
        [float(word) for word in subprocess.check_output([sys.executable, "-c", IMPORT], text=True).split()]
        for _ in range(11)
    ]
    package, detector = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"\nafter numpy and cv2: import edge_yolov9 {package:.1f} ms, with Detector {detector:.1f} ms")
    assert package < 20


def host_work_ms() -> float:
    """Letterbox 1280x720 -> 640, decode and suppression of raw maps with 20 objects; median of 100, milliseconds."""
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (720, 1280, 3), np.uint8)
    canvas = np.full((640, 640, 3), 114, np.uint8)
    raw = []
    for stride in (8, 16, 32):
        cells = (640 // stride) ** 2
        raw += [random.normal(0, 1, (64, cells)).astype(np.float32), np.full((80, cells), -8, np.float32)]
    for index in range(20):  # each object is seen by a few neighbouring cells
        raw[1][index, 160 * index + 40 : 160 * index + 45] = 2.0
    decode, options, times = Decoder((640, 640)), DecodeOptions(), []
    for _ in range(100):
        start = time.perf_counter()
        placed = Letterbox.fit((720, 1280), (640, 640))
        placed.apply(frame, canvas)
        boxes, _, classes = decode(raw, options)
        placed.to_frame(boxes)
        times.append(1000 * (time.perf_counter() - start))
    assert len(set(classes.tolist())) == 20
    return statistics.median(times)


def test_host_work_under_4_ms(compiled: Callable[..., Path]) -> None:
    ms = host_work_ms()
    print(f"\nhost work per frame: {ms:.2f} ms")
    assert ms < 4
