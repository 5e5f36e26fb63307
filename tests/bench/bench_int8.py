"""What INT8 brings: milliseconds of every precision on this machine, and how many times float32's speed that is.

    python -m tests.bench.bench_int8 [--size 320] [--size 640] [--target openvino] [--checkpoint FILE]

Compiles the checkpoint for each target and size, then measures all bundles in turn, one process each. Prints the median
over rounds, the least and most of them, and the median over rounds of float32's time over this one's: other load on
the machine and its changing clock hit one round's bundles alike.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from edge_yolov9 import registry
from edge_yolov9.bench.latency import in_turn
from edge_yolov9.compiler.auto import MACHINE
from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
from tests.conftest import DATA, DEMO

PRECISIONS = ("fp32", "fp16", "int8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, action="append", help="several may be given; the demo's if none")
    parser.add_argument("--size", type=int, action="append", help="pixels; several may be given; 320 if none")
    parser.add_argument("--target", choices=("openvino", "tflite", "onnx"), action="append", help="two if none")
    parser.add_argument("--calibration", type=Path, default=DATA.parent / "bccd" / "images" / "train")
    parser.add_argument("--images", type=int, default=16, help="that calibrate; they do not change the speed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="keep the bundles there, and use those that are there already")
    return parser.parse_args()


def compile_all(given: argparse.Namespace, folder: Path) -> dict[tuple[str, str, int, str], Path]:
    """``{(checkpoint, target, size, precision): bundle}``."""
    made = {}
    for checkpoint in given.checkpoint or [DEMO]:
        for target in given.target or ["openvino", "tflite"]:
            board = next(name for name, item in registry.boards(target).items() if item.machine == MACHINE)
            for size in given.size or [320]:
                for precision in PRECISIONS:
                    images = given.calibration if precision == "int8" else None
                    options = CompileOptions(target, board, precision, (size, size), images, given.images)
                    path = folder / f"{checkpoint.stem}-{target}-{size}-{precision}"
                    if not path.exists():
                        compile_checkpoint(checkpoint, options, path, lambda line: None)
                    made[checkpoint.stem, target, size, precision] = path
    return made


def main() -> None:
    given = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        made = compile_all(given, given.folder or Path(scratch))
        rounds = dict(zip(made, in_turn(list(made.values()), rounds=given.rounds), strict=True))
    print(f"{registry.cores()} cores, {given.rounds} rounds")
    for (checkpoint, target, size, precision), times in rounds.items():
        floats = rounds[checkpoint, target, size, "fp32"]
        faster = statistics.median(before / after for before, after in zip(floats, times, strict=True))
        name = f"{checkpoint} {target} {size} {precision}"
        print(f"{name:44}{statistics.median(times):8.2f} ms ({min(times):.2f} to {max(times):.2f}) {faster:6.2f} times")


if __name__ == "__main__":
    main()
