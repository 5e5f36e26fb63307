"""A little of what ``checkpoint.py``, ``mutations.py`` and ``graphs.py`` do for as long as one likes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Compiled
from tests.fuzz import mutations


def test_the_checkpoint_reader_withstands_fuzzing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="coverage-guided fuzzing needs atheris")
    (tmp_path / "corpus").mkdir()
    limits = ["-max_total_time=10", "-timeout=20", "-rss_limit_mb=6000", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, "-m", "tests.fuzz.checkpoint", str(tmp_path / "corpus"), *limits]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "stat::number_of_executed_units" in done.stderr or "Done" in done.stderr, done.stderr[-3000:]


@pytest.mark.parametrize("name", mutations.KINDS)
def test_mutated_input_is_opened_or_refused_in_a_line(
    name: str, compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, _, target = name.partition("-")
    if kind in ("manifest", "model"):
        monkeypatch.setenv("EDGE_YOLOV9_TEST_BUNDLES", str(compiled(target, "int8").parent))
    assert mutations.campaign(name, 20, 0, tmp_path / name) == []


@pytest.mark.parametrize(("target", "count"), [("onnx", 20), ("openvino", 8), ("tflite", 20)])
def test_no_graph_that_passes_its_check_ends_the_process(
    compiled: Compiled, tmp_path: Path, target: str, count: int
) -> None:
    for module in ("onnx", "openvino", "flatbuffers", "ai_edge_litert"):
        pytest.importorskip(module)
    command = [sys.executable, "-m", "tests.fuzz.graphs", str(compiled(target, "int8")), str(count), "17"]
    names = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=names, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "'refused'" in done.stdout
    assert "'ran'" in done.stdout


def test_the_campaign_sees_a_crash_a_traceback_and_a_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that answers each way; the campaign goes on behind a process that ended."""
    monkeypatch.setattr(mutations, "MODULE", "tests.fuzz.bad_kind")
    monkeypatch.setattr(mutations, "MOST_SECONDS", 5)
    crash, hang, traceback, line = mutations.campaign("bad", 5, 0, tmp_path / "bad")
    assert "bad 1: ended, exit code -6" in crash
    assert "bad 2: no answer in 5 s" in hang
    assert "bad 3: ZeroDivisionError" in traceback
    assert "bad 4: a line of 5000 letters" in line
