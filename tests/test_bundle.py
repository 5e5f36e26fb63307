"""The manifest, atomic writing, and everything that a damaged or hostile bundle may be."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from edge_yolov9.bundle import (
    MANIFEST,
    SCHEMA_VERSION,
    Bundle,
    InputRule,
    Manifest,
    TensorSpec,
    entries,
    read,
    seal,
    writing,
)
from edge_yolov9.errors import BundleError

OUTPUTS = tuple(
    TensorSpec(f"{kind}_p{level}", (1, channels, 32 >> level, 32 >> level), "float32", "NCHW")
    for level in (3, 4, 5)
    for kind, channels in (("box", 64), ("class", 2))
)
INPUT = InputRule(TensorSpec("images", (1, 3, 32, 32), "float32", "NCHW"), 32, 32)
PLAIN = Manifest("gelan-t", ("a", "b"), "onnx", "cpu", "fp32", INPUT, OUTPUTS, "model.onnx")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    with writing(tmp_path / "bundle") as folder:
        (folder / "model.onnx").write_bytes(b"weights")
        seal(folder, PLAIN)
    return tmp_path / "bundle"


def edit(bundle: Path, **changes: Any) -> None:
    data = json.loads((bundle / MANIFEST).read_text())
    data.update(changes)
    (bundle / MANIFEST).write_text(json.dumps(data))


def test_what_was_written_is_read(bundle: Path) -> None:
    manifest = read(bundle).manifest
    assert manifest.outputs == OUTPUTS
    assert manifest.input == INPUT
    assert manifest.names == ("a", "b")
    assert set(manifest.files) == {"model.onnx"}
    assert bundle.stat().st_mode & 0o055  # others may read it


def test_a_changed_byte(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"weightz")
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        read(bundle)


def test_a_missing_file(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        read(bundle)


def test_a_newer_schema(bundle: Path) -> None:
    edit(bundle, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(BundleError, match="update edge-yolov9"):
        read(bundle)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside", "..\\outside"])
def test_a_path_that_escapes(bundle: Path, name: str) -> None:
    (bundle.parent / "outside").write_bytes(b"secret")
    edit(bundle, files={name: "0" * 64}, model=name)
    with pytest.raises(BundleError, match="outside the bundle"):
        read(bundle)


def test_a_link_that_escapes(bundle: Path) -> None:
    (bundle.parent / "outside").write_bytes(b"weights")
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").symlink_to(bundle.parent / "outside")
    with pytest.raises(BundleError, match="outside the bundle"):
        read(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": []},
        {"outputs": None},
        {"names": []},
        {"names": None},
        {"input": {}},
        {"files": ["model.onnx"]},
        {"files": {"model.onnx": 5}},
        {"model": "other.onnx"},
        {"model": 3},
        {"schema_version": "one"},
        {"thresholds": 4},
        {"strides": "abc"},
        {"strides": [8, 16, 0]},
        {"precision": "int4"},
        {"reg_max": "x"},
        {"reg_max": 8},
        {"input": {**asdict(INPUT), "height": 64}},
        {"extra": [1]},
        {"thresholds": {"iou": "x"}},
        {"thresholds": {"max_detections": True}},
        {"input": {**asdict(INPUT), "height": -1}},
        {"input": {**asdict(INPUT), "width": "wide"}},
        {"input": {**asdict(INPUT), "scaling": None}},
    ],
)
def test_a_malformed_manifest_is_one_clear_line(bundle: Path, changes: dict[str, Any]) -> None:
    edit(bundle, **changes)
    with pytest.raises(BundleError) as caught:
        read(bundle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\xff"])
def test_a_manifest_that_is_no_json_object(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text)
    with pytest.raises(BundleError):
        read(bundle)


def test_no_bundle_at_all(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        read(tmp_path / "nothing")
    with pytest.raises(BundleError, match="not a bundle"):
        read(tmp_path)


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with writing(tmp_path / "bundle") as folder:
            (folder / "model.onnx").write_bytes(b"weights")
            seal(folder, PLAIN)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_an_old_bundle_is_replaced_only_on_success(bundle: Path) -> None:
    with pytest.raises(RuntimeError), writing(bundle):
        raise RuntimeError
    assert read(bundle).manifest.names == ("a", "b")
    with writing(bundle) as folder:
        (folder / "model.onnx").write_bytes(b"newer")
        seal(folder, PLAIN)
    assert (bundle / "model.onnx").read_bytes() == b"newer"
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_something_else_at_the_destination_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(BundleError, match="not a bundle"), writing(tmp_path / "photos"):
        pass
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_destination_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(BundleError, match="cannot write"), writing(tmp_path / "bundle"):
        pass


def test_the_digest_names_the_content(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    assert read(copy).digest == read(bundle).digest
    assert isinstance(read(copy), Bundle)


def test_a_file_that_cannot_be_read_is_one_clear_line(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = entries.open_file

    def refuse(folder: Path, name: str, limit: int) -> BinaryIO:
        if name == MANIFEST:
            return opened(folder, name, limit)
        raise PermissionError(13, "Permission denied", str(folder / name))

    monkeypatch.setattr(entries, "open_file", refuse)
    with pytest.raises(BundleError, match=r"model\.onnx cannot be read: Permission denied"):
        read(bundle)
