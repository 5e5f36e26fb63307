"""Small files that ask for endless time or memory, or for none of ours: one line each, and nothing is computed."""

from __future__ import annotations

import json
import os
import resource
import struct
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edge_yolov9.checkpoint import load
from edge_yolov9.errors import CheckpointError
from tests.checkpoint.opcodes import (
    START,
    get,
    mapping,
    model,
    named,
    number,
    put,
    shared_tuples,
    storage,
    tensor,
    text,
    vector,
)
from tests.hostile import wrap

FOUR_MB = {"0": bytes(4_000_000)}
DEEP = b")" + b"\x85" * 1_000_000
COLLIDING = b"".join(b"\x8a\x0a" + (k * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for k in range(1, 50_000))
MANY = b"".join(text(f"w{i}") + get(1) for i in range(20_000))
VIEWS = b"".join(
    text(f"w{i}") + tensor(get(1), number(999_000) + b"\x85", b"K\x01\x85", number(i % 999)) for i in range(20_000)
)
ITSELF = named("models.yolo DetectionModel") + b")\x81" + put(0)
HUGE = b"\x8b" + struct.pack("<i", 1_000_000) + b"\x7f" * 1_000_000 + put(2)
CHAIN = b"".join(
    named("models.yolo Layer") + b")\x81}" + text("_modules") + b"}" + text("n" * 200) for _ in range(3_000)
) + named("models.yolo Layer") + b")\x81" + b"ssb" * 3_000  # fmt: skip

BOMBS = {
    "a shared tuple of 2**60 items as a key": START + b"}" + shared_tuples(60) + b"Ns.",
    "a shared tuple as a member of a set": b"\x80\x04\x8f(" + shared_tuples(60) + b"\x90.",
    "a tuple nested a million deep as a key": START + b"}" + DEEP + b"Ns.",
    "a tuple nested a million deep in a set": b"\x80\x04\x8f(" + DEEP + b"\x90.",
    "a storage whose key is a list of lists": START + storage(b"](" + shared_tuples(40) + b"e", number(1)) + b".",
    "numbers of one hash": START + mapping(COLLIDING) + b".",
    "a module that holds itself": START
    + mapping(text("model"), ITSELF + mapping(text("_modules"), mapping(*(text(str(i)) + get(0) for i in range(2000)))))
    + b"b.",
    "modules nested with long names": model(mapping(text("_modules"), mapping(text("a"), CHAIN))),
    "one tensor under 20,000 names": model(
        mapping(text("t"), vector("0", 1_000_000) + put(1), text("_parameters"), mapping(MANY))
    ),
    "20,000 views of one storage": model(
        mapping(text("t"), storage(text("0"), number(1_000_000)) + put(1), text("_parameters"), mapping(VIEWS))
    ),
    "copies of a large dict": START
    + b"]("
    + mapping(*(text(str(i)) + b"N" for i in range(50_000)))
    + put(1)
    + (named("collections OrderedDict") + get(1) + b"\x85R") * 20_000
    + b"e.",
    "sizes of a million digits": model(
        mapping(text("_parameters"), mapping(text("t"), tensor(
            storage(text("0"), HUGE), b"(" + get(2) * 8 + b"t", b"(" + get(2) * 8 + b"t", get(2)
        )))
    ),
    "a tensor of a million dimensions": START + tensor(
        storage(text("0"), number(1)), b"(" + b"K\x01" * 1_000_000 + b"t", b"K\x01\x85"
    ) + b".",
    "over two million steps": START + b"N" * 2_000_001 + b".",
}  # fmt: skip


@contextmanager
def little_memory(most: int) -> Iterator[None]:
    """Fail where Python's own objects take more than ``most`` bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_pickle_cannot_cost_more_than_it_weighs(name: str, tmp_path: Path) -> None:
    file = wrap("zip", BOMBS[name], tmp_path / "bomb.pt", FOUR_MB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"bomb\.pt") as refusal:
        load(file)
    assert len(str(refusal.value)) < 400
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 600_000, f"{grown} KiB for a file of {file.stat().st_size >> 10} KiB"


@pytest.mark.parametrize("kind", ["legacy", "bare"])
def test_the_same_holds_without_a_zip_file(kind: str, tmp_path: Path) -> None:
    for name in ("a shared tuple of 2**60 items as a key", "a tuple nested a million deep as a key"):
        with pytest.raises(CheckpointError, match=r"bomb\.pt"):
            load(wrap(kind, BOMBS[name], tmp_path / "bomb.pt"))


def test_keys_that_are_not_text_stay_apart_and_are_not_compared() -> None:
    import io

    from edge_yolov9.checkpoint.records import Key
    from edge_yolov9.checkpoint.unpickle import unpickle

    pairs = b"K\x00N" + b"K\x01N" + text("a") + b"N" + b"\x88N" + b"K\x02\x85N" * 2 + number(-1) + b"N"
    made = unpickle(io.BytesIO(START + mapping(pairs) + b"."), "x")
    assert [key for key in made if not isinstance(key, Key)] == [0, 1, "a"]
    assert [key.item for key in made if isinstance(key, Key)] == [True, (2,), (2,), -1]


def test_a_zip_file_with_two_files_of_one_name_is_refused(tmp_path: Path) -> None:
    file = wrap("zip", START + b"}.", tmp_path / "twice.pt")
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("best/data.pkl", START + b"}.")
    with pytest.raises(CheckpointError, match="two files of one name"):
        load(file)


def test_a_zip_file_with_a_huge_directory_is_refused(tmp_path: Path) -> None:
    file = wrap("zip", START + b"}.", tmp_path / "many.pt", {"n" * 60_000 + str(i): b"" for i in range(160)})
    with pytest.raises(CheckpointError, match="directory is longer"):
        load(file)


def test_a_zip_file_that_overstates_its_files_is_refused(tmp_path: Path) -> None:
    payload = model(mapping(text("_parameters"), mapping(text("t"), vector("0", 1 << 30))))
    data = bytearray(wrap("zip", payload, tmp_path / "bomb.pt", {"0": bytes(8)}).read_bytes())
    for mark, at in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        start = data.rindex(mark) + at
        data[start : start + 4] = struct.pack("<I", (1 << 32) - 4)
    (tmp_path / "bomb.pt").write_bytes(data)
    with little_memory(50 << 20), pytest.raises(CheckpointError, match=r"bomb\.pt"):
        load(tmp_path / "bomb.pt")


def own(path: Path, header: dict[str, object], data: bytes = b"") -> Path:
    """A .safetensors file of that header."""
    text = json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


METADATA = {
    "format": "edge-yolov9 checkpoint",
    "format_version": "1",
    "variant": "gelan-t",
    "names": '["a"]',
    "input_size": "[320, 320]",
    "facts": "{}",
}


def test_headers_that_promise_too_much_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    many = own(path, {"__metadata__": METADATA, **{str(i): empty for i in range(200_000)}})
    with little_memory(50 << 20), pytest.raises(CheckpointError, match="its header has"):
        load(many)
    large = {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}
    with little_memory(50 << 20), pytest.raises(CheckpointError, match="truncated or damaged"):
        load(own(path, {"__metadata__": METADATA, "a": large}))
    names = json.dumps(["a"] * 100_000)
    with little_memory(50 << 20), pytest.raises(CheckpointError, match="do not fit gelan-t"):
        load(own(path, {"__metadata__": {**METADATA, "names": names}}))
    save_file({"b" * 5000: torch.zeros(1)}, path, METADATA)
    with pytest.raises(CheckpointError, match="do not fit gelan-t"):
        load(path)


def test_facts_hold_finite_numbers(tmp_path: Path) -> None:
    from edge_yolov9.checkpoint import Checkpoint, save
    from edge_yolov9.model import build

    save(Checkpoint(build("gelan-t", 1), ("a",), (64, 64), {"loss": 1.25}), path := tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes().replace(b": 1.25}", b":1e999}"))
    assert load(path).facts == {"loss": None}


@pytest.mark.parametrize("name", ["a\x1b[0m", "\x7f", "", " ", "x" * 201, "a\nb", "a\u2028b"])
def test_names_that_no_screen_could_show_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="the name of class 0"):
        load(own(tmp_path / "a.safetensors", {"__metadata__": {**METADATA, "names": json.dumps([name])}}))


def test_pipes_devices_and_folders_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    (tmp_path / "link.pt").symlink_to(tmp_path / "pipe.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    for name in ("pipe.pt", "link.pt", "zero.pt"):
        with pytest.raises(CheckpointError, match="pipe, device or socket"):
            load(tmp_path / name)


def test_a_name_too_long_is_one_short_line(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read the checkpoint") as refusal:
        load(tmp_path / ("n" * 5000))
    assert len(str(refusal.value)) < 300
