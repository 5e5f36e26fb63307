"""Targets of other packages: one that works, installed by pip, and many that do not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_yolov9 import Detector, registry
from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import footprint
from edge_yolov9.bench import suite as bench
from edge_yolov9.cli import main
from edge_yolov9.errors import EdgeYoloError, TargetError
from edge_yolov9.images import read_image
from edge_yolov9.registry import plugins
from tests.bench_unit.tiny import make
from tests.conftest import DEMO, PICTURES
from tests.reporting import small_data

SOURCE = Path(__file__).parent / "cvdnn"
FRAME = sorted(PICTURES.iterdir())[0]
GOOD = """
from edge_yolov9.registry import Target
ROW = Target("NAME", "a title", ("cv2",), installed_by="ask its author")
"""
TOML = """
[boards.one]
title = "a board"
precision = "fp32"
precisions = ["fp32"]
layout = "NCHW"
input = ""
limits = ""
tested = []
"""


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def fine(*words: object) -> Result:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result


def one_line(result: Result, *says: str) -> None:
    """An error of one line with exit code 1."""
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    (line,) = result.stderr.strip().splitlines()
    assert len(line) < 600
    for text in says:
        assert text in line


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages, here and in the processes that are started from here."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    modules = set(sys.modules)
    plugins.row.cache_clear()
    yield folder
    plugins.row.cache_clear()
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


def install(site: Path, name: str, value: str = "", distribution: str = "", **files: str) -> None:
    """A package as pip leaves it: ``<name>_package`` with ``files``, and metadata that declare the target ``name``."""
    package = f"{name}_package"
    distribution = distribution or package
    (site / package).mkdir(exist_ok=True)
    for file, text in files.items():
        stem, _, kind = file.rpartition("_")
        (site / package / f"{stem}.{kind}").write_text(text.replace("NAME", name))
    metadata = site / f"{distribution.replace('-', '_')}-0.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.3\n")
    entry = f"[{plugins.GROUP}]\n{name} = {value or f'{package}:ROW'}\n"
    (metadata / "entry_points.txt").write_text(entry)


@pytest.mark.slow
def test_an_installed_package_adds_a_target(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled, listed, described, run, scored and reported by the commands, without a change in this repository."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    copy = tmp_path / "source"
    copy.mkdir()
    for file in (path for path in SOURCE.rglob("*") if path.suffix in (".py", ".toml")):
        (copy / file.relative_to(SOURCE)).parent.mkdir(exist_ok=True)
        (copy / file.relative_to(SOURCE)).write_bytes(file.read_bytes())
    subprocess.run([*command, "--target", str(site), str(copy)], check=True, capture_output=True)
    assert "cvdnn" in registry.names()
    assert "edge_cvdnn" not in sys.modules
    listed = json.loads(fine("targets", "--json", "-").stdout)
    assert listed["cvdnn"]["distribution"] == "edge-cvdnn 1.2"
    assert list(listed["cvdnn"]["boards"]) == ["any-cpu"]
    assert "largest 1280" in " ".join(fine("targets", "--device", "any-cpu").stdout.split())
    assert "cvdnn: compute convolutions the plain way." in fine("compile", "--target", "cvdnn", "--help").stdout

    data, made = small_data(tmp_path / "few", 4), tmp_path / "bundle"
    words = ("--target", "cvdnn", "--no-winograd", "--imgsz", 160, "--data", data, "--max-drop", 5)
    assert "fp32 for cvdnn (any-cpu)" in fine("compile", DEMO, *words, "-o", made).stdout
    manifest = bundles.read(made).manifest
    assert (manifest.target, manifest.extra["no_winograd"], manifest.parity["runtime"]) == ("cvdnn", True, "cvdnn")
    assert manifest.accuracy is not None
    assert manifest.accuracy["drop_points"] == pytest.approx(0, abs=0.5)
    assert "target       cvdnn, board any-cpu, precision fp32" in fine("info", made).stdout
    assert "1 image" in fine("detect", made, FRAME).stdout
    scored = json.loads(fine("val", made, "--data", data, "--json", "-").stdout)
    assert (scored["target"], scored["runtime"], scored["note"]) == ("cvdnn", "cvdnn", None)
    assert scored["AP"] == pytest.approx(manifest.accuracy["artifact"]["AP"], abs=1e-6)
    with Detector(made) as detect:
        assert len(detect(read_image(FRAME))) > 3

    monkeypatch.setattr(bench, "FRAMES", 20)
    monkeypatch.setattr(footprint, "STARTS", 1)
    fine("report", made, "--data", data, "-o", tmp_path / "report", "--seconds", 0.5)
    (column,) = json.loads((tmp_path / "report" / "report.json").read_text())["columns"]
    assert column["latency"]["stages"]["inference"]["p50"] > 0
    assert column["accuracy"]["AP"] == pytest.approx(scored["AP"], abs=1e-6)
    assert "edge-cvdnn" in column["footprint"]["packages"]["by_package"]
    for words in (("--precision", "int8"), ("--device", "toaster"), ("--dla",)):
        one_line(run("compile", DEMO, "--target", "cvdnn", *words, "-o", tmp_path / "none"), words[-1].lstrip("-"))


BROKEN = {
    "a module that is missing": ("nowhere:ROW", {}, "ModuleNotFoundError"),
    "an import that fails": ("", {"__init___py": "import no_such_module"}, "no_such_module"),
    "an error of any kind": ("", {"__init___py": "raise ZeroDivisionError('a\\nb')"}, "ZeroDivisionError: a b"),
    "an import that ends Python": ("", {"__init___py": "import sys; sys.exit(3)"}, "SystemExit"),
    "no such row": ("", {"__init___py": ""}, "ROW"),
    "a row of another type": (
        "",
        {"__init___py": "ROW = {'name': 'broken'}"},
        "expected an edge_yolov9.registry.Target",
    ),
    "a row of another name": ("", {"__init___py": GOOD.replace("NAME", "other")}, "its row is named 'other'"),
    "a row with a field of another type": ("", {"__init___py": GOOD.replace('"a title"', "5")}, "title must be a text"),
    "runtimes that are a text": ("", {"__init___py": GOOD.replace('("cv2",)', '"cv2"')}, "runtimes must be a list"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_package_is_one_line_that_names_it(kind: str, site: Path, tmp_path: Path) -> None:
    value, files, says = BROKEN[kind]
    install(site, "broken", value, "edge-broken", **files)
    install(site, "working", __init___py=GOOD, target_toml=TOML)
    whose = "the target broken of edge-broken 0.3 does not load"
    listed = fine("targets")
    (line,) = listed.stderr.splitlines()
    assert whose in line
    assert says in line
    assert "working" in listed.stdout
    assert "openvino" in listed.stdout
    one_line(run("compile", DEMO, "--target", "broken", "-o", tmp_path / "b"), whose, says)
    with pytest.raises(TargetError, match=whose):
        registry.target("broken")


def test_a_package_without_boards(site: Path, tmp_path: Path) -> None:
    install(site, "bare", __init___py=GOOD)
    install(site, "odd", __init___py=GOOD, target_toml=TOML.replace('["fp32"]', '["int4"]'))
    install(site, "torn", __init___py=GOOD, target_toml="[boards")
    listed = fine("targets")
    assert {"bare", "odd", "torn"} <= {line.split()[0] for line in listed.stdout.splitlines()}
    assert len(listed.stderr.splitlines()) == 3
    one_line(
        run("compile", DEMO, "--target", "bare", "-o", tmp_path / "b"), "the target bare has no boards", "target.toml"
    )
    one_line(run("compile", DEMO, "--target", "odd", "-o", tmp_path / "b"), "int4", "target.toml")


def test_a_name_that_is_taken(site: Path, tmp_path: Path) -> None:
    """A built-in target stays what it is; of two packages with one name neither is taken."""
    install(site, "onnx", distribution="edge-thief", __init___py="raise SystemExit")
    for name in ("a", "b"):
        install(site, "twin", distribution=f"edge-twin-{name}", __init___py=GOOD, target_toml=TOML)
    listed = fine("targets")
    assert "edge-thief 0.3: the name onnx of its target is edge-yolov9's own" in listed.stderr
    assert "the target twin is declared by edge-twin-a 0.3 and edge-twin-b 0.3; uninstall all but one" in listed.stderr
    assert len(listed.stderr.splitlines()) == 2
    assert registry.target("onnx").title == "any CPU by ONNX Runtime"
    session = registry.open_session(bundles.read(make(tmp_path / "tiny")))
    assert type(session).__name__ == "OnnxSession"
    session.close()


SESSIONS = {
    "no session.py": ({}, "does not load its session.py: ModuleNotFoundError"),
    "one that does not load": ({"session_py": "import no_such_module"}, "does not load its session.py"),
    "nothing in it": ({"session_py": ""}, "cannot open"),
    "an error of its runtime": (
        {"session_py": "def open_sessions(*_): raise OSError('no driver')"},
        "OSError: no driver",
    ),
    "no session": ({"session_py": "def open_sessions(*_): return [5]"}, "expected 1 of edge_yolov9.registry.Session"),
}


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_session_that_does_not_work(kind: str, site: Path, tmp_path: Path) -> None:
    files, says = SESSIONS[kind]
    install(site, "weak", __init___py=GOOD, target_toml=TOML, **files)
    folder = make(tmp_path / "tiny")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "target": "weak"}))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    one_line(run("detect", folder, tmp_path / "a.png"), "the target weak of weak_package 0.3", says)
    assert "target       weak" in fine("info", folder).stdout


EMITTERS = {
    "no emit.py": ({}, "does not load its emit.py: ModuleNotFoundError"),
    "one that does not load": ({"emit_py": "1 / 0"}, "does not load its emit.py: ZeroDivisionError"),
    "nothing in it": ({"emit_py": ""}, "cannot check what it was asked for: AttributeError"),
    "a check that fails": ({"emit_py": "def check(*_): raise OSError('no tool')"}, "OSError: no tool"),
}


@pytest.mark.parametrize("kind", EMITTERS)
def test_a_compile_side_that_does_not_work(kind: str, site: Path, tmp_path: Path) -> None:
    files, says = EMITTERS[kind]
    install(site, "half", __init___py=GOOD, target_toml=TOML, **files)
    one_line(
        run("compile", DEMO, "--target", "half", "-o", tmp_path / "b"), "the target half of half_package 0.3", says
    )
    assert not (tmp_path / "b").exists()


def test_what_a_target_alone_can_be_asked_for(site: Path, tmp_path: Path) -> None:
    row = GOOD.replace("Target\n", "Option, Target\n").replace(
        'author")', "author\", options=(Option('depth', 'how deep', 'whole'), Option('mode', 'which')))"
    )
    install(site, "asked", __init___py=row, target_toml=TOML, emit_py="def check(*given): raise OSError(given[2])")
    words = ("compile", DEMO, "-o", tmp_path / "b", "--target")
    one_line(run(*words, "asked", "--depth", 3, "--mode", "fast"), "{'depth': 3, 'mode': 'fast'}")
    assert "asked: how deep" in fine("compile", "--target=asked", "--help").stdout
    deep = run(*words, "asked", "--depth", "x")
    assert (deep.exit_code, "'x' is not a valid integer" in deep.stderr) == (2, True)
    assert "No such option" in run(*words, "onnx", "--depth", 3).stderr
    row_of_asked = registry.target("asked")
    for given in ({"depth": "3"}, {"depth": True}, {"mode": 3}, {"camera": (3, 4)}, {"none": 1}):
        with pytest.raises(TargetError, match="--"):
            row_of_asked.check_options(given)


@pytest.mark.parametrize("name", ["os", "edge_yolov9.cli", "../onnx", "onnx.session", "", "x" * 10_000, "a\nb\x1b[2J"])
def test_a_bundle_names_a_target_and_never_a_module(name: str, site: Path, tmp_path: Path) -> None:
    (site / "os.py").write_text("raise SystemExit('imported')")
    folder = make(tmp_path / "tiny")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "target": name}))
    before = set(sys.modules)
    with pytest.raises(EdgeYoloError) as caught:
        Detector(folder)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
    assert not {module for module in set(sys.modules) - before if module.endswith(("cli", "onnx", "os", "session"))}


def test_packages_are_asked_only_for_names_that_are_not_built_in(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(site, "late", __init___py="raise RuntimeError", target_toml=TOML)
    folder = make(tmp_path / "tiny")
    assert "late" in registry.names()
    assert "late_package" not in sys.modules, "lists are made from metadata"
    fine("compile", "--help")

    def refuse(**_: object) -> None:
        raise AssertionError("the metadata of every installed package is read for a built-in target")

    monkeypatch.setattr("importlib.metadata.entry_points", refuse)
    with Detector(folder) as detect:
        assert len(detect(np.zeros((64, 64, 3), np.uint8))) == 1
