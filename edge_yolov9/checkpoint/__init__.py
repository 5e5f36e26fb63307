"""Checkpoints: our ``.safetensors`` with metadata, and the import of published ``.pt`` files."""

from __future__ import annotations

import json
import math
import os
import pickletools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from edge_yolov9.checkpoint.names import check_names
from edge_yolov9.checkpoint.torchfile import read_published
from edge_yolov9.errors import CheckpointError, InputError
from edge_yolov9.files import open_regular, write_whole
from edge_yolov9.model import YOLOv9, build, load_published, published_tensors
from edge_yolov9.text import short
from edge_yolov9.variants import GraphOptions

FORMAT = "edge-yolov9 checkpoint"
FORMAT_VERSION = 1

MAX_HEADER = 4 << 20
"""Longest header of a .safetensors, bytes. yolov9-e has 0.2 MB."""

HEAD_LAYERS = {
    22: ("gelan-t", "gelan-s", "gelan-m", "gelan-c"),
    42: ("gelan-e",),
    29: ("yolov9-t", "yolov9-s"),
    38: ("yolov9-m", "yolov9-c"),
    49: ("yolov9-e",),
}
"""Layer number of the head in a published file -> the graphs that have it there."""


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


def load(path: str | Path) -> Checkpoint:
    """Read our ``.safetensors`` or a published ``.pt``; the content decides, not the suffix.

    Raises:
        UnsafeCheckpointError: a pickle asks for something other than tensors and layers; nothing was run.
        CheckpointError: missing, truncated, damaged, foreign, or with weights that are not finite.
    """
    path = Path(path)
    try:
        kind = _kind(path)
        if kind == "safetensors":
            return _load_own(path)
        if kind == "torch":
            return _import(path)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {short(path, 200)}: {error.strerror or error}") from None
    raise CheckpointError(f"{path} is {kind}; expected our .safetensors or a published YOLOv9 .pt")


def save(checkpoint: Checkpoint, path: str | Path, half: bool = False) -> None:
    """Write one ``.safetensors``, whole or not at all. ``half`` stores floating point as float16.

    Raises:
        CheckpointError: the model is folded, a weight is not finite (in float16), or the file cannot be written.
    """
    path = Path(path)
    tensors = {key: _stored(key, value, half) for key, value in checkpoint.model.state_dict().items()}
    options = checkpoint.model.options
    shapes = {key: value.shape for key, value in tensors.items()}
    _compare(path, _shapes(path, checkpoint.variant, len(checkpoint.names), options), shapes, checkpoint.variant)
    check_names(path, checkpoint.names)
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "variant": checkpoint.variant,
        "options": json.dumps(options.changed()),
        "names": json.dumps(checkpoint.names, ensure_ascii=False),
        "input_size": json.dumps(checkpoint.input_size),
        "facts": json.dumps(checkpoint.facts, ensure_ascii=False),
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


def _kind(path: Path) -> str:
    """``safetensors``, ``torch``, or in words what else the file is."""
    if path.is_dir():
        return "a folder"
    with open_regular(path) as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(9)
        if not head:
            return "an empty file"
        length = int.from_bytes(head[:8], "little")
        if len(head) == 9 and head[8:] == b"{" and length < 1 << 30:
            if 8 + length > size:
                raise CheckpointError(f"{path} is truncated: its header is longer than the file; fetch it again")
            if length > MAX_HEADER:
                raise CheckpointError(
                    f"{path}: its header has {length:,} bytes, no checkpoint's has over {MAX_HEADER:,}; refused"
                )
            return "safetensors"
        if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
            return "torch"
        file.seek(0)
        return "torch" if _is_pickle(file.read(1 << 20)) else "neither of the two known formats"


def _is_pickle(data: bytes) -> bool:
    """Whether a text protocol pickle starts the file: to name what it asks for when it is refused."""
    try:
        return any(opcode.name in ("GLOBAL", "INST", "STOP") for opcode, _, _ in pickletools.genops(data))
    except (ValueError, IndexError, OverflowError):
        return False


def _load_own(path: Path) -> Checkpoint:
    try:
        with safe_open(str(path), framework="pt") as file:
            keys = file.keys()
            variant, names, input_size, facts = _metadata(path, file.metadata() or {})
            options = _options(path, file.metadata())
            given = {key: torch.Size(file.get_slice(key).get_shape()) for key in keys}
            _compare(path, _shapes(path, variant, len(names), options), given, variant)
            tensors = {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({short(error)}); fetch it again") from None
    _check_finite(path, tensors)
    model = build(variant, len(names), options)
    model.load_state_dict(tensors)
    return Checkpoint(model.eval(), names, input_size, facts)


def _options(path: Path, metadata: Mapping[str, str]) -> GraphOptions:
    """How the graph differs from the published one; files of before there were options are published graphs."""
    try:
        return GraphOptions(**json.loads(metadata.get("options", "{}")))
    except (InputError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its options are unknown here ({short(error)})") from None


def _metadata(path: Path, metadata: Mapping[str, str]) -> tuple[str, tuple[str, ...], tuple[int, int], dict[str, Any]]:
    """Variant, class names, (height, width), facts."""
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path} is a safetensors file of another program; expected one that edge-yolov9 wrote")
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


def _import(path: Path) -> Checkpoint:
    file = read_published(path)
    _check_finite(path, file.tensors)
    variant, num_classes = recognize(path, file.tensors)
    if len(file.names) != num_classes:
        raise CheckpointError(f"{path}: {len(file.names)} class names for a head of {num_classes} classes")
    try:
        model = load_published(build(variant, num_classes), file.tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return Checkpoint(model.eval(), file.names, file.input_size, file.facts)


def recognize(path: Path, tensors: Mapping[str, Tensor]) -> tuple[str, int]:
    """The graph whose published keys and shapes come nearest, and the class count."""
    layers = [int(match[1]) for key in tensors if (match := re.match(r"model\.(\d{1,4})\.", key))]
    head = max(layers, default=-1)
    last = tensors.get(f"model.{head}.cv3.0.2.weight")
    if head not in HEAD_LAYERS or last is None or last.ndim != 4:
        raise CheckpointError(f"{path} holds another network: no published YOLOv9 has its head at layer {head}")
    given = {key: value.shape for key, value in tensors.items() if ".dfl" not in key}
    common = {}
    for name in HEAD_LAYERS[head]:
        with torch.device("meta"):
            own = {key: value.shape for key, value in published_tensors(build(name, last.shape[0])).items()}
        common[name] = len(own.items() & given.items())
        if common[name] == len(own) == len(given):
            break
    return max(common, key=lambda name: common[name]), last.shape[0]


def _shapes(path: Path, variant: str, num_classes: int, options: GraphOptions) -> dict[str, torch.Size]:
    """``{our key: shape}`` of a graph, which takes no memory."""
    try:
        with torch.device("meta"):
            return {key: value.shape for key, value in build(variant, num_classes, options).state_dict().items()}
    except InputError as error:
        raise CheckpointError(f"{path}: its variant is unknown here ({short(error)})") from None


def _compare(path: Path, own: Mapping[str, torch.Size], given: Mapping[str, torch.Size], variant: str) -> None:
    """Refuse tensors that are missing, left over, or of another shape or kind than the graph's."""
    wrong = sorted(key for key in own.keys() | given.keys() if own.get(key) != given.get(key))
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
