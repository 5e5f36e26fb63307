"""The house itself: what is installed, from a wheel and editable, and what the top level promises."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROBE = """
import edge_yolov9, edge_yolov9.targets, edge_yolov9.calibration
from edge_yolov9 import registry
import edge_yolov9.targets.openvino.session, edge_yolov9.targets.jetson.session
print(edge_yolov9.__file__, edge_yolov9.targets.__path__[0], *(len(registry.boards(name)) for name in registry.TARGETS))
"""


def probe(cwd: Path, **env: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, cwd=cwd, env={**os.environ, **env}
    )
    return done.stdout.split()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tracked files, so that no build folder appears in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if not name.startswith(("examples/bccd/", "tests/")) and (ROOT / name).is_file():
            (folder / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "src" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(command, check=True, cwd=folder / "src", capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_targets_and_calibration(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for target in ("openvino", "tflite", "jetson", "onnx"):
        for part in ("session.py", "emit.py", "target.toml", "README.md"):
            assert f"edge_yolov9/targets/{target}/{part}" in names
    for file in ("deepstream/parser.cpp", "docker/jetpack-6.2.Dockerfile", "edge-yolov9-camera.service"):
        assert f"edge_yolov9/targets/jetson/{file}" in names
    assert "edge_yolov9/calibration/__init__.py" in names
    assert any(name.endswith("LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "examples", "targets/"))]


@pytest.mark.slow
def test_it_works_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    package, targets, *boards = probe(tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert Path(package).is_relative_to(tmp_path)
    assert Path(targets).is_relative_to(tmp_path)
    assert all(int(count) >= 1 for count in boards)


def test_it_works_from_the_editable_install(tmp_path: Path) -> None:
    package, targets, *_ = probe(tmp_path)
    assert Path(package) == ROOT / "edge_yolov9" / "__init__.py"
    assert Path(targets) == ROOT / "targets"


def test_base_dependencies_are_three() -> None:
    from importlib.metadata import requires

    base = [line for line in requires("edge-yolov9") or [] if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in base) == ["click", "numpy", "opencv-python"]


def test_every_verb_has_help() -> None:
    from click.testing import CliRunner

    from edge_yolov9.cli import VERBS, main

    for verb in VERBS:
        result = CliRunner().invoke(main, [verb, "--help"])
        assert result.exit_code == 0, result.output
        assert "Usage:" in result.output


def test_an_unknown_verb_is_a_usage_error() -> None:
    done = subprocess.run([sys.executable, "-m", "edge_yolov9", "fly"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "No such command" in done.stderr
    assert "Traceback" not in done.stderr


def test_public_names_are_lazy_and_documented(tmp_path: Path) -> None:
    """Importing the package loads nothing heavy; each public name comes from its own module, and says what it is."""
    program = (
        "import sys, edge_yolov9\n"
        "assert not {'numpy', 'cv2', 'torch', 'click'} & set(sys.modules)\n"
        "from edge_yolov9 import *\n"
        "assert Detector and open_source and 'torch' not in sys.modules\n"
        "for name in dir(edge_yolov9):\n"
        "    if name[0] != '_':\n"
        "        assert getattr(edge_yolov9, name).__doc__, name\n"
        "print(*dir(edge_yolov9))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    names = done.stdout.split()
    promised = (
        "Detector Detections open_source read_image ByteTrack MjpegServer Window compile_checkpoint CompileOptions"
    )
    assert {*promised.split(), "train_checkpoint", "TrainSettings"} <= set(names)
