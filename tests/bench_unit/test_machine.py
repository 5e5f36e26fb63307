"""Facts about the machine, from trees and from programs that pretend."""

from __future__ import annotations

import importlib
import json
import platform
import shlex
import sys
from pathlib import Path

import pytest

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench.sensors import machine as facts_of
from edge_yolov9.bench.sensors.probe import MISSING, Missing, command
from edge_yolov9.bench.sensors.recorder import busy_seconds
from edge_yolov9.files import finite
from edge_yolov9.system.cpu import cores
from tests.bench_unit.conftest import Machine
from tests.bench_unit.machine_tree import NVPMODEL, program


def test_orin_nano(machine: Machine, programs: Path, tiny: Path) -> None:
    program(programs, "nvpmodel", f"printf '{NVPMODEL}'")
    bundle = bundles.read(tiny)
    found = facts_of.facts(bundle, threads=3, root=machine("jetson-orin-nano-jetpack6"))
    assert found.board == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert found.soc == "nvidia,tegra234"
    assert found.jetpack == "JetPack 6.1 or 6.2 (R36.4.3)"
    assert found.power_mode == "MAXN_SUPER"
    assert found.governor == {"policy0": "schedutil", "policy4": "schedutil"}
    assert found.clock_limits_mhz["policy0"] == (729.6, 1728.0)
    assert found.memory_mb == 7990
    assert found.os == "Ubuntu 22.04.5 LTS"
    assert found.threads == 3
    assert found.bundle.sha256 == bundle.digest
    assert found.python == platform.python_version()
    assert found.command_line == shlex.join(sys.argv)
    assert "onnxruntime" in str(found.runtime.version)
    json.dumps(finite(found), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "board", "soc", "jetpack"),
    [
        ("jetson-agx-orin-jetpack5", "Jetson AGX Orin Developer Kit", "nvidia,tegra234", "JetPack 5.1.2 (R35.4.1)"),
        ("raspberry-pi-5", "Raspberry Pi 5 Model B Rev 1.0", "brcm,bcm2712", MISSING),
        ("intel-nuc", "Intel(R) Client Systems NUC13ANHi5", "13th Gen Intel(R) Core(TM) i5-1340P", MISSING),
    ],
)
def test_other_boards(machine: Machine, name: str, board: str, soc: str, jetpack: str) -> None:
    root = machine(name)
    assert facts_of.board(root) == board
    assert facts_of.soc(root) == soc
    assert str(facts_of.jetpack(root)).startswith(jetpack)


@pytest.mark.parametrize(
    ("release", "told"),
    [
        ("R39 (release), REVISION: 1.0", "R39.1.0"),
        ("R39 (release), REVISION: 2.1", "JetPack 7.2 (R39.2.1)"),
        ("R38 (release), REVISION: 4.0", "JetPack 7.1 (R38.4.0)"),
    ],
)
def test_a_release_without_a_name_keeps_its_number(release: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text(f"# {release}, GCID: 1\n")
    assert facts_of.jetpack(tmp_path) == told


def test_an_empty_machine_says_what_is_missing(tmp_path: Path, programs: Path, tiny: Path) -> None:
    found = facts_of.facts(bundles.read(tiny), root=tmp_path)
    for name in ("board", "soc", "memory_mb", "governor", "clocks_mhz", "power_mode", "jetson_clocks", "jetpack"):
        assert isinstance(getattr(found, name), Missing), name
    assert found.threads == f"{cores()}, one per physical core"
    assert facts_of.facts(bundles.read(tiny), "jetson", root=tmp_path).threads == "the runtime's default"
    assert busy_seconds(tmp_path) is None


def test_tensorrt_of_jetpack_tells_its_version_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert facts_of.installed_runtime("jetson").version == Missing("the runtime is not installed")
    (tmp_path / "tensorrt.py").write_text("__version__ = '10.3.0'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # taken back afterwards
    monkeypatch.delitem(sys.modules, "tensorrt")
    assert facts_of.installed_runtime("jetson").version == "tensorrt 10.3.0"
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: no such file')\n")
    sys.modules.pop("tensorrt")
    importlib.invalidate_caches()
    assert "libnvinfer" in str(facts_of.installed_runtime("jetson").version)


@pytest.mark.parametrize("script", ["echo NVPM ERROR; exit 1", "echo nothing of use", "kill -9 $$"])
def test_a_power_mode_that_is_not_told(programs: Path, script: str) -> None:
    program(programs, "nvpmodel", script)
    assert isinstance(facts_of.power_mode(), Missing)


def test_a_program_that_hangs_is_given_up(programs: Path) -> None:
    program(programs, "nvpmodel", "exec sleep 60")
    assert command("nvpmodel", "-q", seconds=0.2) is None


def test_busy_seconds_leave_idle_and_waiting_out(machine: Machine) -> None:
    assert busy_seconds(machine("raspberry-pi-5")) == pytest.approx(1611.0)  # (120000 + 300 + 40000 + 800) / 100
