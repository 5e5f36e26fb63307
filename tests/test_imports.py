"""Vendor runtimes are told to report nothing before they are imported; the compile side of Jetson needs no POSIX."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

from tests.conftest import ROOT

ROOMS = ("edge_yolov9", "targets", "calibration")
FILES = sorted(file.relative_to(ROOT).as_posix() for room in ROOMS for file in (ROOT / room).rglob("*.py"))
RUNTIMES = ("onnxruntime", "openvino")
"""Vendor modules that report home unless they are told not to."""

JETSON_ON_WINDOWS = """
import sys
sys.modules["fcntl"] = None
from edge_yolov9.compiler.job import emitter
from edge_yolov9.targets.jetson.graphs import dla, half, handover, layers, letterbox
emitter("jetson").check
"""


def parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The top of every module that is imported anywhere in a file, and the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{'.' * node.level}{node.module or ''}.{name.name}", node.lineno) for name in node.names)


def test_a_runtime_is_told_to_report_nothing_before_it_is_imported() -> None:
    checked = []
    for file in FILES:
        names = list(imported(parsed(file)))
        runtimes = [line for name, line in names if name.partition(".")[0] in RUNTIMES]
        quiet = [line for name, line in names if name.endswith(".quiet")]
        if runtimes and not file.startswith("edge_yolov9/compiler/"):  # whose __init__ has done so
            assert min(quiet, default=10**6) < min(runtimes), file
            checked.append(file)
    assert {"targets/onnx/session.py", "targets/openvino/session.py", "targets/jetson/emit.py"} <= set(checked)


def test_the_switches_are_set_and_a_users_own_stay() -> None:
    program = """
import os, sys
os.environ.update(ORT_DISABLE_TELEMETRY="0") if len(sys.argv) > 1 else os.environ.pop("ORT_DISABLE_TELEMETRY", None)
import edge_yolov9.compiler
print(os.environ["ORT_DISABLE_TELEMETRY"], sys.modules["openvino_telemetry"])
"""
    for words, printed in (((), "1 None\n"), (("own",), "0 None\n")):
        done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
        assert done.stdout == printed


def test_compiling_for_jetson_needs_nothing_of_unix() -> None:
    """Windows has no ``fcntl``; the engine's cache on the device does."""
    subprocess.run([sys.executable, "-c", JETSON_ON_WINDOWS], check=True)


def test_the_device_side_of_jetson_is_not_loaded_for_a_compilation() -> None:
    for file in (ROOT / "targets" / "jetson" / "graphs").glob("*.py"):
        assert not any("runtime" in name for name, _ in imported(ast.parse(file.read_text(encoding="utf-8"))))
    emit = parsed("targets/jetson/emit.py")
    assert not any(".runtime" in name or name.endswith(".session") for name, _ in imported(emit))
