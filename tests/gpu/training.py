"""Run a training and say what its best checkpoint scores.

python -m tests.gpu.training CHECKPOINT COMMAND...
"""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import DATA

if __name__ == "__main__":
    checkpoint, *command = sys.argv[1:]
    subprocess.run(command, check=True)
    words = [sys.executable, "-m", "edge_yolov9", "val", checkpoint, "--data", str(DATA), "--json", "-"]
    scored = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(f"RESULT AP: {scored['AP']:.4f}")
