"""Device side of the jetson target: TensorRT 8.5 to 11, one execution path."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle, TensorSpec
from edge_yolov9.errors import BundleError, InferenceError, RuntimeNotInstalled

from . import engine as engines
from .cuda import Buffer, Cuda, Stream

OLDEST = (8, 5)


def open_sessions(bundle: Bundle, threads: int | None, count: int) -> list[TensorRTSession]:
    """Build or load the engine of a jetson bundle, for ``count`` execution contexts.

    ``threads`` has no meaning on a GPU and is ignored.

    The first start on a device builds the engine, which takes minutes; messages go to ``logging``.

    Raises:
        RuntimeNotInstalled: TensorRT or the CUDA runtime is missing or too old.
        InferenceError: there is no GPU, or the engine cannot be built.
        BundleError: TensorRT does not accept the bundle.
    """
    trt = _import_tensorrt()
    cuda = Cuda()  # before anything of TensorRT: without a driver that ends the process
    runtime, engine = engines.load(trt, bundle, cuda.device)
    return [TensorRTSession(trt, cuda, runtime, engine, bundle) for _ in range(count)]


def _import_tensorrt() -> Any:
    try:
        import tensorrt as trt
    except ImportError as error:
        raise RuntimeNotInstalled(
            f"TensorRT's Python module does not load ({' '.join(str(error).split())}); JetPack brings it: "
            "make the environment with python3 -m venv --system-site-packages"
        ) from error
    found = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if found < OLDEST:
        raise RuntimeNotInstalled(f"TensorRT 8.5 or newer is needed, {trt.__version__} is installed; update JetPack")
    return trt


class TensorRTSession:
    """An engine with its buffers on one stream."""

    def __init__(self, trt: Any, cuda: Cuda, runtime: Any, engine: Any, bundle: Bundle) -> None:
        self._runtime, self._engine = runtime, engine
        self._buffers: dict[str, Buffer] = {}
        self._stream: Stream | None = None
        manifest = bundle.manifest
        self._size = (manifest.input.height, manifest.input.width)
        self._input = manifest.input.tensor.name
        self._outputs = [spec.name for spec in manifest.outputs]
        _check_tensors(trt, engine, manifest.input.tensor, manifest.outputs)
        try:
            self._context = engine.create_execution_context()
            if self._context is None:
                raise InferenceError("TensorRT could not create an execution context; free some memory and try again")
            self._stream = Stream(cuda)
            for spec in (manifest.input.tensor, *manifest.outputs):
                buffer = self._buffers[spec.name] = Buffer(cuda, spec.shape)
                if not self._context.set_tensor_address(spec.name, buffer.address):
                    raise InferenceError(f"TensorRT refuses the memory of tensor {spec.name}")
        except InferenceError:
            self.close()
            raise

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Run one letterboxed frame; see :class:`edge_yolov9.registry.Session`."""
        if self._stream is None:
            raise InferenceError("this session is closed; open the bundle again")
        if image.shape != (*self._size, 3) or image.dtype != np.uint8:
            raise InferenceError(f"expected a frame {(*self._size, 3)} uint8, got {image.shape} {image.dtype}")
        target = self._buffers[self._input]
        for plane, channel in zip(target.array[0], reversed(cv2.split(image)), strict=True):
            np.multiply(channel, np.float32(1 / 255), out=plane)
        target.upload(self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise InferenceError("TensorRT could not start the inference")
        for name in self._outputs:
            self._buffers[name].download(self._stream)
        self._stream.wait()
        maps = (self._buffers[name].array for name in self._outputs)
        return [array.reshape(array.shape[1], -1) for array in maps]

    def close(self) -> None:
        """Free engine, memory and stream. Calling it twice does no harm."""
        self._context = self._engine = self._runtime = None
        for buffer in self._buffers.values():
            buffer.close()
        self._buffers = {}
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def _check_tensors(trt: Any, engine: Any, image: TensorSpec, outputs: tuple[TensorSpec, ...]) -> None:
    """The engine's tensors, in whatever order, must be those of the manifest."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    wanted = {image.name: (trt.TensorIOMode.INPUT, image), **{s.name: (trt.TensorIOMode.OUTPUT, s) for s in outputs}}
    if set(names) != set(wanted):
        raise BundleError(f"the engine has the tensors {sorted(names)}, the manifest {sorted(wanted)}; recompile")
    for name, (mode, spec) in wanted.items():
        shape, dtype = tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name)
        if engine.get_tensor_mode(name) != mode or shape != spec.shape or dtype != trt.float32:
            raise BundleError(
                f"tensor {name} is {shape} {dtype} in the engine, {spec.shape} float32 in the manifest; recompile it"
            )
