"""Fixtures of the jetson session's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from edge_yolov9.targets.jetson.runtime import cache

from tests.targets.fake_cudart import FakeCudart
from tests.targets.jetson_machine import SIZE, Machine
from tests.targets.jobs import make_bundle, make_job


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small bundle per precision."""
    folder = tmp_path_factory.mktemp("jetson")
    return {
        precision: make_bundle(
            "jetson", make_job(folder / precision, precision, images=4, size=SIZE, target="jetson")
        ).path
        for precision in ("int8", "fp16", "fp32")
    }


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    pretended = Machine(monkeypatch, FakeCudart(), tmp_path / "engines")
    pretended.plug()
    monkeypatch.setenv("EDGE_YOLOV9_CACHE", str(pretended.cache))
    monkeypatch.setattr(cache, "RELEASE", tmp_path / "nv_tegra_release")
    return pretended
