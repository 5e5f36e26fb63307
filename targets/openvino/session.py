"""Run an OpenVINO bundle."""

from __future__ import annotations

from .. import quiet  # noqa: F401  (before the runtime)

# isort: split

from pathlib import PurePosixPath
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InferenceError
from edge_yolov9.registry import Session, trial
from edge_yolov9.registry.extra import shared_extra
from edge_yolov9.system.cpu import stated_limit
from edge_yolov9.text import LONGEST, logger, short

from . import structure

log = logger(__name__)

FAILURES = (RuntimeError, ValueError, TypeError, MemoryError)
"""Exceptions of OpenVINO, and what pybind11 makes of the C++ library's own exceptions."""

WHOLE_KERNELS = {"SNIPPETS_MODE": "DISABLE"}
"""Lets the CPU plugin put a residual add into the convolution before it; else its own generated kernels take the add
first when an activation stands between. 3 to 4 % of an INT8 YOLOv9-T at 320 px (2026.4). The switch is not documented:
a version that does not know it goes on without."""


FALL_BACK = "OpenVINO finds no {} on this machine; running on the CPU instead"


def open_sessions(bundle: Bundle, threads: int | None, count: int) -> list[OpenVINOSession]:
    """Load and compile the model once: for latency with one session, for as many parallel streams with several.

    Two models compiled on their own would both pin their threads to the first cores.

    Args:
        bundle: a checked bundle.
        threads: CPU threads of all sessions together; OpenVINO's choice among the allowed cores when None, no
            more than a cgroup's quota or OMP_NUM_THREADS says.
        count: how many sessions.

    Raises:
        BundleError: OpenVINO cannot read the model, or it is not the one that the manifest describes.
    """
    bundle.expect(("NHWC", ("uint8",)), ("NCHW", ("float32",)))
    try:
        wanted = shared_extra(bundle).device
        device = wanted if present(wanted) else "CPU"
        note = "" if device == wanted else FALL_BACK.format(wanted)
        if note:
            log.warning(note)
        compiled = _compiled(bundle, device, _properties(bundle, device, threads, count))
        _check_input(bundle, compiled)
        return [OpenVINOSession(bundle, compiled, note) for _ in range(count)]
    except FAILURES as error:
        reason = _last_line(error)
        raise BundleError(f"{bundle.path}: OpenVINO cannot open {bundle.manifest.model}: {reason}") from error


class OpenVINOSession(Session):
    """One infer request that is used again and again. Its six outputs are written where ``infer`` returns views."""

    def __init__(self, bundle: Bundle, compiled: Any, note: str) -> None:
        self._note = note
        self._request: Any = compiled.create_infer_request()
        self._outputs = [self._bind(compiled, bundle, spec.name, spec.shape) for spec in bundle.manifest.outputs]

    def _bind(self, compiled: Any, bundle: Bundle, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Let the output ``name`` be written into an array of ours; its view (channels, cells)."""
        port = compiled.output(name)
        if tuple(port.shape) != shape:
            raise BundleError(
                f"{bundle.path}: output {name} has shape {tuple(port.shape)}, the manifest says {shape}; "
                "compile the bundle again"
            )
        array = np.zeros(shape, np.float32)
        self._request.set_tensor(port, ov.Tensor(array, shared_memory=True))
        return array.reshape(shape[1], -1)

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """See :class:`edge_yolov9.registry.Session`."""
        if self._request is None:
            raise InferenceError("this OpenVINO session is closed; open the bundle again")
        try:
            self._image = image  # its memory is the input, also for what comes after this call
            self._request.set_input_tensor(ov.Tensor(image[None], shared_memory=True))
            self._request.infer(share_outputs=True)  # else it copies all of them into a result that nobody wants
        except FAILURES as error:
            raise InferenceError(f"OpenVINO failed to run the model: {_last_line(error)}") from error
        return list(self._outputs)

    def bare(self) -> None:
        """Run OpenVINO once more on the input that is in place: what :meth:`infer` costs without our part of it."""
        self._request.infer(share_outputs=True)

    @property
    def note(self) -> str:
        """Which device is missing, so that the CPU runs the model."""
        return self._note

    def close(self) -> None:
        """Free the model. Calling it twice does no harm."""
        self._request = None


def _compiled(bundle: Bundle, device: str, properties: dict[str, Any]) -> Any:
    core = ov.Core()
    model = _model(core, bundle)
    if device == "CPU" and bundle.manifest.precision == "int8":
        try:
            return core.compile_model(model, device, {**properties, **WHOLE_KERNELS})
        except RuntimeError:
            log.debug("OpenVINO %s does not take %s", ov.__version__, WHOLE_KERNELS)
    return core.compile_model(model, device, properties)


def _model(core: Any, bundle: Bundle) -> Any:
    """The graph, from the bytes whose digests are the manifest's.

    Raises:
        BundleError: the manifest lists no weights.
        ValueError: the file is of another format, which could name further files.
    """
    graph = bundle.content(bundle.manifest.model)
    if not graph.startswith(b"<"):
        raise ValueError("it is no OpenVINO IR; compile the bundle again")
    weights = bundle.content(str(PurePosixPath(bundle.manifest.model).with_suffix(".bin")))
    trial.trust(bundle, "openvino", lambda: structure.check(graph, weights))
    return core.read_model(graph, ov.Tensor(np.frombuffer(weights, np.uint8)))


def present(device: str) -> bool:
    """Whether OpenVINO finds ``device`` ("CPU", "GPU", "NPU") on this machine."""
    return device == "CPU" or any(name.partition(".")[0] == device for name in ov.Core().available_devices)


def _properties(bundle: Bundle, device: str, threads: int | None, count: int) -> dict[str, Any]:
    properties: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if count > 1:
        properties = {"PERFORMANCE_HINT": "THROUGHPUT", "PERFORMANCE_HINT_NUM_REQUESTS": count}
        if device == "CPU":
            properties["NUM_STREAMS"] = count
    if bundle.manifest.precision == "fp32":
        properties["INFERENCE_PRECISION_HINT"] = "f32"  # otherwise CPUs with AMX compute in bfloat16
    wanted = threads or stated_limit()
    if wanted is not None and device == "CPU":
        properties["INFERENCE_NUM_THREADS"] = wanted
    return properties


def _check_input(bundle: Bundle, compiled: Any) -> None:
    expected, port = bundle.manifest.input.tensor, compiled.input(0)
    actual = (tuple(port.shape), str(port.element_type.to_dtype()))
    if actual != (expected.shape, expected.dtype):
        raise BundleError(
            f"{bundle.path}: the model's input is {actual[1]} {actual[0]}, the manifest says {expected.dtype} "
            f"{expected.shape}; compile the bundle again"
        )


def _last_line(error: Exception) -> str:
    """OpenVINO prefixes its reason with lines that say where in its source it was raised."""
    lines = (line.strip() for line in reversed(str(error).splitlines()))
    return short(next(filter(None, lines), type(error).__name__), LONGEST)
