"""One TensorRT build: flags or types by version, a workspace that fits, kernel timings kept, progress in the log."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from edge_yolov9.errors import BundleError, InferenceError, TargetError
from edge_yolov9.text import logger

from . import cache
from .cache import Place

log = logger("edge_yolov9.jetson")

TYPED_SINCE = (10, 12)
"""From here on precision stands in the graph; builder flags are deprecated, and gone in 11."""

DLA_UNTIL = (10, 7)
"""The last TensorRT whose JetPack has the DLA (NVIDIA's "Working with DLA")."""

FLAGS: dict[str, tuple[str, ...]] = {"fp32": (), "fp16": ("FP16",), "int8": ("INT8", "FP16")}
LEAST_WORKSPACE = 64 << 20
"""Bytes; with less, some convolutions have no kernel left."""

HEARTBEAT = 30.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Recipe:
    """What becomes an engine."""

    onnx: bytes
    name: str
    """File of the bundle that ``onnx`` is the content of."""
    precision: str
    typed: bool
    """Types stand in the graph; else builder flags choose."""
    workspace: int
    """Most bytes that kernels may use while they are timed."""
    dla: bool = False


def make_logger(trt: Any) -> Any:
    """A TensorRT logger that passes messages on to ``logging`` and remembers the errors in ``errors``."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.stopped = 0
            """A signal that came while TensorRT was at work."""

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))
                log.info("TensorRT: %s", message)
            else:
                log.debug("TensorRT: %s", message)

    return Log()


@contextmanager
def mapped(trt: Any, logger: Any) -> Iterator[None]:
    """TensorRT's exceptions as ours; the bindings raise TypeError where TensorRT gives nothing, with the reason logged.

    Raises:
        InferenceError: instead of them.
        KeyboardInterrupt: Ctrl-C came meanwhile.
    """
    before = len(logger.errors)
    with _signals_wait(logger):
        try:
            yield
        except (RuntimeError, TypeError) as error:
            reason = logger.errors[-1] if len(logger.errors) > before else " ".join(str(error).split())
            raise InferenceError(f"TensorRT {trt.__version__} failed: {reason}") from error


@contextmanager
def _signals_wait(logger: Any) -> Iterator[None]:
    """Signals that Python handles wait until TensorRT returns: what a handler raises within its callbacks is lost.

    A build that can be stopped stops; a second signal ends the process at once.
    """
    handlers: dict[int, Any] = {}

    def wait(number: int, _: FrameType | None) -> None:
        logger.stopped = number
        logger.errors.append(f"stopped by signal {number}")
        signal.signal(number, signal.SIG_DFL)
        log.warning("stopping as soon as TensorRT allows it; once more ends it at once")

    if threading.current_thread() is threading.main_thread():
        for each in (signal.SIGINT, signal.SIGTERM):
            if callable(signal.getsignal(each)):
                handlers[each] = signal.signal(each, wait)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        stopped, logger.stopped = logger.stopped, 0
        if handler := handlers.get(stopped):
            handler(stopped, None)


def last(logger: Any) -> str:
    """The newest error, one line."""
    return logger.errors[-1] if logger.errors else "it gave no reason"


def workspace(wanted: int, free: int) -> int:
    """Bytes for kernels: what is wanted, at most half of what is free, at least LEAST_WORKSPACE."""
    return max(LEAST_WORKSPACE, min(wanted, free // 2))


def build(trt: Any, recipe: Recipe, place: Place, logger: Any) -> bytes:
    """A serialized engine for this machine; out of memory, it is tried again with half the workspace.

    Raises:
        BundleError: TensorRT does not accept the ONNX.
        TargetError: there is no DLA.
        InferenceError: no engine came out.
    """
    size = recipe.workspace
    while True:
        before = len(logger.errors)
        try:
            with mapped(trt, logger):
                plan = _attempt(trt, recipe, size, place, logger)
        except MemoryError:
            plan = None
            logger.errors.append("std::bad_alloc")
        if plan is not None:
            return plan
        if not _out_of_memory(logger.errors[before:]):
            raise InferenceError(f"TensorRT {place.tensorrt} could not build the engine: {last(logger)}")
        if size <= LEAST_WORKSPACE:
            raise InferenceError(
                f"memory does not suffice to build the engine, even with {size >> 20} MiB of workspace "
                f"({last(logger)}); close other programs, add swap, or compile with a smaller --imgsz"
            )
        size = max(LEAST_WORKSPACE, size // 2)
        log.warning("out of memory while building (%s); again with %d MiB of workspace", last(logger), size >> 20)


def _out_of_memory(errors: list[str]) -> bool:
    pattern = (
        r"out of memory|outofmemory|bad_alloc|insufficient (memory|workspace)|could not allocate|failed to allocate"
    )
    return any(re.search(pattern, text, re.IGNORECASE) for text in errors)


def _attempt(trt: Any, recipe: Recipe, size: int, place: Place, logger: Any) -> bytes | None:
    builder = trt.Builder(logger)
    network = builder.create_network(_network_flags(trt, recipe.typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(recipe.onnx):
        reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
        reason = " ".join(reasons[0].split()) if reasons else last(logger)
        raise BundleError(
            f"TensorRT {place.tensorrt} does not accept {recipe.name}: {reason}; compile the bundle again"
        )
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, size)
    if not recipe.typed:
        for name in FLAGS[recipe.precision]:
            config.set_flag(getattr(trt.BuilderFlag, name))
    if recipe.dla:
        _use_dla(trt, builder, network, config, place)
    timings = cache.folder() / f"{place.key()}.timings"
    _use_timings(config, timings)
    with _progress(trt, config, logger):
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        return None
    if (made := config.get_timing_cache()) is not None:
        cache.keep(timings, bytes(made.serialize()), cache.Facts(**asdict(place)))
    return bytes(plan)


def _network_flags(trt: Any, typed: bool) -> int:
    if typed:
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)


def _use_dla(trt: Any, builder: Any, network: Any, config: Any, place: Place) -> None:
    """Mark every layer for the DLA or the GPU, as TensorRT says it can."""
    if place.version > DLA_UNTIL or not builder.num_DLA_cores:
        raise TargetError(
            f"there is no DLA for TensorRT {place.tensorrt} on {place.gpu}; it takes an Orin NX, AGX Orin or Xavier "
            f"with TensorRT up to {DLA_UNTIL[0]}.{DLA_UNTIL[1]} (JetPack 5.1 to 6.2); compile without --dla"
        )
    config.default_device_type, config.DLA_core = trt.DeviceType.DLA, 0
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    left = [layer for layer in layers if not config.can_run_on_DLA(layer)]
    for layer in left:
        config.set_device_type(layer, trt.DeviceType.GPU)
    names = ", ".join(layer.name for layer in left) or "none"
    log.warning("%d of %d layers are marked for the DLA; on the GPU: %s", len(layers) - len(left), len(layers), names)


def _use_timings(config: Any, file: Path) -> None:
    """Start from what earlier builds on this device timed; start afresh where TensorRT refuses that."""
    kept = cache.read(file)
    for data in (kept[0] if kept else None, b""):
        if data is not None:
            timings = config.create_timing_cache(data)
            if timings is not None and config.set_timing_cache(timings, False):
                return


@contextmanager
def _progress(trt: Any, config: Any, logger: Any) -> Iterator[None]:
    """A line in the log every half minute; which step it is, where TensorRT tells (10 and later). Ctrl-C stops it."""
    state = {"step": ""}
    monitor = make_monitor(trt, state, logger)
    if monitor is not None:
        config.progress_monitor = monitor
    done, start = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(HEARTBEAT):
            log.info("building for %.0f s%s", time.monotonic() - start, state["step"])

    thread = threading.Thread(target=beat, name="engine build progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def make_monitor(trt: Any, state: dict[str, str], logger: Any) -> Any:
    """A monitor that writes the step of a build into ``state["step"]``; None where TensorRT has none (8.6)."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            state["step"] = f", {phase_name}: step {step + 1} of {self._steps.get(phase_name, step + 1)}"
            return not logger.stopped

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
