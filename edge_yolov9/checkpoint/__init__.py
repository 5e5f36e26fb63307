"""Checkpoints: our ``.safetensors`` with metadata, and the import of published ``.pt`` files.

``kind.py`` tells what a file is; ``torchfile.py`` and ``unpickle.py`` read torch's format without running its code;
``recognize.py`` and ``foreign.py`` find the weights in what other programs wrote; ``names.py`` settles class names.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from edge_yolov9.checkpoint.folded import NOTE, is_folded, unfold
from edge_yolov9.checkpoint.foreign import Weights, find_weights
from edge_yolov9.checkpoint.kind import kind
from edge_yolov9.checkpoint.names import Given, check_names, class_names
from edge_yolov9.checkpoint.recognize import recognize
from edge_yolov9.checkpoint.torchfile import container
from edge_yolov9.errors import CheckpointError, InputError
from edge_yolov9.files import write_whole
from edge_yolov9.model import YOLOv9, build
from edge_yolov9.model.layouts import LAYOUTS
from edge_yolov9.model.published import Shaped, check_fit, copy_tensors
from edge_yolov9.text import short
from edge_yolov9.variants import GraphOptions

FORMAT = "edge-yolov9 checkpoint"
FORMAT_VERSION = 1


PROGRAMS = {"mit": "MIT YOLO", "libre": "LibreYOLO", "own": "edge-yolov9"}
"""Layout of the keys -> the program that names them so."""


@dataclass(frozen=True)
class Shape:
    """The shape of a tensor that is not read yet."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and what is known about it."""

    model: YOLOv9
    """In eval mode, float32, on the CPU when loaded."""
    names: tuple[str, ...]
    input_size: tuple[int, int]
    """(height, width) of training, pixels."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Source, training, accuracy and licences, as far as known; anything JSON can hold."""

    @property
    def variant(self) -> str:
        """``yolov9-t`` with the auxiliary branch, ``gelan-t`` without."""
        return self.model.name


def load(path: str | Path, names: Sequence[str] | None = None, unnamed: bool = False) -> Checkpoint:
    """Read the weights of any YOLOv9, whichever program wrote them; the content decides, not the suffix.

    Args:
        path: our ``.safetensors``; a ``.pt`` of the published program, Ultralytics or LibreYOLO; a ``.pt`` or Lightning
            ``.ckpt`` of MIT YOLO; a state dict of any of their layouts, in a torch or safetensors file.
        names: class names, for a file that states none, or only numbers them.
        unnamed: whether such a file may be read without; its classes are then ``class 0``, ``class 1``, ...

    Raises:
        UnsafeCheckpointError: a pickle asks for something other than tensors and layers; nothing was run.
        CheckpointError: missing, truncated, damaged, another network, without class names, or with weights that are
            not finite.
    """
    path = Path(path)
    try:
        if kind(path) == "torch":
            return _import(path, Given(names, unnamed))
        return _load_safetensors(path, Given(names, unnamed))
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {short(path, 200)}: {error.strerror or error}") from None


def save(checkpoint: Checkpoint, path: str | Path, half: bool = False) -> None:
    """Write one ``.safetensors``, whole or not at all. ``half`` stores floating point as float16.

    Raises:
        CheckpointError: the model is folded, a weight is not finite (in float16), or the file cannot be written.
    """
    path = Path(path)
    tensors = {key: _stored(key, value, half) for key, value in checkpoint.model.state_dict().items()}
    options = checkpoint.model.options
    _compare(path, _shapes(path, checkpoint.variant, len(checkpoint.names), options), tensors, checkpoint.variant)
    check_names(path, checkpoint.names)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "variant": checkpoint.variant,
        "options": json.dumps(options.changed()),
        "names": json.dumps(checkpoint.names, ensure_ascii=False),
        "input_size": json.dumps(checkpoint.input_size),
        "facts": json.dumps(checkpoint.facts, ensure_ascii=False),
        "weights_sha256": _digest(tensors),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, serialize(tensors, metadata))
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


def _stored(key: str, value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu()
    value = value.half() if half and value.is_floating_point() else value
    if not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"{key} is not finite{' in float16' if half else ''}; nothing was written")
    return value.contiguous()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for key, value in sorted(tensors.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _load_safetensors(path: Path, given: Given) -> Checkpoint:
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            shapes = {key: Shape(tuple(file.get_slice(key).get_shape())) for key in file.keys()}  # noqa: SIM118
            if metadata.get("format") != FORMAT:
                weights = Weights({}, "safetensors", weights="the whole file")
                return _convert(path, weights, shapes, file.get_tensor, given)
            variant, own_names, input_size, facts = _metadata(path, metadata)
            options = _options(path, metadata)
            _compare(path, _shapes(path, variant, len(own_names), options), shapes, variant)
            tensors = {key: file.get_tensor(key) for key in shapes}
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({short(error)}); fetch it again") from None
    _check_finite(path, tensors)
    if metadata.get("weights_sha256") not in (None, _digest(tensors)):  # None: of before there were digests
        raise CheckpointError(f"{path} is damaged (its weights are not those of its digest); fetch it again")
    model = build(variant, len(own_names), options)
    model.load_state_dict(tensors)
    return Checkpoint(model.eval(), own_names, input_size, facts)


def _options(path: Path, metadata: Mapping[str, str]) -> GraphOptions:
    """How the graph differs from the published one; files of before there were options are published graphs."""
    try:
        return GraphOptions(**json.loads(metadata.get("options", "{}")))
    except (InputError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its options are unknown here ({short(error)})") from None


def _metadata(path: Path, metadata: Mapping[str, str]) -> tuple[str, tuple[str, ...], tuple[int, int], dict[str, Any]]:
    """Variant, class names, (height, width), facts."""
    version = metadata.get("format_version", "")
    if not version.isdecimal() or int(version) > FORMAT_VERSION:
        raise CheckpointError(f"{path}: format {version!r}, this edge-yolov9 reads up to {FORMAT_VERSION}; update it")
    try:
        names, size, facts = (
            json.loads(metadata[key], parse_constant=lambda _: None, parse_float=_finite)
            for key in ("names", "input_size", "facts")
        )
        variant = metadata["variant"]
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its metadata is malformed ({type(error).__name__}: {short(error)})") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: its metadata is malformed: names must be a list of class names")
    check_names(path, names)
    if not isinstance(size, list) or len(size) != 2 or not all(type(n) is int and n > 0 and n % 32 == 0 for n in size):
        raise CheckpointError(f"{path}: its metadata is malformed: input_size must be two multiples of 32")
    if not isinstance(facts, dict):
        raise CheckpointError(f"{path}: its metadata is malformed: facts must be an object")
    return variant, tuple(names), (size[0], size[1]), facts


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


def _import(path: Path, given: Given) -> Checkpoint:
    with container(path) as file:
        weights = find_weights(file.root, path)
        tensors = weights.tensors
        return _convert(path, weights, tensors, lambda key: file.tensor(tensors[key]), given)


def _convert(
    path: Path, weights: Weights, shapes: Mapping[str, Shaped], read: Callable[[str], Tensor], given: Given
) -> Checkpoint:
    """A checkpoint of ours from what another program keeps under its own names."""
    graph = recognize(path, shapes, weights)
    keys = graph.keys(shapes)
    own = LAYOUTS[graph.layout]
    with torch.device("meta"):
        needed = build(graph.variant, graph.num_classes, graph.options)
    names, why = class_names(path, weights.names, graph.num_classes, given)
    tensors: Mapping[str, Tensor] | None = None
    if folded := is_folded(keys):
        tensors = unfold(own(needed), {key: read(file) for key, file in keys.items()})
    try:
        check_fit(needed, own(needed), tensors or {key: shapes[file] for key, file in keys.items()})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    tensors = tensors or {key: read(file) for key, file in keys.items()}
    _check_finite(path, tensors)
    model = build(graph.variant, graph.num_classes, graph.options)
    copy_tensors(model, own(model), tensors)
    weights.program = PROGRAMS.get(graph.layout, weights.program)
    if "ema" in graph.prefix:
        weights.weights = f"{weights.weights}, {graph.prefix.rstrip('.')}"
    notes = ({"names": why} if why else {}) | ({"batchnorm": NOTE} if folded else {})
    facts = {"source": weights.source(path) | notes, **weights.facts}
    if weights.licence is not None:
        facts["weights_licence"] = weights.licence
    return Checkpoint(model.eval(), names, weights.input_size, facts)


def _shapes(path: Path, variant: str, num_classes: int, options: GraphOptions) -> dict[str, Tensor]:
    """``{our key: shape}`` of a graph, which takes no memory."""
    try:
        with torch.device("meta"):
            return dict(build(variant, num_classes, options).state_dict())
    except InputError as error:
        raise CheckpointError(f"{path}: its variant is unknown here ({short(error)})") from None


def _compare(path: Path, own: Mapping[str, Shaped], given: Mapping[str, Shaped], variant: str) -> None:
    """Refuse tensors that are missing, left over, or of another shape or kind than the graph's."""
    wrong = sorted(
        key
        for key in own.keys() | given.keys()
        if key not in own or key not in given or tuple(own[key].shape) != tuple(given[key].shape)
    )
    if wrong:
        raise CheckpointError(
            f"{path}: {len(wrong)} tensors do not fit {variant} (missing, unexpected or of another shape), "
            f"among them {', '.join(short(key) for key in wrong[:3])}"
        )


def _check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for key, value in tensors.items():
        if value.is_complex() or not bool(torch.isfinite(value.float()).all()):
            raise CheckpointError(
                f"{path}: {key} holds NaN or infinity; training went wrong, take an earlier checkpoint"
            )
