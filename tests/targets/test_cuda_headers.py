"""The CUDA runtime as we call it by ctypes, held against NVIDIA's own header: constants, parameters and sizes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import pytest
from edge_yolov9.targets.jetson.runtime import cuda

from tests.targets.real_tensorrt import HOME

CONSTANTS = {
    "cudaHostAllocMapped": cuda.HOST_ALLOC_MAPPED,
    "cudaMemcpyHostToDevice": cuda.TO_DEVICE,
    "cudaMemcpyDeviceToHost": cuda.TO_HOST,
    "cudaStreamNonBlocking": cuda.STREAM_NON_BLOCKING,
    "cudaStreamCaptureModeThreadLocal": cuda.CAPTURE_THREAD_LOCAL,
    "cudaDevAttrComputeCapabilityMajor": cuda.MAJOR,
    "cudaDevAttrComputeCapabilityMinor": cuda.MINOR,
    "cudaDevAttrIntegrated": cuda.INTEGRATED,
    "cudaDevAttrCanMapHostMemory": cuda.CAN_MAP_HOST,
    "offsetof(cudaDeviceProp, name)": 0,
    "sizeof(cudaDeviceProp::name)": 256,
}

MACROS = ("CUDARTAPI", "__host__", "__device__", "__device_builtin__", "__cudart_builtin__", "__align__(n)")
"""Of a header that comes with the compiler, which is not needed here; all of them say nothing to g++."""

PROGRAM = """
#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <cuda_runtime_api.h>
template <class... A> void show(const char* name, cudaError_t (*)(A...)) {
  std::printf("%s", name);
  for (size_t size : {sizeof(A)...}) std::printf("\\t%zu", size);
  std::printf("\\n");
}
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """What the header says: the value of each constant, the size of each parameter of each function."""
    headers, compiler = next((HOME / "cudart").glob("nvidia/*/include/cuda_runtime_api.h"), None), shutil.which("g++")
    if headers is None or compiler is None:
        pytest.skip(f"needs g++ and NVIDIA's CUDA runtime in {HOME / 'cudart'}; run make venv")
    folder = tmp_path_factory.mktemp("cuda")
    (folder / "crt").mkdir()
    macros = [*(f"#define {name}\n" for name in MACROS), "#define __builtin_align__(n) __attribute__((aligned(n)))\n"]
    (folder / "crt" / "host_defines.h").write_text("".join(macros))
    body = [f'std::printf("%s\\t%d\\n", "{name}", (int)({name}));' for name in CONSTANTS]
    body += [f'show("{name}", (decltype(&{name}))nullptr);' for name in cuda.SIGNATURES]
    body += ['std::printf("properties\\t%zu\\n", sizeof(cudaDeviceProp));']
    (folder / "main.cpp").write_text(PROGRAM + "int main() {\n" + "\n".join(body) + "\n}\n")
    command = [compiler, "-w", f"-I{folder}", f"-I{headers.parent}", folder / "main.cpp", "-o", folder / "main"]
    subprocess.run(command, check=True, timeout=120)
    lines = subprocess.run([folder / "main"], check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: [int(size) for size in sizes] for name, *sizes in (line.split("\t") for line in lines)}


def test_constants(told: dict[str, list[int]]) -> None:
    assert {name: told[name] for name in CONSTANTS} == {name: [value] for name, value in CONSTANTS.items()}
    assert told["properties"][0] <= cuda.PROPERTIES_SIZE


@pytest.mark.parametrize("name", cuda.SIGNATURES)
def test_parameters(name: str, told: dict[str, list[int]]) -> None:
    assert told[name] == [ctypes.sizeof(kind) for kind in cuda.SIGNATURES[name]]
