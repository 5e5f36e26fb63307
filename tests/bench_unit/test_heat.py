"""Temperatures, clocks and the verdict on throttling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_yolov9.bench.sensors import readings
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.sensors.readings import Reading
from edge_yolov9.bench.spread import Level
from edge_yolov9.bench.throttling import heat_section, judge_throttling
from tests.bench_unit.conftest import Machine
from tests.bench_unit.machine_tree import program, vcgencmd

STEADY = [10.0, 10.1] * 30
SLOWER = [10.0, 10.1] * 15 + [11.0, 11.1] * 15


def run(celsius: tuple[float, float] = (50, 50), mhz: tuple[float, float] = (2000, 2000)) -> list[Reading]:
    """60 readings whose temperature and clock move from one value to another."""
    pairs = zip(np.linspace(*celsius, 60), np.linspace(*mhz, 60), strict=True)
    return [Reading(t / 2, {"cpu": float(c)}, {"cpu": float(f)}) for t, (c, f) in enumerate(pairs)]


def test_orin_nano(machine: Machine, programs: Path) -> None:
    root = machine("jetson-orin-nano-jetpack6")
    temperatures = readings.temperatures(root)
    assert temperatures["tj-thermal"] == 48.125
    assert "cv0-thermal" not in temperatures  # the zone of a part that is switched off does not answer
    assert readings.clocks(root) == {"cpu policy0": 1728.0, "cpu policy4": 729.6, "gpu 17000000.gpu": 1020.0}
    assert readings.held_back(root) is None
    assert readings.throttle_events(root) is None


def test_the_constant_of_the_jetpack_5_pmic_is_no_temperature(machine: Machine) -> None:
    temperatures = readings.temperatures(machine("jetson-agx-orin-jetpack5"))
    assert max(temperatures.values()) == 45.531


def test_raspberry_pi(machine: Machine, programs: Path) -> None:
    root = machine("raspberry-pi-5")
    assert readings.temperatures(root)["cpu-thermal"] == 61.45
    assert readings.held_back(root) == 1  # the kernel's alarm, without vcgencmd
    vcgencmd(programs, "0xe0008")
    assert readings.held_back(root) == 0xE0008


def test_intel(machine: Machine) -> None:
    root = machine("intel-nuc")
    reading = Reading(0.0, readings.temperatures(root))
    assert reading.celsius["nvme Composite"] == 71.85
    assert reading.hottest == 44.0  # of the processor, whatever the disk says
    assert readings.throttle_events(root) == 27
    assert readings.clocks(root) == {"cpu policy0": 3400.123}


def test_clocks_without_cpufreq(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\ncpu MHz\t\t: 2596.134\n")
    assert readings.clocks(tmp_path) == {"cpu 0 (cpuinfo)": 2596.134}


def test_nothing_to_read(tmp_path: Path, programs: Path) -> None:
    assert readings.temperatures(tmp_path) == {}
    assert readings.clocks(tmp_path) == {}
    heat = heat_section([], [Reading(0.0)], STEADY, 60)
    assert isinstance(heat.temperatures_c, Missing)
    assert str(heat.clocks_mhz).startswith("not available here: ")
    verdict = judge_throttling([Reading(0.0)], STEADY, 60)
    assert verdict.verdict == "steady"
    assert verdict.reasons[0].startswith("not available here: temperatures")


def test_clocks_that_fall_as_it_gets_warmer_throttle() -> None:
    verdict = judge_throttling(run((50, 85), (2000, 1500)), SLOWER, 60)
    assert verdict.verdict == "throttled"
    assert "fell from" in verdict.reasons[0]
    assert verdict.drift_percent == pytest.approx(10, abs=0.5)


def test_clocks_that_fall_with_the_load_do_not() -> None:
    assert judge_throttling(run((50, 85), (2000, 1500)), STEADY, 60).verdict == "steady"
    assert judge_throttling(run((50, 50), (2000, 1500)), STEADY, 60).verdict == "steady"


def test_slower_without_a_sign_of_heat() -> None:
    verdict = judge_throttling(run(), SLOWER, 60)
    assert verdict.verdict == "slower"
    assert "last third" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("bits", "reason"),
    [([0x0, 0x4, 0x40000], "throttled"), ([0x0, 0x20000], "CPU clock capped"), ([0x50005] * 3, "under-voltage")],
)
def test_the_firmware_is_believed(bits: list[int], reason: str) -> None:
    verdict = judge_throttling([Reading(t, held_back=value) for t, value in enumerate(bits)], STEADY, 60)
    assert verdict.verdict == "throttled"
    assert f"the firmware reports: {reason}" in verdict.reasons


def test_throttling_before_the_run_is_not_held_against_it() -> None:
    assert judge_throttling([Reading(t, held_back=0xF0000) for t in (0, 1, 2)], STEADY, 60).verdict == "steady"


def test_intel_counts() -> None:
    verdict = judge_throttling([Reading(0, events=27), Reading(1, events=30)], STEADY, 60)
    assert verdict.verdict == "throttled"
    assert "counted 3 thermal" in verdict.reasons[0]


def test_too_short_and_too_noisy() -> None:
    assert judge_throttling(run(), STEADY, 5).verdict == "too short to tell"
    assert judge_throttling(run(), [10.0, 20.0, 15.0] * 20, 60).verdict == "too noisy to tell"
    assert judge_throttling([], [10.0], 0.01).verdict == "too short to tell"


def test_section_has_idle_and_load() -> None:
    heat = heat_section(run()[:2], run((50, 80), (2000, 1500)), STEADY, 60)
    assert not isinstance(heat.temperatures_c, Missing)
    assert not isinstance(heat.clocks_mhz, Missing)
    assert heat.temperatures_c["cpu"] == Level(idle=50, mean=65, min=50, max=80)
    assert heat.clocks_mhz["cpu"].min == 1500


def test_a_firmware_tool_that_hangs_or_babbles(programs: Path, tmp_path: Path) -> None:
    program(programs, "vcgencmd", "echo VCHI initialization failed; exit 255")
    assert readings.held_back(tmp_path) is None
    program(programs, "vcgencmd", "echo throttled=maybe")
    assert readings.held_back(tmp_path) is None
