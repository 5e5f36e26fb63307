"""The manifest of a bundle: what it says, and the one place where its values are checked.

A manifest may come from a stranger. Every value has the type of its annotation (:func:`edge_yolov9.files.from_json`);
then ranges, and what must fit together, are checked here, so that nothing behind it has to ask again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle.record import CompilationRecord, with_compilation
from edge_yolov9.errors import BundleError
from edge_yolov9.files import from_json
from edge_yolov9.geometry import PAD_VALUE
from edge_yolov9.text import shown

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.json.minisig"
"""File beside it, where the bundle is signed."""

LARGEST_MANIFEST = 16 << 20
"""Bytes; an INT8 bundle of YOLOv9-E with all its ranges has a tenth of a megabyte."""
DEEPEST = 32
"""Levels of nesting in the JSON."""
LONGEST_TEXT = 1000
"""Characters of a name."""
LONGEST_SIDE = 8192
"""Pixels of the input's height or width."""
PRECISIONS = ("fp32", "fp16", "int8")
MOST_STRIDES, MOST_BINS, MOST_DETECTIONS = 8, 256, 1_000_000


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the model file.

    ``real = (integer - zero_point) * scale`` for integer tensors; ``scale`` is None for float ones.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["uint8", "int8", "float32", "float16"]
    """Element type by its numpy name."""
    layout: Literal["NCHW", "NHWC"]
    scale: float | None = None
    zero_point: int | None = None

    def real(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """``values`` of this tensor, integers or floats, as the real numbers that they stand for."""
        floats = values.astype(np.float32, copy=False)
        if self.scale is None:
            return floats
        return (floats - np.float32(self.zero_point or 0)) * np.float32(self.scale)


@dataclass(frozen=True)
class InputRule:
    """How a frame becomes the input tensor: letterbox, then colour order, then ``value * scale``."""

    tensor: TensorSpec
    height: int
    width: int
    color: Literal["RGB", "BGR"] = "RGB"
    """Channel order the tensor expects: "RGB" or "BGR". Frames are BGR."""
    scaling: float = 1 / 255
    """Factor from uint8 pixel to the real value of the tensor; 1.0 where the graph does it itself."""
    letterbox: Literal["centre"] = "centre"
    """Where the frame lies in the input; the rest has ``pad_value``. No other rule is known."""
    pad_value: int = PAD_VALUE
    """Value of the pixels beside the frame."""


@dataclass(frozen=True)
class Thresholds:
    """Deployment defaults of the detector."""

    confidence: float = 0.25
    iou: float = 0.45
    max_detections: int = 300


@dataclass(frozen=True)
class Manifest:
    """Everything the device must know. ``files`` maps relative POSIX paths to sha256 hex digests."""

    variant: str
    names: tuple[str, ...]
    target: str
    board: str
    precision: str
    """What most of the model computes in: fp32, fp16 or int8."""
    input: InputRule
    outputs: tuple[TensorSpec, ...]
    """box_p3, class_p3, box_p4, class_p4, box_p5, class_p5: raw box bins and class logits per level."""
    model: str
    """Relative path of the file that the session opens."""
    strides: tuple[int, ...] = (8, 16, 32)
    reg_max: int = 16
    thresholds: Thresholds = Thresholds()
    tools: dict[str, str] = field(default_factory=dict)
    """Versions of everything that took part in the compilation."""
    calibration: dict[str, Any] | None = None
    """Image count, digest of the images and the rule that chose them; None for float bundles."""
    parity: dict[str, Any] = field(default_factory=dict)
    """The artifact against the float model, measured at compile time."""
    accuracy: dict[str, Any] | None = None
    """COCO figures measured at compile time; None when no data set was given."""
    source: dict[str, Any] = field(default_factory=dict)
    """Checkpoint file name, sha256, training facts."""
    licence: dict[str, str] = field(default_factory=dict)
    """Licence of the weights and of the data, as far as the checkpoint states them."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What one target alone needs."""
    compilation: CompilationRecord = field(default_factory=CompilationRecord)
    """How the bundle was made; no session needs it."""
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


def parse(raw: bytes, where: str) -> Manifest:
    """The manifest that ``raw`` holds, checked.

    Args:
        raw: the bytes of ``manifest.json``.
        where: its path, for messages.

    Raises:
        BundleError: of a newer schema, malformed, or with a value that no session can work with.
    """
    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
        _check_depth(data, DEEPEST)
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else error
        raise BundleError(f"{where} cannot be read as JSON: {reason}; copy the bundle again") from None
    if not isinstance(data, dict):
        raise BundleError(f"{where} is not a JSON object; copy the bundle again")
    version = data.get("schema_version")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise BundleError(
            f"{where}: manifest schema {shown(version)}, this edge-yolov9 reads up to {SCHEMA_VERSION}; "
            "update edge-yolov9 or compile the bundle again"
        )
    try:
        manifest = from_json(Manifest, with_compilation(data), where)
    except ValueError as error:
        raise BundleError(f"{error}; compile the bundle again") from None
    try:
        check(manifest)
    except ValueError as error:
        raise BundleError(f"{where} is malformed: {error}; compile the bundle again") from None
    return manifest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two values of one name could mean one thing here and another to the program that checked them."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"the key {shown(key)} stands there twice")
        made[key] = value
    return made


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{shown(digits)} is too large for a number")
    return value


def _check_depth(value: Any, left: int) -> None:
    if isinstance(value, dict | list):
        if not left:
            raise ValueError(f"nested deeper than {DEEPEST} levels")
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)


def check(manifest: Manifest) -> None:
    """Ranges and agreement of all values that a session, the decoder or a path depends on.

    Raises:
        ValueError: what must hold, and what was found.
    """
    rule, outputs = manifest.input, manifest.outputs
    _check_texts((manifest.variant, manifest.target, manifest.board, *manifest.names))
    _require(manifest.precision in PRECISIONS, f"precision must be one of {PRECISIONS}", manifest.precision)
    _require(len(manifest.names) > 0, "names must hold at least one class", manifest.names)
    for side in (rule.height, rule.width):
        _require(1 <= side <= LONGEST_SIDE, f"height and width must be from 1 to {LONGEST_SIDE}", side)
    _require(0 < rule.scaling <= 1e6, "input.scaling must be above 0", rule.scaling)
    _require(rule.pad_value == PAD_VALUE, f"input.pad_value must be {PAD_VALUE}, the only one known", rule.pad_value)
    _require(1 <= manifest.reg_max <= MOST_BINS, f"reg_max must be from 1 to {MOST_BINS}", manifest.reg_max)
    _check_strides(manifest)
    _check_thresholds(manifest.thresholds)
    _require(len(outputs) == 2 * len(manifest.strides), "two output tensors are expected per stride", len(outputs))
    _check_tensor(rule.tensor, 3, (rule.height, rule.width))
    for index, spec in enumerate(outputs):
        stride = manifest.strides[index // 2]
        channels = len(manifest.names) if index % 2 else 4 * manifest.reg_max
        _check_tensor(spec, channels, (rule.height // stride, rule.width // stride))
        quantized = spec.dtype in ("uint8", "int8")
        _require(quantized == (spec.scale is not None), f"{spec.name}: integers, and only they, have a scale", spec)
    tensors = [rule.tensor.name, *(spec.name for spec in outputs)]
    _require(len(set(tensors)) == len(tensors), "tensor names must differ", tensors)
    _check_files(manifest)


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{rule}, got {shown(value)}")


def _check_texts(texts: Iterable[str]) -> None:
    for text in texts:
        _require(len(text) <= LONGEST_TEXT, f"a name has at most {LONGEST_TEXT} characters", text)
        _require(text.isascii() or not re.search("[\ud800-\udfff]", text), "names must be valid Unicode", text)


def _check_strides(manifest: Manifest) -> None:
    strides, smaller = manifest.strides, min(manifest.input.height, manifest.input.width)
    _require(1 <= len(strides) <= MOST_STRIDES, f"expected 1 to {MOST_STRIDES} strides", len(strides))
    _require(all(1 <= stride <= smaller for stride in strides), f"strides must be from 1 to {smaller}", strides)


def _check_thresholds(own: Thresholds) -> None:
    for name, value in (("confidence", own.confidence), ("iou", own.iou)):
        _require(0 <= value <= 1, f"thresholds.{name} must be in [0, 1]", value)
    most = own.max_detections
    _require(1 <= most <= MOST_DETECTIONS, f"thresholds.max_detections must be from 1 to {MOST_DETECTIONS}", most)


def _check_tensor(spec: TensorSpec, channels: int, cells: tuple[int, int]) -> None:
    _check_texts([spec.name])
    expected = (1, channels, *cells) if spec.layout == "NCHW" else (1, *cells, channels)
    _require(spec.shape == expected, f"{shown(spec.name)} must have the {spec.layout} shape {expected}", spec.shape)
    if spec.scale is not None:
        _require(1e-30 < spec.scale < 1e30, f"{shown(spec.name)}: scale must be above 0 and finite", spec.scale)
    if spec.zero_point is not None:
        integer = spec.dtype in ("uint8", "int8")
        low, high = (int(np.iinfo(spec.dtype).min), int(np.iinfo(spec.dtype).max)) if integer else (0, 0)
        expected_range = f"{shown(spec.name)}: zero_point must be from {low} to {high}"
        _require(low <= spec.zero_point <= high, expected_range, spec.zero_point)


def _check_files(manifest: Manifest) -> None:
    for name, digest in manifest.files.items():
        check_name(name)
        _require(bool(re.fullmatch("[0-9a-f]{64}", digest)), f"{shown(name)}: expected a sha256 in hexadecimal", digest)
    _require(manifest.model in manifest.files, "model must be one of the files", manifest.model)


def check_name(name: str) -> None:
    """Refuse what is no plain relative POSIX path: absolute, ``..``, a backslash, a drive, a control character.

    Raises:
        ValueError: it lies outside the bundle, or is no file name.
    """
    parts = PurePosixPath(name).parts
    inside = parts and "/".join(parts) == name and ".." not in parts and not name.startswith("/")
    plain = len(name) <= LONGEST_TEXT and name.isprintable() and not set(name) & set('\\:*?"<>|')
    if not inside or not plain or name in (MANIFEST, SIGNATURE):
        raise ValueError(f"the file name {shown(name)} lies outside the bundle or is none; do not trust it")
