"""Bundles from strangers: nothing is loaded that was not checked, and every refusal is one short printable line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from edge_yolov9.bundle import MANIFEST, Bundle, entries, read, seal, writing
from edge_yolov9.bundle.manifest import LARGEST_MANIFEST
from edge_yolov9.errors import BundleError
from tests.test_bundle import INPUT, OUTPUTS, PLAIN

OLD = Path(__file__).parent / "bundles"
posix = pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    with writing(tmp_path / "bundle") as folder:
        (folder / "model.onnx").write_bytes(b"weights")
        (folder / "frigate").mkdir()
        (folder / "frigate" / "labels.txt").write_bytes(b"0 a\n")
        seal(folder, PLAIN)
    return tmp_path / "bundle"


def refusal(bundle: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read(bundle)
    message = str(caught.value).replace(str(bundle), "BUNDLE")
    assert message.isprintable()
    assert len(message) < 500
    return message


def edited(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    data = json.loads((bundle / MANIFEST).read_text())
    edit(data)
    (bundle / MANIFEST).write_text(json.dumps(data))
    return bundle


def test_a_file_that_is_not_listed(bundle: Path) -> None:
    (bundle / "weights.bin").write_bytes(b"other")
    assert "holds 'weights.bin', which the manifest does not list" in refusal(bundle)
    (bundle / "weights.bin").unlink()
    (bundle / "frigate" / "more.onnx").write_bytes(b"other")
    assert "frigate/more.onnx" in refusal(bundle)


def test_a_folder_that_is_not_listed(bundle: Path) -> None:
    (bundle / "deeper" / "still").mkdir(parents=True)
    assert "'deeper' is no file" in refusal(bundle)


def test_a_name_that_a_terminal_obeys(bundle: Path) -> None:
    (bundle / "\x1b]0;x\x07").write_bytes(b"")
    assert "which the manifest does not list" in refusal(bundle)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._model.onnx", "frigate/.DS_Store", "frigate/._labels.txt", "model.engine"])  # fmt: skip # noqa: E501
def test_what_copying_and_trtexec_leave_is_passed_over(bundle: Path, name: str) -> None:
    (bundle / name).write_bytes(b"litter")
    assert read(bundle).manifest.names == ("a", "b")


@posix
@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "extra", ".DS_Store", "frigate/labels.txt"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder"])
def test_a_special_file(bundle: Path, name: str, kind: str) -> None:
    file = bundle / name
    if file.exists():
        file.rename(bundle.parent / "outside")
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero" if kind == "device" else bundle.parent / "outside")
    refusal(bundle)


@posix
def test_a_folder_that_is_a_link(bundle: Path) -> None:
    (bundle / "frigate").rename(bundle.parent / "outside")
    (bundle / "frigate").symlink_to(bundle.parent / "outside")
    assert "'frigate' is a link" in refusal(bundle)


def test_the_bundle_itself_may_be_a_link(bundle: Path) -> None:
    (bundle.parent / "current").symlink_to(bundle)
    assert read(bundle.parent / "current").manifest.names == ("a", "b")


@posix
def test_a_session_gets_the_bytes_that_were_checked(bundle: Path) -> None:
    opened = read(bundle)
    assert opened.content("model.onnx") == b"weights"
    (bundle / "model.onnx").write_bytes(b"WEIGHTS")  # after the check
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        opened.content("model.onnx")
    (bundle / "model.onnx").unlink()
    os.mkfifo(bundle / "model.onnx")
    with pytest.raises(BundleError, match="no regular file"):
        opened.content("model.onnx")
    with pytest.raises(BundleError, match=r"lists no digest for 'manifest\.json'"):
        opened.content("manifest.json")


def test_files_without_end(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (bundle / MANIFEST).open("r+b") as file:
        file.truncate(LARGEST_MANIFEST + 1)
    assert "at most" in refusal(bundle)
    seal(bundle, PLAIN)
    with (bundle / "model.onnx").open("r+b") as file:
        file.truncate(entries.LARGEST_FILE + 1)  # sparse
    assert "at most" in refusal(bundle)


def test_a_hundred_thousand_names_are_refused_at_the_first(bundle: Path) -> None:
    edited(bundle, lambda data: data["files"].update({f"{index}.bin": "0" * 64 for index in range(100_000)}))
    assert "0.bin is missing" in refusal(bundle)


TENSOR = asdict(OUTPUTS[0])
EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "letterbox": lambda m: m["input"].update(letterbox="corner"),
    "pad value": lambda m: m["input"].update(pad_value=0),
    "colour": lambda m: m["input"].update(color="XYZ"),
    "grey": lambda m: m["input"].update(color="rgb"),
    "scaling": lambda m: m["input"].update(scaling=0.0),
    "dtype": lambda m: m["outputs"][0].update(dtype="nonsense"),
    "huge dtype": lambda m: m["outputs"][0].update(dtype="U100000"),
    "layout": lambda m: m["outputs"][0].update(layout="CHWN"),
    "strides swapped": lambda m: m.update(strides=[32, 16, 8]),
    "strides infinite": lambda m: m.update(strides=[8, 16, float("inf")]),
    "stride of a text": lambda m: m.update(strides=[8, 16, "32"]),
    "shape not a number": lambda m: m["input"]["tensor"].update(shape=[1, 3, 32, float("nan")]),
    "shape of five": lambda m: m["outputs"][0].update(shape=[1, 64, 4, 4, 1]),
    "shape negative": lambda m: m["outputs"][0].update(shape=[1, 64, -4, -4]),
    "side": lambda m: m["input"].update(height=10**6),
    "one name": lambda m: m.update(names=["only"]),
    "three names": lambda m: m.update(names=["a", "b", "c"]),
    "surrogate": lambda m: m.update(names=["\ud800", "b"]),
    "endless name": lambda m: m.update(names=["a" * 10**6, "b"]),
    "name of a number": lambda m: m.update(names=[1, "b"]),
    "two tensors of one name": lambda m: m["outputs"][1].update(name=m["outputs"][0]["name"]),
    "integers without scale": lambda m: m["outputs"][0].update(dtype="int8"),
    "scale of floats": lambda m: m["outputs"][0].update(scale=1.0),
    "zero point": lambda m: m["outputs"][0].update(dtype="int8", scale=1.0, zero_point=128),
    "zero point without end": lambda m: m["outputs"][0].update(dtype="int8", scale=1.0, zero_point=10**400),
    "scale 0": lambda m: m["outputs"][0].update(dtype="int8", scale=0.0, zero_point=0),
    "scale -1": lambda m: m["outputs"][0].update(dtype="int8", scale=-1.0, zero_point=0),
    "scale without end": lambda m: m["outputs"][0].update(dtype="int8", scale=10**400, zero_point=0),
    "confidence": lambda m: m["thresholds"].update(confidence=2.0),
    "iou": lambda m: m["thresholds"].update(iou=-0.1),
    "detections": lambda m: m["thresholds"].update(max_detections=0),
    "NUL in a file name": lambda m: m["files"].update({"a\0b": "0" * 64}),
    "drive": lambda m: m["files"].update({"C:evil": "0" * 64}),
    "two spellings": lambda m: m["files"].update({"./model.onnx": m["files"]["model.onnx"]}),
    "the manifest itself": lambda m: m["files"].update({MANIFEST: "0" * 64}),
    "empty file name": lambda m: m["files"].update({"": "0" * 64}),
    "short digest": lambda m: m["files"].update({"model.onnx": "0" * 63}),
    "schema 0": lambda m: m.update(schema_version=0),
    "schema true": lambda m: m.update(schema_version=True),
    "extra": lambda m: m.update(extra=5),
    "tools": lambda m: m.update(tools={"a": 5}),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_value_that_no_session_can_work_with(bundle: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    refusal(edited(bundle, edit))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 100_000,
        '{"schema_version": 1, "extra": ' + "[" * 50 + "]" * 50 + "}",
        '{"schema_version": 1, "schema_version": 1}',
        '{"schema_version": 1, "reg_max": 1e999}',
        '{"schema_version": 1, "reg_max": ' + "9" * 5000 + "}",
        '{"schema_version": ' + "9" * 400 + "}",
        '{"schema_version": NaN}',
        '{"schema_version": -Infinity}',
    ],
)
def test_json_that_costs_or_means_two_things(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text)
    refusal(bundle)


def test_a_manifest_that_is_not_utf_8(bundle: Path) -> None:
    (bundle / MANIFEST).write_bytes(b'{"schema_version": 1, "variant": "\xff"}')
    assert "cannot be read as JSON" in refusal(bundle)


def test_a_layout_that_a_session_does_not_work_with(bundle: Path) -> None:
    opened = read(bundle)
    opened.expect(("NCHW", ("float32",)), ("NCHW", ("float32", "float16")))
    with pytest.raises(BundleError, match="images is NCHW float32 in the manifest, a model for onnx has NHWC uint8"):
        opened.expect(("NHWC", ("uint8",)), ("NCHW", ("float32",)))


@pytest.mark.parametrize("folder", sorted(OLD.iterdir()), ids=lambda folder: folder.name)
def test_bundles_of_the_first_version_open(folder: Path) -> None:
    """Manifests as the compiler wrote them at 1757f0c; the files beside them are stand-ins."""
    opened = read(folder)
    assert isinstance(opened, Bundle)
    assert opened.manifest.names == ("RBC", "WBC", "Platelets")
    assert opened.manifest.precision == "int8"
    assert opened.manifest.model in opened.manifest.files


def test_a_copy_by_name_is_the_same_bundle(bundle: Path, tmp_path: Path) -> None:
    assert read(shutil.copytree(bundle, tmp_path / "kopie ü")).digest == read(bundle).digest
    assert read(bundle).manifest.input == INPUT
