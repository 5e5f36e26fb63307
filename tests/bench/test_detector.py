"""A quick look at what ``bench_detector`` measures, with wide margins: at 320, on the shipped checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.bench_detector import FPS, film, host_work, throughput

pytestmark = [pytest.mark.bench, pytest.mark.slow]


@pytest.mark.parametrize("target", ["openvino", "tflite"])
def test_little_beside_the_model_and_a_stream_is_no_slower_than_a_loop(
    compiled: Callable[..., Path], target: str, tmp_path: Path
) -> None:
    folder = compiled(target, "int8")
    alone, around = host_work(folder, rounds=60, found=15, clock=time.thread_time)  # bears a busy machine
    loop, stream, _ = throughput(folder, film(tmp_path / "film.mp4", 4 * FPS), rounds=3)
    print(f"\n{target}: bare {alone:.2f} ms, around it {around:.2f} ms; loop {loop:.0f} fps, stream {stream:.0f} fps")
    assert around < 4
    assert stream > 0.9 * loop
