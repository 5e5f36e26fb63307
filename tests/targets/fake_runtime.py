"""The half of the TensorRT stand-in that runs engines, with ONNX Runtime; ``fake_tensorrt.py`` builds them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from tests.targets.fake_cudart import STREAMS

MAGIC = b"fake engine of "


@dataclass
class Record:
    """What happened, and what should go wrong."""

    version: str
    builds: int = 0
    flags: list[str] = field(default_factory=list)
    network: int = 0
    timings_given: list[bytes] = field(default_factory=list)
    parsed: bytes = b""
    tensor_order: Sequence[str] | None = None
    refuse_build: str = ""
    most_memory: int = 1 << 40
    """A build with more workspace runs out of memory."""
    workspaces: list[int] = field(default_factory=list)
    spoil: float = 0.0
    """Added to every output of an engine with INT8 in it."""
    spoil_all: float = 0.0
    """The same for every engine."""
    build_seconds: float = 0.0
    building: Callable[[], object] = lambda: None
    """Is called in the middle of every build."""
    idle: bool = False
    """Inferences compute nothing."""
    dla_cores: int = 0
    on_dla: dict[str, str] = field(default_factory=dict)
    runtime_core: int = -1
    """The DLA core that the newest runtime was given."""
    refuse_engines: bool = False
    nothing_from: str = ""
    """A class whose instances TensorRT cannot make."""
    raises: Exception | None = None
    """From within a build."""
    refuse_timings: str = ""
    """"kept" ones, or "any"."""
    logger_severity: int = 1


class Documented:
    """As NVIDIA's objects, one of these takes no attribute that its class does not have."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name.startswith("_") or hasattr(type(self), name)):
            raise AttributeError(f"{type(self).__name__} object has no attribute {name!r}")
        super().__setattr__(name, value)


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1
    UINT8 = 5


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None: ...


def made_by(name: str, record: Record, logger: Any) -> None:
    """What NVIDIA's bindings do where TensorRT returns a null pointer."""
    if record.nothing_from == name:
        logger.log(ILogger.Severity.ERROR, "createInfer: Error Code 6: API Usage Error (CUDA initialization failure)")
        raise TypeError("pybind11::init(): factory function returned nullptr")


class Runtime(Documented):
    _record: Record
    _module: Any

    def __init__(self, logger: ILogger) -> None:
        made_by("Runtime", self._record, logger)
        self._logger = logger
        self._core = -1

    @property
    def DLA_core(self) -> int:
        return self._core

    @DLA_core.setter
    def DLA_core(self, core: int) -> None:
        self._core = self._record.runtime_core = core

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        head, _, model = serialized_engine.partition(b"\0")
        if self._record.refuse_engines or head != MAGIC + self._record.version.encode():
            return None
        return ICudaEngine(model, self._record)


class ICudaEngine(Documented):
    def __init__(self, model: bytes, record: Record) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._record = record
        self._spoil = record.spoil_all + (record.spoil if b"QuantizeLinear" in model else 0.0)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._bytes = inputs[0].type == "tensor(uint8)"
        self._shapes = {item.name: tuple(item.shape) for item in (*inputs, *outputs)}
        self._input = inputs[0].name
        self._names = list(record.tensor_order or self._shapes)

    @property
    def num_io_tensors(self) -> int:
        return len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == self._input else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.UINT8 if self._bytes and name == self._input else DataType.FLOAT

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class IExecutionContext(Documented):
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._addresses = engine, dict[str, int]()

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine._shapes

    def execute_async_v3(self, stream_handle: int) -> bool:
        if stream_handle not in STREAMS:
            return False
        STREAMS[stream_handle].append(self._execute)
        return True

    def _execute(self) -> None:
        engine = self._engine
        if engine._record.idle:
            return
        arrays = {name: self._array(name) for name in engine._shapes}
        names = [name for name in arrays if name != engine._input]
        results = engine._session.run(names, {engine._input: arrays[engine._input].copy()})
        for name, result in zip(names, results, strict=True):
            arrays[name][...] = result + engine._spoil

    def _array(self, name: str) -> np.ndarray[Any, Any]:
        shape = self._engine._shapes[name]
        kind = ctypes.c_ubyte if self._engine.get_tensor_dtype(name) == DataType.UINT8 else ctypes.c_float
        memory = (kind * int(np.prod(shape))).from_address(self._addresses[name])
        return np.ctypeslib.as_array(memory).reshape(shape)
