"""A stand-in for libcudart in host memory."""

from __future__ import annotations

import ctypes
from typing import Any


class FakeCudart:
    """libcudart in host memory. Calls go through real ctypes conversions of the ``argtypes`` that the caller sets."""

    def __init__(self, name: str = "Orin", integrated: bool = True, devices: int = 1) -> None:
        self.name, self.integrated, self.devices = name, integrated, devices
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
        value[0] = {75: 8, 76: 7, 18: int(self.integrated), 19: 1}[which]
        return 0

    def _cudaGetDeviceProperties(self, properties: int, device: int) -> int:
        ctypes.memmove(properties, self.name.encode() + b"\0", len(self.name) + 1)
        return 0

    def _cudaStreamCreateWithFlags(self, stream: Any, flags: int) -> int:
        return self._allocate(stream, 8)

    def _cudaStreamSynchronize(self, stream: int) -> int:
        return 0 if stream in self.held else 400

    def _cudaStreamDestroy(self, stream: int) -> int:
        return self._free(stream)

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
        self.copies += 1
        ctypes.memmove(target, source, size)
        return 0

    def _cudaGetErrorString(self, code: int) -> bytes:
        return {2: b"out of memory", 100: b"no CUDA-capable device is detected"}.get(code, b"unknown error")


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
