"""TensorRT engines: built on the device from a bundle's ONNX, once, checked against the bundle, and kept.

An engine belongs to one TensorRT version and one GPU; see :mod:`.cache` for its name. A damaged or refused one is
built again, never an error. INT8 gives way to FP16 where the GPU has no INT8, or the engine's raw maps are not what
the bundle expects; a warning says so on every start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InferenceError
from edge_yolov9.text import logger

from ...whole_onnx import read_onnx
from ..names import read_extra
from . import cache
from .build import TYPED_SINCE, Recipe, build, last, make_logger, mapped, workspace
from .cache import Place
from .cuda import Cuda

log = logger("edge_yolov9.jetson")

NO_INT8 = frozenset({"5.3", "6.0", "6.2"})
"""Compute capabilities whose GPU has no INT8 instructions, by TensorRT's support matrix."""

WORKSPACE_MIB = 1024
"""Memory that TensorRT may take for its kernels, MiB, where the bundle names none."""


@dataclass(frozen=True)
class Loaded:
    """An engine ready to run; the runtime must outlive it, so it comes second: fields go in their order."""

    engine: Any
    runtime: Any
    precision: str
    why: str
    """Why the precision is not the bundle's; "" when it is."""
    file: Path
    seconds: float | None
    """How long it took to build; None when it came from the cache."""


Check = Callable[[Loaded], str]
"""Runs an engine and says what is wrong with its raw maps; "" when nothing is."""


def load(trt: Any, cuda: Cuda, bundle: Bundle, check: Check, part: str = "model") -> Loaded:
    """An engine of the bundle for this machine, from the cache or newly built.

    Args:
        check: is asked about an engine that was just built.
        part: "model", or "letterbox", which turns a camera's frame into the model's input.

    Raises:
        BundleError: TensorRT does not accept the bundle's ONNX, or a flavour is missing.
        TargetError: the bundle wants a DLA that is not there.
        InferenceError: the engine cannot be built, or does not compute what the bundle expects.
    """
    return _Workshop(trt, cuda, bundle, check, part).load()


class _Workshop:
    """Everything that stays the same while one engine is looked for or made."""

    def __init__(self, trt: Any, cuda: Cuda, bundle: Bundle, check: Check, part: str) -> None:
        self._trt, self._cuda, self._bundle, self._check, self._part = trt, cuda, bundle, check, part
        self._place, self._logger = Place.here(trt, cuda.device), make_logger(trt)
        with mapped(trt, self._logger):
            self._runtime = trt.Runtime(self._logger)
        self._digest = bundle.digest + ("" if part == "model" else f":{part}")
        self._extra = read_extra(bundle)
        if self._extra.dla and part == "model":
            self._runtime.DLA_core = 0
        self._file = cache.folder() / f"{self._place.key(self._digest)}.engine"

    def load(self) -> Loaded:
        """From the cache, else made by the one process that holds the lock."""
        if kept := self._kept():
            return kept
        with cache.locked(self._file):
            return self._kept() or self._make()

    def _kept(self) -> Loaded | None:
        cached = cache.read(self._file)
        if cached is None:
            return None
        plan, facts = cached
        engine = self._engine(plan)
        if engine is None:
            log.warning("TensorRT refuses the cached engine %s; building it again", self._file)
            return None
        log.info("TensorRT engine from %s", self._file)
        if facts.why:
            log.warning("this engine computes in FP16, not INT8: %s", facts.why)
        precision = facts.precision or self._bundle.manifest.precision
        return Loaded(engine, self._runtime, precision, facts.why, self._file, None)

    def _engine(self, plan: bytes) -> Any:
        with mapped(self._trt, self._logger):
            return self._runtime.deserialize_cuda_engine(plan)

    def _make(self) -> Loaded:
        if changed := cache.changes(self._digest, self._place):
            log.warning("the engine has to be built again: %s", changed)
        precision = "fp32" if self._part != "model" else self._bundle.manifest.precision
        wrong = ""
        if precision == "int8":
            wrong = self._no_int8()
            if not wrong:
                plan, loaded = self._built("int8", "")
                wrong = self._check(loaded)
            if wrong:
                log.warning("INT8 IS NOT USED, the engine is built in FP16 instead: %s", wrong)
                precision = "fp16"
        if precision != "int8":
            plan, loaded = self._built(precision, wrong)
            if still := self._check(loaded):
                raise InferenceError(f"the engine does not compute what the bundle expects: {still}")
        facts = cache.Facts(**asdict(self._place), bundle=self._digest, precision=precision, why=wrong)
        cache.keep(self._file, plan, facts)
        return loaded

    def _no_int8(self) -> str:
        if self._place.capability not in NO_INT8:
            return ""
        return f"{self._place.gpu} (compute capability {self._place.capability}) has no INT8 instructions"

    def _built(self, precision: str, why: str) -> tuple[bytes, Loaded]:
        log.warning(
            "building the TensorRT %s engine (%s, %s) for %s; this takes minutes, once",
            self._place.tensorrt, self._part, precision, self._place.gpu,
        )  # fmt: skip
        start = time.monotonic()
        plan = build(self._trt, self._recipe(precision), self._place, self._logger)
        engine = self._engine(plan)
        if engine is None:
            reason = last(self._logger)
            raise InferenceError(f"TensorRT {self._place.tensorrt} refuses the engine it has just built: {reason}")
        seconds = time.monotonic() - start
        log.warning("engine built in %.0f s", seconds)
        return plan, Loaded(engine, self._runtime, precision, why, self._file, seconds)

    def _recipe(self, precision: str) -> Recipe:
        dla = bool(self._extra.dla) and self._part == "model"
        typed = self._place.version >= TYPED_SINCE
        room = workspace((self._extra.workspace_mib or WORKSPACE_MIB) << 20, self._cuda.free_memory())
        name = onnx_file(self._bundle, self._part, precision, typed)
        return Recipe(read_onnx(self._bundle, name), name, precision, typed, room, dla=dla)


def onnx_file(bundle: Bundle, part: str, precision: str, typed: bool) -> str:
    """Name of the ONNX file of the bundle that becomes this engine.

    Raises:
        BundleError: the manifest names none.
    """
    manifest, extra = bundle.manifest, read_extra(bundle)
    name: str | None = manifest.model
    if part != "model":
        name, kind = extra.camera.letterbox if extra.camera else None, "letterbox ONNX"
    elif precision != manifest.precision:
        name, kind = extra.fallback, f"{precision.upper()} ONNX to fall back on"
    elif typed:
        name, kind = extra.typed, "strongly typed ONNX"
    else:
        kind = "ONNX"
    if name not in manifest.files:
        raise BundleError(f"{bundle.path}: the manifest names no {kind}; compile the bundle again")
    return name
