"""Training iterations of T on a device against the device's own roofline.

    python -m tests.gpu.throughput DEVICE AMP IMGSZ

Prints images per second for several batches, the part of a large matrix product's rate that the convolutions reach,
and the kernels that take the most time. Inputs are random; the loss sees ten boxes a picture.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from edge_yolov9.model import build
from edge_yolov9.model.cost import gflops
from edge_yolov9.train.dataset import Batch
from edge_yolov9.train.distributed import Group
from edge_yolov9.train.engine import PRECISIONS, Engine
from edge_yolov9.train.optimizer import Schedule
from edge_yolov9.train.settings import Settings

ROUNDS = 12


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(device: torch.device, work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median of ``rounds`` calls after two that warm up."""
    times = []
    for number in range(rounds + 2):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        if number >= 2:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def roofline(device: torch.device, kind: torch.dtype) -> float:
    """Operations per second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    return 2 * size**3 / seconds(device, lambda: a @ b)


def random_batch(count: int, imgsz: int) -> Batch:
    """Noise with ten boxes a picture."""
    number = torch.arange(count).repeat_interleave(10)[:, None].float()
    corner = torch.rand(10 * count, 2) * imgsz / 2
    boxes = torch.cat([number, torch.zeros_like(number), corner, corner + imgsz / 4], 1)
    return Batch(torch.randint(0, 256, (count, imgsz, imgsz, 3), dtype=torch.uint8), boxes, tuple(range(count)))


def main(name: str, amp: str, imgsz: int) -> None:
    device = torch.device(name)
    torch.manual_seed(0)
    top = roofline(device, PRECISIONS.get(amp, torch.float32))
    print(f"RESULT matrix product, TFLOP/s: {top / 1e12:.2f}")
    model = build("yolov9-t", 80)
    work = 3 * gflops(model, (imgsz, imgsz)) * 1e9  # backward takes two forwards' products
    for count in (16, 64, 128) if device.type == "cuda" else (2,):
        settings = Settings(imgsz=imgsz, batch=count, nominal_batch=count, amp=amp)
        engine = Engine(build("yolov9-t", 80), settings, Group(device=device))
        rates = Schedule(settings, 100).at(5, 0)
        batch = random_batch(count, imgsz)

        def iteration() -> None:
            engine.gradients(batch, count)  # noqa: B023
            engine.step(rates)  # noqa: B023

        took = seconds(device, iteration, ROUNDS if device.type == "cuda" else 2)
        print(f"RESULT batch {count}, images/s: {count / took:.1f}")
        print(f"RESULT batch {count}, of the roofline: {100 * work * count / took / top:.0f} %")
        if device.type == "cuda":
            print(f"RESULT batch {count}, memory, GiB: {torch.cuda.max_memory_allocated(device) / 2**30:.2f}")
    kinds = [ProfilerActivity.CUDA] if device.type == "cuda" else [ProfilerActivity.CPU]
    with profile(activities=kinds) as seen:
        iteration()
        wait(device)
    print(seen.key_averages().table(sort_by=f"self_{device.type}_time_total", row_limit=15))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
