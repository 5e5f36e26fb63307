"""The bundle: a folder with ``manifest.json`` and the model files. The only bridge from compiler to device.

Writing is atomic (a hidden folder beside the destination, renamed at the end); reading is strict (schema version,
every file present, every sha256 right, no path that leaves the folder).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9 import folders
from edge_yolov9.errors import BundleError, InputError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 64 << 20
"""Bytes."""
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

KINDS = {"str": (str,), "int": (int,), "float": (float, int), "dict[str, Any]": (dict,), "dict[str, str]": (dict,)}


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of the model file.

    ``real = (integer - zero_point) * scale`` for integer tensors; ``scale`` is None for float ones.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy name: uint8, int8, float32, float16."""
    layout: str
    """"NCHW" or "NHWC"."""
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
    color: str = "RGB"
    """Channel order the tensor expects: "RGB" or "BGR". Frames are BGR."""
    scaling: float = 1 / 255
    """Factor from uint8 pixel to the real value of the tensor; 1.0 where the graph does it itself."""
    letterbox: str = "centre"
    pad_value: int = 114


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
    files: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Bundle:
    """A folder whose manifest has been read and checked."""

    path: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """The file that the session opens."""
        return self.path / self.manifest.model

    @property
    def digest(self) -> str:
        """sha256 over the file digests: one name for the whole bundle."""
        return hashlib.sha256(json.dumps(self.manifest.files, sort_keys=True).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of its files, the manifest among them."""
        return sum((self.path / name).stat().st_size for name in (MANIFEST, *self.manifest.files))


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def writing(destination: Path) -> Iterator[Path]:
    """A hidden folder beside ``destination`` that becomes it on success and vanishes on any failure.

    The caller fills it and calls :func:`seal` last. An older bundle at ``destination`` is replaced; anything else
    that stands there is left alone. A link to a folder stays; the folder that it points to is the destination.

    Raises:
        BundleError: ``destination`` exists and is not a bundle, or cannot be written.
    """
    if destination.name in ("", "..") or os.path.ismount(destination):
        raise BundleError(f"{destination} cannot become a bundle, which replaces the whole folder; name one inside it")
    try:
        place = folders.followed(destination)
        around = enclosing(place.parent)
    except InputError as error:
        raise BundleError(str(error)) from None
    if around is not None:
        raise BundleError(f"{destination} lies in the bundle {around}, which is complete; choose another folder")
    begun = False
    try:
        with folders.replacing(place, lambda found: _check_replaceable(found, destination)) as folder:
            begun = True
            yield folder
            if not (folder / MANIFEST).is_file():
                raise BundleError(f"nothing was sealed for {destination}")
    except shutil.Error as error:  # of copytree: a list of (from, to, why)
        raise BundleError(f"cannot write {destination}: {error.args[0][0][2]}") from error
    except OSError as error:
        if begun and error.errno not in DISK_ERRORS:
            raise
        raise BundleError(f"cannot write {destination}: {error.strerror or error}") from error


def _check_replaceable(folder: Path, name: Path) -> None:
    """Refuse to replace a folder that is neither empty nor a bundle as it was written, with nothing else in it.

    Raises:
        BundleError: which names ``name``, where the folder stands or stood.
        OSError: the folder cannot be read.
    """
    if folder.is_dir() and next(folder.iterdir(), None) is None:
        return
    if not folder.is_dir() or not (folder / MANIFEST).is_file():
        raise BundleError(f"{name} exists and is not a bundle; choose another -o or remove it")
    try:
        manifest = read(folder).manifest
    except BundleError as error:
        reason = str(error).replace(str(folder), str(name))
        raise BundleError(
            f"{name} exists and is not a bundle as it was written ({reason}); choose another -o"
        ) from None
    known = {MANIFEST, *manifest.files}
    known |= {parent.as_posix() for file in manifest.files for parent in PurePosixPath(file).parents}
    for entry in sorted(folder.rglob("*")):
        if entry.relative_to(folder).as_posix() not in known or entry.is_symlink():
            raise BundleError(
                f"{name} holds {entry.relative_to(folder)}, which is no part of the bundle there; move it away or "
                "choose another -o"
            )


def enclosing(path: Path) -> Path | None:
    """The bundle that ``path`` is or lies in, by whatever links; None where there is none."""
    try:
        place = path.resolve()
        for folder in (place, *place.parents):
            file = folder / MANIFEST
            if file.is_file() and file.stat().st_size <= LARGEST_MANIFEST:
                data = json.loads(file.read_bytes())
                if isinstance(data, dict) and isinstance(data.get("files"), dict) and "schema_version" in data:
                    return folder
    except (
        OSError,
        ValueError,
        RecursionError,
        RuntimeError,
    ):  # not to be read: no bundle; RuntimeError: links in a circle
        return None
    return None


def seal(folder: Path, manifest: Manifest) -> Bundle:
    """Hash every file in ``folder`` and write the manifest, last."""
    digests = {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    sealed = replace(manifest, files=digests)
    text = json.dumps(asdict(sealed), indent=2, ensure_ascii=False)
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return Bundle(folder, sealed)


def read(path: str | Path, verify: bool = True) -> Bundle:
    """Open a bundle.

    Args:
        path: the folder.
        verify: hash every file (a few milliseconds per 10 MB).

    Raises:
        BundleError: missing, of a newer schema, malformed, incomplete, changed, or naming a file outside the folder.
    """
    folder = Path(path)
    manifest = _parse(folder, _load_json(folder))
    for name in (*manifest.files, manifest.model):
        _inside(folder, name)
    if manifest.model not in manifest.files:
        raise BundleError(f"{folder}: the manifest lists no digest for {manifest.model}; compile the bundle again")
    for name, digest in manifest.files.items():
        if not (folder / name).is_file():
            raise BundleError(f"{folder}: {name} is missing; copy the whole bundle folder again")
        try:
            changed = verify and sha256(folder / name) != digest
        except OSError as error:
            raise BundleError(f"{folder}: {name} cannot be read: {error.strerror or error}") from None
        if changed:
            raise BundleError(f"{folder}: {name} was changed since it was compiled (sha256 differs); copy it again")
    return Bundle(folder, manifest)


def _load_json(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise BundleError(f"no bundle at {folder}; expected a folder written by edge-yolov9 compile")
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{folder} holds no {MANIFEST}; it is not a bundle") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder / MANIFEST} cannot be read as JSON: {error}") from None
    if not isinstance(data, dict):
        raise BundleError(f"{folder / MANIFEST} is not a JSON object")
    version = data.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise BundleError(
            f"{folder}: manifest schema {version!r}, this edge-yolov9 reads up to {SCHEMA_VERSION}; "
            "update edge-yolov9 or compile the bundle again"
        )
    return data


def _parse(folder: Path, data: dict[str, Any]) -> Manifest:
    try:
        given = _known(Manifest, data)
        given["input"] = InputRule(**{**_known(InputRule, data["input"]), "tensor": _tensor(data["input"]["tensor"])})
        given["outputs"] = tuple(_tensor(item) for item in data["outputs"])
        given["thresholds"] = Thresholds(**_known(Thresholds, data.get("thresholds", {})))
        given["names"] = tuple(str(name) for name in data["names"])
        given["strides"] = tuple(int(stride) for stride in data.get("strides", (8, 16, 32)))
        manifest = Manifest(**given)
        _check_values(manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / MANIFEST} is malformed: {type(error).__name__}: {error}") from None
    return manifest


def _check_values(manifest: Manifest) -> None:
    """ValueError for what no session can work with."""
    if len(manifest.outputs) != 2 * len(manifest.strides) or not manifest.names:
        raise ValueError("six output tensors and class names are expected")
    if not all(isinstance(value, str) for value in manifest.files.values()):
        raise ValueError("files must map paths to digests")
    size = {manifest.input.height, manifest.input.width}
    scales = [spec.scale for spec in manifest.outputs if spec.scale is not None]
    if not all(value > 0 for value in (*size, manifest.reg_max, *manifest.strides, *scales)):
        raise ValueError("height, width, reg_max, strides and scales must be above 0")
    boxes = manifest.outputs[::2]
    if not size <= {*manifest.input.tensor.shape} or any(4 * manifest.reg_max not in spec.shape for spec in boxes):
        raise ValueError("the shapes of the tensors do not fit height, width and reg_max")
    if manifest.precision not in ("fp32", "fp16", "int8"):
        raise ValueError(f"precision must be fp32, fp16 or int8, got {manifest.precision!r}")


def _tensor(data: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(**{**_known(TensorSpec, data), "shape": tuple(int(size) for size in data["shape"])})


def _known(cls: type, data: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``data`` that ``cls`` has, each of its type in JSON; others are of a later change and ignored."""
    if not isinstance(data, Mapping):
        raise TypeError(f"{cls.__name__} must be an object, got {data!r}")
    types = {f.name: str(f.type) for f in fields(cls)}
    given = {key: value for key, value in data.items() if key in types}
    for key, value in given.items():
        kinds = KINDS.get(types[key].removesuffix(" | None"))
        if kinds and type(value) not in kinds and not (value is None and types[key].endswith("None")):
            raise TypeError(f"{key} must be {types[key]}, got {value!r}")
    return given


def _inside(folder: Path, name: str) -> None:
    """Refuse absolute paths, ``..`` and links that leave the folder."""
    pure = PurePosixPath(name)
    root = folder.resolve()
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or not (root / name).resolve().is_relative_to(root):
        raise BundleError(f"{folder}: the manifest names {name!r}, which lies outside the bundle; do not trust it")
