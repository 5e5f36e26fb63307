"""Two gloo processes do what one does with the same global batch.

BatchNorm would see half of the batch in each process, and PyTorch's SyncBatchNorm does not run on a CPU. So the
comparison freezes the statistics (``freeze_bn``): everything else is as in any run - the split of the batch, targets
normalised over both, gradients averaged, clipping, optimizer, moving average, accumulation.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edge_yolov9.train.state import STATE, read_state
from tests.train.test_resume import rows

OPTIONS = [
    *("--model=yolov9-t", "--imgsz=64", "--batch=4", "--nominal-batch=8", "--epochs=2", "--close-mosaic=1"),
    *("--warmup-epochs=0", "--freeze-bn", "--workers=0", "--lr=0.05"),
]


@pytest.mark.slow
def test_two_processes_equal_one(made: Path, tmp_path: Path) -> None:
    """The same losses, weights, average and momentum, within float tolerance, after 2 epochs."""
    common = ["train", "--device=cpu", f"--data={made}", *OPTIONS]
    one, two = tmp_path / "one", tmp_path / "two"
    run = [sys.executable, "-m", "edge_yolov9", *common, f"--out={one}"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "edge_yolov9"]
    for arguments in (run, [*launch, *common, f"--out={two}"]):
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    (alone, at, _), (together, there, _) = read_state(one / STATE), read_state(two / STATE)
    assert at.updates == there.updates == 4
    for mine, theirs in zip(rows(one), rows(two), strict=True):
        for key in ("class", "box", "dfl"):
            assert float(theirs[key]) == pytest.approx(float(mine[key]), rel=1e-4)
    start = start_weights()
    for key, value in alone.items():
        if key.startswith(("model/", "ema/", "momentum/")) and value.is_floating_point():
            torch.testing.assert_close(together[key], value, atol=1e-5, rtol=1e-3)
    moved = [key for key, value in start.items() if not torch.equal(alone[f"model/{key}"], value)]
    assert len(moved) > 400, "the run did not train"


def start_weights() -> dict[str, torch.Tensor]:
    """The weights that seed 0 starts from."""
    from edge_yolov9.model import build

    torch.manual_seed(0)
    return build("yolov9-t", 2).state_dict()
