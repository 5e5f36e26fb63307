"""Sizes, memory and start-up."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import child, footprint, latency, startup, worker
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.spread import Few
from edge_yolov9.errors import InferenceError, SourceError


def installed(folder: Path, name: str, requires: str = "", extra_bytes: int = 1000) -> None:
    """A distribution with one module file."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}")
    (folder / f"{name}.py").write_bytes(b"#" * extra_bytes)
    (info / "RECORD").write_text(f"{name}.py,,\nmissing.py,,\n")


def test_requirements_are_followed_without_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    installed(tmp_path, "toolone", "Requires-Dist: tool_two>=1\nRequires-Dist: pytest; extra == 'test'\n", 5000)
    installed(tmp_path, "tool_two", "Requires-Dist: toolone[all]\nRequires-Dist: not-installed-anywhere (>=2)\n")
    assert footprint.required(["toolone"]) == ["tool-two", "toolone"]
    assert footprint.installed_bytes(importlib.metadata.distribution("toolone")) == 5000


def test_packages_that_the_runtime_needs() -> None:
    found = footprint.packages("onnx")
    assert {"edge-yolov9", "numpy", "click", "onnxruntime"} <= set(found.by_package)
    assert {"opencv-python", "opencv-python-headless"} & set(found.by_package)
    assert "torch" not in found.by_package
    assert found.total_mb == pytest.approx(sum(package.mb for package in found.by_package.values()), abs=0.01)
    assert found.by_package["numpy"].mb > 10


def test_a_runtime_that_pip_did_not_bring_is_not_counted_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint.importlib.metadata, "packages_distributions", dict)
    found = footprint.packages("onnx")
    assert "onnxruntime was not installed by pip" in str(found.note)
    assert "onnxruntime" not in found.by_package


def test_footprint_of_a_bundle(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "STARTS", 2)
    found = footprint.measure_footprint(bundles.read(tiny))
    size = sum(file.stat().st_size for file in tiny.iterdir()) / 1e6
    assert found.bundle_mb == pytest.approx(size, abs=1e-3)
    assert set(found.files_mb) == {"manifest.json", "model.onnx"}
    memory = {name: part.median for name, part in found.memory_mb.items() if isinstance(part, Few)}
    assert 20 < memory["imported"] < memory["loaded"] <= memory["running"] <= memory["peak"] < 1000
    steps = {name: part.median for name, part in found.startup_ms.items()}
    assert set(steps) == {*startup.STEPS, "to_first_result"}
    assert all(part.n == 2 for part in found.startup_ms.values())
    first = found.first_startup_ms
    assert first["to_first_result"] == pytest.approx(sum(first[name] for name in startup.STEPS), rel=1e-3)


def test_the_clock_of_a_start_up_runs_before_numpy() -> None:
    code = "import sys, edge_yolov9.bench.startup; print('numpy' in sys.modules, 'cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_memory_without_proc(tmp_path: Path) -> None:
    assert startup.resident("VmRSS", tmp_path) is None
    assert isinstance(footprint.memory_spread([{"peak": None}])["peak"], Missing)


def test_a_process_hands_its_error_over(tiny: Path) -> None:
    settings = worker.Settings(str(tiny), ("/no/such.jpg",) * 10_000, None, None, 1, 0.1)
    with pytest.raises(SourceError, match=r"cannot read image /no/such\.jpg"):
        child.run("worker", settings, worker.Timings, lambda text: None)


def test_a_process_that_dies_is_an_inference_error() -> None:
    with pytest.raises(InferenceError, match="ended with code 1: TypeError"):
        child.run("startup", latency.Settings("x", None), startup.StartUp, lambda text: None)


def test_lines_of_vendor_libraries_are_passed_over() -> None:
    phases: list[str] = []
    lines = ["INFO: delegate\n", "17\n", json.dumps({"phase": "a"}), json.dumps({"result": {"x": 1}}), "late"]
    assert child.listen(lines, phases.append) == {"x": 1}
    assert phases == ["a"]
    assert child.listen(["nothing"], phases.append) is None
