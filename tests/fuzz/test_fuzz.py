"""A few seconds of the fuzzing that ``tests/fuzz/checkpoint.py`` does for as long as one likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def test_the_checkpoint_reader_withstands_fuzzing(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="coverage-guided fuzzing needs atheris")
    (tmp_path / "corpus").mkdir()
    limits = ["-max_total_time=10", "-timeout=20", "-rss_limit_mb=3000", f"-artifact_prefix={tmp_path}/"]
    command = [sys.executable, "-m", "tests.fuzz.checkpoint", str(tmp_path / "corpus"), *limits]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "stat::number_of_executed_units" in done.stderr or "Done" in done.stderr, done.stderr[-3000:]
