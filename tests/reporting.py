"""What tests of reports share: a small data set, and the sections of a measurement that nobody has to wait for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edge_yolov9.bench.energy import NoPower
from edge_yolov9.bench.footprint import Footprint, Package, Packages
from edge_yolov9.bench.frames import Frames
from edge_yolov9.bench.measured import Latency, Measured, Throughput
from edge_yolov9.bench.sensors.machine import Machine, MeasuredBundle, Runtime
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.spread import Level, Many, few, summary
from edge_yolov9.bench.stages import Stages, Sustained, Timeline
from edge_yolov9.bench.throttling import Heat, Throttling
from edge_yolov9.files import finite
from tests.conftest import PICTURES

NAMES = ("RBC", "WBC", "Platelets")
MEASURED = ("machine", "latency", "throughput", "power", "heat", "footprint")


def small_data(root: Path, count: int = 6) -> Path:
    """DATA with the first images of BCCD val and their labels."""
    labels = PICTURES.parents[1] / "labels" / "val"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for file in sorted(PICTURES.iterdir())[:count]:
        shutil.copy(file, root / "images")
        shutil.copy(labels / f"{file.stem}.txt", root / "labels")
    (root / "data.yaml").write_text("val: images\nnames: [RBC, WBC, Platelets]\n")
    return root / "data.yaml"


def machine(soc: str) -> Machine:
    """A machine that nobody has."""
    absent = Missing("a test")
    return Machine(
        board="test bench",
        soc=soc,
        architecture="x86_64",
        cores=1,
        cpus=2,
        memory_mb=8000,
        governor={"policy0": "performance"},
        clock_limits_mhz=absent,
        clocks_mhz={"cpu 0": 1800.0},
        power_mode=absent,
        jetson_clocks=absent,
        jetpack=absent,
        os="Linux",
        kernel="6",
        python="3.11",
        packages={"numpy": "2.0"},
        runtime=Runtime("onnx", "onnxruntime 1"),
        threads=1,
        bundle=MeasuredBundle("bundle", "a", "gelan-t", "onnx", "cpu", "fp32", (320, 320)),
        command_line="test",
        date="2026-01-01",
    )


def measured(scale: float = 1.0, warnings: tuple[str, ...] = ()) -> Measured:
    """As ``bench.suite.measure_bundle`` gives it: 10 ms a frame, times ``scale``, with 1 % of noise."""
    rng = np.random.default_rng(int(1000 * scale))

    def around(centre: float) -> Many:
        return summary(scale * centre * rng.normal(1, 0.01, 300))

    stages = {"capture": 2.0, "letterbox": 0.5, "transfer": 0.1, "inference": 9.0, "decode_nms": 0.4, "total": 10.0}
    timeline = Timeline(
        t=(1.0, 2.0, 3.0),
        n=(100, 100, 100),
        **dict.fromkeys(("p50", "p90", "max"), (10.0, 10.5, 11.0)),
        sensors_t=(0.0, 1.5),
        celsius=(50.0, None),
        mhz={"cpu 0": (1800.0, 1500.0)},
        watts=(None, None),
    )
    start = few([scale, 1.1 * scale])
    latency = Latency(
        model_load=start,
        first_inference=start,
        warm_up=(12.0, 11.0),
        batch=1,
        frames=Frames(1, ((1280, 720),)),
        stages=Stages(**{name: around(value) for name, value in stages.items()}),
        session=around(9.1),
        bare=around(9.0),
        overhead=around(1.0),
        overhead_percent=11.0,
        objects_per_frame=2.0,
        sustained=Sustained(60.0, 6000, few([100 / scale]), around(10.0), timeline),
    )
    rate = few([100 / scale, 101 / scale, 99 / scale])
    memory = {"peak": few([200.0, 201.0, 202.0])}
    sizes = Packages(20.0, {"numpy": Package("2.0", 20.0)})
    return Measured(
        machine=machine(f"chip at {scale:g}"),
        latency=latency,
        throughput=Throughput(few([90 / scale]), 2, rate),
        power=NoPower(Missing("no INA3221")),
        heat=Heat(
            temperatures_c={"cpu": Level(40.0, 50.0, 40.0, 55.0)},
            clocks_mhz={"cpu 0": Level(1500.0, 1700.0, 1500.0, 1800.0)},
            throttling=Throttling("steady", (), 0.0, 3.0),
        ),
        footprint=Footprint(3.3, {"model.onnx": 3.3}, sizes, memory, {"model_load": start}, {"model_load": 1.0}),
        warnings=warnings,
    )


def sections(scale: float = 1.0) -> dict[str, Any]:
    """The sections of :func:`measured` as JSON has them."""
    data = finite(measured(scale))
    return {name: data[name] for name in MEASURED}
