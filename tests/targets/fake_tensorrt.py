"""A stand-in for ``tensorrt`` that runs the parsed ONNX with ONNX Runtime.

Nothing here has a name or a parameter that TensorRT's own module lacks: ``test_tensorrt_api.py`` compares them with
the real bindings of several versions. What it records for tests is kept in ``Record`` and in underscored names.
"""

from __future__ import annotations

import time
import types
from enum import IntEnum
from importlib.machinery import ModuleSpec
from typing import Any

import onnx

from tests.targets.fake_runtime import (
    MAGIC,
    DataType,
    Documented,
    ICudaEngine,
    IExecutionContext,
    ILogger,
    Record,
    Runtime,
    TensorIOMode,
    made_by,
)

__all__ = ["ICudaEngine", "IExecutionContext", "Record", "make"]


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


class IProgressMonitor:
    def __init__(self) -> None: ...

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...

    def step_complete(self, phase_name: str, step: int) -> bool:
        return True

    def phase_finish(self, phase_name: str) -> None: ...


class IHostMemory(bytes):
    pass


class ILayer(Documented):
    def __init__(self, node: onnx.NodeProto) -> None:
        self._kind, self._name = node.op_type, node.name

    @property
    def name(self) -> str:
        return self._name


class INetworkDefinition(Documented):
    _model: bytes = b""

    @property
    def num_layers(self) -> int:
        return len(onnx.load_from_string(self._model).graph.node)

    def get_layer(self, index: int) -> ILayer:
        return ILayer(onnx.load_from_string(self._model).graph.node[index])


class ITimingCache(Documented):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> IHostMemory:
        return IHostMemory(self._data)


class IBuilderConfig(Documented):
    default_device_type: Any = None
    DLA_core: Any = -1

    def __init__(self, record: Record) -> None:
        self._record = record
        self._cache: ITimingCache | None = None
        self._monitor: Any = None

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
        if self._record.refuse_timings == "any" or (self._record.refuse_timings and cache._data):
            return False
        self._record.timings_given.append(cache._data)
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class IBuilderConfig10(IBuilderConfig):
    """Of TensorRT 10 and later."""

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: Any) -> None:
        self._monitor = monitor


class Builder(Documented):
    _record: Record
    _module: Any

    def __init__(self, logger: ILogger) -> None:
        made_by("Builder", self._record, logger)
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
            self._logger.log(ILogger.Severity.VERBOSE, "Tactic Name: sm80_xmma_fprop")  # type: ignore[attr-defined]
            if not config._monitor.step_complete("Building", 0):
                return None
        if record.raises is not None:
            raise record.raises
        record.building()
        time.sleep(record.build_seconds)
        if config._monitor is not None:
            config._monitor.phase_finish("Building")
        if record.workspaces[-1] > record.most_memory:
            self._logger.log(ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (no further information)")  # type: ignore[attr-defined]
            return None
        if self._record.refuse_build:
            self._logger.log(ILogger.Severity.ERROR, self._record.refuse_build)  # type: ignore[attr-defined]
            return None
        if config._cache is not None:
            config._cache._data += b"timed;"
        return IHostMemory(MAGIC + self._record.version.encode() + b"\0" + network._model)


class ParserError(Documented):
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser(Documented):
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
