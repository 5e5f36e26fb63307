"""From checkpoint to bundle."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from onnx import load as load_onnx

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.compilation import Compilation, ScoredCompilation
from edge_yolov9.compiler.inputs import CompileInputs
from edge_yolov9.compiler.job import emitter
from edge_yolov9.compiler.options import CompileOptions
from edge_yolov9.compiler.quantization import Study, study
from edge_yolov9.compiler.search import Search
from edge_yolov9.compiler.stages import Stages
from edge_yolov9.errors import TargetError
from edge_yolov9.registry import Board
from edge_yolov9.system import folders

__all__ = ["CompileOptions", "compile_checkpoint", "compile_precision"]


def compile_checkpoint(
    path: str | Path, options: CompileOptions, destination: str | Path, report: Callable[[str], None] = print
) -> Bundle:
    """Compile a checkpoint into a bundle at ``destination``, which exists only if everything went well.

    Args:
        path: file of the checkpoint, ours or published.
        options: target, board, precision, input size, images and budget.
        destination: folder that becomes the bundle; an older bundle there is replaced.
        report: takes one line of progress per finished stage.

    Returns:
        The bundle as a device reads it.

    Raises:
        EdgeYoloError: the subclass and its one line say what is wrong and what to do.
    """
    board, precision = resolve(options)
    with folders.scratch() as scratch:
        inputs = CompileInputs(Path(path), options, Path(scratch), Stages(report))
        inputs.check(precision)
        with bundles.writing(Path(destination)) as folder:
            compile_precision(inputs, board, precision, folder)
    return bundles.read(destination)


def compile_precision(inputs: CompileInputs, board: Board, precision: str, folder: Path) -> Bundle:
    """Compile one precision into a sealed bundle in ``folder``; errors as for :func:`compile_checkpoint`."""
    inputs.check(precision)
    stages, options = inputs.stages.beside(), inputs.options
    measured = _study(inputs, stages) if precision == "int8" else None
    gate, pictures = inputs.gate(precision), inputs.pictures(precision)
    if gate is None:
        made = Compilation(inputs, board, precision, measured, pictures, stages).unscored()
    else:
        made = _scored(ScoredCompilation(inputs, board, precision, measured, pictures, stages, gate))
    seconds = {**inputs.stages.seconds, **stages.seconds}
    stages.report(f"{'total':<24}{sum(seconds.values()):7.1f} s")
    shutil.copytree(made.path, folder, dirs_exist_ok=True)
    if options.preset is not None:
        with registry.guarded(registry.target(options.target), f"failed to write the preset {options.preset}"):
            registry.module(options.target, options.preset).write(folder, made.manifest)
    record = replace(made.manifest.compilation, seconds=seconds)
    return bundles.seal(folder, replace(made.manifest, compilation=record))


def resolve(options: CompileOptions) -> tuple[Board, str]:
    """The board, and a precision that it allows.

    Raises:
        TargetError: no such target, board, preset or option, or the board cannot do what was asked for.
    """
    target = registry.target(options.target)
    registry.check_preset(options.preset, target.name)
    target.check_options(options.target_options)
    board = registry.board(target.name, options.device)
    precision = options.precision or board.precision
    if precision not in board.precisions:
        why = board.refused.get(precision, f"expected one of {', '.join(board.precisions)}")
        raise TargetError(f"{board.name} does not take {precision}; {why}")
    check_target(options, board, precision)
    return board, precision


def check_target(options: CompileOptions, board: Board, precision: str) -> None:
    """Ask the target itself whether it can do what was asked for.

    Raises:
        TargetError: the board cannot.
        CompileError: a tool is missing.
    """
    with registry.guarded(registry.target(options.target), "cannot check what it was asked for"):
        emitter(options.target).check(board, precision, options.target_options)


def _study(inputs: CompileInputs, stages: Stages) -> Study:
    """Measure the float graph, and let the rules for ranges compete."""
    images, graph = inputs.calibration, inputs.onnx
    with stages(f"plan INT8 on {len(images)} images"):
        measured = study(load_onnx(graph), images, emitter(inputs.options.target).QUANTIZATION)
        measured.best()
    return measured


def _scored(compilation: ScoredCompilation) -> Bundle:
    """An artifact within the budget, with its figures.

    Raises:
        AccuracyError: there is none.
    """
    search = Search(compilation)
    best, scored = search.run()
    manifest = best.draft.manifest
    record = replace(manifest.compilation, search=search.record())
    accuracy = compilation.gate.record(scored.accuracy)
    return Bundle(best.draft.path, replace(manifest, accuracy=accuracy, compilation=record))
