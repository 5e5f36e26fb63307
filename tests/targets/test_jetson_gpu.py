"""The CUDA code on a real GPU, where one is at hand: memory, streams and graphs. No TensorRT is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edge_yolov9.targets.jetson import cuda

from edge_yolov9.errors import EdgeYoloError
from tests.targets.real_tensorrt import HOME

SHAPE = (1, 3, 64, 64)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> cuda.Cuda:
    found = [str(file) for file in (HOME / "cudart").glob("nvidia/*/lib/libcudart.so.*")]
    monkeypatch.setattr(cuda, "LIBRARIES", (*cuda.LIBRARIES, *found))
    if not (Path("/dev/nvidia0").exists() or Path("/dev/nvhost-gpu").exists()):
        pytest.skip("there is no NVIDIA GPU here")
    try:
        return cuda.Cuda()
    except EdgeYoloError as error:
        pytest.skip(f"CUDA does not start: {error}")


def test_what_is_uploaded_comes_back(gpu: cuda.Cuda) -> None:
    assert gpu.free_memory() > 1 << 20
    stream, there = cuda.Stream(gpu), cuda.Buffer(gpu, SHAPE)
    there.array[...] = np.arange(there.array.size).reshape(SHAPE)
    expected = there.array.copy()
    there.upload(stream)
    stream.wait()
    if not gpu.device.shares_memory:
        there.array[...] = 0
    there.download(stream)
    stream.wait()
    np.testing.assert_array_equal(there.array, expected)
    there.close()
    there.close()
    stream.close()


def test_a_graph_repeats_what_was_recorded(gpu: cuda.Cuda) -> None:
    stream, frame = cuda.Stream(gpu), cuda.Buffer(gpu, (48, 64, 3), np.uint8)

    def work() -> None:
        frame.upload(stream)
        frame.download(stream)

    if gpu.device.shares_memory:
        pytest.skip("nothing is copied where the memory is shared")
    graph = cuda.Graph(gpu, stream, work)
    for value in (7, 8):
        frame.array[...] = value
        graph.launch()
        stream.wait()
        assert (frame.array == value).all()
    graph.close()
    graph.close()
    frame.close()
    stream.close()
