"""What a manifest keeps of its compilation: written whole, and read where bundles of 1757f0c have it, in ``extra``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_yolov9.bundle import MANIFEST, Manifest, read, seal
from edge_yolov9.bundle.record import (
    AttemptRecord,
    AutoRecord,
    CandidateRecord,
    CompilationRecord,
    LatencyRecord,
    PlanRecord,
    RangeRecord,
    SearchRecord,
    SensitivityRecord,
)
from edge_yolov9.errors import BundleError
from tests.test_bundle import PLAIN

WHOLE = CompilationRecord(
    seconds={"load checkpoint": 0.4, "total": 108.4},
    plan=PlanRecord(
        rule="mse",
        relative_error={"min-max": 0.031, "mse": 0.025},
        weight_levels=63,
        symmetric=False,
        equalized_channels=2,
        limited_kernels=1,
        bias_correction=True,
        fine_tuning_steps=100,
        float_layers=("backbone.reduce.1",),
        tensors={"images": RangeRecord(0.0, 1.0, "min-max")},
    ),
    search=SearchRecord(
        attempts=(AttemptRecord("mse", None, 0, "box_p3 is noise"), AttemptRecord("mse, fine-tuned", 0.25, 1)),
        sensitivity={"images": SensitivityRecord(12.5, 0.75)},
        latency=LatencyRecord("onnx", 5.0, 5.5, 10.0),
    ),
    auto=AutoRecord("int8", "x86_64", {"int8": CandidateRecord(0.25, 5.5, 5.0, 6.0), "fp32": CandidateRecord(out="x")}),
)

OLD: dict[str, Any] = {
    "device": "CPU",
    "plan": {
        "rule": "mse",
        "relative_error": {"min-max": 0.031, "mse": 0.025},
        "weight_levels": 63,
        "symmetric": False,
        "equalized_channels": 2,
        "limited_kernels": 1,
        "bias_correction": True,
        "fine_tuning_steps": 100,
        "float_layers": ["backbone.reduce.1"],
        "tensors": {"images": {"low": 0.0, "high": 1.0, "method": "min-max"}},
    },
    "search": {
        "attempts": [
            {"ranges": "mse", "drop_points": None, "float_layers": 0, "failure": "box_p3 is noise"},
            {"ranges": "mse, fine-tuned", "drop_points": 0.25, "float_layers": 1},
        ],
        "sensitivity": {"images": {"sqnr_db": 12.5, "drop_points": 0.75}},
        "latency": {"runtime": "onnx", "int8_ms": 5.0, "ms": 5.5, "cost_percent": 10.0},
    },
    "auto": {
        "chosen": "int8",
        "machine": "x86_64",
        "candidates": {
            "int8": {"drop_points": 0.25, "ms": 5.5, "least_ms": 5.0, "most_ms": 6.0},
            "fp32": {"out": "x"},
        },
    },
    "compile_seconds": {"load checkpoint": 0.4, "total": 108.4},
}
"""``extra`` as commit 1757f0c wrote it."""


def sealed(folder: Path, manifest: Manifest) -> Path:
    """A bundle with one file."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    seal(folder, manifest)
    return folder


def rewritten(folder: Path, **changes: Any) -> Path:
    """The bundle with other entries in its manifest; None removes one."""
    file = folder / MANIFEST
    data = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
    return folder


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = sealed(
        tmp_path / "b", replace(PLAIN, compilation=WHOLE, extra={"device": "CPU", "plan": "a target's own"})
    )
    assert read(folder).manifest.compilation == WHOLE
    assert read(folder).manifest.extra == {"device": "CPU", "plan": "a target's own"}


def test_older_bundles_have_it_in_extra(tmp_path: Path) -> None:
    folder = rewritten(sealed(tmp_path / "b", PLAIN), compilation=None, extra=OLD)
    assert "compilation" not in json.loads((folder / MANIFEST).read_text())
    manifest = read(folder).manifest
    assert (manifest.compilation, manifest.extra) == (WHOLE, {"device": "CPU"})
    rewritten(folder, extra={})
    assert read(folder).manifest.compilation == CompilationRecord()


def test_a_record_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = rewritten(sealed(tmp_path / "b", PLAIN), compilation={"plan": {**OLD["plan"], "rule": 3}})
    with pytest.raises(BundleError, match=r"plan\.rule must be a text, got 3"):
        read(folder)
