"""A stand-in for ``tensorrt`` that runs the parsed ONNX with ONNX Runtime.

Nothing here has a name or a parameter that TensorRT's own module lacks: ``test_tensorrt_api.py`` compares them with
the real bindings of several versions. What it records for tests is kept in ``Record`` and in underscored names.
"""

from __future__ import annotations

import ctypes
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.machinery import ModuleSpec
from typing import Any

import numpy as np
import onnx

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
    idle: bool = False
    """Inferences compute nothing."""
    dla_cores: int = 0
    on_dla: dict[str, str] = field(default_factory=dict)
    refuse_engines: bool = False
    refuse_timings: bool = False
    logger_severity: int = 1


def make(version: str) -> tuple[Any, Record]:
    """A module like ``tensorrt`` of ``version``, and its record."""
    record, major = Record(version), int(version.split(".")[0])
    creation = {8: ["EXPLICIT_BATCH"], 10: ["EXPLICIT_BATCH", "STRONGLY_TYPED"], 11: ["STRONGLY_TYPED"]}[major]
    module: Any = types.ModuleType("tensorrt")
    module.__spec__ = ModuleSpec("tensorrt", None)
    module.__version__ = version
    module.NetworkDefinitionCreationFlag = IntEnum("NetworkDefinitionCreationFlag", creation, start=0)
    flags = (["FP16", "INT8"] if major < 11 else []) + ["GPU_FALLBACK"]
    module.BuilderFlag = IntEnum("BuilderFlag", flags, start=0)
    module.DeviceType = IntEnum("DeviceType", ["GPU", "DLA"], start=0)
    module.MemoryPoolType = IntEnum("MemoryPoolType", ["WORKSPACE"], start=0)
    module.TensorIOMode = TensorIOMode
    module.DataType = DataType
    module.float32, module.uint8 = DataType.FLOAT, DataType.UINT8
    module.ILogger = ILogger
    if major > 8:
        module.IProgressMonitor = IProgressMonitor
    for kind in (Builder, OnnxParser, Runtime):
        setattr(module, kind.__name__, type(kind.__name__, (kind,), {"_record": record, "_module": module}))
    return module, record


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


class IProgressMonitor:
    def __init__(self) -> None: ...

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...

    def step_complete(self, phase_name: str, step: int) -> bool:
        return True

    def phase_finish(self, phase_name: str) -> None: ...


class IHostMemory(bytes):
    pass


class ILayer:
    def __init__(self, node: onnx.NodeProto) -> None:
        self._kind, self._name = node.op_type, node.name

    @property
    def name(self) -> str:
        return self._name


class INetworkDefinition:
    _model: bytes = b""

    @property
    def num_layers(self) -> int:
        return len(onnx.load_from_string(self._model).graph.node)

    def get_layer(self, index: int) -> ILayer:
        return ILayer(onnx.load_from_string(self._model).graph.node[index])


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._data)


class IBuilderConfig:
    def __init__(self, record: Record) -> None:
        self._record, self._cache = record, ITimingCache(b"")
        self._monitor: Any = None
        self.default_device_type: Any = None
        self.DLA_core = -1

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._record.workspaces.append(pool_size)

    def can_run_on_DLA(self, layer: ILayer) -> bool:
        return layer._kind != "Resize"

    def set_device_type(self, layer: ILayer, device_type: Any) -> None:
        self._record.on_dla[layer.name] = device_type.name

    def set_flag(self, flag: Any) -> None:
        self._record.flags.append(flag.name)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if self._record.refuse_timings and cache._data:
            return False
        self._record.timings_given.append(cache._data)
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self._cache


class IBuilderConfig10(IBuilderConfig):
    """Of TensorRT 10 and later."""

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: Any) -> None:
        self._monitor = monitor


class Builder:
    _record: Record
    _module: Any

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    @property
    def num_DLA_cores(self) -> int:
        return self._record.dla_cores

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        self._record.network = flags
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return (IBuilderConfig if self._record.version.startswith("8.") else IBuilderConfig10)(self._record)

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        record = self._record
        record.builds += 1
        if config._monitor is not None:
            config._monitor.phase_start("Building", None, 2)
            config._monitor.step_complete("Building", 0)
        time.sleep(record.build_seconds)
        if config._monitor is not None:
            config._monitor.phase_finish("Building")
        if record.workspaces[-1] > record.most_memory:
            self._logger.log(ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (no further information)")  # type: ignore[attr-defined]
            return None
        if self._record.refuse_build:
            self._logger.log(ILogger.Severity.ERROR, self._record.refuse_build)  # type: ignore[attr-defined]
            return None
        config._cache._data += b"timed;"
        return IHostMemory(MAGIC + self._record.version.encode() + b"\0" + network._model)


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser:
    _record: Record
    _module: Any

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._errors = network, list[ParserError]()

    def parse(self, model: bytes, path: str | None = None) -> bool:
        flags = self._module.NetworkDefinitionCreationFlag
        if self._record.version.startswith("8.") and not self._record.network & 1 << flags.EXPLICIT_BATCH:
            self._errors.append(ParserError("This version of the ONNX parser only supports explicit batch networks"))
        try:
            onnx.checker.check_model(onnx.load_from_string(model))
        except Exception as error:
            self._errors.append(ParserError(f"ModelProto:\n{error}"))
        self._network._model = self._record.parsed = model
        return not self._errors

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class Runtime:
    _record: Record
    _module: Any

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        self._core = -1

    @property
    def DLA_core(self) -> int:
        return self._core

    @DLA_core.setter
    def DLA_core(self, core: int) -> None:
        self._core = core

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        head, _, model = serialized_engine.partition(b"\0")
        if self._record.refuse_engines or head != MAGIC + self._record.version.encode():
            return None
        return ICudaEngine(model, self._record)


class ICudaEngine:
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


class IExecutionContext:
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
