"""What a board's table in ``target.toml`` says beyond what every target states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Vela:
    """An Ethos-U, for which Arm's vela compiles: the names are those of vela's own options."""

    compiler: Literal["vela"]
    accelerator: str
    system_config: str
    memory_mode: str


@dataclass(frozen=True)
class EdgeTpu:
    """Coral's Edge TPU, whose compiler is on no package registry."""

    compiler: Literal["edgetpu_compiler"]
    command: str
    """Command line that the user runs, on a machine that has the compiler."""


@dataclass(frozen=True)
class TfliteBoard:
    """A board that runs TFLite models."""

    grouped_convolutions: bool = True
    """Whether the compiler of the board's accelerator reads grouped convolutions."""
    npu: Vela | EdgeTpu | None = None
    """The accelerator; None where the CPU runs the model."""
