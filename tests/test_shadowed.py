"""Every verb in a folder of modules, programs and settings that shadow others': none of them is loaded.

Runs in this Python and in those that EDGE_YOLOV9_TEST_PYTHONS names (paths of interpreters that have this package).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DATA, DEMO, PICTURES, ROOT, Compiled
from tests.test_children import SHADOWS, shadowing
from tests.train.made import make_data

PYTHONS = [sys.executable, *filter(None, os.environ.get("EDGE_YOLOV9_TEST_PYTHONS", "").split(os.pathsep))]
PROGRAMS = (
    "gst-launch-1.0",
    "nvpmodel",
    "tegrastats",
    "vela",
    "edgetpu_compiler",
    "trtexec",
    "git",
    "uname",
    "python3",
)
LIBRARIES = ("libc.so.6", "libm.so.6", "libdl.so.2", "libz.so.1", "libgomp.so.1", "libstdc++.so.6", "libcudart.so")
"""Whoever loads one of these from the current folder ends, because it is none."""

VERBS = {
    "targets": "targets",
    "help": "--help",
    "info": "info BUNDLE",
    "detect": "detect BUNDLE PICTURE --save out --json out.json",
    "detect with a window": "detect BUNDLE PICTURE --show",
    "detect in a pipeline": "detect BUNDLE 'videotestsrc num-buffers=1 ! fakesink'",
    "val": "val BUNDLE --data DATA",
    "report": "report BUNDLE -o out --seconds 0.1",
    "report table": "report table BUNDLE -o out",
    "report score": "report score nothing.json --data DATA -o out",
    "report compare": "report compare nothing.json nothing.json",
    "jetson build": "jetson build BUNDLE",
    "jetson check": "jetson check BUNDLE --runtime onnx",
    "sign a key": "sign --new-key key",
    "sign": "sign BUNDLE --key key",
    "verify": "verify BUNDLE --key key.pub",
    "info of a checkpoint": "info CHECKPOINT",
    "convert": "convert CHECKPOINT -o out.safetensors",
    "data": "data DATA",
    "calibration select": "calibration select --data DATA -n 4 -o out.toml",
}
SLOW = {
    "val of a checkpoint": "val CHECKPOINT --data DATA --imgsz 64",
    "compile": "compile CHECKPOINT --target onnx --precision fp32 --imgsz 64 -o out",
    "compile for another target": "compile CHECKPOINT --target tflite --precision fp32 --imgsz 64 -o out",
    "compile for the fastest": "compile CHECKPOINT --target openvino --precision auto --imgsz 64 "
    "--calibration PICTURES --calibration-images 4 --fine-tuning 0 -o out",
    "train": "train --data SMALL --out out --epochs 1 --batch 2 --imgsz 64 --workers 1",
    "visualize": "visualize PICTURE -o out --figure 6 --imgsz 64",
}


FAIL = (
    *("report score", "report compare", "jetson build", "sign", "verify", "detect with a window"),
    "detect in a pipeline",
)
"""What ends with exit code 1, in a line of ours, because what it asks for is not there."""


def ran_while(command: list[str], folder: Path, fine: bool, timeout: int = 240) -> str:
    """What of the folder ran in a command there, which succeeds where it is ``fine``."""
    ours = ("PYTHON", "LD_LIBRARY_PATH", "DISPLAY", "WAYLAND")  # OpenCV set the second, in the process of the tests
    names = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        command, cwd=folder, env=names, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode in ((0,) if fine else (0, 1)), done.stderr
    for word in ("Traceback", "too short", "shared object", "shared librar"):
        assert word not in done.stderr, done.stderr
    ran = folder / "ran"
    return ran.read_text() if ran.exists() else ""


def words(verb: str, bundle: Path, small: Path) -> list[str]:
    values = {"BUNDLE": bundle, "PICTURE": min(PICTURES.iterdir()), "PICTURES": PICTURES, "DATA": DATA}
    values |= {"CHECKPOINT": DEMO, "SMALL": small}
    return [str(values.get(word, word)) for word in shlex.split(verb)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of shadows: modules, packages, programs, libraries and settings."""
    place = tmp_path / "here"
    place.mkdir()
    ran = shadowing(place)
    for name in ("torch", "matplotlib", "encodings", "google"):
        (place / name).mkdir()
        (place / name / "__init__.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    for name in PROGRAMS:
        (place / name).write_text(f"#!/bin/sh\necho {name} >> {shlex.quote(str(ran))}\n")
        (place / name).chmod(0o755)
    for name in (".netrc", "setup.cfg", ".env", "pytest.ini", "logging.conf", "tox.ini", "__main__.py", *LIBRARIES):
        (place / name).write_text("nonsense")
    return place


def program(python: str, folder: Path) -> list[str]:
    """The ``edge-yolov9`` command of an interpreter, as pip makes it."""
    file = folder.parent / "edge-yolov9"  # its own folder comes first on the path, as Python says
    file.write_text("import sys\nfrom edge_yolov9.cli import main\nsys.exit(main(prog_name='edge-yolov9'))\n")
    return [python, str(file)]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", VERBS)
def test_a_verb_loads_nothing_of_the_current_folder(
    python: str, name: str, folder: Path, compiled: Compiled, tmp_path: Path
) -> None:
    bundle = compiled("jetson", "fp32") if name.startswith("jetson") else compiled("onnx", "fp32")
    fine = python == sys.executable and name not in FAIL
    assert ran_while([*program(python, folder), *words(VERBS[name], bundle, tmp_path)], folder, fine) == ""


@pytest.mark.slow
@pytest.mark.parametrize("verb", SLOW.values(), ids=SLOW)
def test_a_verb_of_the_workstation_loads_nothing_of_the_current_folder(verb: str, folder: Path, tmp_path: Path) -> None:
    small = make_data(tmp_path / "data") if "SMALL" in verb else tmp_path
    assert ran_while([*program(sys.executable, folder), *words(verb, tmp_path, small)], folder, True, 900) == ""


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("verb", ["targets", "detect", "report"])
def test_by_python_m_nothing_is_loaded_but_what_python_itself_loads_first(
    python: str, verb: str, folder: Path, compiled: Compiled, tmp_path: Path
) -> None:
    (tmp_path / "control.py").write_text("import sys; print(*sys.modules)")
    loaded = subprocess.run([python, "-m", "control"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for name in (*SHADOWS, "torch", "matplotlib", "encodings", "google"):
        if name in (*loaded.split(), "edge_yolov9"):  # before anybody asks us
            (folder / f"{name}.py").unlink(missing_ok=True)
    command = [python, "-m", "edge_yolov9", *words(VERBS[verb], compiled("onnx", "fp32"), tmp_path)]
    assert ran_while(command, folder, python == sys.executable) == ""


@pytest.mark.parametrize("python", PYTHONS)
def test_the_shadows_run_where_somebody_looks_for_them(
    python: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without us, they run."""
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    subprocess.run([python, "-c", "import json"], cwd=folder, check=False, capture_output=True)
    assert "json" in (folder / "ran").read_text()
    opencv = "import sys; del sys.path[0]; import cv2, subprocess; sys.exit(subprocess.run(['/bin/true']).returncode)"
    done = subprocess.run([python, "-c", opencv], cwd=folder, check=False, capture_output=True, text=True)
    assert "too short" in done.stderr


def test_the_verbs_are_all_there() -> None:
    from edge_yolov9.cli import VERBS as KNOWN

    tried = {shlex.split(verb)[0] for verb in (*VERBS.values(), *SLOW.values())}
    assert set(KNOWN) <= tried, f"{ROOT}: a verb is not tried in a folder of shadows"
