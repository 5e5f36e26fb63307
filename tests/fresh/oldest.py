"""The oldest versions that the extras allow, installed together, compile, run and train the demo: make test-oldest.

    python tests/fresh/oldest.py UV PYTHON FOLDER

FOLDER gets an environment each for the device's extras, ``compile`` and ``train``, made by UV for PYTHON (3.10 or 3.11:
numpy before 1.26 has no wheels for later ones). Every package that an extra names stands at its lower bound, everything
else is as new as those allow. Float AP must be the one that the locked versions, which run this file, find.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
DATA, DEMO = ROOT / "examples" / "bccd.yaml", ROOT / "examples" / "bccd-yolov9-t.safetensors"
TARGETS = ("openvino", "tflite", "onnx")
SETS = {"device": (*TARGETS, "val", "report", "sign"), "compile": ("compile",), "train": ("train",)}
SAME = 5e-4
"""Difference in AP, 0 to 1, that old and new runtimes may have in float."""


def bounds(extras: tuple[str, ...], version: str) -> Iterator[tuple[str, Version]]:
    """Name and lower bound of what the base and these extras ask for on a Python; one package may have several."""
    for line in requires("edge-yolov9") or []:
        wanted = Requirement(line)
        places = [{"python_version": version, "extra": extra} for extra in ("", *extras)]
        if wanted.marker is not None and not any(map(wanted.marker.evaluate, places)):
            continue
        if wanted.name == "edge-yolov9":
            yield from bounds(tuple(wanted.extras), version)
        else:
            yield from ((wanted.name, Version(each.version)) for each in wanted.specifier if each.operator == ">=")


def install(uv: str, python: str, extras: tuple[str, ...], folder: Path) -> Path:
    """An environment with the oldest versions and this package; its command."""
    version = subprocess.check_output([python, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], text=True)
    wanted, pins, there = folder / "wanted.txt", folder / "pins.txt", folder / "bin" / "python"
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    highest = dict(sorted(bounds(extras, version.strip())))  # of several bounds of one package
    wanted.write_text("\n".join(f"{name}=={least}.*" for name, least in highest.items()))
    resolve = [uv, "pip", "compile", "-q", "--resolution", "lowest-direct", "--python", there, "-o", pins, wanted]
    subprocess.run([*resolve, "--no-annotate"], check=True, stdout=subprocess.DEVNULL)
    put = [uv, "pip", "install", "-q", "--python", there]
    subprocess.run([*put, "-r", pins], check=True)
    subprocess.run([*put, "--no-deps", ROOT], check=True)
    return folder / "bin" / "edge-yolov9"


def score(command: Path, bundle: Path, json_file: Path) -> float:
    """AP of a bundle on the demo's val split."""
    subprocess.run([command, "val", bundle, "--data", DATA, "--json", json_file], check=True, stdout=subprocess.DEVNULL)
    return float(json.loads(json_file.read_text())["AP"])


def main(uv: str, python: str, folder: Path) -> int:
    """All of it; 1 where an old version scores differently."""
    shutil.rmtree(folder, ignore_errors=True)
    old = {name: install(uv, python, extras, folder / name) for name, extras in SETS.items()}
    bad = 0
    for target in TARGETS:
        bundle = folder / f"bundle-{target}"
        words = ["--target", target, "--precision", "fp32", "-o", bundle]
        subprocess.run([old["compile"], "compile", DEMO, *words], check=True, stdout=subprocess.DEVNULL)
        oldest = score(old["device"], bundle, folder / "old.json")
        newest = score(Path(sys.executable).with_name("edge-yolov9"), bundle, folder / "new.json")
        print(f"{target:<10} AP {oldest:.4f} by the oldest versions, {newest:.4f} by the locked ones", flush=True)
        bad += abs(oldest - newest) > SAME
    words = ["--data", DATA, "--out", folder / "run", "--pretrained", DEMO, "--epochs", "1", "--imgsz", "96"]
    subprocess.run([old["train"], "train", *words, "--device", "cpu"], check=True, stdout=subprocess.DEVNULL)
    print("one epoch trained by the oldest versions")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).absolute()))
