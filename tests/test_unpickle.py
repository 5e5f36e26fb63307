"""A checkpoint can describe tensors and nothing else: whatever else it asks for is refused, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_yolov9.checkpoint import load
from edge_yolov9.checkpoint.torchfile import container
from edge_yolov9.checkpoint.unpickle import Inert, TensorRef, unpickle
from edge_yolov9.errors import CheckpointError, UnsafeCheckpointError
from tests.hostile import Storage, View, pickled, wrap


class Call:
    """Pickled as a call of ``function``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def attacks(sign: Path) -> dict[str, tuple[bytes, str]]:
    """``{name: (pickle that creates the file sign when Python loads it, what the refusal names)}``."""
    command = f"touch {sign}"
    system, text = Call(os.system, command), f"open({str(sign)!r}, 'w')"
    short = command.encode()
    return {
        "system": (pickle.dumps(system, 2), "posix.system"),
        "protocol 0": (pickle.dumps(system, 0), "posix.system"),
        "STACK_GLOBAL": (pickle.dumps(system, 4), "posix.system"),
        "nested": (pickle.dumps({"epoch": 1, "model": [{"ema": (1, system)}]}, 2), "posix.system"),
        "eval": (pickle.dumps(Call(eval, text), 2), "__builtin__.eval"),
        "eval, protocol 4": (pickle.dumps(Call(eval, text), 4), "builtins.eval"),
        "exec": (pickle.dumps(Call(exec, text), 2), "__builtin__.exec"),
        "getattr": (
            b"cbuiltins\ngetattr\n(cos\n__dict__\nS'get'\ntR(S'system'\ntR(S'" + short + b"'\ntR.",
            "builtins.getattr",
        ),
        "INST": (b"(S'" + short + b"'\nios\nsystem\n.", "os.system"),
        "OBJ": (b"(cos\nsystem\nS'" + short + b"'\no.", "os.system"),
        "among allowed things": (
            b"(cbuiltins\nset\n((ltRccollections\nOrderedDict\n(tRcos\nsystem\n(S'" + short + b"'\ntRt.",
            "os.system",
        ),
    }


@pytest.mark.parametrize("name", list(attacks(Path("x"))))
@pytest.mark.parametrize("kind", ["zip", "legacy", "bare"])
def test_code_is_refused_and_does_not_run(kind: str, name: str, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    payload, named = attacks(sign)[name]
    with pytest.raises(UnsafeCheckpointError) as refusal:
        load(wrap(kind, payload, tmp_path / "evil.pt"))
    assert named in str(refusal.value)
    assert "evil.pt" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not sign.exists()
    pickle.loads(payload)  # the control: it is a working attack on whoever trusts the file
    assert sign.exists()


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b"\x80\x02csubprocess\nPopen\n.", "subprocess.Popen"),
        (b"\x80\x02ctorch\nload\n.", "torch.load"),
        (b"\x80\x02ctorch.nn.modules.module\n_global_parameter_registration_hooks\n.", "torch.nn.modules.module"),
        (b"\x80\x02cmodels.yolo\nos.system\n.", "models.yolo.os.system"),
        (b"\x80\x02cmodels.yolo.evil\nDetectionModel\n.", "models.yolo.evil"),
        (b"\x80\x02cnumpy\nload\n.", "numpy.load"),
        (b"\x80\x04\x8c\x08builtins\x8c\x0egetattr.system\x93.", "builtins.getattr.system"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02cmodels.yolo\nDetectionModel\n}b.", "state of a Global"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.", "state of a Global"),
        (b"\x80\x02X\x01\x00\x00\x00a)R.", "calls something that is no class"),
        (b"\x80\x02cmodels.yolo\nDetectionModel\n)\x81)R.", "calls something that is no class"),
        (b"\x80\x02]}b.", "state of a list"),
    ],
)
def test_what_is_refused_is_named(payload: bytes, named: str) -> None:
    with pytest.raises(UnsafeCheckpointError, match=named):
        unpickle(io.BytesIO(payload), "evil.pt")


def test_listed_names_become_inert_records() -> None:
    """Classes of the reference program and of numpy are neither imported nor called."""
    layer = b"\x80\x02cmodels.yolo\nNoSuchLayer\nX\x01\x00\x00\x00a\x85\x81}X\x01\x00\x00\x00bK\x07sb."
    made = unpickle(io.BytesIO(layer), "x")
    assert isinstance(made, Inert)
    assert (made.of.module, made.of.name, made.args, made.state) == ("models.yolo", "NoSuchLayer", ("a",), {"b": 7})
    array = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85c_codecs\nencode\n"
    array += b"X\x01\x00\x00\x00bX\x06\x00\x00\x00latin1\x86R\x87R)b."
    assert isinstance(unpickle(io.BytesIO(array), "x"), Inert)
    group = pickle.dumps({"a": {1, 2}, "b": frozenset("x"), "c": (1.5, None, True, b"z", -(2**70))}, 2)
    assert unpickle(io.BytesIO(group), "x")["c"][0] == 1.5
    made = unpickle(io.BytesIO(pickle.dumps([(1, 2), {"k": ["v"]}, {3}], 4)), "x")
    assert made == [(1, 2), {"k": ["v"]}, {3}]


@pytest.mark.parametrize(
    ("count", "offset", "size", "stride"),
    [
        (8, 1, (8,), (1,)),
        (8, 0, (9,), (1,)),
        (8, 0, (2, 2), (8, 1)),
        (8, -1, (2,), (1,)),
        (8, 0, (2,), (-1,)),
        (8, 0, (-2, -2), (1, 1)),
        (8, 0, (2**40,), (0,)),
        (8, 0, (2,), (1, 1)),
        (8, 2**70, (2,), (1,)),
        (8, 0, (0,), (1,)),
        (8, 0, ("2",), (1,)),
        (8, 0.5, (2,), (1,)),
        (9, 0, (2,), (1,)),
        (2**60, 0, (2,), (1,)),
        (-8, 0, (2,), (1,)),
        ("8", 0, (2,), (1,)),
    ],
)
def test_tensors_that_lie_about_their_storage_are_refused(
    count: Any, offset: Any, size: Any, stride: Any, tmp_path: Path
) -> None:
    payload = pickled(View(Storage("0", count), offset, size, stride))
    file = wrap("zip", payload, tmp_path / "lie.pt", {"0": struct.pack("<8f", *range(8))})
    with pytest.raises(CheckpointError, match=r"lie\.pt"), container(file) as opened:
        opened.tensor(opened.root)


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_strided_views_are_read_as_torch_reads_them(kind: str, tmp_path: Path) -> None:
    payload, data = pickled(View(Storage("0", 8), 1, (3, 2), (2, 1))), struct.pack("<8f", *range(8))
    if kind == "legacy":
        payload += pickle.dumps(["0"], 2) + struct.pack("<q", 8) + data
    with container(wrap(kind, payload, tmp_path / "x.pt", {"0": data})) as opened:
        assert isinstance(opened.root, TensorRef)
        assert torch.equal(opened.tensor(opened.root), torch.arange(1.0, 7.0).view(3, 2))


def test_compressed_and_damaged_archives_are_refused(tmp_path: Path) -> None:
    payload = pickled(View(Storage("0", 1 << 20), 0, (1 << 20,), (1,)))
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("best/data.pkl", payload, zipfile.ZIP_STORED)
        archive.writestr("best/data/0", bytes(4 << 20))
    with pytest.raises(CheckpointError, match="compressed"), container(tmp_path / "bomb.pt") as opened:
        opened.tensor(opened.root)
    with pytest.raises(CheckpointError, match="damaged"), container(wrap("zip", payload, tmp_path / "a.pt")) as opened:
        opened.tensor(opened.root)


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
def test_any_damage_to_a_pickle_is_a_checkpoint_error() -> None:
    """Thousands of flipped bytes and cuts: an answer or a CheckpointError, never anything else."""
    view = View(Storage("0", 8), 0, (2, 4), (4, 1))
    whole = pickled({"model": [view, {"names": {0: "a", 1: "b"}, "set": {1}}], "opt": {"imgsz": 320, "lr": 0.5}})
    dice, outcomes = random.Random(7), set()
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        data = data[: dice.randint(1, len(data))] if dice.random() < 0.3 else data
        try:
            unpickle(io.BytesIO(bytes(data)), "x")
            outcomes.add("read")
        except CheckpointError as error:
            outcomes.add(type(error).__name__ if "\n" not in str(error) else "two lines")
    assert outcomes == {"read", "CheckpointError", "UnsafeCheckpointError"}
