"""``--precision auto``: every precision that the board takes, compiled, measured in turn, the fastest taken."""

from __future__ import annotations

import platform
import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bench import latency
from edge_yolov9.bundle import Bundle
from edge_yolov9.bundle.record import AutoRecord, CandidateRecord
from edge_yolov9.compiler.inputs import CompileInputs
from edge_yolov9.compiler.options import CompileOptions
from edge_yolov9.compiler.pipeline import check_target, compile_precision, resolve
from edge_yolov9.compiler.stages import Stages
from edge_yolov9.compiler.verify import CONSEQUENCE
from edge_yolov9.errors import CompileError, RuntimeNotInstalled, TargetError
from edge_yolov9.registry import Board
from edge_yolov9.system import folders

MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
"""Processor family of this machine, as Linux calls it."""

EQUAL = 1.03
"""Milliseconds within this factor of the least count as equal; then the first of ``PREFERRED`` is taken."""

PREFERRED = ("fp16", "fp32", "int8")
"""Precisions in the order in which they are taken where they are equally fast: float16 is as accurate as float32 at
half the size, and neither needs calibration."""

NO_IMAGES = "it was not compared, as it needs calibration images; add --calibration DATA or FOLDER"


def compile_fastest(path: Path, options: CompileOptions, destination: Path, report: Callable[[str], None]) -> Bundle:
    """Compile ``path`` in every precision and put the fastest bundle within the budget at ``destination``.

    Its ``manifest.compilation.auto`` holds what was compared: milliseconds, AP drop, and why a precision is out. The
    checkpoint, its float graph, the images and the float figures are shared by all precisions. The arguments are those
    of :func:`edge_yolov9.compiler.pipeline.compile_checkpoint`; ``options.precision`` is not read.

    Raises:
        TargetError: the board is another machine, so that a latency measured here says nothing.
        CompileError: no precision could be compiled within the budget.
        EdgeYoloError: what was handed over cannot be used.
    """
    board = _board(options)
    resolve(replace(options, device=board.name, precision=None))
    with bundles.writing(destination) as folder, folders.scratch() as scratch:
        inputs = CompileInputs(path, options, Path(scratch), Stages(report))
        made, out = _compile_all(inputs, board)
        if not made:
            reasons = "; ".join(f"{precision}: {reason}" for precision, reason in out.items())
            raise CompileError(f"no precision of {board.name} is left, no bundle was written: {reasons}")
        times = _measure(made)
        candidates = {
            precision: times[precision] if precision in times else CandidateRecord(out=out[precision])
            for precision in board.precisions
        }
        chosen = made[fastest(candidates)].manifest
        shutil.copytree(made[chosen.precision].path, folder, dirs_exist_ok=True)
        auto = AutoRecord(chosen.precision, MACHINE, candidates)
        bundles.seal(folder, replace(chosen, compilation=replace(chosen.compilation, auto=auto)))
    return bundles.read(destination)


def _compile_all(inputs: CompileInputs, board: Board) -> tuple[dict[str, Bundle], dict[str, str]]:
    """A bundle of every precision that can be had, and for the others the reason why not."""
    made: dict[str, Bundle] = {}
    out: dict[str, str] = {}
    for precision in board.precisions:
        if precision == "int8" and inputs.options.calibration is None:
            out[precision] = NO_IMAGES
            continue
        inputs.stages.report(f"auto: {precision}")
        folder = inputs.scratch / precision
        folder.mkdir()
        try:
            check_target(inputs.options, board, precision)
            made[precision] = compile_precision(inputs, board, precision, folder)
        except CompileError as error:
            out[precision] = str(error).partition(CONSEQUENCE)[0]
    return made, out


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


def _measure(made: Mapping[str, Bundle]) -> dict[str, CandidateRecord]:
    """Milliseconds of every bundle, and what it loses."""
    rounds = latency.in_turn([bundle.path for bundle in made.values()])
    return {
        precision: CandidateRecord(
            drop_points=(made[precision].manifest.accuracy or {}).get("drop_points"),
            ms=round(statistics.median(times), 3),
            least_ms=round(min(times), 3),
            most_ms=round(max(times), 3),
        )
        for precision, times in zip(made, rounds, strict=True)
    }


def fastest(candidates: Mapping[str, CandidateRecord]) -> str:
    """The precision to take, of those that have ``ms``."""
    times = {precision: row.ms for precision, row in candidates.items() if row.ms is not None}
    return min((key for key in times if times[key] <= EQUAL * min(times.values())), key=PREFERRED.index)


def verdict(auto: AutoRecord) -> str:
    """One line: what was taken, and why not INT8."""
    times = [f"{key} {row.ms:.1f} ms" for key, row in auto.candidates.items() if row.ms is not None]
    text = f"auto took {auto.chosen} on this machine ({', '.join(times)})"
    int8 = auto.candidates.get("int8")
    if auto.chosen == "int8" or int8 is None:
        return text
    if int8.out is not None:
        return f"{text}; INT8 is out: {int8.out}"
    return f"{text}; INT8 is not worth it here: it is no faster"
