"""Arm's ``vela`` on the emitted model: ``model_vela.tflite`` for an Ethos-U, and what vela says of it.

vela runs in a process of its own: its core is C++ and ends the process on a file that it cannot read.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge_yolov9.errors import CompileError
from edge_yolov9.registry.extra import NpuRecord
from edge_yolov9.system import children

from . import operators
from .board import Vela

DISTRIBUTION = "ethos-u-vela"
CUSTOM_OPERATOR = "ethos-u"


def check_installed() -> None:
    """Before any work is done.

    Raises:
        CompileError: vela is not installed.
    """
    try:
        version(DISTRIBUTION)
    except PackageNotFoundError:
        raise CompileError(
            f'an Ethos-U needs Arm\'s vela, which is not installed; run: pip install "edge-yolov9[compile]" '
            f"(or {DISTRIBUTION} alone)"
        ) from None


def prepare(model: Path, profile: Vela, scratch: Path) -> NpuRecord:
    """Write ``<model>_vela.tflite`` beside ``model`` and report on it.

    Args:
        model: int8 ``.tflite``.
        profile: the ``npu`` table of the board.
        scratch: for what vela writes on the way.

    Returns:
        Operators of ``model`` by where they run, and vela's estimates for the accelerator of the profile.

    Raises:
        CompileError: vela is not installed, failed, or placed nothing on the NPU.
    """
    check_installed()
    written = scratch / "vela"
    _run(command(model, profile, written), scratch / "vela.log")
    try:
        compiled = written / f"{model.stem}_vela.tflite"
        with next(written.glob("*_summary_*.csv")).open(encoding="utf-8", newline="") as file:
            summary = next(csv.DictReader(file))
        on_cpu = _on_cpu(compiled)
        cpu = sum(on_cpu.values())
        record = NpuRecord(
            compiler=f"vela {version(DISTRIBUTION)}",
            model=compiled.name,
            accelerator=profile.accelerator,
            system_config=profile.system_config,
            memory_mode=profile.memory_mode,
            operators={"npu": operators.count(model).total() - cpu, "cpu": cpu},
            on_cpu=on_cpu or None,
            estimated_ms=round(1e3 * float(summary["inference_time"]), 2),
            clock_mhz=round(float(summary["core_clock"]) / 1e6),
            memory_kib={
                "sram": round(float(summary["sram_memory_used"]), 1),
                "dram": round(float(summary["dram_memory_used"]), 1),
                "flash": round(float(summary["off_chip_flash_memory_used"]), 1),
            },
            measured="nothing on the NPU: time and memory are estimates of vela's model of it",
        )
    except (OSError, StopIteration, KeyError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CompileError(
            f"vela {version(DISTRIBUTION)} wrote something unexpected ({reason}); no bundle was written"
        ) from error
    if not record.operators["npu"]:
        raise CompileError("vela places no operator on the NPU; it wants an int8 model; no bundle was written")
    shutil.copyfile(compiled, model.with_name(compiled.name))
    return record


def command(model: Path, profile: Vela, written: Path) -> list[str]:
    """The command that compiles ``model`` for the accelerator of ``profile`` into the folder ``written``."""
    options = {
        "accelerator-config": profile.accelerator,
        "system-config": profile.system_config,
        "memory-mode": profile.memory_mode,
        "config": "Arm/vela.ini",  # ships with vela
        "output-dir": str(written),
    }
    words = (f"--{key}={value}" for key, value in options.items())
    return children.python_module("ethosu.vela", str(model), *words)


def _run(command: list[str], log: Path) -> None:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=log.parent,
        env=children.environment(),
    )
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        raise CompileError(f"vela failed: {_reason(done)}; no bundle was written")


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The exception's own line where there is a traceback, else the first line that says anything."""
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    return (raised or [*lines, ended])[0]


def _on_cpu(compiled: Path) -> dict[str, int]:
    """How often each operator that vela left to the CPU is in the compiled model."""
    on_cpu: dict[str, int] = {}
    for operator, times in sorted(operators.count(compiled).items(), key=lambda item: item[0].name):
        if operator.name != CUSTOM_OPERATOR:
            on_cpu[operator.name] = on_cpu.get(operator.name, 0) + times
    return on_cpu
