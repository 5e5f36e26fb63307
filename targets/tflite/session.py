"""Device side: a ``.tflite`` file in LiteRT, by ``ai_edge_litert`` or the older ``tflite_runtime``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle, TensorSpec
from edge_yolov9.errors import BundleError, InferenceError, RuntimeNotInstalled
from edge_yolov9.registry import Session
from edge_yolov9.registry.extra import shared_extra
from edge_yolov9.system.cpu import cores
from edge_yolov9.system.imports import load
from edge_yolov9.text import LONGEST, short

from . import structure

RUNTIMES = ("ai_edge_litert", "tflite_runtime")
FAILURES = (ValueError, RuntimeError, TypeError, KeyError, MemoryError)
"""Exceptions of LiteRT: of its wrapper in Python, its core, and pybind11."""
SIGN_BIT = np.uint8(0x80)
NOT_ON_NPU = "the bundle is for {}, but the model runs on the CPU: no figure is of the NPU"


def open_sessions(bundle: Bundle, threads: int | None, count: int) -> list[TfliteSession]:
    """Load the model and reserve its memory, once per session: interpreters share the file's content alone.

    Args:
        bundle: a checked bundle of this target.
        threads: CPU threads of all sessions together; one per physical core when None.
        count: how many sessions.

    Raises:
        BundleError: LiteRT does not accept the model file, or it is not what the manifest describes.
        RuntimeNotInstalled: neither runtime is importable.
    """
    bundle.expect(("NHWC", ("uint8", "int8", "float32")), ("NHWC", ("uint8", "int8", "float32", "float16")))
    each = max(1, (threads or cores()) // count)
    data = bundle.content(bundle.manifest.model)
    try:
        structure.check(data)
        with _native_stderr_closed():
            interpreters = [_interpreter_class()(model_content=data, num_threads=each) for _ in range(count)]
            for interpreter in interpreters:
                interpreter.allocate_tensors()
        return [TfliteSession(interpreter, bundle) for interpreter in interpreters]
    except FAILURES as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise BundleError(
            f"LiteRT does not accept {bundle.model_path}: {reason}; copy the bundle again or compile it anew"
        ) from error


class TfliteSession(Session):
    """One interpreter with fixed tensors. Not shared between threads."""

    def __init__(self, interpreter: Any, bundle: Bundle) -> None:
        """``interpreter`` has allocated tensors.

        Raises:
            BundleError: a tensor of the manifest is not in the model, or differs in shape or type.
        """
        manifest = bundle.manifest
        runner = interpreter.get_signature_runner()
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        self._input = _index(bundle, manifest.input.tensor, inputs)
        self._outputs = [_index(bundle, spec, outputs) for spec in manifest.outputs]
        self._signed = manifest.input.tensor.dtype == "int8"
        self._shape = manifest.input.tensor.shape[1:]
        self._buffers = [
            np.empty((spec.shape[1] * spec.shape[2], spec.shape[3]), spec.dtype) for spec in manifest.outputs
        ]
        self._interpreter: Any = interpreter
        self._note = "" if shared_extra(bundle).npu is None else NOT_ON_NPU.format(manifest.board)

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Run one letterboxed frame (height, width, 3) uint8 BGR.

        Returns:
            Six transposed views (channels, cells) of buffers that the next call overwrites. The results are copied
            out of the interpreter (0.1 MB at 320 px), which refuses to run while a view of its memory lives.

        Raises:
            InferenceError: the session is closed, the frame has another shape or type, or LiteRT failed.
        """
        if self._interpreter is None:
            raise InferenceError("this session is closed; open the bundle again")
        if image.shape != self._shape or image.dtype != np.uint8:
            raise InferenceError(f"expected a frame {self._shape} uint8, got {image.shape} {image.dtype}")
        try:
            self._write(image)
            self._interpreter.invoke()
            for buffer, index in zip(self._buffers, self._outputs, strict=True):
                np.copyto(buffer, self._interpreter.tensor(index)().reshape(buffer.shape))
        except FAILURES as error:
            raise InferenceError(f"LiteRT failed on a frame: {short(error, LONGEST)}") from error
        return [buffer.T for buffer in self._buffers]

    def _write(self, image: NDArray[np.uint8]) -> None:
        """Put the frame into the input tensor: a cast to float, or pixel - 128 as a flip of the sign bit."""
        tensor = self._interpreter.tensor(self._input)()[0]
        if self._signed:
            np.bitwise_xor(image, SIGN_BIT, out=tensor.view(np.uint8))
        else:
            np.copyto(tensor, image)

    def bare(self) -> None:
        """Run LiteRT once more on the input that is in place: what :meth:`infer` costs without our part of it."""
        self._interpreter.invoke()

    @property
    def note(self) -> str:
        """A line that says that the CPU runs a model for an NPU; "" for other models."""
        return self._note

    def close(self) -> None:
        """Free the interpreter."""
        self._interpreter = None


def _interpreter_class() -> Any:
    for name in RUNTIMES:
        try:
            return load(f"{name}.interpreter").Interpreter
        except RuntimeNotInstalled as error:
            absent = error.__cause__
            if not (isinstance(absent, ModuleNotFoundError) and absent.name and absent.name.startswith(name)):
                raise
    raise RuntimeNotInstalled('neither LiteRT runtime is installed; run: pip install "edge-yolov9[tflite]"')


def _index(bundle: Bundle, spec: TensorSpec, details: dict[str, Any]) -> int:
    """Index of the tensor that the model's signature calls ``spec.name``."""
    tensor = details.get(spec.name)
    if tensor is None:
        raise BundleError(f"{bundle.model_path} has no tensor {spec.name}, which the manifest names; compile it anew")
    shape, dtype = tuple(int(size) for size in tensor["shape"]), np.dtype(tensor["dtype"]).name
    if (shape, dtype) != (spec.shape, spec.dtype):
        raise BundleError(
            f"{bundle.model_path}: the manifest says {spec.name} is {spec.shape} {spec.dtype}, "
            f"the model {shape} {dtype}; compile it anew"
        )
    return int(tensor["index"])


@contextmanager
def _native_stderr_closed() -> Iterator[None]:
    """LiteRT announces its CPU delegate on file descriptor 2; errors arrive as exceptions all the same."""
    try:
        saved = os.dup(2)
    except OSError:  # there is none
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    os.close(sink)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
