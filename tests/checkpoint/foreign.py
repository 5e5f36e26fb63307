"""Files as other programs write them, made from the facts of their layouts and filled with random weights."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_yolov9.model import YOLOv9, build
from edge_yolov9.model.layouts import LAYOUTS
from edge_yolov9.variants import GraphOptions
from tests.hostile import detection_model

CLASSES = {
    "ultralytics.nn.tasks": ("DetectionModel",),
    "ultralytics.nn.modules.block": ("C2f", "C3", "C3k2", "A2C2f", "SPPELAN"),
    "ultralytics.nn.modules.conv": ("Conv",),
    "ultralytics.nn.modules.head": (
        *("Detect", "Classify", "Segment", "Pose", "OBB", "WorldDetect", "v10Detect", "RTDETRDecoder"),
    ),
    "ultralytics.models.yolo.model": ("YOLO",),
    "ultralytics.utils.callbacks.base": ("on_train_start",),
    "ultralytics.utils": ("IterableSimpleNamespace",),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": ("AnyNode",),
}


def forward_fuse(self: Any, x: Any) -> Any:
    """The method that a folded layer is run by: a pickle keeps its name."""
    return x


@contextmanager
def programs() -> Iterator[dict[str, type]]:
    """Empty classes under the names of Ultralytics and OmegaConf, for as long as a file is being written."""
    made = {}
    for path, names in CLASSES.items():
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            made.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
        for name in names:
            module = path.startswith(("ultralytics.nn", "ultralytics.models"))
            own = {"__module__": path, "forward_fuse": forward_fuse}
            setattr(made[path], name, type(name, (nn.Module if module else object,), own))
    kept = {name: sys.modules.pop(name) for name in made if name in sys.modules}
    sys.modules.update(made)
    try:
        yield {name: getattr(made[path], name) for path, names in CLASSES.items() for name in names}
    finally:
        for name in made:
            del sys.modules[name]
        sys.modules.update(kept)


def graph(name: str, classes: int, **options: Any) -> YOLOv9:
    """A graph with random weights, whose BatchNorm statistics are not those of a start."""
    torch.manual_seed(3)
    model = build(name, classes, GraphOptions(**options)).eval()
    for key, value in model.state_dict().items():
        if key.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    return model


def tensors(model: YOLOv9, layout: str, prefix: str = "") -> dict[str, Tensor]:
    """Half precision copies of the weights under the names of a program."""
    own = LAYOUTS[layout](model)
    return {f"{prefix}{key}": v.detach().half() if v.is_floating_point() else v.clone() for key, v in own.items()}


def fused(model: YOLOv9) -> dict[str, Tensor]:
    """The weights under published names, float32, with BatchNorm and RepConv folded as ``fuse`` of Ultralytics does."""
    weights = {key: value.detach().double() for key, value in LAYOUTS["published"](model).items()}
    made = {key: value for key, value in weights.items() if ".bn." not in key and ".conv.weight" not in key}
    for key in [key for key in weights if key.endswith(".conv.weight")]:
        block = key.removesuffix("conv.weight")
        if f"{block}bn.weight" not in weights:  # a convolution without BatchNorm
            made[key] = weights[key]
            continue
        gamma, beta, mean, var = (
            weights[f"{block}bn.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / (var + 1e-3).sqrt()
        kernel, bias = weights[key] * gain[:, None, None, None], beta - mean * gain
        if block.endswith((".conv1.", ".conv2.")):  # of a RepConv
            block, kernel = block[:-6], kernel if kernel.shape[-1] == 3 else nn.functional.pad(kernel, [1, 1, 1, 1])
        made[f"{block}conv.weight"] = made.get(f"{block}conv.weight", 0) + kernel
        made[f"{block}conv.bias"] = made.get(f"{block}conv.bias", 0) + bias
    return {key: value.float() for key, value in made.items()}


def ultralytics(
    path: Path,
    model: YOLOv9,
    names: Any,
    under: str = "ema",
    extra: Any = None,
    fuse: bool = False,
    whole: str | None = None,
    **more: Any,
) -> Path:
    """``{"model" or "ema": DetectionModel, "version": ..., "license": ...}``, the modules pickled.

    ``fuse`` folds BatchNorm, and gives each block the bound method that it is run by from then on; ``whole`` saves the
    module alone, in another of that class.
    """
    with programs() as classes:
        weights = fused(model) if fuse else tensors(model, "published")
        tree = detection_model(classes["DetectionModel"], weights, names)
        if fuse:
            block = classes["Conv"]()
            block.forward = block.forward_fuse
            tree.add_module("block", block)
        args = classes["IterableSimpleNamespace"]()
        args.imgsz, args.data, args.epochs = 320, "cells.yaml", 40
        tree.args, tree.extra = args, extra
        tree.yaml = {"nc": len(names), "yaml_file": "yolov9t.yaml"}
        root = {
            "epoch": 11,
            "model": None,
            "ema": None,
            "version": "8.4.190",
            "license": "AGPL-3.0 License (x)",
            **more,
        }
        if whole == "YOLO":
            holder = classes["YOLO"]()
            holder.model, holder.callbacks = tree, {"on_train_start": [classes["on_train_start"]]}
            torch.save(holder, path)
        elif whole == "DataParallel":
            torch.save(nn.DataParallel(tree), path)
        else:
            torch.save({**root, under: tree}, path)
    return path


def libreyolo(path: Path, model: YOLOv9, names: Any, **more: Any) -> Path:
    head = {"libreyolo_version": "1.6.0", "model_family": "yolo9", "imgsz": 416, "letterbox_pad": "topleft"}
    torch.save({"model": tensors(model, "libre"), "names": names, **head, **more}, path)
    return path


def mit_yolo(path: Path, model: YOLOv9, **more: Any) -> Path:
    torch.save({**tensors(model, "mit"), "22.heads.0.anc2vec.anc2vec.weight": torch.arange(16.0), **more}, path)
    return path


def lightning(path: Path, model: YOLOv9, names: Any = None, ema: YOLOv9 | None = None, **more: Any) -> Path:
    """MIT YOLO's training file; with ``names``, its configuration too, as OmegaConf objects."""
    state = tensors(model, "mit", "model.model.") | (tensors(ema, "mit", "ema.model.") if ema else {})
    root: dict[str, Any] = {"epoch": 1, "pytorch-lightning_version": "2.5.0", "state_dict": state, **more}
    with programs() as classes:
        if names is not None:

            def record(kind: str, **state: Any) -> Any:
                made = classes[kind]()
                made.__dict__.update(state)
                return made

            listed = record("ListConfig", _content=[record("AnyNode", _val=name) for name in names])
            size = record(
                "ListConfig",
                _metadata=[int, str, dict, Any],
                _content=[record("AnyNode", _val=side) for side in (320, 256)],
            )
            content = {"dataset": record("DictConfig", _content={"class_list": listed}), "image_size": size}
            root["hyper_parameters"] = {"cfg": record("DictConfig", _content=content)}
        torch.save(root, path)
    return path
