"""CUDA memory, streams and graphs, and the bundle's graphs through PyTorch: on a GPU where one is at hand.

Every test runs twice: on the fake CUDA runtime and the CPU, which proves the test, and on the GPU. TensorRT is not
needed.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from edge_yolov9.targets.jetson import check
from edge_yolov9.targets.jetson.graphs import letterbox as graphs
from edge_yolov9.targets.jetson.runtime import cuda
from numpy.typing import NDArray

from edge_yolov9 import bundle as bundles
from edge_yolov9.errors import EdgeYoloError
from edge_yolov9.geometry import letterbox
from tests.targets.fake_cudart import FakeCudart
from tests.targets.jetson_machine import SIZE
from tests.targets.jobs import frames, sqnr
from tests.targets.onnx_torch import run
from tests.targets.real_tensorrt import HOME
from tests.targets.test_jetson_camera import picture

SHAPE = (1, 3, 64, 64)


@dataclass(frozen=True)
class Gpu:
    """CUDA, and the PyTorch device with its memory."""

    cuda: cuda.Cuda
    device: str

    def view(self, buffer: cuda.Buffer) -> torch.Tensor:
        """The GPU's side of a buffer, as a tensor."""
        shape, dtype = buffer.array.shape, buffer.array.dtype
        if self.device == "cpu":
            memory = (ctypes.c_ubyte * buffer.array.nbytes).from_address(buffer.address)
            return torch.from_numpy(np.frombuffer(memory, dtype).reshape(shape))
        found = {"shape": shape, "typestr": dtype.str, "data": (buffer.address, False), "version": 3}
        return torch.as_tensor(SimpleNamespace(__cuda_array_interface__=found), device=self.device)

    def finish(self) -> None:
        """Wait for PyTorch."""
        if self.device != "cpu":
            torch.cuda.synchronize()


@pytest.fixture(params=["fake", "real"])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gpu:
    if request.param == "fake":
        library = FakeCudart(integrated=False)
        monkeypatch.setattr(cuda, "open_library", lambda: library)
        return Gpu(cuda.Cuda(), "cpu")
    found = [str(file) for file in (HOME / "cudart").glob("nvidia/*/lib/libcudart.so.*")]
    monkeypatch.setattr(cuda, "LIBRARIES", (*cuda.LIBRARIES, *found))
    if not (Path("/dev/nvidia0").exists() or Path("/dev/nvhost-gpu").exists()):
        pytest.skip("there is no NVIDIA GPU here")
    try:
        return Gpu(cuda.Cuda(), "cuda")
    except EdgeYoloError as error:
        pytest.skip(f"CUDA does not start: {error}")


@pytest.fixture
def torch_gpu(gpu: Gpu) -> Gpu:
    if gpu.device == "cuda" and not torch.cuda.is_available():
        pytest.skip(f"PyTorch {torch.__version__} cannot use this GPU")
    return gpu


def test_what_is_uploaded_comes_back(gpu: Gpu) -> None:
    assert gpu.cuda.free_memory() > 1 << 20
    stream, there = cuda.Stream(gpu.cuda), cuda.Buffer(gpu.cuda, SHAPE)
    there.array[...] = np.arange(there.array.size).reshape(SHAPE)
    expected = there.array.copy()
    there.upload(stream)
    stream.wait()
    if not gpu.cuda.device.shares_memory:
        there.array[...] = 0
    there.download(stream)
    stream.wait()
    np.testing.assert_array_equal(there.array, expected)
    there.close()
    there.close()
    stream.close()


def test_a_graph_repeats_what_was_recorded(gpu: Gpu) -> None:
    stream, frame = cuda.Stream(gpu.cuda), cuda.Buffer(gpu.cuda, (48, 64, 3), np.uint8)

    def work() -> None:
        frame.upload(stream)
        frame.download(stream)

    if gpu.cuda.device.shares_memory:
        pytest.skip("nothing is copied where the memory is shared")
    graph = cuda.Graph(gpu.cuda, stream, work)
    for value in (7, 8):
        frame.array[...] = value
        graph.launch()
        stream.wait()
        assert (frame.array == value).all()
    graph.close()
    graph.close()
    frame.close()
    stream.close()


def through_buffers(gpu: Gpu, model: onnx.ModelProto, given: NDArray[Any]) -> list[NDArray[Any]]:
    """Run ``model`` in PyTorch between our own buffers, as TensorRT would: uploaded, computed, downloaded."""
    stream, image = cuda.Stream(gpu.cuda), cuda.Buffer(gpu.cuda, given.shape, given.dtype)
    image.array[...] = given
    image.upload(stream)
    stream.wait()
    results = []
    for found in run(model, {model.graph.input[0].name: gpu.view(image)}):
        buffer = cuda.Buffer(gpu.cuda, tuple(found.shape))
        gpu.view(buffer).copy_(found)
        gpu.finish()
        buffer.download(stream)
        stream.wait()
        results.append(buffer.array.copy())
        buffer.close()
    image.close()
    stream.close()
    return results


@pytest.mark.parametrize(
    ("frame_size", "input_size"),
    [((720, 1280), (640, 640)), ((719, 1283), (384, 640)), ((300, 400), (640, 640)), ((640, 640), (640, 640))],
)
def test_the_letterbox_is_the_hosts_within_a_grey_level(
    frame_size: tuple[int, int], input_size: tuple[int, int], torch_gpu: Gpu
) -> None:
    frame = picture(*frame_size)
    (found,) = through_buffers(torch_gpu, graphs.build(frame_size, input_size, "images"), frame)
    host = letterbox(frame, input_size)[0][:, :, ::-1].transpose(2, 0, 1)
    assert np.abs(found[0] * 255 - host).max() < 1.01


@dataclass(frozen=True)
class Session:
    """A graph on the GPU, as :func:`check.compare` wants it."""

    gpu: Gpu
    model: onnx.ModelProto

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        maps = through_buffers(self.gpu, self.model, pixels(image))
        return [array.reshape(array.shape[1], -1) for array in maps]

    def close(self) -> None: ...


def pixels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / np.float32(255)


@pytest.mark.parametrize(
    ("precision", "file", "computes"),
    [
        ("fp32", "model.onnx", "fp32"),
        ("int8", "model.onnx", "int8"),
        ("int8", "model_typed.onnx", "int8"),
        ("int8", "model_fp16.onnx", "fp16"),
    ],
)
def test_every_flavour_passes_the_bundles_own_check(
    precision: str, file: str, computes: str, torch_gpu: Gpu, made: dict[str, Path]
) -> None:
    bundle = bundles.read(made[precision])
    heads = check.compare(Session(torch_gpu, onnx.load(bundle.path / file)), bundle, computes)
    assert len(heads) == 6
    assert check.complaint(heads) == ""
    if computes == "int8":
        assert all(head.sqnr_db > head.graph_db - 3 for head in heads), "as ONNX Runtime but for roundings"


@pytest.mark.parametrize(("precision", "least"), [("fp32", 90.0), ("int8", 25.0)])
def test_the_graph_is_onnx_runtimes(precision: str, least: float, torch_gpu: Gpu, made: dict[str, Path]) -> None:
    """INT8 differs where a sum falls on the other side of a rounding, which changes what follows by a step."""
    model, image = onnx.load(made[precision] / "model.onnx"), pixels(frames(1, SIZE)[0])
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for want, got in zip(session.run(None, {"images": image}), through_buffers(torch_gpu, model, image), strict=True):
        assert sqnr(want, got) > least
