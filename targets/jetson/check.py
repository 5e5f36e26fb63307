"""What a bundle expects of an engine: the raw maps of two pictures, computed at compile time.

``check.npz`` holds ``frames`` (N, height, width, 3) uint8 BGR, letterboxed, and per raw tensor ``float_NAME``, what
the float model gives, and ``graph_NAME``, what the bundle's own graph gives in ONNX Runtime: (N, channels, cells)
float16. The sha256 of the file stands in the manifest like that of every other.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle
from edge_yolov9.decode import sqnr_db
from edge_yolov9.errors import BundleError
from edge_yolov9.registry import Session

FILE = "check.npz"
UNREADABLE = (OSError, ValueError, KeyError, EOFError, MemoryError, AttributeError, TypeError, BadZipFile, ZlibError)
LARGEST = 1 << 29
"""Bytes of the arrays together; the two pictures of a model at 1280 px with 80 classes have 0.03 GB."""

LEAST_DB = {"fp32": 40.0, "fp16": 30.0}
"""Signal to noise against the float model that an engine of float arithmetic must reach; TF32 counts as float32."""

SPARE_DB = 6.0
"""How much worse an INT8 engine may be than the INT8 graph in ONNX Runtime: twice its error."""

Maps = Sequence[Sequence[NDArray[Any]]]
"""Per picture the raw maps, (channels, cells) or (1, channels, h, w)."""


@dataclass(frozen=True)
class Head:
    """One raw tensor over all pictures; errors are in logits."""

    name: str
    max_abs: float
    """Largest difference from the bundle's graph."""
    rms: float
    """Root of the mean squared difference from it."""
    sqnr_db: float
    """Signal to noise ratio of the engine against the float model."""
    graph_db: float
    """Signal to noise ratio of the bundle's graph in ONNX Runtime against the float model."""
    least_db: float
    """Signal to noise ratio that the engine must reach."""

    @property
    def good(self) -> bool:
        """Whether the engine reaches ``least_db``; NaN does not."""
        return self.sqnr_db >= self.least_db


def write(folder: Path, names: Sequence[str], frames: Sequence[NDArray[np.uint8]], floats: Maps, graph: Maps) -> None:
    """Store the expectation in a bundle's folder."""
    arrays: dict[str, Any] = {"frames": np.stack(frames)}
    for kind, maps in (("float", floats), ("graph", graph)):
        for name, values in zip(names, zip(*maps, strict=True), strict=True):
            flat = [array.reshape(array.shape[-3] if array.ndim == 4 else len(array), -1) for array in values]
            arrays[f"{kind}_{name}"] = np.stack(flat).astype(np.float16)
    np.savez_compressed(folder / FILE, **arrays)


def compare(session: Session, bundle: Bundle, precision: str) -> list[Head]:
    """Run the pictures and compare.

    Args:
        session: the engine, opened.
        precision: what the engine computes in, which is not always the bundle's.

    Raises:
        BundleError: the bundle holds no expectation, or a damaged one.
    """
    names = [spec.name for spec in bundle.manifest.outputs]
    stored = _load(bundle, names)
    results = [[array.copy() for array in session.infer(frame)] for frame in stored["frames"]]
    heads = []
    for index, name in enumerate(names):
        got = np.stack([maps[index] for maps in results]).astype(np.float64)
        graph, want = stored[f"graph_{name}"].astype(np.float64), stored[f"float_{name}"].astype(np.float64)
        if got.shape != want.shape:
            raise BundleError(f"{bundle.path / FILE}: {name} is {want.shape}, the engine gives {got.shape}; recompile")
        difference, graph_db = got - graph, _against(want, graph)
        largest, rms = float(np.abs(difference).max()), float(np.sqrt((difference**2).mean()))
        least = LEAST_DB.get(precision, graph_db - SPARE_DB)
        heads.append(Head(name, largest, rms, _against(want, got), graph_db, least))
    return heads


def complaint(heads: Sequence[Head]) -> str:
    """What is wrong, one line; "" when nothing is."""
    bad = [head for head in heads if not head.good]
    if not bad:
        return ""
    each = ", ".join(f"{head.name} {head.sqnr_db:.1f} dB instead of {head.least_db:.1f}" for head in bad)
    return f"its raw maps of the bundle's check pictures are off the float model's: {each}"


def _against(want: NDArray[np.float64], got: NDArray[np.float64]) -> float:
    """Signal to noise ratio, dB."""
    return sqnr_db(np.square(want).sum(), np.square(got - want).sum())


def _load(bundle: Bundle, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    file = bundle.path / FILE
    if FILE not in bundle.manifest.files:
        raise BundleError(f"{bundle.path} holds no expected raw maps ({FILE}); compile it again")
    height, width = bundle.manifest.input.height, bundle.manifest.input.width
    try:
        with np.load(io.BytesIO(bundle.content(FILE)), allow_pickle=False) as stored:
            if sum(part.file_size for part in stored.zip.infolist()) > LARGEST:
                raise ValueError(f"more than {LARGEST} bytes unpacked")
            arrays = {key: stored[key] for key in ("frames", *(f"{k}_{n}" for k in ("float", "graph") for n in names))}
    except UNREADABLE as error:
        raise BundleError(f"{file} cannot be read ({error}); compile the bundle again") from error
    frames = arrays["frames"]
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (height, width, 3) or not len(frames):
        raise BundleError(f"{file}: frames are {frames.shape} {frames.dtype}, expected (N, {height}, {width}, 3) uint8")
    for kind in ("float", "graph"):
        for name in names:
            maps = arrays[f"{kind}_{name}"]
            if maps.dtype != np.float16 or maps.ndim != 3 or maps.shape != arrays[f"float_{name}"].shape:
                raise BundleError(f"{file}: {kind}_{name} is {maps.shape} {maps.dtype}; compile the bundle again")
    return arrays
