"""tflite bundles of the demo model for the tests of the target. The slow conversion happens once per test session."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle
from edge_yolov9.model.session import TorchSession
from tests.targets.jobs import frames, make_bundle, make_job, study_of, uncorrected

IMAGES = 4
_KEEP: list[tempfile.TemporaryDirectory[str]] = []
_FLOAT: list[Path] = []


def _folder() -> Path:
    """A folder that lives as long as the test session."""
    _KEEP.append(tempfile.TemporaryDirectory(prefix="edge-yolov9-tflite-"))
    return Path(_KEEP[-1].name)


@cache
def emitted(precision: str, floating: str | None = None) -> Bundle:
    """A bundle as ``emit`` makes it; int8 with 16 calibration pictures, one group in float. Do not change it."""
    from edge_yolov9.targets.tflite import lower

    convert = lower.convert

    def convert_once(heads: Any, input_size: tuple[int, int], path: Path) -> None:
        if not _FLOAT:
            convert(heads, input_size, path)
            _FLOAT.append(Path(shutil.copy(path, _folder())))
        else:
            shutil.copy(_FLOAT[0], path)

    job = make_job(_folder(), precision, images=16, target="tflite")
    if floating and job.plan and job.pictures.images:
        job = replace(job, plan=study_of(job.pictures.images, "tflite").keep_float(job.plan, [floating]))
    job = uncorrected(job, "tflite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower, "convert", convert_once)
        return make_bundle("tflite", job)


@cache
def expected() -> list[list[NDArray[np.float32]]]:
    """The six float maps of a few validation pictures."""
    heads = make_job(_folder(), "fp32").heads
    return [TorchSession(heads).infer(frame) for frame in frames(IMAGES)]


def run(bundle: Bundle) -> list[list[NDArray[Any]]]:
    """Copies of the raw tensors of the same pictures."""
    session = registry.open_session(bundle)
    try:
        return [[tensor.copy() for tensor in session.infer(frame)] for frame in frames(IMAGES)]
    finally:
        session.close()
