"""``edge-yolov9 report table``: the family counted, compiled where no bundle is given, and timed here."""

from __future__ import annotations

import datetime
import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bench import latency
from edge_yolov9.bench.child import TextProgress
from edge_yolov9.bench.spread import Few, few
from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InputError
from edge_yolov9.files import from_json
from edge_yolov9.registry import TARGETS
from edge_yolov9.report import document, family
from edge_yolov9.report.document import Column
from edge_yolov9.report.family import Cost, ModelPoint, ModelRow, ModelTable, TimedBundle
from edge_yolov9.scoring.accuracy import Scores
from edge_yolov9.system import folders
from edge_yolov9.variants import VARIANTS, parse_name

ROUNDS = 3
CLASSES = 80
NO_TORCH = "parameters and GFLOPs are not counted: PyTorch is not installed here (extra: compile)"
T_DIFFERS = (
    "T counts more than its published row: the published weights give its class branches 128 channels, the row 80."
)
RANDOM = (
    "Bundles compiled for this table have random weights: size and latency are those of trained ones with 80 classes."
)


@dataclass(frozen=True)
class Request:
    """What ``report table`` was asked for."""

    sizes: str
    """Which variants are compiled and timed when no bundle is given, e.g. "tsmce"."""
    target: str | None
    input_size: tuple[int, int]
    """(height, width), pixels, of those that are compiled."""
    key: str | None = None
    """Public key that must have signed the bundles that are given; None for any."""


def model_table(paths: Sequence[Path], request: Request, progress: TextProgress) -> ModelTable:
    """Count, compile and time what is asked for.

    Args:
        paths: bundles to time, and ``report.json`` files whose figures are taken as they are.
        request: what is compiled where there are none.
        progress: is called with what is being done.

    Raises:
        EdgeYoloError: an input cannot be used, or does not run here.
    """
    counting = importlib.util.find_spec("torch") is not None
    opened = [bundles.read(path, key=request.key) for path in paths if path.is_dir()]
    reported = [
        point_of_column(column, counting)
        for path in paths
        if not path.is_dir()
        for column in document.read(path).columns
    ]
    for bundle in opened:
        document.check_runtime(bundle)
    with folders.scratch() as scratch:
        made = [] if paths else _compile(request, Path(scratch), progress)
        timed = _timed([*opened, *made], made, request.key if opened else None, progress)
    named = zip(opened, document.labels(opened), timed, strict=False)
    points = [point_of_bundle(bundle, label, entry.latency_ms, counting) for bundle, label, (_, entry) in named]
    notes = [T_DIFFERS if counting else NO_TORCH, *([RANDOM] if made else [])]
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return ModelTable(now, _machine(), _models(timed, counting), (*points, *reported), tuple(notes))


def _models(timed: Sequence[tuple[str, TimedBundle]], counting: bool) -> tuple[ModelRow, ...]:
    """A row per variant; of several bundles of one, the first."""
    return tuple(
        ModelRow(
            model=f"YOLOv9-{size.upper()}",
            published=family.published(size),
            counted=_count(size, CLASSES) if counting else None,
            measured=next((entry for variant, entry in timed if variant == size), None),
        )
        for size in VARIANTS
    )


def _compile(request: Request, scratch: Path, progress: TextProgress) -> list[Bundle]:
    """Random weights, float32."""
    unknown = set(request.sizes) - set(VARIANTS)
    if unknown or not request.sizes:
        raise InputError(f"--models takes letters of {''.join(VARIANTS)}, got {request.sizes!r}")
    target = request.target or next((name for name, row in TARGETS.items() if row.runtime), None)
    if target is None or registry.target(target).runtime is None:
        raise InputError(f"the runtime of {target or 'every target'} is not installed here; give bundles that run here")
    import torch

    from edge_yolov9.checkpoint import Checkpoint, save
    from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
    from edge_yolov9.model import build

    made = []
    names = tuple(f"class {index}" for index in range(CLASSES))
    options = CompileOptions(target, precision="fp32", input_size=request.input_size)
    for size in dict.fromkeys(request.sizes):
        progress(f"compile YOLOv9-{size.upper()} with random weights for {target}")
        torch.manual_seed(0)
        file = scratch / f"{size}.safetensors"
        save(Checkpoint(build(f"gelan-{size}", CLASSES).eval(), names, request.input_size), file)
        made.append(compile_checkpoint(file, options, scratch / size, lambda line: None))
        file.unlink()
    return made


def _timed(
    opened: Sequence[Bundle], made: Sequence[Bundle], key: str | None, progress: TextProgress
) -> list[tuple[str, TimedBundle]]:
    """(size of the variant, what was measured) of every bundle."""
    progress(f"time {len(opened)} bundles in turn, {ROUNDS} rounds")
    rounds = latency.in_turn([bundle.path for bundle in opened], rounds=ROUNDS, key=key)
    return [
        (
            bundle.manifest.variant.rpartition("-")[2],
            TimedBundle(_what(bundle) + (", random weights" if bundle in made else ""), bundle.bytes, few(times)),
        )
        for bundle, times in zip(opened, rounds, strict=True)
    ]


def _what(bundle: Bundle) -> str:
    rule = bundle.manifest.input
    return f"{bundle.manifest.target} {bundle.manifest.precision} {rule.width} x {rule.height}"


@dataclass(frozen=True)
class _Scored:
    """What a point needs of ``manifest.accuracy``."""

    artifact: Scores
    data: str | None = None


def point_of_bundle(bundle: Bundle, label: str, latency_ms: Few, counting: bool) -> ModelPoint:
    """The point of a bundle that was timed here.

    Raises:
        BundleError: the figures in its manifest are malformed.
    """
    manifest = bundle.manifest
    parameters, operations = _cost(manifest.variant, len(manifest.names), counting)
    if manifest.accuracy is None:
        return ModelPoint(label, None, None, None, latency_ms, parameters, operations)
    try:
        scored = from_json(_Scored, manifest.accuracy, "accuracy")
    except ValueError as error:
        raise BundleError(
            f"{bundle.path}: the accuracy in its manifest is malformed: {error}; compile the bundle again"
        ) from None
    return ModelPoint(label, scored.artifact.AP, None, scored.data, latency_ms, parameters, operations)


def point_of_column(column: Column, counting: bool) -> ModelPoint:
    """The point of a report's column."""
    parameters, operations = _cost(column.bundle.variant, len(column.bundle.names), counting)
    latency_ms = None if column.latency is None else column.latency.stages.inference
    section = column.accuracy
    if section is None:
        return ModelPoint(column.label, None, None, None, latency_ms, parameters, operations)
    error, data = section.standard_error.AP, section.data.file
    return ModelPoint(column.label, section.AP, error, data, latency_ms, parameters, operations)


def _cost(variant: str, classes: int, counting: bool) -> tuple[float, float]:
    """Parameters and GFLOPs at 640 x 640: counted, else published."""
    size = parse_name(variant)[0].size
    if counting:
        counted = _count(size, classes)
        return counted.parameters, counted.gflops_640
    stated = family.published(size)
    return 1e6 * stated.parameters_m, stated.gflops


def _count(size: str, classes: int) -> Cost:
    """Cost of the deployed graph."""
    import torch

    from edge_yolov9.compiler.fold import fold
    from edge_yolov9.model import build
    from edge_yolov9.model.cost import gflops, parameters

    with torch.device("meta"):
        graph = fold(build(f"gelan-{size}", classes).eval())
    return Cost(parameters(graph), round(gflops(graph), 3))


def _machine() -> str:
    from edge_yolov9.bench.sensors.machine import soc

    return f"{soc()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
