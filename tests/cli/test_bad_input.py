"""Whatever is handed over wrongly gets one line, an exit code other than 0, and nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_yolov9.cli import main
from tests.conftest import DATA, DEMO, PICTURES

Compiled = Callable[..., Path]
PICTURE = sorted(PICTURES.iterdir())[0]


def refused(*words: str | Path, says: str) -> Result:
    """Run a command that must fail with one line that contains ``says``."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1, result.stderr
    assert says in lines[0]
    assert "Traceback" not in result.output
    return result


def compile_to(out: Path, checkpoint: Path = DEMO, target: str = "onnx") -> tuple[str | Path, ...]:
    return ("compile", checkpoint, "--target", target, "--precision", "fp32", "-o", out)


@pytest.fixture
def bundle(compiled: Compiled, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(compiled("onnx", "fp32"), tmp_path / "bundle")


def manifest_edit(bundle: Path, **changes: object) -> None:
    data = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**data, **changes}))


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (None, "missing.pt"),
        (b"", "empty.pt"),
        (b"PK\x03\x04 cut short", "cut.pt"),
        (b"\xff\xd8\xff\xe0 a picture", "photo.pt"),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": }', "bad.safetensors"),
        (b"just text", "notes.safetensors"),
    ],
)
@pytest.mark.parametrize("verb", ["compile", "val", "info"])
def test_a_checkpoint_that_is_none(tmp_path: Path, content: bytes | None, name: str, verb: str) -> None:
    checkpoint = tmp_path / name
    if content is not None:
        checkpoint.write_bytes(content)
    words = {
        "compile": compile_to(tmp_path / "b", checkpoint),
        "val": ("val", checkpoint, "--data", DATA),
        "info": ("info", checkpoint),
    }[verb]
    refused(*words, says=name)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("keep", [100, 50_000, 2_000_000])
def test_a_truncated_checkpoint(tmp_path: Path, keep: int) -> None:
    for source in (DEMO,):
        cut = tmp_path / f"cut{source.suffix}"
        cut.write_bytes(source.read_bytes()[:keep])
        refused(*compile_to(tmp_path / "b", cut), says=cut.name)
    assert not (tmp_path / "b").exists()


def test_a_truncated_published_checkpoint(tmp_path: Path, shared: Path) -> None:
    whole = (shared / "checkpoints" / "bccd-yolov9-t.pt").read_bytes()
    for keep in (10, 1000, 300_000, len(whole) - 1000):
        (tmp_path / "cut.pt").write_bytes(whole[:keep])
        refused(*compile_to(tmp_path / "b", tmp_path / "cut.pt"), says="cut.pt")


def test_a_bundle_with_a_changed_byte(bundle: Path) -> None:
    model = bundle / json.loads((bundle / "manifest.json").read_text())["model"]
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    refused("detect", bundle, PICTURE, says="was changed")
    refused("val", bundle, "--data", DATA, says="was changed")


def test_a_bundle_without_a_file(bundle: Path) -> None:
    (bundle / json.loads((bundle / "manifest.json").read_text())["model"]).unlink()
    refused("detect", bundle, PICTURE, says="is missing")
    refused("info", bundle, says="is missing")


def test_a_bundle_of_a_newer_schema(bundle: Path) -> None:
    manifest_edit(bundle, schema_version=99)
    refused("detect", bundle, PICTURE, says="schema 99")


def test_a_bundle_whose_path_escapes(bundle: Path) -> None:
    manifest_edit(bundle, files={"../../etc/passwd": "0" * 64}, model="../../etc/passwd")
    refused("detect", bundle, PICTURE, says="outside the bundle")


def test_a_bundle_of_an_unknown_target(bundle: Path) -> None:
    manifest_edit(bundle, target="abacus")
    refused("detect", bundle, PICTURE, says="unknown target 'abacus'")


def test_a_runtime_that_is_absent(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_yolov9.registry.rows.importable", lambda name: False)
    refused("detect", bundle, PICTURE, says='pip install "edge-yolov9[onnx]"')


def test_an_image_that_does_not_decode(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    refused("detect", bundle, tmp_path / "broken.jpg", says="broken.jpg")
    refused("detect", bundle, tmp_path / "nowhere.jpg", says="nowhere.jpg")


@pytest.mark.parametrize("kind", ["empty", "no pictures", "missing", "broken picture"])
def test_calibration_without_images(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "pictures"
    if kind != "missing":
        folder.mkdir()
    if kind == "no pictures":
        (folder / "notes.txt").write_text("hello")
    if kind == "broken picture":
        (folder / "broken.jpg").write_bytes(b"no")
    words = ("compile", DEMO, "--target", "onnx", "--precision", "int8", "--calibration", folder, "-o", tmp_path / "b")
    refused(*words, says="broken.jpg" if kind == "broken picture" else "pictures")
    assert not (tmp_path / "b").exists()


def test_int8_without_calibration(tmp_path: Path) -> None:
    refused("compile", DEMO, "--target", "tflite", "--precision", "int8", "-o", tmp_path / "b", says="--calibration")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("budget", ["-0.5", "nan", "inf", "100.5"])
def test_a_budget_that_is_no_number_of_points(budget: str, tmp_path: Path) -> None:
    words = (*compile_to(tmp_path / "b"), "--data", DATA, "--max-drop", budget)
    refused(*words, says=f"--max-drop is in AP points, from 0 to 100, got {budget}")
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_cannot_be_written_is_refused_before_there_is_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    refused(*compile_to(tmp_path / "b"), "--json", tmp_path / "folder", says="name a file")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("labels", ["yolo", "coco"])
def test_data_without_annotations(labels: str, tmp_path: Path) -> None:
    shutil.copy(PICTURE, tmp_path / "a.jpg")
    data, out, names = tmp_path / "data.yaml", tmp_path / "b", ["RBC", "WBC", "Platelets"]
    if labels == "yolo":
        data.write_text(f"train: .\nval: .\nnames: {names}\n")
        refused(*compile_to(out), "--data", data, says="no image of val has labels")
    else:
        categories = [{"id": index, "name": name} for index, name in enumerate(names)]
        images = [{"id": 1, "file_name": "a.jpg", "width": 416, "height": 416}]
        (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": [], "categories": categories}))
        data.write_text(f"val: {{images: ., annotations: a.json}}\nnames: {names}\n")
        refused(*compile_to(out), "--data", data, says="no object is labelled in the val split")
    assert not out.exists()


def test_an_image_size_that_no_network_takes(tmp_path: Path) -> None:
    refused(*compile_to(tmp_path / "b"), "--imgsz", "300", says="multiple of 32")
    refused(*compile_to(tmp_path / "b"), "--imgsz", "320x99999968", says="at most 8192, got 99999968")
    assert CliRunner().invoke(main, [*map(str, compile_to(tmp_path / "b")), "--imgsz", "²"]).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_class_names_that_do_not_match(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(DATA.read_text().replace("path: bccd", f"path: {DATA.parent / 'bccd'}").replace("RBC", "cat"))
    refused("val", bundle, "--data", other, says="cat")
    refused("val", DEMO, "--data", other, says="cat")
    refused(*compile_to(tmp_path / "b"), "--data", other, says="cat")
    assert not (tmp_path / "b").exists()


def test_a_destination_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    refused(*compile_to(tmp_path / "photos"), says="is not a bundle")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]
    for place in (".", "/", ".."):
        refused(*compile_to(Path(place)), says="name one inside it")


def test_the_real_process_prints_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_yolov9", *map(str, compile_to(tmp_path / "b", tmp_path / "missing.pt"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    assert done.stdout == ""


@pytest.mark.parametrize("content", [b"\xff\xfe\x87", None])
def test_a_file_of_names_that_is_no_text_or_too_large_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(content or b"")
    if content is None:
        os.truncate(file, 1 << 36)  # sparse
    result = CliRunner().invoke(main, ["convert", "x.pt", "--names", str(file), "-o", "y.safetensors"])
    assert result.exit_code == 2
    assert f"Error: Invalid value for '--names': cannot read {file}" in result.output
