"""Coverage-guided fuzzing of the checkpoint reader; needs Linux and ``pip install atheris``.

    python -m tests.fuzz.checkpoint CORPUS -max_total_time=3600 -timeout=20 -rss_limit_mb=3000

CORPUS is a folder that keeps what was found; small files of every kind are put there first. Any answer but a
checkpoint or one line of CheckpointError is a finding, and so is whoever takes 20 seconds or 3 GB: the input is
written to a file ``crash-...`` in the current folder, which the same command takes in the place of CORPUS.
"""

from __future__ import annotations

import logging
import os
import pickle
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import atheris
import torch  # noqa: F401, before the instrumentation, which is for our code and the standard library's readers

with atheris.instrument_imports(include=["edge_yolov9.checkpoint", "pickletools", "zipfile"]):
    from edge_yolov9.checkpoint import load
    from edge_yolov9.errors import CheckpointError

from tests.checkpoint.opcodes import START, get, mapping, model, named, put, text, vector
from tests.hostile import LEGACY_HEADER, wrap

STORAGE = struct.pack("<8f", *range(8))
LONGEST_LINE = 600

WORDS = (
    *("best/data.pkl", "best/byteorder", "best/data/0", "little", "storage", "module", "cpu", "model", "ema", "opt"),
    *("_parameters", "_buffers", "_modules", "names", "state_dict", "model.22.cv3.0.2.weight", "imgsz", "version"),
    *("torch\nFloatStorage\n", "torch._utils\n_rebuild_tensor_v2\n", "torch._utils\n_rebuild_parameter\n"),
    *("collections\nOrderedDict\n", "torch\nSize\n", "models.yolo\nDetectionModel\n", "__builtin__\nset\n"),
    *("PK\x01\x02", "PK\x03\x04", "PK\x05\x06", "edge-yolov9 checkpoint", "__metadata__", "data_offsets"),
)

STEPS = (
    *(b"(", b"t", b"l", b"d", b"e", b"u", b"s", b"a", b"b", b"R", b"\x81", b"Q", b"0", b"2", b"\x94", b"\x85", b"\x86"),
    *(b"\x87", b"\x90", b"}", b"]", b")", b"\x8f", b"N", b"\x88", b"K\x00", b"K\x01", b"K\x08", b"J\xff\xff\xff\xff"),
    *(get(at) for at in range(6)),
    *(b"q" + bytes([at]) for at in range(6)),
    *(b"\x8a\x08" + bytes(7) + b"\x40", b"G\x7f\xf0" + bytes(6), vector("0", 8), vector("0", 9), vector("1", 8)),
    *(text(word) for word in ("storage", "0", "model", "ema", "_parameters", "_buffers", "_modules", "names", "a", "")),
    *(named(word.replace("\n", " ").strip()) for word in WORDS if word.endswith("\n")),
)
"""Pieces of pickles, of which one byte each makes another pickle."""


def seeds(folder: Path) -> None:
    """One small file of each kind; the first letter of an input says how it is packed, see :func:`packed`."""
    tree = mapping(
        text("_parameters"),
        mapping(text("w"), vector("0", 8) + put(9)),
        text("_modules"),
        mapping(text("a"), named("torch.nn.modules.conv Conv2d") + b")\x81" + mapping(text("_buffers"), b"}") + b"b"),
        text("names"),
        mapping(b"K\x00" + text("cat") + b"K\x01" + text("dog")),
    )
    root = model(tree)
    plain = START + mapping(text("state_dict"), mapping(text("model.model.0.conv.weight"), vector("0", 8))) + b"."
    zipped = wrap("zip", root, folder / "zip", {"0": STORAGE})
    end = pickle.dumps(["0"], 2) + struct.pack("<q", 8) + STORAGE
    header = (
        b'{"__metadata__":{"format":"edge-yolov9 checkpoint"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    )
    for name, data in {
        "pickle": b"p" + root,
        "plain": b"p" + plain,
        "shared": b"p" + START + b"](" + b")" + put(0) + get(0) * 2 + b"\x86e.",
        "protocol4": b"p" + pickle.dumps({"model": {"a": (1, 2.5, None, True, {3}, b"x")}}, 4),
        "steps": b"s" + bytes(STEPS.index(step) for step in (b"}", b"q\x00", text("model"), get(0), b"s")),
        "legacy": b"f" + LEGACY_HEADER + root + end,
        "zip": b"f" + zipped.read_bytes(),
        "own": b"f" + struct.pack("<Q", len(header)) + header + bytes(8),
    }.items():
        (folder / name).write_bytes(data)


def packed(data: bytes, path: Path) -> None:
    """Write an input as a file.

    ``p`` and a pickle becomes a zip file with one storage, ``s`` and numbers of ``STEPS`` likewise, ``f`` and a file
    that file.
    """
    if data[:1] in (b"p", b"s"):
        steps = b"".join(STEPS[byte % len(STEPS)] for byte in data[1:])
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("best/data.pkl", data[1:] if data[:1] == b"p" else START + steps + b".")
            archive.writestr("best/data/0", STORAGE)
    else:
        path.write_bytes(data[1:])


def _quoted(word: str) -> str:
    """A line of libFuzzer's dictionary."""
    letters = "".join(f"\\x{ord(char):02x}" for char in word)
    return f'"{letters}"\n'


def main() -> None:
    logging.disable()
    path = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)) / "fuzz.pt"

    def one_input(data: bytes) -> None:
        packed(data, path)
        try:
            load(path)
        except CheckpointError as error:
            line = str(error)
            assert "\n" not in line, line
            assert len(line) < LONGEST_LINE, line
            line.encode()

    arguments = list(sys.argv)
    if len(arguments) > 1 and Path(arguments[1]).is_dir():
        seeds(Path(arguments[1]))
        words = Path(arguments[1]).with_suffix(".dict")
        words.write_text("".join(_quoted(word) for word in WORDS))
        arguments.append(f"-dict={words}")
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()
    os._exit(0)


if __name__ == "__main__":
    main()
