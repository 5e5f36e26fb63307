"""``--precision auto``: every precision that the board takes, compiled, measured in turn, the fastest taken."""

from __future__ import annotations

import platform
import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bench import latency
from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
from edge_yolov9.compiler.verify import CONSEQUENCE
from edge_yolov9.errors import CompileError, RuntimeNotInstalled, TargetError
from edge_yolov9.registry import Board

MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
"""Processor family of this machine, as Linux calls it."""

EQUAL = 1.03
"""Milliseconds within this factor of the least count as equal; then the first of ``PREFERRED`` is taken."""

PREFERRED = ("fp16", "fp32", "int8")
"""As good as float32 at half its size; then what needs no calibration."""

NO_IMAGES = "it was not compared, as it needs calibration images; add --calibration DATA or FOLDER"


def compile_fastest(path: Path, options: CompileOptions, destination: Path, report: Callable[[str], None]) -> Bundle:
    """Compile ``path`` in every precision and put the fastest bundle within the budget at ``destination``.

    Its ``manifest.extra["auto"]`` holds what was compared: milliseconds, AP drop, and why a precision is out. The
    arguments are those of :func:`edge_yolov9.compiler.pipeline.compile_checkpoint`; ``options.precision`` is not read.

    Raises:
        TargetError: the board is another machine, so that a latency measured here says nothing.
        CompileError: no precision could be compiled within the budget.
        EdgeYoloError: what was handed over cannot be used.
    """
    board = _board(options)
    table: dict[str, dict[str, Any]] = {}
    made: dict[str, Bundle] = {}
    with bundles.writing(destination) as folder, tempfile.TemporaryDirectory() as scratch:
        for precision in board.precisions:
            if precision == "int8" and options.calibration is None:
                table[precision] = {"out": NO_IMAGES}
                continue
            report(f"auto: {precision}")
            candidate = replace(options, device=board.name, precision=precision)
            try:
                made[precision] = compile_checkpoint(path, candidate, Path(scratch) / precision, report)
                table[precision] = {"drop_points": (made[precision].manifest.accuracy or {}).get("drop_points")}
            except CompileError as error:
                table[precision] = {"out": str(error).partition(CONSEQUENCE)[0]}
        if not made:
            reasons = "; ".join(f"{precision}: {row['out']}" for precision, row in table.items())
            raise CompileError(f"no precision of {board.name} is left, no bundle was written: {reasons}")
        _measure(made, table)
        chosen = made[fastest(table)]
        shutil.copytree(chosen.path, folder, dirs_exist_ok=True)
        found = {"chosen": chosen.manifest.precision, "machine": MACHINE, "candidates": table}
        bundles.seal(folder, replace(chosen.manifest, extra={**chosen.manifest.extra, "auto": found}))
    return bundles.read(destination)


def _board(options: CompileOptions) -> Board:
    """The board that this machine is.

    Raises:
        TargetError: it is another machine.
    """
    target = registry.target(options.target)
    if target.runtime is None:
        raise RuntimeNotInstalled(
            f"--precision auto measures on this machine, which has no {' or '.join(target.runtimes)}; choose a "
            f"precision, or run it on the {target.name} device; {target.how_to_install}"
        )
    here = [name for name, board in registry.boards(options.target).items() if board.machine == MACHINE]
    board = registry.board(options.target, options.device or next(iter(here), None))
    if board.name not in here or not _present(board, options.target):
        raise TargetError(
            f"--precision auto measures on this machine, which is no {board.name} ({board.title}); choose a "
            "precision, or run it there" + (f"; --device {here[0]} is this machine" if here else "")
        )
    return board


def _present(board: Board, target: str) -> bool:
    """Whether this machine has the part that the board computes on."""
    return board.device in ("", "CPU") or bool(registry.module(target, "session").present(board.device))


def _measure(made: Mapping[str, Bundle], table: dict[str, dict[str, Any]]) -> None:
    """Put ``ms``, the median over rounds, and ``least_ms`` and ``most_ms`` into the rows of ``table``."""
    rounds = latency.in_turn([bundle.path for bundle in made.values()])
    for precision, times in zip(made, rounds, strict=True):
        figures = {"ms": statistics.median(times), "least_ms": min(times), "most_ms": max(times)}
        table[precision] |= {key: round(value, 3) for key, value in figures.items()}


def fastest(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The precision to take, of those that have ``ms``."""
    times = {precision: row["ms"] for precision, row in table.items() if "ms" in row}
    return min((key for key in times if times[key] <= EQUAL * min(times.values())), key=PREFERRED.index)


def verdict(found: Mapping[str, Any]) -> str:
    """One line about ``manifest.extra["auto"]``: what was taken, and why not INT8."""
    chosen, table = found["chosen"], found["candidates"]
    times = [f"{key} {row['ms']:.1f} ms" for key, row in table.items() if "ms" in row]
    text = f"auto took {chosen} on this machine ({', '.join(times)})"
    if chosen == "int8" or "int8" not in table:
        return text
    if "out" in table["int8"]:
        return f"{text}; INT8 is out: {table['int8']['out']}"
    return f"{text}; INT8 is not worth it here: it is no faster"
