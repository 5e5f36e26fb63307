"""Checkpoint files for tests: published ones of layers named like the reference program's, and hostile ones."""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_yolov9.model import YOLOv9, published_tensors

LEGACY_HEADER = b"".join(
    pickle.dumps(item, 2)
    for item in (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
)


@contextmanager
def reference_modules() -> Iterator[type[nn.Module]]:
    """``models.yolo`` with an empty DetectionModel, for as long as a file is being written."""
    names = ("models", "models.yolo")
    made = {name: types.ModuleType(name) for name in names}
    cls = type("DetectionModel", (nn.Module,), {"__module__": "models.yolo"})
    made["models.yolo"].DetectionModel = cls  # type: ignore[attr-defined]
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update(made)
    try:
        yield cls
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(kept)


def detection_model(cls: type[nn.Module], tensors: dict[str, Tensor], names: Any) -> nn.Module:
    """A tree of modules that holds ``tensors`` under their keys."""
    root = cls()
    for key, value in tensors.items():
        *path, last = key.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Sequential())
            module = module._modules[part]  # type: ignore[assignment]
        if "running" in last or "num_batches" in last:
            module.register_buffer(last, value.clone())
        else:
            module.register_parameter(last, nn.Parameter(value.clone(), requires_grad=False))
    root.names = names
    return root


def write_published(
    path: Path, model: YOLOv9, names: Any, ema: YOLOv9 | None = None, zipped: bool = True, **more: Any
) -> Path:
    """What the reference program would save: half precision, layers as pickled objects."""
    with reference_modules() as cls:
        trees = [
            detection_model(cls, {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}, names)
            for tensors in (published_tensors(item) for item in (model, ema) if item is not None)
        ]
        checkpoint = {"epoch": -1, "model": trees[0], "ema": trees[1] if ema is not None else None, **more}
        torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    return path


def wrap(container: str, payload: bytes, path: Path, storages: dict[str, bytes] | None = None) -> Path:
    """Put a pickle where torch expects one: in a "zip", after a "legacy" header, or "bare"."""
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("best/data.pkl", payload)
            archive.writestr("best/byteorder", "little")
            for key, data in (storages or {}).items():
                archive.writestr(f"best/data/{key}", data)
    else:
        path.write_bytes((LEGACY_HEADER if container == "legacy" else b"") + payload)
    return path


class Storage:
    """Pickled as a persistent id: ``count`` float32 numbers under ``key``."""

    def __init__(self, key: str, count: Any) -> None:
        self.id = ("storage", torch.FloatStorage, key, "cpu", count)


class View:
    """Pickled as a strided tensor over a storage, whatever the numbers say."""

    def __init__(self, storage: Storage, offset: Any, size: Sequence[Any], stride: Sequence[Any]) -> None:
        self.args = (storage, offset, tuple(size), tuple(stride), False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.args


def pickled(item: Any) -> bytes:
    """Protocol 2 with :class:`Storage` as torch writes it."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return obj.id if isinstance(obj, Storage) else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump(item)
    return stream.getvalue()
