"""Entries of ``manifest.extra`` that several targets or generic code know; the other keys are one target's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_yolov9.errors import BundleError
from edge_yolov9.files import from_json

if TYPE_CHECKING:
    from edge_yolov9.bundle import Bundle


@dataclass(frozen=True)
class NpuRecord:
    """What the compiler of an NPU made of a model, or what is left to do by a compiler that runs elsewhere."""

    compiler: str
    operators: Mapping[str, int]
    """How many operators of the model run where (``npu``, ``cpu``), or are on the published list (``listed``,
    ``unlisted``); the good ones first."""
    measured: str
    """What was measured, in words."""
    on_cpu: Mapping[str, int] | None = None
    """How often each operator that the CPU runs is in the model."""
    unlisted: Mapping[str, int] | None = None
    """How often each operator that the published list lacks is in the model."""
    command: str | None = None
    """What is left to run; None where the model is compiled."""
    model: str | None = None
    """The compiled file."""
    accelerator: str | None = None
    system_config: str | None = None
    memory_mode: str | None = None
    estimated_ms: float | None = None
    """Milliseconds per frame, by the compiler's own model of the NPU."""
    clock_mhz: int | None = None
    memory_kib: Mapping[str, float] | None = None
    """KiB of each kind of memory, by the compiler's own model of the NPU."""

    def line(self) -> str:
        """One line: what an NPU's compiler said, or what is left to do."""
        (place, good), (_, bad) = self.operators.items()
        text = f"{good} of {good + bad} operators {'on the NPU' if place == 'npu' else 'on the published list'}"
        if others := self.on_cpu or self.unlisted:
            text += f" (the CPU runs {', '.join(f'{times} {name}' for name, times in others.items())})"
        if self.command is not None:
            return f"untested, not compiled for its NPU: run {self.command}; {text}"
        memory = ", ".join(f"{size / 1024:.1f} MiB {name}" for name, size in (self.memory_kib or {}).items() if size)
        text += f", {self.estimated_ms:.1f} ms at {self.clock_mhz} MHz and {memory} by vela's estimate"
        return f"{self.accelerator}, {self.compiler}: {text}"


@dataclass(frozen=True)
class SharedExtra:
    """The entries of one manifest."""

    portable: str | None = None
    """File of the bundle that ONNX Runtime opens; None where it is the model itself."""
    device: str = "CPU"
    """Device of this machine that the runtime is asked for: "CPU", "GPU", "NPU"."""
    npu: NpuRecord | None = None
    """None where the board has no NPU."""


def shared_extra(bundle: Bundle) -> SharedExtra:
    """Read the entries.

    Raises:
        BundleError: one is of another type than it should be.
    """
    try:
        return from_json(SharedExtra, bundle.manifest.extra, "extra")
    except ValueError as error:
        raise BundleError(f"{bundle.path}: the manifest's {error}; compile the bundle again") from None
