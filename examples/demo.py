"""Compile the shipped detector for three targets, score and time each, and draw what it finds.

    python examples/demo.py [FOLDER]

Each target is compiled and measured in a process of its own, as a user would run it. The Jetson bundle is scored and
timed through ONNX Runtime: TensorRT runs on the board alone, so its latency here says nothing about a Jetson.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from edge_yolov9 import one_line_errors

HERE = Path(__file__).parent
CHECKPOINT = HERE / "bccd-yolov9-t.safetensors"
DATA = HERE / "bccd.yaml"
PICTURES = HERE / "bccd" / "images" / "val"
NEXT = """
Next, with a checkpoint of your own (README.md tells more):
  edge-yolov9 compile best.pt --target openvino --precision int8 --calibration data.yaml --data data.yaml -o bundle
  edge-yolov9 detect bundle PICTURES --save out     # both in .venv/bin; then copy the bundle folder to the device"""
ROW = "{:<10}{:<11}{:>9}{:>9}{:>9}{:>12}"


def python(*words: str | Path) -> None:
    """Run Python; stop where it fails."""
    done = subprocess.run([sys.executable, *map(str, words)], check=False)
    if done.returncode:  # the program has said why, in one line
        sys.exit(done.returncode)


def edge(*words: str | Path) -> None:
    """Show and run one ``edge-yolov9`` command."""
    print("$ edge-yolov9", *words, flush=True)
    python("-m", "edge_yolov9", *words)


def latency(bundle: Path, runtime: str | None) -> float:
    """Median milliseconds per frame, from picture to boxes."""
    from edge_yolov9 import Detector, read_image

    frames = [read_image(path) for path in sorted(PICTURES.iterdir())[:8]]
    times = []
    with Detector(bundle, runtime=runtime) as detect:
        for frame in frames * 6:
            start = time.perf_counter()
            detect(frame)
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[8:])


def write_latency(target: str, out: Path) -> None:
    """Latency of one bundle, into a file: one model per process, or they evict each other's caches."""
    runtime = "onnx" if target == "jetson" else None
    (out / f"{target}.latency").write_text(str(latency(out / target, runtime)))


def row(target: str, out: Path) -> str:
    """One line of the table."""
    manifest = json.loads((out / target / "manifest.json").read_text())
    size = sum(file.stat().st_size for file in (out / target).rglob("*") if file.is_file()) / 1e6
    accuracy, ms = manifest["accuracy"], float((out / f"{target}.latency").read_text())
    cells = (f"{size:.1f} MB", f"{accuracy['artifact']['AP']:.4f}", f"{accuracy['drop_points']:+.2f}", f"{ms:.1f} ms")
    note = "  through ONNX Runtime" if target == "jetson" else ""
    return ROW.format(target, manifest["precision"], *cells) + note


def main(out: Path) -> None:
    """The whole demonstration."""
    for target in ("openvino", "tflite", "jetson"):
        edge(
            *("compile", CHECKPOINT, "--target", target, "--precision", "int8", "--calibration", DATA),
            *("--data", DATA, "-o", out / target),
        )
        python(__file__, out, target)
    edge("detect", out / "openvino", PICTURES, "--save", out / "pictures", "--json", out / "detections.json")
    manifest = json.loads((out / "openvino" / "manifest.json").read_text())
    print(f"\nBCCD val, {manifest['accuracy']['images']} pictures; float AP {manifest['accuracy']['float']['AP']:.4f}")
    print(ROW.format("target", "precision", "size", "AP", "drop", "latency"))
    for target in ("openvino", "tflite", "jetson"):
        print(row(target, out))
    print(f"drop: AP points against float. Annotated pictures: {out / 'pictures'}")
    print(NEXT)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/demo")
    with one_line_errors():
        if len(sys.argv) > 2:
            write_latency(sys.argv[2], folder)
        else:
            main(folder)
