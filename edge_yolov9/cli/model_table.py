"""``edge-yolov9 report --model-table``: the family counted, compiled where no bundle is given, and timed here."""

from __future__ import annotations

import datetime
import importlib.util
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bench import latency
from edge_yolov9.bench.spread import few
from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, InputError
from edge_yolov9.registry import TARGETS
from edge_yolov9.report import document, family
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

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What ``--model-table`` was asked for."""

    sizes: str
    """Which variants are compiled and timed when no bundle is given, e.g. "tsmce"."""
    target: str | None
    input_size: tuple[int, int]
    """(height, width), pixels, of those that are compiled."""


def measure(paths: Sequence[Path], request: Request, tell: Tell) -> dict[str, Any]:
    """The table as ``docs/report.md`` describes it.

    Args:
        paths: bundles to time, and ``report.json`` files whose figures are taken as they are.
        request: see there.
        tell: takes a line of progress.

    Raises:
        EdgeYoloError: an input cannot be used, or does not run here.
    """
    counting = importlib.util.find_spec("torch") is not None
    opened = [bundles.read(path) for path in paths if path.is_dir()]
    told = [point for path in paths if not path.is_dir() for point in _of_report(path, counting)]
    for one in opened:
        document.check_runtime(one)
    with tempfile.TemporaryDirectory() as scratch:
        made = [] if paths else _compile(request, Path(scratch), tell)
        timed = _timed([*opened, *made], made, tell)
    labels = document.labels(opened)
    points = [
        *(
            _of_bundle(one, label, entry, counting)
            for one, label, (_, entry) in zip(opened, labels, timed, strict=False)
        ),
        *told,
    ]
    notes = [T_DIFFERS if counting else NO_TORCH, *([RANDOM] if made else [])]
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return {"created": now, "machine": _machine(), "models": _models(timed, counting), "points": points, "notes": notes}


def _models(timed: Sequence[tuple[str, dict[str, Any]]], counting: bool) -> list[dict[str, Any]]:
    """A row per variant; of several bundles of one, the first."""
    return [
        {
            "model": f"YOLOv9-{size.upper()}",
            "published": family.published(size),
            "counted": _count(size, CLASSES) if counting else None,
            "measured": next((entry for variant, entry in timed if variant == size), None),
        }
        for size in VARIANTS
    ]


def _compile(request: Request, scratch: Path, tell: Tell) -> list[Bundle]:
    """Random weights, float32."""
    unknown = set(request.sizes) - set(VARIANTS)
    if unknown or not request.sizes:
        raise InputError(f"--models takes letters of {''.join(VARIANTS)}, got {request.sizes!r}")
    target = request.target or next((name for name, one in TARGETS.items() if one.runtime), None)
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
        tell(f"compile YOLOv9-{size.upper()} with random weights for {target}")
        torch.manual_seed(0)
        file = scratch / f"{size}.safetensors"
        save(Checkpoint(build(f"gelan-{size}", CLASSES).eval(), names, request.input_size), file)
        made.append(compile_checkpoint(file, options, scratch / size, lambda line: None))
        file.unlink()
    return made


def _timed(found: Sequence[Bundle], made: Sequence[Bundle], tell: Tell) -> list[tuple[str, dict[str, Any]]]:
    """(size of the variant, what was measured) of every bundle."""
    tell(f"time {len(found)} bundles in turn, {ROUNDS} rounds")
    rounds = latency.in_turn([one.path for one in found], rounds=ROUNDS)
    return [
        (
            one.manifest.variant.rpartition("-")[2],
            {
                "what": _what(one) + (", random weights" if one in made else ""),
                "bytes": one.bytes,
                "latency_ms": few(times),
            },
        )
        for one, times in zip(found, rounds, strict=True)
    ]


def _what(one: Bundle) -> str:
    rule = one.manifest.input
    return f"{one.manifest.target} {one.manifest.precision} {rule.width} x {rule.height}"


def _of_bundle(one: Bundle, label: str, measured: Mapping[str, Any], counting: bool) -> dict[str, Any]:
    told = one.manifest.accuracy
    try:
        figures = None if told is None else (told["artifact"]["AP"], None, told.get("data"))
    except (KeyError, TypeError):
        raise BundleError(f"{one.path}: the accuracy in its manifest is malformed; compile the bundle again") from None
    return _point(label, one.manifest.variant, len(one.manifest.names), figures, measured["latency_ms"], counting)


def _of_report(path: Path, counting: bool) -> list[dict[str, Any]]:
    columns = document.read(path)["columns"]
    try:
        return [_of_column(entry, counting) for entry in columns]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise document.malformed(path, error) from None


def _of_column(entry: Mapping[str, Any], counting: bool) -> dict[str, Any]:
    told, about = entry.get("accuracy"), entry["bundle"]
    figures = None if told is None else (told["AP"], told["standard_error"]["AP"], told["data"]["file"])
    timed = entry.get("latency", {}).get("stages", {}).get("inference")
    return _point(entry["label"], about["variant"], len(about["names"]), figures, timed, counting)


def _point(
    label: str, variant: str, classes: int, figures: tuple[Any, Any, Any] | None, timed: Any, counting: bool
) -> dict[str, Any]:
    size = parse_name(variant)[0].size
    told = family.published(size)
    cost = _count(size, classes) if counting else None
    cost = cost or {"parameters": 1e6 * told["parameters_m"], "gflops_640": told["gflops"]}
    ap, error, data = figures or (None, None, None)
    latency_ms = timed if isinstance(timed, Mapping) else None
    return {"label": label, "AP": ap, "standard_error": error, "data": data, "latency_ms": latency_ms, **cost}


def _count(size: str, classes: int) -> dict[str, Any]:
    """Of the deployed graph."""
    import torch

    from edge_yolov9.compiler.fold import fold
    from edge_yolov9.model import build
    from edge_yolov9.model.cost import gflops, parameters

    with torch.device("meta"):
        graph = fold(build(f"gelan-{size}", classes).eval())
    return {"parameters": parameters(graph), "gflops_640": round(gflops(graph), 3)}


def _machine() -> str:
    from edge_yolov9.bench.sensors.machine import soc

    return f"{soc()}, {platform.system()} {platform.release()}, Python {platform.python_version()}"
