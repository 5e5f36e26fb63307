"""The jetson session on fakes; ``test_tensorrt_api.py`` holds both against NVIDIA's real modules."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edge_yolov9.targets.jetson.runtime import cache

from edge_yolov9 import Detector, registry
from edge_yolov9 import bundle as bundles
from edge_yolov9.bundle import Bundle
from edge_yolov9.decode import DecodeOptions, Decoder
from edge_yolov9.errors import InferenceError
from tests.targets.jetson_machine import SIZE, Machine, infer, portable
from tests.targets.jobs import frames
from tests.targets.real_tensorrt import ROOT

WEAK = ("8.5.2.2", "8.6.2", "10.3.0", "10.11.0.33")
TYPED = ("10.12.0.36", "10.13.3.9", "10.16.1.11", "11.4.0.106")


@pytest.mark.parametrize("version", WEAK + TYPED)
def test_one_path_for_every_version(version: str, machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install(version)
    found, expected = infer(made["int8"]), portable(made["int8"])
    assert [array.shape for array in found] == [array.shape for array in expected]
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() < 0.12 * np.abs(b).max()
    typed = version in TYPED
    assert record.parsed == (made["int8"] / ("model_typed.onnx" if typed else "model.onnx")).read_bytes()
    assert record.flags == ([] if typed else ["INT8", "FP16"])
    flags = sys.modules["tensorrt"].NetworkDefinitionCreationFlag
    assert record.network == 1 << (flags.STRONGLY_TYPED if typed else flags.EXPLICIT_BATCH)
    assert not machine.cudart.held


@pytest.mark.parametrize(("precision", "flags"), [("fp32", []), ("fp16", ["FP16"]), ("int8", ["INT8", "FP16"])])
def test_builder_flags_follow_the_precision(
    precision: str, flags: list[str], machine: Machine, made: dict[str, Path]
) -> None:
    record = machine.install("10.3.0")
    infer(made[precision])
    assert record.flags == flags


@pytest.mark.parametrize("version", ["8.6.2", "11.4.0.106"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_float_engines_agree_with_the_float_graph(
    precision: str, version: str, machine: Machine, made: dict[str, Path]
) -> None:
    machine.install(version)
    for a, b in zip(infer(made[precision]), portable(made["fp32"]), strict=True):
        assert np.abs(a - b).max() < (1e-3 if precision == "fp32" else 0.05)


def test_a_detector_opens_the_bundle(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    with Detector(made["int8"], confidence=0.01) as detect:
        found = detect(frames(1, SIZE)[0])
    boxes, scores, _ = Decoder((SIZE, SIZE))(portable(made["int8"]), DecodeOptions(confidence=0.01))
    assert len(boxes) > 3
    assert abs(len(found) - len(boxes)) <= 2
    np.testing.assert_allclose(found.xyxy[0], boxes[0], atol=4)
    assert found.confidence[0] == pytest.approx(scores[0], abs=0.1)
    assert not machine.cudart.held


@pytest.mark.parametrize("integrated", [True, False])
def test_the_bare_call_runs_the_frame_that_is_in_place(
    integrated: bool, machine: Machine, made: dict[str, Path]
) -> None:
    machine.install("10.3.0")
    gpu = machine.plug(integrated=integrated)
    session: Any = registry.open_session(bundles.read(made["int8"]))
    found = session.infer(frames(1, SIZE)[0])
    expected = [array.copy() for array in found]
    for array in found:
        array[...] = 0
    before = gpu.launches
    session.bare()
    assert gpu.launches == before + 1
    for array, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(array, want)
    session.close()


def test_a_card_with_its_own_memory_is_copied_to(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    shared = infer(made["int8"])
    assert machine.cudart.copies == 0
    card = machine.plug(integrated=False)
    copied = infer(made["int8"])
    assert card.copies == 2 * 7, "one frame to warm up, one that was asked for"
    for a, b in zip(shared, copied, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not card.held


def test_tensors_are_found_by_name(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    expected = infer(made["int8"])
    record = machine.install("10.3.1")
    record.tensor_order = ["class_p5", "box_p4", "images", "class_p3", "box_p5", "box_p3", "class_p4"]
    for a, b in zip(infer(made["int8"]), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_engine_is_built_once(machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    record = machine.install("10.3.0")
    infer(made["int8"])
    assert "building the TensorRT 10.3.0 engine (model, int8) for Orin" in caplog.text
    caplog.clear()
    infer(made["int8"])
    assert record.builds == 1
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]
    infer(made["fp16"])
    assert record.builds == 2


@pytest.mark.parametrize("change", ["version", "gpu", "jetpack"])
def test_another_place_gets_another_engine(change: str, machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    infer(made["int8"])
    record = machine.install("10.13.3.9" if change == "version" else "10.3.0")
    if change == "gpu":
        machine.plug(name="Orin NX")
    if change == "jetpack":
        cache.RELEASE.write_text("# R36 (release), REVISION: 4.3\nmore\n")
    infer(made["int8"])
    assert record.builds == 1
    assert len(list(machine.cache.glob("*.engine"))) == 2


def test_what_changed_is_told_from_the_newest_engine(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    for version in ("10.3.0", "10.3.1"):
        machine.install(version)
        infer(made["fp32"])
    kept = sorted(machine.cache.glob("*.engine.json"))
    os.utime(kept[0], (1e9, 1e9))  # so that the last by name is the newest
    newest = json.loads(kept[1].read_text())["tensorrt"]
    machine.install("10.3.2")
    infer(made["fp32"])
    assert f"the engine has to be built again: TensorRT was {newest!r} and is '10.3.2'" in caplog.text


@pytest.mark.parametrize("damage", ["bytes", "no digest", "garbage digest", "truncated"])
def test_a_damaged_engine_is_built_again(
    damage: str, machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    machine.install("10.3.0")
    expected = infer(made["int8"])
    (file,) = machine.cache.glob("*.engine")
    sidecar = file.with_name(file.name + ".json")
    if damage == "bytes":
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    elif damage == "truncated":
        file.write_bytes(b"")
    elif damage == "no digest":
        sidecar.unlink()
    else:
        sidecar.write_text("[1")
    caplog.clear()
    record = machine.install("10.3.0")
    for a, b in zip(infer(made["int8"]), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert record.builds == 1
    assert ("is damaged" in caplog.text) == (damage != "no digest")
    infer(made["int8"])
    assert record.builds == 1


def test_an_engine_that_tensorrt_refuses_is_built_again(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    machine.install("10.3.0")
    infer(made["int8"])
    (file,) = machine.cache.glob("*.engine")
    cache.keep(file, b"foreign", cache.Facts())
    record = machine.install("10.3.0")
    infer(made["int8"])
    assert record.builds == 1
    assert "refuses the cached engine" in caplog.text


def test_kernel_timings_are_kept_for_the_next_build(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    infer(made["int8"])
    infer(made["fp16"])
    assert record.timings_given == [b"", b"timed;"]
    refusing = machine.install("10.3.0")
    refusing.refuse_timings = "kept"
    infer(made["fp32"])
    assert refusing.timings_given == [b""]
    refusing = machine.install("10.3.1")
    refusing.refuse_timings = "any"
    infer(made["fp32"])
    assert refusing.builds == 1


def test_a_cache_that_cannot_be_written_costs_only_time(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    machine.install("10.3.0")
    machine.cache.write_text("a file where the folder should be")
    assert len(infer(made["int8"])) == 6
    assert "cannot keep" in caplog.text


def test_a_cache_that_cannot_be_read_costs_only_time(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = machine.install("10.3.0")
    monkeypatch.setenv("EDGE_YOLOV9_CACHE", str(machine.cache / ("a" * 300)))
    assert len(infer(made["int8"])) == 6
    assert "cannot be read (File name too long); it is made again" in caplog.text
    assert record.builds == 1


def test_a_file_system_without_locks(machine: Machine, made: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    record = machine.install("10.3.0")
    infer(made["int8"])
    infer(made["int8"])
    assert record.builds == 1


def test_what_one_user_builds_another_may_read(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    infer(made["int8"])
    kept = [file for file in machine.cache.iterdir() if file.suffix != ".lock"]
    assert {file.stat().st_mode & 0o777 for file in kept} == {0o644}


def test_default_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGE_YOLOV9_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "edge-yolov9" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "edge-yolov9" / "engines"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    with pytest.raises(InferenceError, match="no home folder for engines; set EDGE_YOLOV9_CACHE"):
        cache.folder()


def test_closing_twice_and_using_it_afterwards(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    session = registry.open_session(bundles.read(made["int8"]))
    with pytest.raises(InferenceError, match="expected a frame"):
        session.infer(np.zeros((SIZE, SIZE + 1, 3), np.uint8))
    session.close()
    session.close()
    with pytest.raises(InferenceError, match="session is closed"):
        session.infer(frames(1, SIZE)[0])


def test_the_session_loads_no_toolchain() -> None:
    script = (
        "import sys, edge_yolov9.targets.jetson.session\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'nncf', 'openvino', 'tensorrt'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_bundle_names_the_portable_graph(made: dict[str, Path]) -> None:
    bundle: Bundle = bundles.read(made["int8"])
    assert bundle.manifest.extra["portable"] == "model.onnx" == bundle.manifest.model
    assert bundle.manifest.extra["typed"] == "model_typed.onnx"
    assert bundles.read(made["fp32"]).manifest.extra["typed"] == "model.onnx"
