"""A package that is missing, or installed and broken, is one line: from every command, the registry and Detector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_yolov9.errors import RuntimeNotInstalled
from edge_yolov9.system.imports import load
from tests.conftest import EXAMPLES

LIBGL = 'raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")'


def plant(folder: Path, package: str, code: str) -> None:
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(code)


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (LIBGL, r"broken1 is installed, but does not load \(libGL\.so\.1: .*\); install the system package with libGL"),
        (
            'raise OSError("libcudart.so.13: cannot open shared object file")',
            r"does not load \(libcudart.*--force-reinst",
        ),
        (
            "import sys; sys.stderr.write('page\\n' * 50); raise ImportError",
            "made for another numpy; run: pip install --up",
        ),
        ("import not_there_at_all", r"broken1 is installed, but does not load \(No module named 'not_there_at_all'\)"),
        ("raise AttributeError('_ARRAY_API not found')", "made for another numpy"),
        ("1 / 0", r"does not load \(division by zero\); run: pip install --force-reinstall broken1"),
    ],
)
def test_what_a_package_raises_while_it_loads(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plant(tmp_path, "broken1", code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeNotInstalled, match=said) as caught:
        load("broken1")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_package_that_is_missing_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(RuntimeNotInstalled, match=r"not installed; run: pip install \"edge-yolov9\[val\]\""):
        load("pycocotools")


def test_cv2_without_its_system_libraries(tmp_path: Path) -> None:
    plant(tmp_path, "cv2", LIBGL)
    for verb in ("detect", "val", "info", "train", "report"):
        words = {
            "detect": ["b", "p"],
            "val": ["b", "--data", "d"],
            "report": ["b"],
            "info": ["b"],
            "train": ["--data", "d"],
        }
        done = run(tmp_path, "-m", "edge_yolov9", verb, *words[verb])
        assert done.returncode == 1, verb
        assert done.stderr.count("\n") == 1, done.stderr
        if "does not load" in done.stderr:  # info of what is not there needs no cv2
            assert "&& pip install opencv-python-headless" in done.stderr
    assert "does not load (libGL.so.1" in run(tmp_path, "-m", "edge_yolov9", "detect", "b", "p").stderr
    last = run(tmp_path, "-c", "from edge_yolov9 import Detector").stderr.splitlines()[-1]
    assert last.startswith("edge_yolov9.errors.RuntimeNotInstalled: opencv-python")
    assert "opencv-python-headless (the same cv2 without windows)" in last


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "counting.py"))
@pytest.mark.parametrize("package", ["cv2", "numpy"])
def test_an_example_without_its_libraries(package: str, example: str, tmp_path: Path) -> None:
    plant(tmp_path, package, LIBGL)
    done = run(tmp_path, str(EXAMPLES / example), *([str(tmp_path / "out")] if example == "demo.py" else []))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert "does not load (libGL.so.1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_no_failed_import_keeps_its_traceback(tmp_path: Path) -> None:
    program = "from edge_yolov9 import one_line_errors as guard\nwith guard(): {}"
    assert "Traceback" in run(tmp_path, "-c", program.format("1 / 0")).stderr
    assert run(tmp_path, "-c", program.format("open('gone')")).stderr.startswith("Error: [Errno 2]")
    assert run(tmp_path, "-c", program.format("raise KeyboardInterrupt")).returncode == 130


def test_a_runtime_that_does_not_load(tmp_path: Path) -> None:
    plant(tmp_path, "onnxruntime", LIBGL)
    done = run(tmp_path, "-m", "edge_yolov9", "targets")
    assert done.returncode == 0, done.stderr
    assert "installed, does not load: onnxruntime" in done.stdout
    assert done.stdout.count("works here") >= 1
    check = "from edge_yolov9 import registry; registry.check_runtime(registry.target('onnx'), 'this bundle')"
    last = run(tmp_path, "-c", check).stderr.splitlines()[-1]
    assert last.startswith("edge_yolov9.errors.RuntimeNotInstalled: onnxruntime")
    assert "does not load (libGL.so.1" in last
