"""Machines and a bundle for the measuring part of the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench_unit import machine_tree

Machine = Callable[[str], Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """``machine(name)`` -> root of an unfolded tree."""
    return lambda name: machine_tree.unfold(name, tmp_path / "root")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for programs, alone on the PATH, with what their scripts call."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("cat", "sleep"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for ONNX Runtime, 64 x 64 pixels."""
    from tests.bench_unit.tiny import make

    return make(tmp_path_factory.mktemp("tiny") / "bundle")
