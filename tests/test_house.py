"""The house itself: what is installed, from a wheel and editable, and what the top level promises."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROBE = """
import edge_yolov9, edge_yolov9.targets, edge_yolov9.calibration
from edge_yolov9 import registry
import edge_yolov9.targets.openvino.session, edge_yolov9.targets.jetson.session
boards = (len(registry.boards(name)) for name in registry.TARGETS)
print(edge_yolov9.__file__, edge_yolov9.targets.__path__[0], *boards, sep="\\n")
"""


def probe(cwd: Path, **env: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, cwd=cwd, env={**os.environ, **env}
    )
    return done.stdout.splitlines()


def tracked() -> list[str]:
    """The repository's files."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a clone: this tree was downloaded without its history")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return list(filter(None, files.split("\0")))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tracked files, so that no build folder appears in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked():
        if not name.startswith(("examples/bccd/", "tests/")) and (ROOT / name).is_file():
            (folder / "src" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "src" / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), "."]
    done = subprocess.run(command, check=True, cwd=folder / "src", capture_output=True, text=True)
    assert "Warning" not in done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every tracked file of the three folders, but what only the repository needs."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = [name for name in tracked() if (ROOT / name).is_file()]
    wanted = {name for name in ours if name.startswith("edge_yolov9/")}
    wanted |= {f"edge_yolov9/{name}" for name in ours if name.startswith(("targets/", "calibration/"))}
    assert names == wanted
    assert any(name.endswith("LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def plant_wheel(folder: Path, name: str, module: str, code: str) -> None:
    """A wheel with one module, of a version above all bounds."""
    info = f"{name.replace('-', '_')}-9999.dist-info"
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-9999-py3-none-any.whl", "w") as file:
        file.writestr(f"{module}/__init__.py", code)
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9999\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"{module}/__init__.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.mark.slow
def test_the_readme_installs_that_wheel_and_a_cv2_that_loads(wheel: Path, tmp_path: Path) -> None:
    """The very lines of the README, with a folder as registry, where the headless cv2 was there before."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()]
    assert "pip wheel --no-deps -w dist ." in lines
    assert not [line for line in lines if line.startswith('pip install "edge-yolov9')], "it is on no registry"
    (install,) = [line for line in lines if line.startswith('pip install "./edge_yolov9')]
    (cure,) = [line for line in lines if "opencv-python" in line and line.startswith("pip ")]
    for name in ("numpy", "click", "ai-edge-litert"):
        plant_wheel(tmp_path, name, name.replace("-", "_"), "")
    missing = "raise ImportError('libGL.so.1: cannot open shared object file')"
    plant_wheel(tmp_path, "opencv-python", "cv2", missing)
    plant_wheel(tmp_path, "opencv-python-headless", "cv2", "headless = True")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "device")], check=True)
    path = f"{tmp_path / 'device' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}

    def shell(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(line, shell=True, cwd=wheel.parent, env=environment, capture_output=True, text=True)

    for line in ("pip install opencv-python-headless", install):
        assert shell(line).returncode == 0, line
    probe = "python -c \"from edge_yolov9.system.imports import load; assert load('cv2').headless\""
    assert f"run: {cure} (the same cv2 without windows)" in shell(probe).stderr
    assert shell(cure).returncode == 0
    assert shell(probe).returncode == 0


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


FOREIGN = {"_get_ops_details", "_modules", "_exit", "_C", "_utils", "_rebuild_tensor_v2"}
"""Names of other packages that have no public form: of LiteRT, torch and os."""


def private_names(file: Path) -> Iterator[str]:
    """Uses of private names in a test, where the name is not the file's own."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    own = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")}
    used = [(node.lineno, node.attr) for node in attributes if node.attr not in own]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            used += [(node.lineno, alias.name) for alias in node.names]
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            used += [(node.lineno, str(item.value)) for item in node.args if isinstance(item, ast.Constant)]
    for line, name in used:
        last = name.rpartition(".")[2]
        if last.startswith("_") and not last.endswith("__") and last not in FOREIGN:
            yield f"{file.relative_to(ROOT)}:{line}: {name}"


def test_tests_use_no_private_names() -> None:
    """A test at a seam bears another inside; who needs a private name gives the seam a public one."""
    assert [use for file in sorted((ROOT / "tests").rglob("*.py")) for use in private_names(file)] == []
