"""Nothing of the current folder is loaded: no module, no program, no settings of another program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge_yolov9.bench.sensors import probe
from edge_yolov9.system import children
from tests.conftest import ROOT

PYTHONS = sorted(
    {
        (version.name.rpartition(".")[0], version / "bin" / "python")
        for version in Path("~/.pyenv/versions").expanduser().glob("3.1[0-9]*")
    }
)
SHADOWS = [
    "argparse",
    "asyncio",
    "base64",
    "bisect",
    "collections",
    "click",
    "contextlib",
    "copy",
    "csv",
    "ctypes",
    "cv2",
    "dataclasses",
    "datetime",
    "enum",
    "fcntl",
    "functools",
    "hashlib",
    "importlib",
    "inspect",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "logging",
    "math",
    "matplotlib",
    "ml_dtypes",
    "multiprocessing",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "operator",
    "os",
    "pathlib",
    "PIL",
    "platform",
    "pycocotools",
    "queue",
    "random",
    "re",
    "runpy",
    "safetensors",
    "selectors",
    "shutil",
    "signal",
    "sitecustomize",
    "site",
    "socket",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "tomllib",
    "torch",
    "traceback",
    "types",
    "typing",
    "usercustomize",
    "uuid",
    "warnings",
    "weakref",
    "yaml",
    "zipfile",
    "zlib",
    "edge_yolov9",
    "ethosu",
    "nncf",
    "litert_torch",
]


def shadowing(folder: Path) -> Path:
    """A folder of modules, each of which notes its name in the file ``ran`` that it returns, when it is run."""
    ran = folder / "ran"
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name + chr(10)!r})\nraise SystemExit(99)\n")
    (folder / ".pdbrc").write_text(f"import os; open({str(ran)!r}, 'a')\n")
    (folder / "pyproject.toml").write_text("not toml")
    os.mkfifo(folder / "matplotlibrc")  # whoever reads it hangs
    return ran


@pytest.mark.parametrize(("version", "python"), PYTHONS or [("", Path(sys.executable))])
@pytest.mark.parametrize("make", ["code", "module"])
def test_a_child_takes_no_module_from_the_current_folder(tmp_path: Path, version: str, python: Path, make: str) -> None:
    if not python.is_file():
        pytest.skip(f"no Python {version} here")
    ran = shadowing(tmp_path)
    source = (ROOT / "edge_yolov9" / "system" / "children.py").read_text()
    call = 'python("import typing, json, random; print(json.dumps(sys.argv[1:]))", "a b", "--c")'
    if make == "module":
        call = 'python_module("json.tool", "--help")'
    code = f"{source}\nimport subprocess\nsys.exit(subprocess.run({call}).returncode)"
    (tmp_path / "elsewhere").mkdir()
    program = tmp_path / "elsewhere" / "program.py"  # a script's own folder comes first, as Python says
    program.write_text(code)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run([str(python), str(program)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == '["a b", "--c"]' if make == "code" else "usage" in done.stdout
    assert not ran.exists(), ran.read_text()


def test_a_program_comes_from_the_absolute_folders_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("here", "here/below", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "nvpmodel").write_text(f"#!/bin/sh\necho {folder}\n")
        (tmp_path / folder / "nvpmodel").chmod(0o755)
    monkeypatch.chdir(tmp_path / "here")
    for relative in (".", "", "below", "./below/.."):
        monkeypatch.setenv("PATH", os.pathsep.join([relative, str(tmp_path / "there"), "/usr/bin", "/bin"]))
        assert children.program("nvpmodel") == str(tmp_path / "there" / "nvpmodel")
        assert probe.command("nvpmodel", "-q") == "there"
    monkeypatch.setenv("PATH", ".")
    assert children.program("nvpmodel") is None


FIGURE = """
import os, sys
from edge_yolov9.train import pictures as plots
before = os.getcwd()
row = dict.fromkeys(("epoch", "class", "box", "dfl", "AP", "AP50", "AP75", "lr", "images_per_s"), 1.0)
data = plots.results([row])
import matplotlib
assert os.getcwd() == before
matplotlib.rcParams["text.usetex"] = True
matplotlib.rcParams["lines.linewidth"] = 9
again = plots.results([row])
assert data == again and matplotlib.rcParams["text.usetex"]
"""


def test_figures_look_the_same_whatever_matplotlibrc_the_current_folder_holds(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    os.mkfifo(tmp_path / "matplotlibrc")
    done = subprocess.run(children.python(FIGURE), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_process_that_is_started_takes_no_library_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV's import adds an empty entry, which is the current folder, to the path of libraries."""
    (tmp_path / "libc.so.6").write_text("none")
    monkeypatch.chdir(tmp_path)
    for path in ("/opencv/lib64:", ":/opencv/lib64", "/a::/b", ":", ""):
        monkeypatch.setenv("LD_LIBRARY_PATH", path)
        done = subprocess.run(children.python("print(1)"), capture_output=True, text=True, env=children.environment())
        assert (done.stdout, done.stderr) == ("1\n", "")
    with children.current_folder_kept_out():
        os.environ["LD_LIBRARY_PATH"] = "/opencv/lib64:" + os.environ["LD_LIBRARY_PATH"]  # as OpenCV does
        done = subprocess.run(children.python("print(1)"), capture_output=True, text=True)  # as a library does
        assert (done.stdout, done.stderr) == ("1\n", "")
    assert os.environ["LD_LIBRARY_PATH"] == ""


def test_every_process_that_the_package_starts_gets_that_environment() -> None:
    for file in (*ROOT.glob("edge_yolov9/**/*.py"), *ROOT.glob("targets/**/*.py")):
        text = file.read_text()
        calls = len(re.findall(r"subprocess\.(?:run|Popen|call|check_\w+)\(", text))
        assert calls == text.count("env=children.environment()"), file
