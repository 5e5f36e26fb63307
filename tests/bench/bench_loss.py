"""What INT8 loses on every target: the table of docs/int8.md.

    python -m tests.bench.bench_loss CHECKPOINT DATA [--size 320 ...] [--images 128 ...] [--target openvino ...]

One compilation per figure, with the defaults of ``edge-yolov9 compile``; AP points against the float checkpoint.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
from edge_yolov9.registry import TARGETS


def cell(made: Bundle) -> str:
    """AP points lost, and what it took where it was not the first attempt or not all of it is INT8."""
    plan, search = made.manifest.compilation.plan, made.manifest.compilation.search
    assert plan is not None
    assert search is not None
    assert made.manifest.accuracy is not None
    text = f"{made.manifest.accuracy['drop_points']:.2f}"
    tried, floats = len(search.attempts), len(plan.float_layers)
    notes = [f"{tried} attempts"] * (tried > 1) + [f"{floats} in float"] * bool(floats)
    return f"{text} ({', '.join(notes)})" if notes else text


def main() -> None:
    """Print a row per size and number of images as soon as it is measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=int, nargs="+", default=[320])
    parser.add_argument("--images", type=int, nargs="+", default=[128, 16])
    parser.add_argument("--target", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    given = parser.parse_args()
    print(f"| px | images | {' | '.join(given.target)} |\n|{'---|' * (2 + len(given.target))}")
    for size in given.size:
        for count in given.images:
            row = []
            for target in given.target:
                options = CompileOptions(
                    target, precision="int8", input_size=(size, size), calibration=given.data, calibration_images=count
                )
                with tempfile.TemporaryDirectory() as folder:
                    row.append(cell(compile_checkpoint(given.checkpoint, options, Path(folder) / "b", lambda _: None)))
            print(f"| {size} | {count} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
