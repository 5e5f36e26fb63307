"""What ``run.sh`` takes to the emulated board, and what it makes of the answers.

python -m tests.arm.compare prepare FOLDER
python -m tests.arm.compare judge FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2

from tests.conftest import DEMO, PICTURES

BUNDLES = ("onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8")
EXACT = ("tflite-int8",)
"""LiteRT's INT8 kernels add integers: every processor gives the same bits."""
MOST_PIXELS, MOST_SCORE = 1e-3, 1e-5
"""How far a float bundle's boxes and scores may lie from this machine's."""


def edge_yolov9(folder: Path, *words: object) -> None:
    """One command of ours in ``folder``, on this machine."""
    subprocess.run([sys.executable, "-m", "edge_yolov9", *map(str, words)], cwd=folder, check=True)


def prepare(folder: Path) -> None:
    """Bundles, eight labelled pictures, a film, the board's script, and what this machine finds."""
    images, labels = folder / "images", folder / "labels"
    images.mkdir()
    labels.mkdir()
    film = cv2.VideoWriter(str(folder / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (640, 480))
    for picture in sorted(PICTURES.glob("*.jpg"))[:8]:
        shutil.copy(picture, images)
        shutil.copy(PICTURES.parent.parent / "labels" / "val" / f"{picture.stem}.txt", labels)
        film.write(cv2.imread(str(picture)))
    film.release()
    (folder / "data.yaml").write_text("path: .\nval: images\nnames: [RBC, WBC, Platelets]\n")
    shutil.copy(Path(__file__).with_name("device.sh"), folder)
    kept = os.environ.get("EDGE_YOLOV9_TEST_BUNDLES")
    for name in BUNDLES:
        target, _, precision = name.partition("-")
        if kept and (Path(kept) / name).is_dir():
            shutil.copytree(Path(kept) / name, folder / name)
        else:
            calibration = ("--calibration", PICTURES.parent / "train") if precision == "int8" else ()
            words = ("--target", target, "--precision", precision, "--imgsz", 320, *calibration)
            edge_yolov9(folder, "compile", DEMO, *words, "-o", name)
        edge_yolov9(folder, "detect", name, "images", "--json", f"here-{name}.json")
    edge_yolov9(folder, "val", "tflite-int8", "--data", "data.yaml", "--json", "here-val.json")
    scored = ("--data", "data.yaml", "--detections-only", "--seconds", 1)
    edge_yolov9(folder, "report", "tflite-int8", *scored, "-o", "here")
    edge_yolov9(folder, "detect", "tflite-int8", "film.avi", "--json", "here-film.json")


def differences(name: str, here: dict[str, Any], there: dict[str, Any]) -> tuple[int, float, float]:
    """(boxes, largest distance of a corner in pixels, largest difference of a score) of two detections."""
    boxes, pixels, scores = 0, 0.0, 0.0
    assert len(here["frames"]) == len(there["frames"]) > 0, f"{name}: frames differ"
    for mine, theirs in zip(here["frames"], there["frames"], strict=True):
        pairs = list(zip(mine["detections"], theirs["detections"], strict=True))
        boxes += len(pairs)
        for a, b in pairs:
            assert a["class_id"] == b["class_id"], f"{name}: {mine['name']}: classes differ"
            pixels = max(pixels, *(abs(x - y) for x, y in zip(a["xyxy"], b["xyxy"], strict=True)))
            scores = max(scores, abs(a["confidence"] - b["confidence"]))
    return boxes, pixels, scores


def judge(folder: Path) -> None:
    """Hold the board's answers against this machine's; a table, and an error where they differ by too much."""

    def both(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        here, there = (json.loads((folder / f"{side}-{name}.json").read_text()) for side in ("here", "arm"))
        return here, there

    print(f"{'bundle':14}{'boxes':>6}{'largest distance, px':>22}{'of a score':>12}")
    for name in (*BUNDLES, "film"):
        boxes, pixels, scores = differences(name, *both(name))
        print(f"{name:14}{boxes:6}{pixels:22.2g}{scores:12.2g}")
        assert boxes > 20, f"{name}: too few boxes to compare"
        exact = name in (*EXACT, "film")
        assert pixels <= (0 if exact else MOST_PIXELS), f"{name}: boxes differ"
        assert scores <= (0 if exact else MOST_SCORE), f"{name}: scores differ"
    here, there = both("val")
    assert here["AP"] == there["AP"], f"AP {here['AP']} here, {there['AP']} on Arm"
    assert (folder / "page" / "report.html").stat().st_size > 10_000
    print(f"AP of eight pictures {there['AP']:.4f} on both; report and film as here")


if __name__ == "__main__":
    {"prepare": prepare, "judge": judge}[sys.argv[1]](Path(sys.argv[2]))
