"""What only a GPU can show, unattended: tests, throughput against the roofline, a training, a TensorRT engine.

    make test-gpu
    python -m tests.gpu.run [-o docs/results] [--epochs 80] [--device cuda]

Each step is a process of its own with a log beside the page; one that fails does not stop the next, and the exit code
is 1. The page, ``gpu-CARD.md``, holds the card's name, each step's outcome, and the figures. ``--device cpu`` runs the
same code without a GPU, to see that it would run; its page is called so and says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import DATA, ROOT

REFERENCE_AP = 0.607
"""Best AP of the published program with the same settings; see examples/training."""


@dataclass(frozen=True)
class Step:
    """One process: what it shows, what it runs, and the least figure that it must print as ``RESULT name value``."""

    name: str
    command: Sequence[str]
    floor: tuple[str, float] | None = None


def steps(device: str, epochs: int, imgsz: int, folder: Path) -> Iterator[Step]:
    """Longest last, so that a machine that is taken away leaves most behind."""
    python = sys.executable
    yield Step("tests on the GPU", [python, "-m", "pytest", "-q", "tests/targets/test_jetson_gpu.py"])
    for amp in ("off", "bf16", "fp16"):
        yield Step(f"throughput, amp {amp}", [python, "-m", "tests.gpu.throughput", device, amp, str(imgsz)])
    yield Step("TensorRT engine of the demo", [python, "-m", "tests.gpu.engine", str(folder / "engine")])
    recipe = ["--imgsz", str(imgsz), "--batch", "16", "--nominal-batch", "16", "--epochs", str(epochs), "--seed", "0"]
    words = [*recipe, "--close-mosaic", str(min(10, epochs)), "--device", device, "--out", str(folder / "run")]
    train = [python, "-m", "edge_yolov9", "train", "--data", str(DATA), "--model", "yolov9-t", *words]
    best = str(folder / "run" / "best.safetensors")
    floor = ("AP", REFERENCE_AP) if epochs >= 80 and imgsz == 320 else None
    yield Step("training of T on BCCD", [python, "-m", "tests.gpu.training", best, *train], floor)


def card(device: str) -> str:
    """The GPU's name, or what stands in for one."""
    if device == "cpu":
        return "none (cpu)"
    import torch

    gpu = torch.cuda.get_device_properties(device)
    return f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, torch {torch.__version__}, CUDA {torch.version.cuda}"


def run(step: Step, folder: Path) -> tuple[str, dict[str, str]]:
    """(outcome, figures) of a step."""
    log = folder / f"{re.sub('[^a-z0-9]+', '-', step.name.lower())}.txt"
    start = time.monotonic()
    with log.open("w") as file:
        code = subprocess.run(step.command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    seconds = time.monotonic() - start
    printed = log.read_text(errors="replace")
    figures = dict(re.findall(r"^RESULT (.+?): (.+)$", printed, re.MULTILINE))
    skipped = re.search(r"^SKIPPED (.+)$", printed, re.MULTILINE)
    outcome = "failed" if code else f"not run: {skipped[1]}" if skipped and not figures else "passed"
    if step.floor and not code and float(figures.get(step.floor[0], "nan")) < step.floor[1]:
        outcome = f"failed: {step.floor[0]} under {step.floor[1]}"
    return f"{outcome} ({seconds:.0f} s)", figures


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "docs" / "results")
    given = parser.parse_args(words)
    name = card(given.device)
    slug = re.sub("[^a-z0-9]+", "-", name.split(",")[0].lower()).strip("-")
    folder = given.out / f"gpu-{slug}"
    folder.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python -m tests.gpu.run", *(sys.argv[1:] if words is None else words)])
    lines = [
        f"# GPU: {name}",
        "",
        f"`{command}`, {time.strftime('%Y-%m-%d')}.",
        "",
        "| step | outcome | figures |",
        "|---|---|---|",
    ]
    failed = False
    for step in steps(given.device, given.epochs, given.imgsz, folder):
        outcome, figures = run(step, folder)
        failed |= outcome.startswith("failed")
        lines.append(f"| {step.name} | {outcome} | {'; '.join(f'{key} {value}' for key, value in figures.items())} |")
        print(lines[-1], flush=True)
        (given.out / f"gpu-{slug}.md").write_text("\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
