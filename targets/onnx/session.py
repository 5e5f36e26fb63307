"""Run an ONNX bundle, or the portable graph of a jetson bundle, in ONNX Runtime on the CPU."""

from __future__ import annotations

from .. import quiet  # noqa: F401  (before the runtime)

# isort: split

from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InferenceError
from edge_yolov9.registry import Session, trial
from edge_yolov9.registry.extra import shared_extra
from edge_yolov9.system.cpu import cores
from edge_yolov9.text import LONGEST, short

from ..whole_onnx import read_onnx
from . import structure

DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}
"""Element types that the input and the outputs may have."""

FLOAT = ("NCHW", ("float32", "float16"))

# ONNX Runtime derives its exceptions from Exception alone and exports no base class for them.
FAILURES: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,  # names that are not UTF-8, and what pybind11 makes of the C++ library's own exceptions
    TypeError,
    MemoryError,
    *(
        kind
        for kind in vars(ort.capi.onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)


def open_sessions(bundle: Bundle, threads: int | None, count: int) -> list[OnnxSession]:
    """Load the model once; it runs for several threads at the same time.

    Args:
        bundle: a checked bundle; ``manifest.extra["portable"]`` names its ONNX file where that is not the model.
        threads: CPU threads of all sessions together; :func:`edge_yolov9.system.cpu.cores` when None.
        count: how many sessions.

    Raises:
        BundleError: ONNX Runtime cannot read the model, or it is not the one that the manifest describes.
    """
    bundle.expect(FLOAT, FLOAT)
    name = shared_extra(bundle).portable or bundle.manifest.model
    data = read_onnx(bundle, name)
    trial.trust(bundle, "onnx", lambda: structure.check(data))
    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only
    # left to itself it counts the machine's cores, and pins its threads to them, allowed or not
    options.intra_op_num_threads = max(1, (threads or cores()) // count)
    options.add_session_config_entry("session.force_spinning_stop", "1")  # between frames
    try:
        model = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except FAILURES as error:
        raise BundleError(f"{bundle.path}: ONNX Runtime cannot open {name}: {_line(error)}") from error
    return [OnnxSession(bundle, model) for _ in range(count)]


class OnnxSession(Session):
    """A loaded model with an input buffer of its own."""

    def __init__(self, bundle: Bundle, model: Any) -> None:
        manifest = bundle.manifest
        self._session: Any = model
        self._check(bundle)
        port = self._session.get_inputs()[0]
        self._input = np.empty((1, 3, manifest.input.height, manifest.input.width), DTYPES[port.type])
        self._feed = {port.name: self._input}
        self._names = [spec.name for spec in manifest.outputs]
        self._dtypes = [np.dtype(spec.dtype) for spec in manifest.outputs]
        swap = manifest.input.color == "RGB"
        self._planes = self._input[0, ::-1] if swap else self._input[0]
        self._plane = np.empty(self._input.shape[2:], np.uint8)
        self._scale = self._input.dtype.type(manifest.input.scaling)

    def _check(self, bundle: Bundle) -> None:
        """Names, shapes and types against the manifest."""
        manifest, inputs = bundle.manifest, self._session.get_inputs()
        expected = {spec.name: spec.shape for spec in manifest.outputs}
        size = (1, 3, manifest.input.height, manifest.input.width)
        outputs = {port.name: tuple(port.shape) for port in self._session.get_outputs()}
        shapes = [tuple(port.shape) for port in inputs]
        if shapes != [size] or any(outputs.get(name) != shape for name, shape in expected.items()):
            raise BundleError(
                f"{bundle.path}: expected input {size} and outputs {expected}, the ONNX file has {shapes} and "
                f"{outputs}; compile the bundle again"
            )
        kinds = {port.type for port in (*inputs, *self._session.get_outputs())}
        if not kinds <= DTYPES.keys():
            raise BundleError(
                f"{bundle.path}: expected float input and outputs, found {sorted(kinds)}; compile it again"
            )

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """See :class:`edge_yolov9.registry.Session`."""
        if self._session is None:
            raise InferenceError("this ONNX Runtime session is closed; open the bundle again")
        if image.shape != (*self._input.shape[2:], 3):
            raise InferenceError(f"expected a frame of shape {(*self._input.shape[2:], 3)}, got {image.shape}")
        for channel, target in enumerate(self._planes):
            np.multiply(cv2.extractChannel(image, channel, self._plane), self._scale, out=target)
        try:
            raw = self._session.run(self._names, self._feed)
        except FAILURES as error:
            raise InferenceError(f"ONNX Runtime failed to run the model: {_line(error)}") from error
        views = (array.reshape(array.shape[1], -1) for array in raw)
        return [view.astype(dtype, copy=False) for view, dtype in zip(views, self._dtypes, strict=True)]

    def bare(self) -> None:
        """Run ONNX Runtime once more on the input that is in place: what :meth:`infer` costs without our part of it."""
        self._session.run(self._names, self._feed)

    def close(self) -> None:
        """Free the model. Calling it twice does no harm."""
        self._session = None


def _line(error: Exception) -> str:
    return short(error, LONGEST) or type(error).__name__
