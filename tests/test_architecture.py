"""The import rules of docs/architecture.md hold: rooms, circles, what importing does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = {"edge_yolov9": "edge_yolov9", "targets": "edge_yolov9.targets", "calibration": "edge_yolov9.calibration"}
SIDE_EFFECTS = {"edge_yolov9.targets.quiet"}
"""Modules that may do something when they are imported: they switch telemetry off before a runtime is loaded."""


def module_name(file: Path) -> str:
    folder, *parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *parts]).removesuffix(".__init__")


MODULES = {module_name(file): file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))}


def imported(module: str) -> Iterator[str]:
    """Modules of ours that ``module`` imports, also inside functions and for type checks."""
    file = MODULES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        if isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            home = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                target = f"{home}.{alias.name}"
                if target in MODULES or home in MODULES:
                    yield target if target in MODULES else home


@cache
def rules() -> tuple[list[list[str]], dict[str, set[str]]]:
    """The block "rules" of docs/architecture.md: the floor's lines, and the rooms that each room may import."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = text.partition("```rules\n")[2].partition("```")[0]
    floor: list[list[str]] = []
    rooms: dict[str, set[str]] = {}
    for line in filter(str.strip, block.splitlines()):
        room, arrow, allowed = line.partition("->")
        if arrow:
            rooms[room.strip()] = {name for name in allowed.split() if name != "nothing"}
        else:
            floor.append(line.split())
    return floor, rooms


def room_of(module: str) -> str:
    """The longest name of the rules that ``module`` lies in: "video" for edge_yolov9.video.source."""
    floor, rooms = rules()
    path = module.removeprefix("edge_yolov9.")
    names = {*rooms, *(name for line in floor for name in line)}
    inside = [name for name in names if fits(path, name)]
    assert inside, f"docs/architecture.md has no rule for {module}"
    return max(inside, key=len)


def fits(path: str, name: str) -> bool:
    """Whether ``name`` is ``path`` or a package around it; ``*`` in a name stands for one target."""
    parts, wanted = path.split("."), name.split(".")
    return len(parts) >= len(wanted) and all(w in ("*", part) for part, w in zip(parts, wanted, strict=False))


def height(room: str) -> int | None:
    """Line of the floor that ``room`` stands in."""
    return next((index for index, line in enumerate(rules()[0]) if room in line), None)


def may_import(module: str, other: str) -> bool:
    room, other_room = room_of(module), room_of(other)
    level, other_level = height(room), height(other_room)
    allowed = rules()[1].get(room, set())
    if allowed & {other_room, "everything"}:
        return True
    if other_level is not None:  # the last two lines of the floor, lane and detector, are for those who name them
        return other_level <= (len(rules()[0]) - 3 if level is None else level)
    target, other_target = (name.split(".")[1:3] for name in (module, other))
    return room == other_room and (target[0] != "targets" or target == other_target)


INSIDE = [module for module in MODULES if module not in ("edge_yolov9", "edge_yolov9.__main__")]


@pytest.mark.parametrize("module", INSIDE)
def test_a_room_imports_what_its_rule_allows(module: str) -> None:
    room = room_of(module)
    others = {other for other in imported(module) if other != "edge_yolov9"}
    refused = sorted(other for other in others if not may_import(module, other))
    assert not refused, f"{module} (room {room}) imports {', '.join(refused)}; see the rules in docs/architecture.md"


def test_every_rule_has_a_room() -> None:
    floor, rooms = rules()
    assert len(floor) >= 5
    for name in (*rooms, *(name for line in floor for name in line)):
        assert any(fits(module.removeprefix("edge_yolov9."), name) for module in MODULES), f"nothing lies in {name}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {
        module: {other for other in imported(module) if other not in ("edge_yolov9", module)} for module in INSIDE
    }
    while free := {module for module, others in arrows.items() if not others & arrows.keys()}:
        arrows = {module: others for module, others in arrows.items() if module not in free}
    while ends := arrows.keys() - {other for others in arrows.values() for other in others}:
        arrows = {module: others for module, others in arrows.items() if module not in ends}
    circle = {module: sorted(others & arrows.keys()) for module, others in arrows.items()}
    assert not circle, f"modules that import each other in a circle: {circle}"


@pytest.mark.parametrize("module", MODULES)
def test_importing_a_module_only_defines(module: str) -> None:
    """No call for its effect, no loop, no assignment into something that exists already (``os.environ[...] = ...``)."""
    if module in SIDE_EFFECTS:
        return
    for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        defines = isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)) or text
        switch = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
        names = bool(targets) and all(isinstance(target, (ast.Name, ast.Tuple)) for target in targets)
        assert defines or switch or names, f"{module}:{node.lineno} does something when it is imported"


def test_rooms_stay_small_and_introduce_themselves() -> None:
    top = [file for file in (ROOT / "edge_yolov9").glob("*.py") if not file.name.startswith("__")]
    assert len(top) <= 17, f"{len(top)} files at the top of the package"
    for init in (file for file in MODULES.values() if file.name == "__init__.py"):
        files = [file for file in init.parent.glob("*.py") if file.name != "__init__.py"]
        assert len(files) <= 15 or init.parent.name in ("train", "edge_yolov9"), f"{init.parent} has {len(files)} files"
        text = ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))) or ""
        lines = len(text.splitlines())
        assert 2 <= lines <= 5 or init.parent.name == "edge_yolov9", f"{init} introduces its room in {lines} lines"
