"""What importing a module does: definitions, and nothing else; the vendor runtimes are told to report nothing first."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

from tests.conftest import ROOT

ROOMS = ("edge_yolov9", "targets", "calibration")
QUIET = "targets/quiet.py"
"""The one module that does something when it is imported."""

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


def is_definition(node: ast.stmt) -> bool:
    """Whether a statement only names things: imports, functions, classes, constants, docstrings, ``if __name__``."""
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name | ast.Tuple) for target in node.targets)
    if isinstance(node, ast.AnnAssign | ast.AugAssign):
        return isinstance(node.target, ast.Name)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def test_importing_a_module_defines_and_does_nothing_else() -> None:
    deeds = [
        f"{file}:{node.lineno}: {ast.unparse(node)[:80]}"
        for file in FILES
        for node in parsed(file).body
        if not is_definition(node) or (touches_the_process(node) and file != QUIET)
    ]
    assert [deed for deed in deeds if not deed.startswith(QUIET)] == []
    assert len(deeds) == 2, "the two switches"


def touches_the_process(node: ast.stmt) -> bool:
    """Whether a statement reads or writes what all modules share, when it is imported."""
    constant = isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
    return constant and any(text in ast.unparse(node) for text in ("os.environ", "sys.modules", "sys.path"))


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
