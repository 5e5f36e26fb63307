"""Compile the demo for ``jetson``, build its engine with the TensorRT that is installed, check it, and score it.

python -m tests.gpu.engine FOLDER
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.conftest import DATA, DEMO, PICTURES


def edge_yolov9(*words: object) -> str:
    command = [sys.executable, "-m", "edge_yolov9", *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(folder: Path) -> None:
    if find_spec("tensorrt") is None:
        print("SKIPPED TensorRT is not installed here: pip install tensorrt")
        return
    calibration = PICTURES.parent / "train"
    bundle = folder / "bundle"
    edge_yolov9(
        "compile", DEMO, "--target", "jetson", "--precision", "int8", "--calibration", calibration, "-o", bundle
    )
    edge_yolov9("jetson", "build", bundle)
    print(edge_yolov9("jetson", "check", bundle))
    scored = json.loads(edge_yolov9("val", bundle, "--data", DATA, "--json", "-"))
    print(f"RESULT AP by TensorRT: {scored['AP']:.4f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
