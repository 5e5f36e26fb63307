"""Torch's two containers, read without torch's own reader."""

from __future__ import annotations

import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from edge_yolov9.checkpoint.kind import EXPECTED, archive_kind
from edge_yolov9.checkpoint.records import StorageRef, TensorRef
from edge_yolov9.checkpoint.unpickle import unpickle
from edge_yolov9.errors import CheckpointError
from edge_yolov9.files import open_regular
from edge_yolov9.text import short

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of the container that torch wrote before 1.6."""

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError)
"""What Python's readers raise on bytes that are not what they should be."""

MAX_DIRECTORY = 8 << 20
"""Longest directory of a zip file, bytes. yolov9-t with its optimizer has 0.3 MB."""


class Container:
    """The object in a torch file, and access to its storages. What is read stays below the size of the file."""

    def __init__(self, path: Path, size: int) -> None:
        """``size`` is that of the file, bytes."""
        self.path = path
        self.root: Any = None
        self._unread = self._uncopied = size
        self._storages: dict[str, Tensor] = {}
        self._tensors: dict[int, Tensor] = {}

    def bytes_of(self, ref: StorageRef, size: int) -> bytes:
        """The ``size`` bytes of one storage.

        Raises:
            CheckpointError: the file holds another number of them.
        """
        raise NotImplementedError

    def tensor(self, ref: TensorRef) -> Tensor:
        """Check a description against its storage and read it; one that has several names is read once.

        Raises:
            CheckpointError: the view reaches beyond the storage, or the storage beyond the file.
        """
        if id(ref) not in self._tensors:  # the root keeps every ref, and so its id, alive
            self._tensors[id(ref)] = self._view(ref)
        return self._tensors[id(ref)]

    def _view(self, ref: TensorRef) -> Tensor:
        numbers = (ref.storage.count, ref.offset, *ref.size, *ref.stride)
        if (
            not all(type(number) is int and 0 <= number < 1 << 62 for number in numbers)
            or len(ref.size) != len(ref.stride)
            or not 0 < prod(ref.size) <= ref.storage.count
            or ref.offset + sum((n - 1) * step for n, step in zip(ref.size, ref.stride, strict=True))
            >= ref.storage.count
        ):
            raise CheckpointError(f"{self.path}: a tensor lies outside its storage; the file is damaged or forged")
        storage = self._storage(ref.storage)
        view = storage.as_strided(ref.size, ref.stride, ref.offset)
        if view.numel() == len(storage) and view.is_contiguous():
            return view
        self._uncopied -= view.numel() * view.itemsize
        if self._uncopied < 0:
            raise CheckpointError(f"{self.path}: its tensors are larger than the file; it is damaged or forged")
        return view.clone()

    def _storage(self, ref: StorageRef) -> Tensor:
        if ref.key not in self._storages:
            dtype: torch.dtype = getattr(torch, ref.dtype)
            self._unread -= ref.count * dtype.itemsize
            if self._unread < 0:
                raise CheckpointError(f"{self.path}: its tensors are larger than the file; it is damaged or forged")
            data = bytearray(self.bytes_of(ref, ref.count * dtype.itemsize))
            self._storages[ref.key] = torch.frombuffer(data, dtype=dtype)
        return self._storages[ref.key]


class ZipContainer(Container):
    """torch 1.6 and later: ``NAME/data.pkl`` and ``NAME/data/KEY``, stored without compression."""

    def __init__(self, path: Path, size: int, archive: zipfile.ZipFile) -> None:
        super().__init__(path, size)
        self.archive = archive
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise CheckpointError(f"{path} holds two files of one name; it was tampered with")
        if any(re.fullmatch(r"[^/]+/constants\.pkl", name) for name in names):
            raise CheckpointError(f"{path} is a TorchScript model, which is already exported; {EXPECTED}")
        pickles = [name for name in names if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(pickles) != 1:
            raise CheckpointError(f"{path} is {archive_kind(names)}")
        self.prefix = pickles[0].removesuffix("data.pkl")
        if f"{self.prefix}byteorder" in names and self.read("byteorder", len("little")) != b"little":
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

    def read(self, name: str, most: int) -> bytes:
        """At most ``most`` bytes; where that is all, with its checksum checked."""
        with self.archive.open(self.entry(name)) as stream:
            data = stream.read(most)
            stream.read(1)  # the checksum is compared at the end
        return data

    def bytes_of(self, ref: StorageRef, size: int) -> bytes:
        data = self.read(f"data/{ref.key}", size) if self.entry(f"data/{ref.key}").file_size == size else b""
        if len(data) != size:
            raise CheckpointError(
                f"{self.path}: storage {short(ref.key)} is not of the stated {size} bytes; the file is damaged"
            )
        return data


class LegacyContainer(Container):
    """torch before 1.6: five pickles in a row, then the storages."""

    def __init__(self, path: Path, size: int, stream: IO[bytes]) -> None:
        super().__init__(path, size)
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
            if not isinstance(key, str) or key not in refs or key in self.at:
                raise CheckpointError(f"{path}: its list of storages is damaged; fetch it again")
            ref = refs[key]
            if int.from_bytes(stream.read(8), "little") != ref.count:
                raise CheckpointError(f"{path}: storage {short(key)} is not of the stated size; the file is damaged")
            self.at[key] = stream.tell()
            stream.seek(ref.count * getattr(torch, ref.dtype).itemsize, 1)

    def bytes_of(self, ref: StorageRef, size: int) -> bytes:
        self.stream.seek(self.at[ref.key])
        data = self.stream.read(size)
        if len(data) != size:
            raise CheckpointError(f"{self.path} is truncated; fetch it again")
        return data


@contextmanager
def container(path: Path) -> Iterator[Container]:
    """Open a torch file of either kind.

    Raises:
        UnsafeCheckpointError: it asks for something other than tensors and layers.
        CheckpointError: truncated, damaged, no torch file, or no regular file.
    """
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if stream.read(2) == b"PK":
                reader = _ZipReader(stream.raw)
                with zipfile.ZipFile(reader) as archive:
                    reader.most = size
                    yield ZipContainer(path, size, archive)
            else:
                stream.seek(0)
                yield LegacyContainer(path, size, stream)
    except DAMAGE as error:
        raise CheckpointError(f"{path} is truncated or damaged ({short(error)}); fetch it again") from None


class _ZipReader(io.BufferedReader):
    """A zip file while its directory is read, which Python reads in one piece and unfolds to ten times the memory."""

    most = MAX_DIRECTORY

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > self.most:
            raise zipfile.BadZipFile("its directory is longer than that of any checkpoint")
        return super().read(size)
