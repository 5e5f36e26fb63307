"""Where the time of a training iteration goes: YOLOv9-T, 320 px, batch 16, BCCD, on the CPU.

    python -m tests.bench.bench_train [ROUNDS]

Iterations of our trainer alternate with a plain PyTorch program's forward and backward of the same graph (NCHW,
activations in place, no loss), so that other load on the machine hits both. Prints medians in seconds: by the clock,
and of processor time over cores, which other load hardly moves.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from edge_yolov9.data import load_data
from edge_yolov9.model import build
from edge_yolov9.system.cpu import free_memory
from edge_yolov9.train.check import splits, survey
from edge_yolov9.train.dataset import Loader, Order, TrainingSet
from edge_yolov9.train.engine import Engine
from edge_yolov9.train.memory import keep_freed_memory
from edge_yolov9.train.optimizer import Schedule
from edge_yolov9.train.settings import Settings
from tests.conftest import DATA

Times = dict[str, list[tuple[float, float]]]


@contextmanager
def timed(times: Times, part: str) -> Iterator[None]:
    """Note wall and processor time per core."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    cores = torch.get_num_threads()
    times[part].append((time.perf_counter() - clock, (time.process_time() - processor) / cores))


def plain(model: torch.nn.Module, images: torch.Tensor) -> None:
    main, auxiliary = model(images)
    torch.stack([level.square().mean() for level in (*main, *auxiliary)]).sum().backward()
    model.zero_grad(set_to_none=True)


def measure(rounds: int) -> Times:
    keep_freed_memory()
    settings = Settings(imgsz=320, batch=16, nominal_batch=16, epochs=80, close_mosaic=10)
    dataset = load_data(DATA)
    data = TrainingSet(survey(*splits(dataset)).pictures, settings)
    data.fill_cache(free_memory())
    order = Order(len(data), settings)
    schedule = Schedule(settings, order.batches)
    torch.manual_seed(0)
    engine = Engine(build("yolov9-t", 3), settings)
    other = build("yolov9-t", 3).train()
    batches = Loader(data, order, 0, pin=False).epoch(0)
    times: Times = defaultdict(list)
    for number in range(rounds + 1):
        with timed(times, "iteration"):
            with timed(times, "data"):
                batch = next(batches)
            with timed(times, "gradients"):
                engine.gradients(batch, settings.batch)
            with timed(times, "step"):
                engine.step(schedule.at(0, number))
        images = batch.images.permute(0, 3, 1, 2).float().div(255).contiguous()
        with timed(times, "plain forward and backward"):
            plain(other, images)
        if number == 0:
            times.clear()
    return times


def main() -> None:
    times = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 8)
    medians = {part: [statistics.median(column) for column in zip(*rows, strict=True)] for part, rows in times.items()}
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; medians of {len(times['data'])}")
    for part, (clock, processor) in medians.items():
        print(f"{part:28} {clock:7.3f} s   processor time / threads {processor:7.3f} s")
    ours, theirs = medians["iteration"], medians["plain forward and backward"]
    print(
        f"plain forward and backward alone / our whole iteration: {theirs[0] / ours[0]:.2f}, {theirs[1] / ours[1]:.2f}"
    )


if __name__ == "__main__":
    main()
