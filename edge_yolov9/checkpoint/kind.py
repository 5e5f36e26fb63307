"""What a file is, by its first bytes: a checkpoint, or what to do with it instead."""

from __future__ import annotations

import os
import pickletools
from pathlib import Path

from edge_yolov9.errors import CheckpointError
from edge_yolov9.files import open_regular

MAX_HEADER = 4 << 20
"""Longest header of a .safetensors, bytes. yolov9-e has 0.2 MB."""

FOREIGN = (
    (4, b"TFL3", "a TFLite model, which is already compiled"),
    (0, b"ftrt", "a TensorRT engine, which runs on one kind of GPU only"),
    (0, b"\x89HDF", "an HDF5 file (Keras)"),
    (0, b"<?xml", "an XML file (OpenVINO's graph?), which is already compiled"),
    (0, b"GGUF", "a GGUF file"),
)
"""(position, bytes there, what such a file is)."""

EXPECTED = "expected the checkpoint it was made from: a YOLOv9 .pt, .ckpt or .safetensors"


def kind(path: Path) -> str:
    """``safetensors`` or ``torch``.

    Raises:
        CheckpointError: it is something else: what, and what to give instead.
        OSError: it cannot be read.
    """
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected a checkpoint file")
    with open_regular(path) as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(64)
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
        foreign = next((what for at, mark, what in FOREIGN if head[at : at + len(mark)] == mark), None)
        if foreign is None and _begins_as_onnx(head):
            foreign = "an ONNX model, which is already exported"
        if head[4:6] == b'{"' and b"ftrt" in head + file.read(1 << 16):  # Ultralytics puts a description before it
            foreign = "a TensorRT engine of Ultralytics, which runs on one kind of GPU only"
        if foreign is not None:
            raise CheckpointError(f"{path} is {foreign}, neither of the two known formats; {EXPECTED}")
        file.seek(0)
        if _is_pickle(file.read(1 << 20)):
            return "torch"
    raise CheckpointError(f"{path} is neither of the two known formats; {EXPECTED}")


def _begins_as_onnx(head: bytes) -> bool:
    """Whether ``head`` begins as ONNX does: the version of its format, then the name of the producer or a graph."""
    return len(head) > 2 and head[0] == 8 and head[1] < 32 and head[2] in (0x12, 0x1A, 0x22, 0x3A, 0x42)


def _is_pickle(data: bytes) -> bool:
    """Whether a text protocol pickle starts the file: to name what it asks for when it is refused."""
    try:
        return any(opcode.name in ("GLOBAL", "INST", "STOP") for opcode, _, _ in pickletools.genops(data))
    except (ValueError, IndexError, OverflowError):
        return False
