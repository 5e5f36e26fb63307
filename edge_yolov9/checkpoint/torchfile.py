"""Published ``.pt`` files: torch's two containers, and the detection model in them, read without its program."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from edge_yolov9.checkpoint.unpickle import Inert, StorageRef, TensorRef, unpickle
from edge_yolov9.errors import CheckpointError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of the container that torch wrote before 1.6."""

DEFAULT_SIZE = 640
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError)
"""What Python's readers raise on bytes that are not what they should be."""

MAX_LAYERS = 100_000
"""Far above any real model; bounds the walk over a file that refers to itself."""


@dataclass(frozen=True)
class PublishedFile:
    """What a published checkpoint holds."""

    tensors: dict[str, Tensor]
    """``{published key: tensor}`` in the precision of the file."""
    names: tuple[str, ...]
    input_size: tuple[int, int]
    """(height, width) of training, pixels; 640 x 640 when the file does not say."""
    facts: dict[str, Any]


class Container:
    """The object in a torch file, and access to its storages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root: Any = None

    def storage(self, ref: StorageRef, size: int) -> bytes:
        """The ``size`` bytes of one storage."""
        raise NotImplementedError

    def tensor(self, ref: TensorRef) -> Tensor:
        """Check a description against its storage and read it.

        Raises:
            CheckpointError: the view reaches beyond the storage, or the storage beyond the file.
        """
        count, numbers = ref.storage.count, (ref.offset, *ref.size, *ref.stride)
        last = ref.offset + sum((n - 1) * step for n, step in zip(ref.size, ref.stride, strict=False))
        if (
            not all(type(number) is int and number >= 0 for number in numbers)
            or len(ref.size) != len(ref.stride)
            or not 0 < prod(ref.size) <= count
            or last >= count
        ):
            raise CheckpointError(f"{self.path}: a tensor lies outside its storage; the file is damaged or forged")
        dtype: torch.dtype = getattr(torch, ref.storage.dtype)
        data = self.storage(ref.storage, count * dtype.itemsize)
        return torch.frombuffer(bytearray(data), dtype=dtype).as_strided(ref.size, ref.stride, ref.offset).clone()


class ZipContainer(Container):
    """torch 1.6 and later: ``NAME/data.pkl`` and ``NAME/data/KEY``, stored without compression."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        super().__init__(path)
        self.archive = archive
        pickles = [name for name in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is a zip file but not a torch checkpoint (it holds no data.pkl)")
        self.prefix = pickles[0].removesuffix("data.pkl")
        if f"{self.prefix}byteorder" in archive.namelist() and self.read("byteorder") != b"little":
            raise CheckpointError(f"{path} was written on a big-endian machine; save it again on a little-endian one")
        with archive.open(self.entry("data.pkl")) as stream:
            self.root = unpickle(stream, str(path))

    def entry(self, name: str) -> zipfile.ZipInfo:
        info = self.archive.getinfo(self.prefix + name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise CheckpointError(
                f"{self.path}: {name} is compressed, which torch never does; the file was tampered with"
            )
        return info

    def read(self, name: str) -> bytes:
        return self.archive.read(self.entry(name))

    def storage(self, ref: StorageRef, size: int) -> bytes:
        if self.entry(f"data/{ref.key}").file_size != size:
            raise CheckpointError(
                f"{self.path}: storage {ref.key!r} is not of the stated {size} bytes; the file is damaged"
            )
        return self.read(f"data/{ref.key}")


class LegacyContainer(Container):
    """torch before 1.6: five pickles in a row, then the storages."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        super().__init__(path)
        self.stream = stream
        what = str(path)
        magic = unpickle(stream, what)
        if magic != LEGACY_MAGIC:
            raise CheckpointError(
                f"{path} is a pickle but not a torch checkpoint; give a published .pt or our .safetensors"
            )
        _version, system = unpickle(stream, what), unpickle(stream, what)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise CheckpointError(f"{path} was written on a big-endian machine; save it again on a little-endian one")
        refs: dict[str, StorageRef] = {}
        self.root = unpickle(stream, what, refs)
        self.at: dict[str, int] = {}
        for key in unpickle(stream, what):
            ref = refs[key]
            if int.from_bytes(stream.read(8), "little") != ref.count:
                raise CheckpointError(f"{path}: storage {key!r} is not of the stated size; the file is damaged")
            self.at[key] = stream.tell()
            stream.seek(ref.count * getattr(torch, ref.dtype).itemsize, 1)

    def storage(self, ref: StorageRef, size: int) -> bytes:
        self.stream.seek(self.at[ref.key])
        if size > self.path.stat().st_size or len(data := self.stream.read(size)) != size:
            raise CheckpointError(f"{self.path} is truncated; fetch it again")
        return data


@contextmanager
def container(path: Path) -> Iterator[Container]:
    """Open a torch file of either kind.

    Raises:
        UnsafeCheckpointError: it asks for something other than tensors and layers.
        CheckpointError: truncated, damaged, or no torch file.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(2) == b"PK":
                with zipfile.ZipFile(stream) as archive:
                    yield ZipContainer(path, archive)
            else:
                stream.seek(0)
                yield LegacyContainer(path, stream)
    except DAMAGE as error:
        text = " ".join(str(error).split())[:80]
        raise CheckpointError(f"{path} is truncated or damaged ({text}); fetch it again") from None


def read_published(path: Path) -> PublishedFile:
    """Import a published checkpoint; the EMA is taken where there is one.

    Raises:
        UnsafeCheckpointError, CheckpointError: see :func:`container`; or it holds no detection model.
    """
    with container(path) as file:
        root = file.root if isinstance(file.root, dict) else {}
        weights = "ema" if root.get("ema") is not None else "model"
        model = root.get(weights)
        if not isinstance(model, Inert) or not isinstance(model.state, dict):
            raise CheckpointError(f"{path} is a torch file without a detection model under 'ema' or 'model'")
        tensors = {key: file.tensor(ref) for key, ref in _tensors(model, path)}
    if not tensors:
        raise CheckpointError(f"{path}: the model in it holds no tensors")
    options = root.get("opt")
    if isinstance(options, Inert):
        options = options.state
    options = options if isinstance(options, dict) else {}
    side = options.get("imgsz")
    if not isinstance(side, int) or not 32 <= side <= 8192:
        side = DEFAULT_SIZE
    side = -(-side // 32) * 32
    source = {"file": path.name, "format": "published", "weights": weights}
    return PublishedFile(tensors, _names(model, path), (side, side), {"source": source, **_facts(root, options)})


def _tensors(model: Inert, path: Path) -> Iterator[tuple[str, TensorRef]]:
    """(key, tensor) of a module and everything below it, in the order of registration."""
    pending: list[tuple[str, Any]] = [("", model)]
    for _ in range(MAX_LAYERS):
        if not pending:
            return
        prefix, module = pending.pop()
        state = module.state if isinstance(module, Inert) and isinstance(module.state, dict) else {}
        for group in ("_parameters", "_buffers"):
            for name, ref in _group(state, group):
                if isinstance(ref, TensorRef):
                    yield f"{prefix}{name}", ref
        pending.extend((f"{prefix}{name}.", child) for name, child in reversed(_group(state, "_modules")))
    raise CheckpointError(f"{path}: the model in it has no end; the file is damaged or forged")


def _group(state: dict[Any, Any], name: str) -> list[tuple[Any, Any]]:
    group = state.get(name)
    return list(group.items()) if isinstance(group, dict) else []


def _names(model: Inert, path: Path) -> tuple[str, ...]:
    names = model.state.get("names")
    if isinstance(names, dict):
        names = [names[i] for i in range(len(names))] if set(names) == set(range(len(names))) else None
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: the model in it states no class names")
    return tuple(names)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and isfinite(value)


def _facts(root: dict[Any, Any], options: dict[Any, Any]) -> dict[str, Any]:
    """What the file says about its training, as far as it is plain numbers and strings."""
    said = {key: options.get(key) for key in ("data", "imgsz", "epochs", "batch_size", "optimizer")}
    said |= {"epoch": root.get("epoch") if root.get("epoch") != -1 else None, "date": root.get("date")}
    training = {key: value for key, value in said.items() if isinstance(value, (str, int)) or _is_number(value)}
    return {"training": training} if training else {}
