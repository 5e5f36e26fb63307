"""What the compile side writes and the device side reads: file names, and the bundle's ``extra``. Imports neither."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError
from edge_yolov9.files import from_json

FRAME = "frame"
"""Input tensor of the letterbox engine: (H, W, 3) uint8 BGR."""

MODEL = "model.onnx"
"""Opset 17, float32 between the pairs: for TensorRT 8.5 to 10.11 and for ONNX Runtime."""
TYPED = "model_typed.onnx"
"""Opset 19, types in the graph: for TensorRT 10.12 and later."""
FALLBACK = "model_fp16.onnx"
"""Opset 17, float16: what an INT8 bundle falls back on, for every version."""
LETTERBOX = "letterbox.onnx"
"""Turns a camera's frame into the model's input."""
LAYERS = "layers.json"
"""The list of convolutions."""


@dataclass(frozen=True)
class CameraExtra:
    """The letterbox that the GPU does."""

    height: int
    width: int
    """Size of the frames, pixels."""
    letterbox: str | None = None
    """File of its ONNX."""
    input: str = FRAME


@dataclass(frozen=True)
class Extra:
    """``manifest.extra`` of a jetson bundle, as far as this target writes it."""

    portable: str | None = None
    """File that ONNX Runtime opens."""
    typed: str | None = None
    """File for TensorRT 10.12 and later."""
    fallback: str | None = None
    """File that an INT8 bundle falls back on."""
    check: dict[str, Any] | None = None
    """What the engine is checked on: ``file``, ``pictures`` (how many) and ``of`` (what they are)."""
    jetson: dict[str, Any] | None = None
    """Figures of the graph, with estimated milliseconds per board; for people."""
    workspace_mib: int | None = None
    """Memory that TensorRT may take for its kernels, MiB."""
    dla: dict[str, Any] | None = None
    """Which operators the DLA takes; None where the GPU does everything."""
    camera: CameraExtra | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the manifest: what is not None."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def read_extra(bundle: Bundle) -> Extra:
    """The target's own part of a manifest.

    Raises:
        BundleError: an entry is of another type than it should be.
    """
    try:
        return from_json(Extra, bundle.manifest.extra, "extra")
    except ValueError as error:
        raise BundleError(f"{bundle.path}: the manifest's {error}; compile the bundle again") from None
