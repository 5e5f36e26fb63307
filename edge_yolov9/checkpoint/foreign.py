"""Checkpoints of other programs: where in the file the weights are, who wrote it, and what it says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from edge_yolov9.checkpoint.records import Inert, TensorRef
from edge_yolov9.errors import CheckpointError
from edge_yolov9.text import short

DEFAULT_SIZE = 640

MAX_NAMES = 100_000
"""Most modules and tensors of a model; yolov9-e has 6,000."""

MAX_WRAPPERS = 4
"""Most modules around a model that only hold it: DistributedDataParallel, a compiled module, Ultralytics' ``YOLO``."""

MAX_NAME = 256
"""Longest key of a tensor."""

HOLDERS = ("ema", "ema_state_dict", "model_ema", "model", "model_state_dict", "state_dict", "module", "net", "weights")
"""Keys under which programs keep the weights; the moving average is the one that counts."""

ULTRALYTICS_LICENCE = "AGPL-3.0"
"""What Ultralytics states of weights that its program trains."""


@dataclass
class Weights:
    """What a file holds, before any tensor is read."""

    tensors: dict[str, TensorRef]
    """``{key in the file: description}``."""
    program: str = "published"
    """The program that wrote the file, as far as it shows; ``published`` is the one of the paper."""
    version: str | None = None
    """Its version; of MIT YOLO's Lightning files, Lightning's."""
    weights: str = "model"
    """Where in the file they were: ``ema``, ``model``, ``state_dict``, ..."""
    names: Any = None
    """Class names as the file has them, not yet checked; None where it states none."""
    input_size: tuple[int, int] = (DEFAULT_SIZE, DEFAULT_SIZE)
    """(height, width) of training, pixels; 640 x 640 when the file does not say."""
    licence: str | None = None
    left: tuple[str, ...] = ()
    """What else was in the file and is not read, such as ``optimizer``."""
    facts: dict[str, Any] = field(default_factory=dict)
    layers: frozenset[str] = frozenset()
    """Names of the layers' classes, where the file has any."""
    plan: str | None = None
    """Name of the model's plan, where the file has it: ``yolov8n.yaml``."""

    def source(self, path: Path) -> dict[str, Any]:
        """Who wrote the file, and what was read of it: plain values for ``facts``."""
        said = {"version": self.version, "licence": self.licence, "left": ", ".join(self.left) or None}
        source = {"file": path.name, "format": self.program, "weights": self.weights}
        return source | {key: value for key, value in said.items() if value is not None}


def find_weights(root: Any, path: Path) -> Weights:
    """The weights in the root of a torch file.

    Raises:
        CheckpointError: there is no model in it.
    """
    mapping = root if isinstance(root, dict) else {}
    for where, holder in [*((key, mapping.get(key)) for key in HOLDERS), ("the whole file", root)]:
        model = _inner(holder)
        tensors, layers = _tensors(model, path)
        if tensors:
            weights = Weights(tensors, weights=where, layers=layers)
            _describe(weights, mapping, model)
            return weights
    raise CheckpointError(
        f"{path} is a torch file without a detection model; expected YOLOv9 weights under 'ema', 'model', 'state_dict'"
    )


def _inner(holder: Any) -> Any:
    """The weights of a holder that wraps them once more, as an averaged model and one of several GPUs do."""
    if isinstance(holder, dict) and not any(isinstance(value, TensorRef) for value in holder.values()):
        holder = next((holder[key] for key in HOLDERS if isinstance(holder.get(key), (dict, Inert))), holder)
    for _ in range(MAX_WRAPPERS):
        children = _children(holder)
        wrapped = next((children[key] for key in ("_orig_mod", "module", "model") if key in children), None)
        if not isinstance(wrapped, Inert) or not any(isinstance(child, Inert) for child in _children(wrapped).values()):
            break
        if wrapped.of.module.startswith("torch.nn.modules"):  # the list of layers itself
            break
        holder = wrapped
    return holder


def _children(module: Any) -> dict[Any, Any]:
    state = module.state if isinstance(module, Inert) and isinstance(module.state, dict) else {}
    children = state.get("_modules")
    return children if isinstance(children, dict) else {}


def _tensors(model: Any, path: Path) -> tuple[dict[str, TensorRef], frozenset[str]]:
    """``{key: tensor}`` of a state dict, or of a pickled module and everything below it; names of its layers."""
    if isinstance(model, dict):
        return {key: ref for key, ref in _texts(model) if isinstance(ref, TensorRef)}, frozenset()
    if not isinstance(model, Inert):
        return {}, frozenset()
    layers: set[str] = set()
    return dict(_walk(model, path, layers)), frozenset(layers)


def _walk(model: Inert, path: Path, layers: set[str]) -> Iterator[tuple[str, TensorRef]]:
    """(key, tensor) of a module and everything below it, in the order of registration.

    A module that has several places, as a shared activation has, is entered at its first.

    Raises:
        CheckpointError: there are more tensors, or deeper ones, than in any model.
    """
    pending: list[tuple[str, Inert]] = [("", model)]
    entered: set[int] = set()
    names = 0
    while pending:
        prefix, module = pending.pop()
        if id(module) in entered or not isinstance(module.state, dict):
            continue
        entered.add(id(module))
        layers.add(module.of.name)
        children, *own = (_texts(module.state.get(group)) for group in ("_modules", "_parameters", "_buffers"))
        names += sum(len(group) for group in (children, *own))
        if names > MAX_NAMES or len(prefix) > MAX_NAME:
            raise CheckpointError(f"{path}: the model in it is larger than any YOLOv9; the file is damaged or forged")
        yield from ((f"{prefix}{name}", ref) for group in own for name, ref in group if isinstance(ref, TensorRef))
        pending.extend((f"{prefix}{name}.", child) for name, child in reversed(children) if isinstance(child, Inert))


def _texts(group: Any) -> list[tuple[str, Any]]:
    """The entries of a dict whose keys are text."""
    items = group.items() if isinstance(group, dict) else ()
    return [(key, value) for key, value in items if isinstance(key, str) and len(key) <= MAX_NAME]


def _describe(weights: Weights, root: Mapping[Any, Any], model: Any) -> None:
    """Fill in who wrote the file and what it says of the model."""
    state = model.state if isinstance(model, Inert) and isinstance(model.state, dict) else {}
    options = _mapping(root.get("opt")) or _mapping(root.get("train_args")) or _mapping(state.get("args"))
    weights.facts = _facts(root, options)
    _program(weights, root, model)
    dataset, image = _mit_config(root)
    weights.names = next((names for names in (state.get("names"), root.get("names"), dataset) if names), None)
    sides = [root.get("imgsz_h"), root.get("imgsz_w")]  # LibreYOLO's, where they differ
    weights.input_size = _size(sides if all(sides) else options.get("imgsz") or root.get("imgsz") or image)
    weights.plan = _text(_mapping(state.get("yaml")).get("yaml_file"))
    others = [key for key in ("optimizer", "optimizer_states", "lr_schedulers", "loops", "callbacks") if root.get(key)]
    if weights.weights == "ema" and root.get("model") is not None:
        others.append("model (its average was taken)")
    weights.left = tuple(others)


def _program(weights: Weights, root: Mapping[Any, Any], model: Any) -> None:
    module = model.of.module if isinstance(model, Inert) else ""
    if module.partition(".")[0] == "ultralytics":
        weights.program, weights.version = "Ultralytics", _text(root.get("version"))
        weights.licence = (_text(root.get("license")) or ULTRALYTICS_LICENCE).partition(" ")[0]
    elif "libreyolo_version" in root:
        weights.program, weights.version = "LibreYOLO", _text(root["libreyolo_version"])
        if pad := _text(root.get("letterbox_pad")):
            weights.facts["letterbox"] = pad
    elif "pytorch-lightning_version" in root:
        weights.program, weights.version = "Lightning", _text(root["pytorch-lightning_version"])
    elif not isinstance(model, Inert):
        weights.program = "state dict"


def _mit_config(root: Mapping[Any, Any]) -> tuple[Any, Any]:
    """(class names, image size) of the configuration that MIT YOLO leaves in a Lightning file."""
    config = _mapping(root.get("hyper_parameters"))
    config = _mapping(config.get("cfg")) or config
    names, image = _plain(_mapping(config.get("dataset")).get("class_list")), _plain(config.get("image_size"))
    return names, image[::-1] if isinstance(image, list) else None  # it has the width first


def _plain(value: Any) -> Any:
    """A value, or a list of values, out of OmegaConf's records."""
    value = _unwrapped(value)
    return [_unwrapped(item) for item in value] if isinstance(value, list) else value


def _unwrapped(value: Any) -> Any:
    state = value.state if isinstance(value, Inert) and isinstance(value.state, dict) else None
    return value if state is None else state.get("_content", state.get("_val"))


def _mapping(value: Any) -> dict[Any, Any]:
    """The entries of a dict, of an object, or of OmegaConf's record of a dict."""
    if isinstance(value, Inert):
        value = value.state
        value = value.get("_content", value) if isinstance(value, dict) else value
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return short(value, 100) if isinstance(value, str) else None


def _size(stated: Any) -> tuple[int, int]:
    """(height, width) in multiples of 32; 640 x 640 where nothing sensible is stated."""
    sides = list(stated) if isinstance(stated, (list, tuple)) else [stated, stated]
    if len(sides) != 2 or not all(type(side) is int and 32 <= side <= 8192 for side in sides):
        sides = [DEFAULT_SIZE, DEFAULT_SIZE]
    height, width = (-(-side // 32) * 32 for side in sides)
    return height, width


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and isfinite(value)


def _facts(root: Mapping[Any, Any], options: Mapping[Any, Any]) -> dict[str, Any]:
    """What the file says about its training, as far as it is plain numbers and strings."""
    said = {key: options.get(key) for key in ("data", "imgsz", "epochs", "batch_size", "batch", "optimizer")}
    said |= {"epoch": root.get("epoch") if root.get("epoch") != -1 else None, "date": root.get("date")}
    training = {
        key: short(value, 200) if isinstance(value, str) else value
        for key, value in said.items()
        if isinstance(value, str) or (isinstance(value, int) and abs(value) < 1 << 62) or _is_number(value)
    }
    return {"training": training} if training else {}
