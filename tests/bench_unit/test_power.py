"""Power meters on trees that follow the documentation of each board."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edge_yolov9.bench.energy import NoPower, Power, Rail, power_section
from edge_yolov9.bench.sensors import power
from edge_yolov9.bench.sensors.power import Meter
from edge_yolov9.bench.sensors.probe import Missing
from edge_yolov9.bench.sensors.readings import Reading
from edge_yolov9.bench.sensors.recorder import open_meter
from edge_yolov9.bench.sensors.tegra import Tegrastats, parse_tegrastats
from edge_yolov9.bench.spread import Few
from tests.bench_unit.conftest import Machine
from tests.bench_unit.machine_tree import PMIC_WATTS, program, tegrastats, vcgencmd


def opened(root: Path) -> Meter:
    meter = open_meter(root)
    assert not isinstance(meter, str), meter
    return meter


def test_orin_nano_of_jetpack_6(machine: Machine, programs: Path) -> None:
    meter = opened(machine("jetson-orin-nano-jetpack6"))
    watts = meter.watts()
    assert set(watts) == {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC", "total"}  # no shunt voltages, no sum of currents
    assert watts["total"] == watts["VDD_IN"] == pytest.approx(5.040 * 1.208)
    assert watts["VDD_SOC"] == pytest.approx(5.032 * 0.304)
    assert "VDD_IN" in meter.covers


def test_agx_orin_of_jetpack_5_has_no_rail_for_the_module(machine: Machine, programs: Path) -> None:
    meter = opened(machine("jetson-agx-orin-jetpack5"))
    watts = meter.watts()
    assert set(watts) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO", "total"}
    assert watts["total"] == pytest.approx(19.912 * 0.2 + 4.968 * 1.0)
    assert meter.covers == "the sum of VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"


def test_a_rail_that_stops_answering_leaves_no_total(machine: Machine, programs: Path) -> None:
    root = machine("jetson-orin-nano-jetpack6")
    meter = opened(root)
    (root / "sys/bus/i2c/devices/1-0040/hwmon/hwmon1/curr1_input").write_text("")
    assert meter.watts() == {}


@pytest.mark.parametrize(
    ("rails", "total"),
    [
        ("VDD_IN 4912mW/4890mW VDD_CPU_GPU_CV 1203mW/1190mW VDD_SOC 1401mW/1400mW", 4.912),
        ("VDD_GPU_SOC 3150mW/2971mW VDD_CPU_CV 14312mW/12415mW VIN_SYS_5V0 4968mW/5048mW NC 0mW/0mW "
         "VDDQ_VDD2_1V8AO 1091mW/1091mW NC 0mW/0mW", 3.150 + 14.312 + 4.968),
        ("VDD_IN 3140/3208 VDD_CPU_GPU_CV 536/590 VDD_SOC 557/601", 3.140),
    ],
    ids=["Orin Nano", "AGX Orin", "JetPack 4"],
)  # fmt: skip
def test_tegrastats_where_sysfs_shows_no_monitor(programs: Path, tmp_path: Path, rails: str, total: float) -> None:
    tegrastats(programs, rails)
    meter = opened(tmp_path)
    try:
        assert meter.source == "tegrastats"
        assert meter.watts()["total"] == pytest.approx(total)
        assert "NC" not in meter.watts()
    finally:
        meter.close()


def test_memory_is_not_taken_for_watts() -> None:
    assert parse_tegrastats("RAM 3276/7859MB (lfb 5x4MB) SWAP 1626/12122MB CPU [44%@1421] cpu@45C") == {}


@pytest.mark.parametrize("script", ["exit 1", "echo no watts; sleep 0.1", "exec sleep 60"])
def test_tegrastats_without_watts(programs: Path, script: str) -> None:
    program(programs, "tegrastats", script)
    with pytest.raises(LookupError, match="tegrastats tells no watts"):
        Tegrastats(first_line_s=0.3)


def test_tegrastats_ends_with_the_meter(programs: Path, tmp_path: Path) -> None:
    tegrastats(programs, "VDD_IN 4912mW/4890mW")
    meter = opened(tmp_path)
    process: subprocess.Popen[str] = vars(meter)["_process"]
    assert process.poll() is None
    meter.close()
    assert process.poll() is not None
    assert meter.watts() == {}


def test_rapl_counts_joules_and_wraps(machine: Machine, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, now = machine("intel-nuc"), [100.0]
    monkeypatch.setattr(power.time, "monotonic", lambda: now[0])
    meter = opened(root)
    zones = root / "sys/class/powercap"
    now[0] += 2
    (zones / "intel-rapl:0/energy_uj").write_text(str(262143000000 + 30_000_000 - 262143328850))  # wrapped
    (zones / "intel-rapl:0:0/energy_uj").write_text("21000000")
    (zones / "intel-rapl:0:1/energy_uj").write_text("9000000")
    watts = meter.watts()
    assert meter.watts() == {}  # a counter tells nothing over no time
    assert watts["package-0"] == pytest.approx(15)
    assert watts["package-0/core"] == pytest.approx(10)
    assert watts["total"] == pytest.approx(17)  # package and dram; core is part of the package, mmio the same again
    assert watts["psys"] == 0


def test_rapl_for_root_alone_says_so(machine: Machine, programs: Path) -> None:
    root = machine("intel-nuc")
    for file in (root / "sys/class/powercap").glob("*/energy_uj"):
        file.unlink()
        file.mkdir()
    assert "run the report as root" in str(open_meter(root))


def test_raspberry_pi_5(machine: Machine, programs: Path) -> None:
    vcgencmd(programs)
    meter = opened(machine("raspberry-pi-5"))
    watts = meter.watts()
    assert set(watts) == {"3V7_WL_SW", "3V3_SYS", "VDD_CORE", "total"}  # neither EXT5V nor a current without a voltage
    assert watts["total"] == pytest.approx(PMIC_WATTS)


def test_raspberry_pi_4_has_no_currents(programs: Path, tmp_path: Path) -> None:
    program(programs, "vcgencmd", "echo 'error=1 error_msg=\"Command not registered\"'; exit 255")
    assert "pmic_read_adc tells no currents" in str(open_meter(tmp_path))


def test_a_monitor_on_a_hat(programs: Path, tmp_path: Path) -> None:
    for index, (name, microwatts) in enumerate((("ina219", 4_200_000), ("amdgpu", 30_000_000))):
        folder = tmp_path / f"sys/class/hwmon/hwmon{index}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name)
        (folder / "power1_input").write_text(str(microwatts))
    assert opened(tmp_path).watts() == {"ina219 hwmon0": 4.2, "total": 4.2}


def test_without_a_meter_every_reason_is_given(programs: Path, tmp_path: Path) -> None:
    reasons = str(open_meter(tmp_path))
    for word in ("INA3221", "tegrastats", "RAPL", "vcgencmd", "INA2xx"):
        assert word in reasons


class Rails:
    source, covers = "test", "everything"

    def watts(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        pass


def readings(*watts: float) -> list[Reading]:
    return [Reading(float(t), watts={"total": w, "core": w / 2}) for t, w in enumerate(watts)]


def test_energy_per_frame_with_idle_subtracted() -> None:
    power = power_section(Rails(), readings(2, 2), readings(6, 7, 8, 7, 7), fps=10)
    assert isinstance(power, Power)
    assert power.idle_w is not None
    assert power.idle_w.mean == 2
    assert (power.load_w.mean, power.load_w.peak, power.above_idle_w) == (7, 8, 5)
    assert power.energy_per_frame_j == Few(5, 0.7, (0.6, 0.8))
    assert power.energy_per_frame_above_idle_j is not None
    assert power.energy_per_frame_above_idle_j.median == 0.5
    assert power.rails == {"core": Rail(idle_w=1, mean_w=3.5, peak_w=4)}


def test_energy_without_idle_or_without_anything() -> None:
    power = power_section(Rails(), [], readings(6), fps=10)
    assert isinstance(power, Power)
    assert power.energy_per_frame_above_idle_j is None
    absent = power_section(Rails(), readings(2), [Reading(0.0)], fps=10)
    assert absent == NoPower(Missing("test gave no watts during the run"))
