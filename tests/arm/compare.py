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
import numpy as np

from edge_yolov9.geometry import iou_matrix
from tests.conftest import DEMO, PICTURES

BUNDLES = ("onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8")
FLOAT, EXACT = (1e-3, 2e-5), (0.0, 0.0)
MOST = {"onnx-fp32": FLOAT, "tflite-fp32": FLOAT, "tflite-int8": EXACT, "film": EXACT}
"""How far corners (pixels) and scores may lie from this machine's; the JSON has scores to 1e-5. LiteRT's INT8
kernels add integers: every processor gives the same bits."""
LOOSE = "onnx-int8"
"""ONNX Runtime computes parts of an INT8 graph in float, in another order on each processor; a value that falls to the
other side of a rounding moves boxes."""
Answer = dict[str, Any]


def edge_yolov9(folder: Path, *words: object) -> None:
    """One command of ours in ``folder``, on this machine."""
    subprocess.run([sys.executable, "-m", "edge_yolov9", *map(str, words)], cwd=folder, check=True)


def prepare(folder: Path) -> None:
    """Bundles, eight labelled pictures, a film, the board's script, and what this machine finds."""
    images, labels = folder / "images", folder / "labels"
    images.mkdir()
    labels.mkdir()
    # PNG: FFmpeg's other decoders and colour conversions differ by up to 3 of 255 between Arm and x86.
    film = cv2.VideoWriter(str(folder / "film.avi"), cv2.VideoWriter.fourcc(*"MPNG"), 5, (640, 480))
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


def differences(name: str, here: Answer, there: Answer) -> tuple[int, float, float]:
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


def same_objects(here: Answer, there: Answer) -> tuple[int, int, int]:
    """(boxes here, boxes there, boxes of one class that overlap by 0.9 or more)."""
    again = 0
    for mine, theirs in zip(here["frames"], there["frames"], strict=True):
        first, second = (np.array([d["xyxy"] for d in side["detections"]]).reshape(-1, 4) for side in (mine, theirs))
        classes = [[d["class_id"] for d in side["detections"]] for side in (mine, theirs)]
        alike = np.equal.outer(*map(np.array, classes))
        again += int(((iou_matrix(first, second) >= 0.9) & alike).any(axis=1).sum())
    count = [sum(len(frame["detections"]) for frame in side["frames"]) for side in (here, there)]
    return count[0], count[1], again


def judge(folder: Path) -> None:
    """Hold the board's answers against this machine's; a table, and an error where they differ by too much."""

    def both(name: str) -> tuple[Answer, Answer]:
        here, there = (json.loads((folder / f"{side}-{name}.json").read_text()) for side in ("here", "arm"))
        return here, there

    print(f"{'bundle':14}{'boxes':>6}{'largest distance, px':>22}{'of a score':>12}")
    for name, (most_pixels, most_score) in MOST.items():
        boxes, pixels, scores = differences(name, *both(name))
        print(f"{name:14}{boxes:6}{pixels:22.2g}{scores:12.2g}")
        assert boxes > 20, f"{name}: too few boxes to compare"
        assert pixels <= most_pixels, f"{name}: boxes differ"
        assert scores <= most_score, f"{name}: scores differ"
    mine, theirs, again = same_objects(*both(LOOSE))
    print(f"{LOOSE:14}{mine:6}  {theirs} on Arm, {again} of them again at IoU 0.9: ONNX Runtime rounds by processor")
    assert again >= 0.9 * mine, f"{LOOSE}: other objects"
    here, there = both("val")
    assert here["AP"] == there["AP"], f"AP {here['AP']} here, {there['AP']} on Arm"
    assert (folder / "page" / "report.html").stat().st_size > 10_000
    print(f"AP of eight pictures {there['AP']:.4f} on both; the page of a report was made there")


if __name__ == "__main__":
    {"prepare": prepare, "judge": judge}[sys.argv[1]](Path(sys.argv[2]))
