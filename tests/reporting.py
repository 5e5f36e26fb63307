"""What tests of reports share: a small data set, and the sections of a measurement that nobody has to wait for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edge_yolov9.bench.spread import few, summary
from tests.conftest import PICTURES

NAMES = ("RBC", "WBC", "Platelets")


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


def measured(scale: float = 1.0, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """As ``bench.measure`` gives it: 10 ms a frame, times ``scale``, with 1 % of noise."""
    rng = np.random.default_rng(int(1000 * scale))

    def around(centre: float) -> dict[str, Any]:
        return summary(scale * centre * rng.normal(1, 0.01, 300))

    stages = {"capture": 2.0, "letterbox": 0.5, "transfer": 0.1, "inference": 9.0, "decode_nms": 0.4, "total": 10.0}
    return {
        "machine": {"board": "test bench", "soc": f"chip at {scale:g}", "packages": {"numpy": "2.0"}},
        "latency": {
            "stages": {name: around(value) for name, value in stages.items()},
            "warm_up": [12.0, 11.0],
            "sustained": {
                "seconds": 60.0,
                "latency": around(10.0),
                "timeline": {
                    "t": [1.0, 2.0, 3.0],
                    **{key: [10.0, 10.5, 11.0] for key in ("p50", "p90", "max")},
                    "sensors_t": [0.0, 1.5],
                    "celsius": [50.0, None],
                    "mhz": {"cpu 0": [1800.0, 1500.0]},
                    "watts": [None, None],
                },
            },
        },
        "throughput": {"sessions": 2, "fps": few([100 / scale, 101 / scale, 99 / scale])},
        "power": {"unavailable": "not available here: no INA3221"},
        "heat": {
            "temperatures_c": {"cpu": {"idle": 40.0, "mean": 50.0, "max": 55.0}},
            "clocks_mhz": {"cpu 0": {"idle": 1500.0, "mean": 1700.0, "max": 1800.0}},
            "throttling": {"verdict": "steady"},
        },
        "footprint": {"bundle_mb": 3.3, "memory_mb": {"peak": few([200.0, 201.0, 202.0])}},
        "warnings": list(warnings),
    }
