"""What a measurement of a bundle consists of: the sections of a report, all but accuracy, and their warnings."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_yolov9.bench.energy import NoPower, Power
from edge_yolov9.bench.footprint import Footprint
from edge_yolov9.bench.frames import Frames
from edge_yolov9.bench.sensors.machine import Machine
from edge_yolov9.bench.spread import Few, Many
from edge_yolov9.bench.stages import Stages, Sustained
from edge_yolov9.bench.throttling import Heat


@dataclass(frozen=True)
class Latency:
    """Milliseconds: start-up, and what :class:`edge_yolov9.bench.stages.StagesRun` has, and the sustained run."""

    model_load: Few
    first_inference: Few
    warm_up: tuple[float, ...]
    """Each frame of the warm-up, which no other figure contains."""
    batch: int
    frames: Frames
    stages: Stages
    session: Many
    bare: Many
    overhead: Many
    overhead_percent: float
    objects_per_frame: float
    sustained: Sustained


@dataclass(frozen=True)
class Throughput:
    """Inferences per second of one session, and of as many as the target runs at a time."""

    one_session_fps: Few
    sessions: int
    fps: Few


@dataclass(frozen=True)
class Measured:
    """Everything but accuracy. Units are in the names; distributions of latency are in milliseconds."""

    machine: Machine
    latency: Latency
    power: Power | NoPower
    heat: Heat
    footprint: Footprint
    throughput: Throughput
    warnings: tuple[str, ...] = field(default=())
    """What a reader must know before trusting the figures, one line each."""
