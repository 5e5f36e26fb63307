"""What the tests of every target share: emit jobs and bundles of the shipped BCCD model.

The model is loaded, folded and exported to ONNX once per size and test session.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle, Manifest
from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.compiler.export import export_onnx
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.job import EmitJob, Pictures
from edge_yolov9.compiler.prune import prune
from edge_yolov9.compiler.quantization import Study, study
from edge_yolov9.decode import sqnr_db
from edge_yolov9.geometry import letterbox
from edge_yolov9.images import read_image
from edge_yolov9.model import RawHeads, YOLOv9
from edge_yolov9.registry import Board

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("RBC", "WBC", "Platelets")


@cache
def demo_model() -> YOLOv9:
    """The shipped YOLOv9-T, trained on BCCD at 320 px."""
    from edge_yolov9.checkpoint import load

    return load(EXAMPLES / "bccd-yolov9-t.safetensors").model


@cache
def _exported(model: YOLOv9, size: int) -> tuple[RawHeads, Path, Any]:
    """Folded heads and their ONNX; the last item keeps the file's folder alive."""
    keep = tempfile.TemporaryDirectory(prefix="edge-yolov9-test-")
    heads = RawHeads(fold(prune(model))).eval()
    return heads, export_onnx(heads, (size, size), Path(keep.name) / "model.onnx"), keep


@cache
def image_paths(split: str) -> tuple[Path, ...]:
    """BCCD pictures of "train" or "val", sorted."""
    return tuple(sorted((EXAMPLES / "bccd" / "images" / split).glob("*.jpg")))


def frames(count: int, size: int = 320, split: str = "val") -> list[NDArray[np.uint8]]:
    """``count`` letterboxed pictures (size, size, 3) uint8 BGR."""
    return [letterbox(read_image(path), (size, size))[0] for path in image_paths(split)[:count]]


NO_BOARD = Board("none", "no board", "int8", registry.PRECISIONS, "NCHW", "", "", ())
"""A board that no target states anything of."""


@contextmanager
def silent(stage: str) -> Iterator[None]:
    """A stage that prints nothing."""
    yield


def make_job(
    tmp_path: Path,
    precision: str,
    images: int = 16,
    size: int = 320,
    model: YOLOv9 | None = None,
    target: str | None = None,
    board: str | None = None,
    **target_options: object,
) -> EmitJob:
    """A job that writes below ``tmp_path``, with ``images`` calibration pictures when the precision is int8.

    ``board`` is looked up in ``target``'s profiles (the first when None); without a target it is one without facts.
    """
    heads, exported, _ = _exported(model or demo_model(), size)
    folder, scratch = tmp_path / "bundle", tmp_path / "scratch"
    folder.mkdir(parents=True)
    scratch.mkdir()
    shutil.copy(exported, scratch / "model.onnx")
    plan, pictures = None, Pictures((size, size))
    if precision == "int8" and target:
        calibration = calibration_set(images, size)
        plan = study_of(calibration, target, model).best()
        pictures = Pictures((size, size), calibration, "calibration images")
    profile = registry.board(target, board) if target else NO_BOARD
    return EmitJob(
        heads, scratch / "model.onnx", (size, size), precision, plan, profile, pictures, folder, scratch, silent,
        target_options,
    )  # fmt: skip


def calibration_set(images: int = 16, size: int = 320) -> CalibrationSet:
    """The first training pictures of BCCD."""
    return CalibrationSet(image_paths("train")[:images], (size, size))


def float_graph(size: int = 320, model: YOLOv9 | None = None) -> onnx.ModelProto:
    """A model (the demo when None) as simplified ONNX."""
    return onnx.load(_exported(model or demo_model(), size)[1])


@cache
def study_of(calibration: CalibrationSet, target: str, model: YOLOv9 | None = None) -> Study:
    """What is measured of a model (the demo when None) for a target's INT8."""
    return study(
        float_graph(calibration.input_size[0], model), calibration, registry.module(target, "emit").QUANTIZATION
    )


def uncorrected(job: EmitJob, target: str) -> EmitJob:
    """The same job without bias correction: what was converted once in float fits the plan."""
    if job.plan is None or job.pictures.images is None:
        return job
    return replace(job, plan=replace(job.plan, graph=study_of(job.pictures.images, target).graph))


def make_bundle(target: str, job: EmitJob) -> Bundle:
    """Emit ``job`` for ``target`` and seal a bundle with what every manifest needs."""
    emitted = registry.module(target, "emit").emit(job)
    manifest = Manifest(
        variant="gelan-t",
        names=NAMES,
        target=target,
        board="test",
        precision=job.precision,
        input=emitted.input,
        outputs=emitted.outputs,
        model=emitted.model,
        tools=emitted.tools,
        extra=emitted.extra,
    )
    bundles.seal(job.folder, manifest)
    return bundles.read(job.folder)


def sqnr(expected: NDArray[Any], got: NDArray[Any]) -> float:
    """Signal to quantization noise, dB."""
    wanted = expected.astype(np.float64)
    return sqnr_db(np.square(wanted).sum(), np.square(got - wanted).sum())
