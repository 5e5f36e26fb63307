"""TensorRT engines: built on the device from a bundle's ONNX, once, and kept in a cache.

An engine belongs to one TensorRT version and one GPU. Its cache key holds the bundle's digest, the TensorRT version,
the GPU's name and compute capability, and the JetPack release; beside it lies its sha256. An engine that is damaged
or refused is built again, never an error.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InferenceError

from .cuda import Device

log = logging.getLogger("edge_yolov9.jetson")

RELEASE = Path("/etc/nv_tegra_release")
TYPED_SINCE = (10, 12)
"""From here on precision stands in the graph; builder flags are deprecated, and gone in 11."""

WORKSPACE = 1 << 30
"""Bytes that kernels may use while they are timed; the memory is shared with the host on these boards."""


@dataclass(frozen=True)
class Place:
    """Where an engine is valid."""

    tensorrt: str
    gpu: str
    capability: str
    jetpack: str

    @classmethod
    def here(cls, trt: Any, device: Device) -> Place:
        """This machine."""
        try:
            release = RELEASE.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
        except (OSError, IndexError):
            release = ""
        return cls(str(trt.__version__), device.name, device.capability, release)

    def key(self, digest: str = "") -> str:
        """File stem for a bundle's engine; without a digest, for the kernel timings of this place."""
        text = json.dumps({"bundle": digest, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def cache_folder() -> Path:
    """$EDGE_YOLOV9_CACHE, or edge-yolov9/engines in the user's cache folder."""
    if chosen := os.environ.get("EDGE_YOLOV9_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-yolov9" / "engines"


def make_logger(trt: Any) -> Any:
    """A TensorRT logger that passes warnings on to ``logging`` and remembers the errors in ``errors``."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))
                log.info("TensorRT: %s", message)
            else:
                log.debug("TensorRT: %s", message)

    return Log()


def load(trt: Any, bundle: Bundle, device: Device) -> tuple[Any, Any]:
    """The bundle's engine for this machine, from the cache or newly built.

    Returns:
        (runtime, engine); the runtime must outlive the engine.

    Raises:
        BundleError: TensorRT does not accept the bundle's ONNX.
        InferenceError: the engine cannot be built.
    """
    place, logger = Place.here(trt, device), make_logger(trt)
    runtime = trt.Runtime(logger)
    file = cache_folder() / f"{place.key(bundle.digest)}.engine"
    if plan := _read(file):
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is not None:
            log.info("TensorRT engine from %s", file)
            return runtime, engine
        log.warning("TensorRT refuses the cached engine %s; building it again", file)
    plan = _build_with_messages(trt, bundle, place, logger)
    _keep(file, plan, {"sha256": hashlib.sha256(plan).hexdigest(), "bundle": bundle.digest, **asdict(place)})
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise InferenceError(f"TensorRT {place.tensorrt} refuses the engine it has just built: {_last(logger)}")
    return runtime, engine


def _build_with_messages(trt: Any, bundle: Bundle, place: Place, logger: Any) -> bytes:
    log.warning(
        "building the TensorRT %s engine (%s) for %s; this takes minutes, once",
        place.tensorrt, bundle.manifest.precision, place.gpu,
    )  # fmt: skip
    start = time.monotonic()
    plan = build(trt, bundle, place, logger)
    log.warning("engine built in %.0f s", time.monotonic() - start)
    return plan


def build(trt: Any, bundle: Bundle, place: Place, logger: Any) -> bytes:
    """A serialized engine for this machine.

    Raises:
        BundleError: TensorRT does not accept the ONNX.
        InferenceError: no engine came out.
    """
    typed = _version(place.tensorrt) >= TYPED_SINCE
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt, typed))
    _parse(trt, network, logger, onnx_file(bundle, typed))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    if not typed:
        for name in {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}[bundle.manifest.precision]:
            config.set_flag(getattr(trt.BuilderFlag, name))
    timings = cache_folder() / f"{place.key()}.timings"
    _use_timings(config, timings)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise InferenceError(f"TensorRT {place.tensorrt} could not build the engine: {_last(logger)}")
    learned = bytes(config.get_timing_cache().serialize())
    _keep(timings, learned, {"sha256": hashlib.sha256(learned).hexdigest(), **asdict(place)})
    return bytes(plan)


def onnx_file(bundle: Bundle, typed: bool) -> Path:
    """The flavour of the bundle's ONNX for strongly typed networks, or the one that builder flags complete.

    Raises:
        BundleError: the manifest names none.
    """
    name = bundle.manifest.extra.get("typed") if typed else bundle.manifest.model
    if not isinstance(name, str) or name not in bundle.manifest.files:
        raise BundleError(f"{bundle.path}: the manifest names no strongly typed ONNX; compile the bundle again")
    return bundle.path / name


def _network_flags(trt: Any, typed: bool) -> int:
    if typed:
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _parse(trt: Any, network: Any, logger: Any, file: Path) -> None:
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(file.read_bytes()):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        reason = " ".join(reasons[0].split()) if reasons else _last(logger)
        raise BundleError(f"TensorRT {trt.__version__} does not accept {file}: {reason}; compile the bundle again")


def _use_timings(config: Any, file: Path) -> None:
    """Start from what earlier builds on this device timed; start afresh where TensorRT refuses that."""
    for data in (_read(file), b""):
        if data is not None:
            timings = config.create_timing_cache(data)
            if timings is not None and config.set_timing_cache(timings, False):
                return


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    return int(major), int(rest.partition(".")[0])


def _last(logger: Any) -> str:
    return logger.errors[-1] if logger.errors else "it gave no reason"


def _read(file: Path) -> bytes | None:
    """A cached file whose digest is right, else None, with a message where there was something."""
    try:
        data = file.read_bytes()
        stated = json.loads(file.with_name(file.name + ".json").read_text(encoding="utf-8"))["sha256"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        stated, data = "", b""
    if hashlib.sha256(data).hexdigest() != stated:
        log.warning("the cached %s is damaged; it is made again", file)
        return None
    return data


def _keep(file: Path, data: bytes, facts: dict[str, str]) -> None:
    """Write a file and, last, the JSON that vouches for it. A cache that cannot be written costs time, not the run."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _replace(file, data)
        _replace(file.with_name(file.name + ".json"), json.dumps(facts, indent=2).encode())
    except OSError as error:
        log.warning("cannot keep %s (%s); it will be made again next time", file, error.strerror or error)


def _replace(file: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
