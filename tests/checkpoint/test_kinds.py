"""A file that is no YOLOv9 is one line: what it is, and what to do."""

from __future__ import annotations

import io
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from edge_yolov9.cli import main
from tests.checkpoint import foreign


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return stream.getvalue()


def saved(item: object) -> bytes:
    stream = io.BytesIO()
    torch.save(item, stream)
    return stream.getvalue()


def state_dict(*keys: str) -> bytes:
    return saved({key: torch.zeros(3, 3, 1, 1) for key in keys})


def tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("best.pt"))
    return stream.getvalue()


def array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is an empty file; fetch it again"),
    "text": (lambda: b"just some text", "is neither of the two known formats; expected the checkpoint"),
    "web page": (lambda: b"\n<!DOCTYPE html><html></html>", "is a web page or an error of a server.*fetch it again"),
    "S3": (lambda: b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an error of a server"),
    "git-lfs": (
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "is a pointer of git-lfs, not the file itself; run git lfs pull",
    ),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(40), "is packed by gzip; unpack it first"),
    "tar": (tarred, "is a tar archive; unpack it first"),
    "zip": (lambda: zipped("a.txt"), "is a zip file but not a torch checkpoint"),
    "zip of a checkpoint": (lambda: zipped("runs/best.pt"), r"is a zip file with runs/best\.pt in it.*unpack it first"),
    "torch.export": (lambda: zipped("m/archive_format", "m/models/model.json"), "a model of torch.export"),
    "npz": (lambda: zipped("a.npy", "b.npy"), "is a file of NumPy arrays"),
    "npy": (array, "is a NumPy array"),
    "picture": (lambda: b"\xff\xd8\xff\xe0" + bytes(40), r"is a picture \(JPEG\); expected a YOLOv9"),
    "OpenVINO": (
        lambda: b'<?xml version="1.0"?>\n<net name="x" version="11">',
        "is a graph of OpenVINO.*already compiled",
    ),
    "ONNX": (lambda: b"\x08\x08\x12\x07pytorch" + bytes(40), "is an ONNX model, which is already exported"),
    "TFLite": (lambda: b"\x1c\0\0\0TFL3" + bytes(90), "is a TFLite model.*already compiled"),
    "TensorRT": (lambda: b"ftrt" + bytes(90), "is a TensorRT engine"),
    "TensorRT of Ultralytics": (lambda: b'\x08\0\0\0{"a":1}ftrt' + bytes(90), "is a TensorRT engine of Ultralytics"),
    "ncnn": (lambda: b"7767517\n3 3\n", "is an ncnn graph"),
    "Darknet": (lambda: b"\0\0\0\0\2\0\0\0\5" + bytes(90), "is a file of Darknet weights"),
    "no model": (lambda: saved({"epoch": 3}), "is a torch file without a detection model; expected YOLOv9 weights"),
    "classifier": (lambda: state_dict("conv1.weight", "fc.weight"), "holds a classifier, not a YOLOv9"),
    "YOLOv5": (lambda: state_dict("model.24.m.0.weight"), "holds a YOLOv5 or YOLOv7 model, not a YOLOv9"),
    "YOLOv8": (lambda: state_dict("model.22.cv3.0.2.weight"), "holds a YOLOv8 model, not a YOLOv9"),
    "YOLO11": (lambda: state_dict("m.10.m.0.attn.qkv.w", "m.23.cv3.0.2.weight"), "holds a YOLO11, YOLO12 or YOLO26"),
    "YOLOv10": (lambda: state_dict("m.23.cv3.0.2.weight", "m.23.one2one_cv3.0.2.weight"), "holds a YOLOv10 or YOLO26"),
    "DETR": (lambda: state_dict("transformer.encoder.weight"), "holds a DETR, not a YOLOv9"),
}


@pytest.mark.parametrize("name", list(FILES))
def test_info_says_what_it_is_and_what_to_do(name: str, tmp_path: Path) -> None:
    content, says = FILES[name]
    file = tmp_path / "best.pt"
    file.write_bytes(content())
    told(file, says)


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("C2f", r"a YOLOv8 model \(x\.yaml\)"),
        ("C3", "a YOLOv5 model"),
        ("C3k2", "a YOLO11 or YOLO26 model"),
        ("A2C2f", "a YOLO12 model"),
        ("v10Detect", "a YOLOv10 model"),
        ("RTDETRDecoder", "an RT-DETR model"),
        ("Classify", "a classifier of Ultralytics"),
        ("Segment", "a segmentation model of Ultralytics"),
        ("Pose", "a pose model of Ultralytics"),
        ("OBB", "a model of rotated boxes of Ultralytics"),
        ("WorldDetect", "an open-vocabulary model of Ultralytics"),
    ],
)
def test_other_models_of_ultralytics_are_named(layer: str, says: str, tmp_path: Path) -> None:
    with foreign.programs() as classes:
        tree = classes["DetectionModel"]()
        tree.model = torch.nn.Sequential(classes[layer](), torch.nn.Embedding(2, 2))
        tree.yaml = {"yaml_file": "/cfg/x.yaml"}
        torch.save({"model": tree}, tmp_path / "best.pt")
    told(tmp_path / "best.pt", f"holds {says}.*not a YOLOv9 detector")


def test_a_yolov9_that_segments_is_no_detector(tmp_path: Path) -> None:
    model = foreign.graph("gelan-t", 2, head="dense")
    more = {"model.22.proto.cv1.conv.weight": torch.zeros(1), "model.22.cv4.0.2.weight": torch.zeros(1)}
    torch.save(foreign.tensors(model, "published") | more, tmp_path / "best.pt")
    told(tmp_path / "best.pt", "holds a segmentation model, not a YOLOv9 detector")


def test_other_levels_and_other_bins_are_named(tmp_path: Path) -> None:
    tensors, file = foreign.tensors(foreign.graph("gelan-t", 2, head="dense"), "published"), tmp_path / "best.pt"
    torch.save(tensors | {"model.22.cv3.3.2.weight": torch.zeros(2, 64, 1, 1)}, file)
    told(file, r"holds a YOLOv9 of 4 levels; only 3 levels and 16 bins \(reg_max\) are known here")
    torch.save(tensors | {"model.22.cv2.0.2.weight": torch.zeros(32, 64, 1, 1)}, file)
    told(file, r"holds a YOLOv9 of reg_max 8; only 3 levels and 16 bins \(reg_max\) are known here")


def test_torchscript_is_named(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.ReLU()).save(str(tmp_path / "best.pt"))
    told(tmp_path / "best.pt", "is a TorchScript model, which is already exported; expected the checkpoint")


def told(file: Path, says: str) -> None:
    """``info`` fails in one line that says so, and warns of no code."""
    result = CliRunner().invoke(main, ["info", str(file)])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "Do not use" not in result.stderr
    assert re.search(says, result.stderr), result.stderr
