"""What the dense box branch, as Ultralytics builds it, costs beside the published one with 4 groups.

Both models compute the same: the kernels of the groups stand on the diagonal of the dense ones. They take turns in one
process, so a ratio of medians bears other load; run it alone all the same (``pytest -s -m bench``).
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import Tensor

from edge_yolov9 import Detector, read_image
from edge_yolov9.checkpoint import Checkpoint, load, save
from edge_yolov9.compiler import prune
from edge_yolov9.model import build
from edge_yolov9.variants import GraphOptions
from tests.conftest import DEMO, PICTURES

pytestmark = [pytest.mark.bench, pytest.mark.slow]

ROUNDS, FRAMES = 9, 20


def spread(kernel: Tensor, groups: int) -> Tensor:
    """(out, in / groups, k, k) -> (out, in, k, k): zero between the groups."""
    return torch.cat(
        [torch.block_diag(*tap.chunk(groups))[..., None] for tap in kernel.flatten(2).unbind(-1)], -1
    ).view(len(kernel), -1, *kernel.shape[2:])


def dense(checkpoint: Checkpoint) -> Checkpoint:
    """The deployed model with the dense head, which computes the same."""
    model = build("gelan-t", len(checkpoint.names), GraphOptions(head="dense"))
    state = dict(prune(checkpoint.model).state_dict())
    for key, value in model.state_dict().items():
        if state[key].shape != value.shape:
            state[key] = spread(state[key], value.shape[1] // state[key].shape[1])
    model.load_state_dict(state)
    return replace(checkpoint, model=model.eval())


@pytest.mark.parametrize(
    ("target", "precision"), [("onnx", "fp32"), ("onnx", "int8"), ("openvino", "int8"), ("tflite", "int8")]
)
def test_the_dense_box_branch_beside_the_published_one(target: str, precision: str, tmp_path: Path) -> None:
    save(dense(load(DEMO)), tmp_path / "dense.safetensors")
    detectors = []
    for name, checkpoint in (("published", DEMO), ("dense", tmp_path / "dense.safetensors")):
        command = [
            sys.executable,
            "-m",
            "edge_yolov9",
            "compile",
            str(checkpoint),
            "--target",
            target,
            "--imgsz",
            "320",
        ]
        calibration = (
            ["--calibration", str(PICTURES.parent / "train"), "--fine-tuning", "0"] if precision == "int8" else []
        )
        command += ["--precision", precision, *calibration, "-o", str(tmp_path / name)]
        subprocess.run(command, check=True, timeout=600, capture_output=True)
        detectors.append(Detector(tmp_path / name))
    frame = read_image(next(PICTURES.glob("*.jpg")))
    assert len(detectors[0](frame)) == len(detectors[1](frame)) or precision == "int8"
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for detector, taken in zip(detectors, times, strict=True):
            for _ in range(FRAMES):
                start = time.perf_counter()
                detector(frame)
                taken.append(time.perf_counter() - start)
    for detector in detectors:
        detector.close()
    ratio = median(times[1]) / median(times[0])
    print(
        f"\n{target} {precision}, T at 320: a frame with the dense box branch takes {ratio:.3f} of the published one's"
    )
    assert 0.8 < ratio < 1.3
