"""What a file is, by its first bytes: a checkpoint, or what to do with it instead."""

from __future__ import annotations

import os
import pickletools
import re
from collections.abc import Sequence
from pathlib import Path

from edge_yolov9.errors import CheckpointError
from edge_yolov9.files import open_regular
from edge_yolov9.text import short

MAX_HEADER = 4 << 20
"""Longest header of a .safetensors, bytes. yolov9-e has 0.2 MB."""

EXPECTED = "expected the checkpoint it was made from: a YOLOv9 .pt, .ckpt or .safetensors"

NO_MODEL = "expected a YOLOv9 .pt, .ckpt or .safetensors"

EXPORTED = (
    (4, b"TFL3", "a TFLite model, which is already compiled"),
    (0, b"ftrt", "a TensorRT engine, which runs on one kind of GPU only"),
    (0, b"\x89HDF", "an HDF5 file (Keras)"),
    (0, b"GGUF", "a GGUF file"),
    (0, b"7767517\n", "an ncnn graph, which is already exported"),
    (0, b"\0\0\0\0\2\0\0\0", "a file of Darknet weights"),
)
"""(position, bytes there, what such a file is) of what is made from a checkpoint."""

OTHERS = (
    (0, b"version https://git-lfs", "a pointer of git-lfs, not the file itself; run git lfs pull where it was cloned"),
    (0, b"\x1f\x8b", "packed by gzip; unpack it first (tar xzf, or gunzip)"),
    (257, b"ustar", "a tar archive; unpack it first"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (0, b"Rar!", "a RAR archive; unpack it first"),
    (0, b"\x93NUMPY", f"a NumPy array; {NO_MODEL}"),
    (0, b"\xff\xd8\xff", f"a picture (JPEG); {NO_MODEL}"),
    (0, b"\x89PNG", f"a picture (PNG); {NO_MODEL}"),
    (0, b"%PDF", f"a PDF; {NO_MODEL}"),
    (0, b"\x7fELF", f"a program or library (ELF); {NO_MODEL}"),
)
"""(position, bytes there, what such a file is and what to do)."""

WEB_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body)", re.IGNORECASE)


def kind(path: Path) -> str:
    """``safetensors`` or ``torch``.

    Raises:
        CheckpointError: it is something else: what, and what to give instead.
        OSError: it cannot be read.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected a checkpoint file")
    with open_regular(path) as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(512)
        if not head:
            raise CheckpointError(f"{path} is an empty file; fetch it again")
        length = int.from_bytes(head[:8], "little")
        if head[8:9] == b"{" and length < 1 << 30:
            if 8 + length > size:
                raise CheckpointError(f"{path} is truncated: its header is longer than the file; fetch it again")
            if length > MAX_HEADER:
                raise CheckpointError(
                    f"{path}: its header has {length:,} bytes, no checkpoint's has over {MAX_HEADER:,}; refused"
                )
            return "safetensors"
        if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
            return "torch"
        exported, other = _exported(head + file.read(1 << 16)), _other(head)
        if exported is not None:
            raise CheckpointError(f"{path} is {exported}, neither of the two known formats; {EXPECTED}")
        if other is not None:
            raise CheckpointError(f"{path} is {other}")
        file.seek(0)
        if _is_pickle(file.read(1 << 20)):
            return "torch"
    raise CheckpointError(f"{path} is neither of the two known formats; {EXPECTED}")


def _exported(head: bytes) -> str | None:
    """What a file is that was made from a checkpoint; ``head`` is its first 64 KiB."""
    if len(head) > 8 and head[0] == 8 and head[1] < 32 and head[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42):
        return "an ONNX model, which is already exported"  # the version of its format, then the producer or a graph
    if head[4:6] == b'{"' and b"ftrt" in head:  # Ultralytics puts a description before it
        return "a TensorRT engine of Ultralytics, which runs on one kind of GPU only"
    if head.lstrip().startswith((b"<?xml", b"<net ")) and b"<net " in head[:4096]:
        return "a graph of OpenVINO, which is already compiled"
    return next((what for at, mark, what in EXPORTED if head[at : at + len(mark)] == mark), None)


def _other(head: bytes) -> str | None:
    """What another file is, and what to do."""
    if WEB_PAGE.match(head) or head.lstrip().startswith(b"<?xml"):
        return "a web page or an error of a server, not the file that was asked for; fetch it again"
    return next((what for at, mark, what in OTHERS if head[at : at + len(mark)] == mark), None)


def archive_kind(names: Sequence[str]) -> str:
    """What a zip file is that is no torch checkpoint, by the names in it, and what to do."""
    inside = [name for name in names if name.endswith((".pt", ".pth", ".ckpt", ".safetensors"))]
    if any(name.endswith((".pt2", "/archive_format", "serialized_exported_program.json")) for name in names):
        return f"a model of torch.export, which is already exported; {EXPECTED}"
    if inside:
        return f"a zip file with {short(inside[0], 100)} in it, not a torch checkpoint; unpack it first"
    if names and all(name.endswith(".npy") for name in names):
        return f"a file of NumPy arrays, not a torch checkpoint; {NO_MODEL}"
    if {"metadata.json", "config.json"} <= set(names):
        return f"a Keras model; {NO_MODEL}"
    return f"a zip file but not a torch checkpoint (it holds no data.pkl); {NO_MODEL}"


def _is_pickle(data: bytes) -> bool:
    """Whether a text protocol pickle starts the file: to name what it asks for when it is refused."""
    try:
        return any(opcode.name in ("GLOBAL", "INST", "STOP") for opcode, _, _ in pickletools.genops(data))
    except (ValueError, IndexError, OverflowError):
        return False
