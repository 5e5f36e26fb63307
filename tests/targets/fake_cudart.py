"""A stand-in for libcudart in host memory, whose streams do nothing before they are waited for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

STREAMS: dict[int, list[Callable[[], None]]] = {}
"""Work that is queued per stream; the fake TensorRT queues here too."""


class FakeCudart:
    """libcudart in host memory. Calls go through real ctypes conversions of the ``argtypes`` that the caller sets."""

    def __init__(
        self,
        name: str = "Orin",
        integrated: bool = True,
        devices: int = 1,
        capability: tuple[int, int] = (8, 7),
        free: int = 6 << 30,
    ) -> None:
        self.name, self.integrated, self.devices, self.capability = name, integrated, devices, capability
        self.free = free
        self.launches = 0
        self.capturing: dict[int, list[Callable[[], None]]] = {}
        """Streams under capture, and what was queued on them before."""
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.held: dict[int, Any] = {}
        self.copies = 0
        self.fail_at: dict[str, int] = {}
        """``{function: how many calls succeed first}``; later ones report error 2."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)
        function = _Function(self, name)
        setattr(self, name, function)
        return function

    def _allocate(self, target: Any, size: int) -> int:
        memory = ctypes.create_string_buffer(size)
        self.held[ctypes.addressof(memory)] = memory
        target[0] = ctypes.addressof(memory)
        return 0

    def _free(self, address: int) -> int:
        del self.held[address]
        return 0

    def _cudaGetDeviceCount(self, count: Any) -> int:
        count[0] = self.devices
        return 0 if self.devices else 100

    def _cudaSetDevice(self, device: int) -> int:
        return 0 if device == 0 else 101

    def _cudaDeviceGetAttribute(self, value: Any, which: int, device: int) -> int:
        major, minor = self.capability
        value[0] = {75: major, 76: minor, 18: int(self.integrated), 19: 1}[which]
        return 0

    def _cudaGetDeviceProperties(self, properties: int, device: int) -> int:
        ctypes.memmove(properties, self.name.encode() + b"\0", len(self.name) + 1)
        return 0

    def _cudaMemGetInfo(self, free: Any, total: Any) -> int:
        free[0], total[0] = self.free, 8 << 30
        return 0

    def _cudaStreamCreateWithFlags(self, stream: Any, flags: int) -> int:
        self._allocate(stream, 8)
        STREAMS[stream[0]] = []
        return 0

    def _cudaStreamSynchronize(self, stream: int) -> int:
        if stream not in STREAMS:
            return 400
        if stream in self.capturing:
            return 900
        work, STREAMS[stream] = STREAMS[stream], []
        for step in work:
            step()
        return 0

    def _cudaStreamDestroy(self, stream: int) -> int:
        del STREAMS[stream]
        return self._free(stream)

    def _cudaStreamBeginCapture(self, stream: int, mode: int) -> int:
        self.capturing[stream], STREAMS[stream] = STREAMS[stream], []
        return 0 if mode == 1 else 1

    def _cudaStreamEndCapture(self, stream: int, graph: Any) -> int:
        self._allocate(graph, 8)
        self.graphs[graph[0]], STREAMS[stream] = STREAMS[stream], self.capturing.pop(stream)
        return 0

    def _cudaGraphInstantiateWithFlags(self, executable: Any, graph: int, flags: int) -> int:
        self._allocate(executable, 8)
        self.graphs[executable[0]] = self.graphs[graph]
        return 0

    def _cudaGraphLaunch(self, executable: int, stream: int) -> int:
        self.launches += 1
        STREAMS[stream].extend(self.graphs[executable])
        return 0

    def _cudaGraphExecDestroy(self, executable: int) -> int:
        del self.graphs[executable]
        return self._free(executable)

    def _cudaGraphDestroy(self, graph: int) -> int:
        return self._cudaGraphExecDestroy(graph)

    def _cudaMalloc(self, pointer: Any, size: int) -> int:
        return self._allocate(pointer, size)

    def _cudaFree(self, address: int) -> int:
        return self._free(address)

    def _cudaHostAlloc(self, pointer: Any, size: int, flags: int) -> int:
        return self._allocate(pointer, size)

    def _cudaHostGetDevicePointer(self, pointer: Any, host: int, flags: int) -> int:
        pointer[0] = host
        return 0

    def _cudaFreeHost(self, address: int) -> int:
        return self._free(address)

    def _cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> int:
        def copy() -> None:
            self.copies += 1
            ctypes.memmove(target, source, size)

        STREAMS[stream].append(copy)
        return 0

    def _cudaGetErrorString(self, code: int) -> bytes:
        return {
            2: b"out of memory",
            900: b"operation not permitted when stream is capturing",
            100: b"no CUDA-capable device is detected",
        }.get(code, b"unknown error")


class _Function:
    """One function of the fake library, called the way ctypes calls a real one."""

    argtypes: list[Any]
    restype: Any

    def __init__(self, library: FakeCudart, name: str) -> None:
        self._library, self._name, self._calls = library, name, 0

    def __call__(self, *arguments: Any) -> Any:
        self._calls += 1
        if self._calls > self._library.fail_at.get(self._name, 1 << 60):
            return 2
        inner = getattr(self._library, f"_{self._name}")
        if self.restype is ctypes.c_char_p:
            return inner(*arguments)
        return ctypes.CFUNCTYPE(self.restype, *self.argtypes)(inner)(*arguments)
