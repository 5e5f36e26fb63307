"""The few calls of the CUDA runtime that a session needs, by ctypes: no binding has to be installed.

On a Jetson the GPU shares the host's memory: tensors are page-locked host memory that the GPU reads and writes in
place. On a card they are copied over on the session's stream.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.errors import InferenceError, RuntimeNotInstalled

LIBRARIES = (
    *(f"libcudart.so{suffix}" for suffix in ("", ".13", ".12", ".11.0")),
    "/usr/local/cuda/lib64/libcudart.so",
)
HOST_ALLOC_MAPPED = 2
TO_DEVICE, TO_HOST = 1, 2
STREAM_NON_BLOCKING = 1
CAPTURE_THREAD_LOCAL = 1
MAJOR, MINOR, INTEGRATED, CAN_MAP_HOST = 75, 76, 18, 19
"""Device attributes, by their number in the CUDA headers."""

PROPERTIES_SIZE = 8192
"""Bytes; more than any version of cudaDeviceProp, whose first 256 are the name in all of them."""

SIGNATURES: dict[str, list[Any]] = {
    "cudaGetDeviceCount": [POINTER(c_int)],
    "cudaSetDevice": [c_int],
    "cudaDeviceGetAttribute": [POINTER(c_int), c_int, c_int],
    "cudaGetDeviceProperties": [c_void_p, c_int],
    "cudaStreamCreateWithFlags": [POINTER(c_void_p), c_uint],
    "cudaStreamSynchronize": [c_void_p],
    "cudaStreamDestroy": [c_void_p],
    "cudaMalloc": [POINTER(c_void_p), c_size_t],
    "cudaFree": [c_void_p],
    "cudaHostAlloc": [POINTER(c_void_p), c_size_t, c_uint],
    "cudaHostGetDevicePointer": [POINTER(c_void_p), c_void_p, c_uint],
    "cudaFreeHost": [c_void_p],
    "cudaMemcpyAsync": [c_void_p, c_void_p, c_size_t, c_int, c_void_p],
    "cudaMemGetInfo": [POINTER(c_size_t), POINTER(c_size_t)],
    "cudaStreamBeginCapture": [c_void_p, c_int],
    "cudaStreamEndCapture": [c_void_p, POINTER(c_void_p)],
    "cudaGraphInstantiateWithFlags": [POINTER(c_void_p), c_void_p, c_ulonglong],
    "cudaGraphLaunch": [c_void_p, c_void_p],
    "cudaGraphExecDestroy": [c_void_p],
    "cudaGraphDestroy": [c_void_p],
}
"""Functions of the CUDA runtime and their parameters, the same in CUDA 11.4 to 13: cudaGraphInstantiate itself, which
changed in 12, is not among them."""


@dataclass(frozen=True)
class Device:
    """What tells one GPU from another as far as an engine is concerned."""

    name: str
    capability: str
    shares_memory: bool


class Cuda:
    """The CUDA runtime on device 0."""

    def __init__(self) -> None:
        """Load the library and find the GPU.

        Raises:
            RuntimeNotInstalled: there is no libcudart.
            InferenceError: there is no usable GPU.
        """
        self._library = open_library()
        self._library.cudaGetErrorString.restype = c_char_p
        self._library.cudaGetErrorString.argtypes = [c_int]
        for name, types in SIGNATURES.items():
            try:
                function = getattr(self._library, name)
            except AttributeError:
                raise RuntimeNotInstalled(
                    f"libcudart has no {name}; CUDA 11.4 (JetPack 5) or newer is needed"
                ) from None
            function.restype, function.argtypes = c_int, types
        count = c_int(0)
        self.call("cudaGetDeviceCount", byref(count))
        if not count.value:
            raise InferenceError("CUDA finds no GPU; run this bundle on a Jetson, or check it with runtime='onnx'")
        self.call("cudaSetDevice", 0)
        self.device = self._describe()

    def call(self, name: str, *arguments: Any) -> None:
        """One call of the runtime.

        Raises:
            InferenceError: it returned an error.
        """
        code = getattr(self._library, name)(*arguments)
        if code:
            text = self._library.cudaGetErrorString(code)
            raise InferenceError(f"CUDA: {name} failed: {(text or b'?').decode(errors='replace')} (error {code})")

    def free_memory(self) -> int:
        """Bytes that the GPU has left; on a Jetson the memory is the host's."""
        free, total = c_size_t(0), c_size_t(0)
        self.call("cudaMemGetInfo", byref(free), byref(total))
        return free.value

    def _describe(self) -> Device:
        properties = ctypes.create_string_buffer(PROPERTIES_SIZE)
        self.call("cudaGetDeviceProperties", properties, 0)
        name = properties.raw[:256].split(b"\0", 1)[0].decode(errors="replace")
        capability = f"{self._attribute(MAJOR)}.{self._attribute(MINOR)}"
        return Device(name, capability, bool(self._attribute(INTEGRATED) and self._attribute(CAN_MAP_HOST)))

    def _attribute(self, which: int) -> int:
        value = c_int(0)
        self.call("cudaDeviceGetAttribute", byref(value), which, 0)
        return value.value


class Stream:
    """An asynchronous queue of work."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        handle = c_void_p()
        cuda.call("cudaStreamCreateWithFlags", byref(handle), STREAM_NON_BLOCKING)
        self.handle: int = handle.value or 0

    def wait(self) -> None:
        """Block until everything queued is done."""
        self._cuda.call("cudaStreamSynchronize", self.handle)

    def close(self) -> None:
        """Destroy it; harmless when repeated."""
        handle, self.handle = self.handle, 0
        if handle:
            self._cuda.call("cudaStreamDestroy", handle)


class Graph:
    """Work of a stream, recorded once and launched as a whole, which saves a launch per kernel."""

    def __init__(self, cuda: Cuda, stream: Stream, work: Callable[[], None]) -> None:
        """Record what ``work`` queues on ``stream``.

        Raises:
            InferenceError: something in it cannot be recorded; the stream works as before.
        """
        self._cuda, self._stream = cuda, stream
        self._template, self._graph = c_void_p(), c_void_p()
        cuda.call("cudaStreamBeginCapture", stream.handle, CAPTURE_THREAD_LOCAL)
        try:
            try:
                work()
            finally:
                cuda.call("cudaStreamEndCapture", stream.handle, byref(self._template))
            cuda.call("cudaGraphInstantiateWithFlags", byref(self._graph), self._template, 0)
        except InferenceError:
            self.close()
            raise

    def launch(self) -> None:
        """Queue all of it."""
        self._cuda.call("cudaGraphLaunch", self._graph, self._stream.handle)

    def close(self) -> None:
        """Free it; harmless when repeated."""
        graph, self._graph = self._graph, c_void_p()
        template, self._template = self._template, c_void_p()
        if graph:
            self._cuda.call("cudaGraphExecDestroy", graph)
        if template:
            self._cuda.call("cudaGraphDestroy", template)


class Buffer:
    """A tensor that host and GPU both see: ``array`` here, ``address`` there."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: Any = np.float32) -> None:
        self._cuda, self._own = cuda, 0
        self._bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        host = c_void_p()
        cuda.call("cudaHostAlloc", byref(host), self._bytes, HOST_ALLOC_MAPPED)
        self._host = host.value or 0
        memory = (ctypes.c_ubyte * self._bytes).from_address(self._host)
        self.array: NDArray[Any] = np.frombuffer(memory, dtype).reshape(shape)
        try:
            self.address = self._device_memory()
        except InferenceError:
            self.close()
            raise

    def _device_memory(self) -> int:
        pointer = c_void_p()
        if self._cuda.device.shares_memory:
            self._cuda.call("cudaHostGetDevicePointer", byref(pointer), self._host, 0)
        else:
            self._cuda.call("cudaMalloc", byref(pointer), self._bytes)
            self._own = pointer.value or 0
        return pointer.value or 0

    def upload(self, stream: Stream) -> None:
        """Make ``array`` visible to the work queued next."""
        if self._own:
            self._cuda.call("cudaMemcpyAsync", self._own, self._host, self._bytes, TO_DEVICE, stream.handle)

    def download(self, stream: Stream) -> None:
        """Make what the work queued so far writes visible in ``array``, once the stream has been waited for."""
        if self._own:
            self._cuda.call("cudaMemcpyAsync", self._host, self._own, self._bytes, TO_HOST, stream.handle)

    def close(self) -> None:
        """Free it; harmless when repeated. ``array`` must not be read afterwards."""
        own, self._own = self._own, 0
        host, self._host = self._host, 0
        self.array = np.empty(0, np.float32)
        if own:
            self._cuda.call("cudaFree", own)
        if host:
            self._cuda.call("cudaFreeHost", host)


def open_library() -> Any:
    """libcudart, wherever JetPack put it.

    Raises:
        RuntimeNotInstalled: nowhere.
    """
    library = ctypes.util.find_library("cudart")
    for name in (*LIBRARIES, *([library] if library else [])):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise RuntimeNotInstalled(
        "the CUDA runtime (libcudart.so) is not found; on a Jetson run: sudo apt install nvidia-jetpack, "
        "or add the folder that holds it to LD_LIBRARY_PATH"
    )
