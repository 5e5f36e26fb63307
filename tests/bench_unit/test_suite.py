"""A whole measurement, on this machine and on pretended ones."""

from __future__ import annotations

import json
import logging
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import caveats, footprint, worker
from edge_yolov9.bench import suite as bench
from edge_yolov9.bench.energy import NoPower, Power
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.spread import summary
from edge_yolov9.errors import BundleError, RuntimeNotInstalled
from edge_yolov9.files import finite
from edge_yolov9.registry import open_session
from tests.bench_unit.conftest import Machine
from tests.bench_unit.machine_tree import PMIC_WATTS, vcgencmd
from tests.conftest import ROOT
from tests.reporting import measured

SECTIONS = {"machine", "latency", "power", "heat", "footprint", "throughput", "warnings"}


@pytest.fixture(autouse=True)
def one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "STARTS", 1)


NAMED = {
    *("packages", "by_package", "files_mb", "rails"),
    *("governor", "clock_limits_mhz", "clocks_mhz", "temperatures_c", "mhz"),
}
"""Objects whose keys are names of packages, files and sensors."""


def keys(value: Any, parent: str = "") -> set[str]:
    if not isinstance(value, dict):
        return set()
    named = parent in NAMED and not set(value) & NAMED
    return (set() if named else set(value)).union(*(keys(item, key) for key, item in value.items()))


def documented(measured: dict[str, Any]) -> None:
    """Every key of the six sections is in the table of docs/measuring.md, which has no other."""
    text = (ROOT / "docs" / "measuring.md").read_text().partition("## Keys of")[2].partition("## Where power")[0]
    listed = set(re.findall(r"`(\w+)`", text))
    assert set(measured) == SECTIONS
    written = keys({name: measured[name] for name in SECTIONS - {"warnings"}})
    assert written - listed == set()
    assert listed - written <= {"unavailable", "note"}


def test_on_a_raspberry_pi(tiny: Path, machine: Machine, programs: Path) -> None:
    vcgencmd(programs, "0x50005")
    phases: list[str] = []
    found = bench.measure_bundle(
        tiny, seconds=2, frames=12, progress=phases.append, threads=1, root=machine("raspberry-pi-5")
    )
    json.dumps(finite(found), allow_nan=False)
    documented(finite(found))
    assert phases[-3:] == ["latency by stage, 12 frames", "sustained run, 2 s", "throughput, 0.67 s"]
    assert str(found.machine.board).startswith("Raspberry Pi 5")
    power, sustained = found.power, found.latency.sustained
    assert caveats.unread_sensors(power, found.heat) == {}
    assert isinstance(power, Power)
    assert power.source == "vcgencmd pmic_read_adc"
    assert power.load_w.mean == pytest.approx(PMIC_WATTS, rel=1e-3)
    assert power.energy_per_frame_j.median == pytest.approx(PMIC_WATTS / sustained.fps.median, rel=1e-2)
    assert power.energy_per_frame_above_idle_j is not None
    assert power.energy_per_frame_above_idle_j.median == 0  # the pretended board draws the same when idle
    assert not isinstance(found.heat.temperatures_c, Missing)
    assert found.heat.temperatures_c["cpu-thermal"].max == 61.45
    assert found.heat.throttling.verdict == "throttled"
    timeline = sustained.timeline
    assert set(timeline.celsius) == {61.45}
    assert len(timeline.sensors_t) == len(timeline.watts) >= 1
    assert sustained.seconds >= 2
    assert found.latency.stages.inference.p50 > 0
    assert found.latency.model_load.median > 0
    assert found.throughput.sessions >= 1
    assert found.throughput.fps.median > found.latency.objects_per_frame == 1
    warnings = "\n".join(found.warnings)
    assert "the cpufreq governor is ondemand, not performance" in warnings
    assert "the sustained run took 2 s" in warnings
    assert "12 frames" in warnings
    assert "cannot be read" not in warnings


def test_where_nothing_can_be_read(tiny: Path, tmp_path: Path, programs: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = bench.measure_bundle(tiny, seconds=0.5, frames=3, threads=1, root=tmp_path / "empty")
    json.dumps(finite(found), allow_nan=False)
    assert isinstance(found.power, NoPower)
    assert isinstance(found.heat.temperatures_c, Missing)
    assert found.heat.throttling.verdict in ("too short to tell", "too noisy to tell", "slower")
    unread = caveats.unread_sensors(found.power, found.heat)
    assert list(unread) == ["power", "temperatures", "clocks"]
    assert "no RAPL energy counters under /sys/class/powercap" in unread["power"]
    assert any("the load of others before the measurement is not available" in line for line in found.warnings)


def test_a_jetson_bundle_without_tensorrt(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "jetson")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "target": "jetson"}))
    with pytest.raises(RuntimeNotInstalled, match="tensorrt"):
        bench.measure_bundle(folder, seconds=0.1, frames=1)


def test_a_model_that_runs_on_something_else_says_so(tiny: Path) -> None:
    notices = worker.Notices()
    logger = logging.getLogger("edge_yolov9.targets.openvino.session")
    logger.addHandler(notices)
    for text in ("no %s here", "no %s here"):
        logger.warning(text, "NPU")
    logger.removeHandler(notices)
    assert list(notices.texts) == ["no NPU here"]


def test_a_path_that_is_not_utf8_opens(tiny: Path, tmp_path: Path) -> None:
    """Runtimes get the bytes that were checked, and never see the path."""
    folder = shutil.copytree(tiny, tmp_path / "x\udcff")
    bundle = bundles.read(folder)
    session = open_session(bundle)
    rule = bundle.manifest.input
    assert len(session.infer(np.zeros((rule.height, rule.width, 3), np.uint8))) == 6
    session.close()


def test_a_model_that_its_runtime_refuses(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "broken")
    (folder / "model.onnx").write_bytes(b"no model")
    bundles.seal(folder, bundles.read(tiny).manifest)
    with pytest.raises(BundleError, match="ONNX Runtime cannot open"):
        bench.measure_bundle(folder, seconds=0.1, frames=1)


def test_a_quiet_machine_and_a_long_run_have_no_warnings() -> None:
    quiet = measured()
    assert caveats.collect(quiet.machine, quiet.latency, 0.02, 0.05) == []


def test_each_warning() -> None:
    total = summary([10.0] * 300)
    assert "moved by 20 %" in caveats.noise_warnings(replace(total, rounds=(9.0, 11.0)))[0]
    quiet = measured()
    assert "1.3 cores busy before" in caveats.collect(quiet.machine, quiet.latency, 1.3, 0)[0]
    assert "0.6 cores busy during" in caveats.collect(quiet.machine, quiet.latency, 0, 0.6)[0]
    mixed = {"policy0": "performance", "policy4": "schedutil"}
    assert "is schedutil, not performance" in caveats.governor_warnings(mixed)[0]
    assert caveats.governor_warnings(Missing("no cpufreq")) == []
    assert len(caveats.length_warnings(59.0, 99)) == 2
