"""How an engine comes about, on fakes: memory, fallback to FP16, two at once, reasons, progress, DLA, the commands."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from edge_yolov9.targets.jetson.runtime import build, cache

from edge_yolov9 import Detector, registry
from edge_yolov9 import bundle as bundles
from edge_yolov9.cli import main
from edge_yolov9.errors import BundleError, InferenceError, RuntimeNotInstalled, TargetError
from tests.conftest import wait_for
from tests.targets.jetson_machine import SIZE, Machine, infer, portable
from tests.targets.jobs import frames, make_bundle, make_job
from tests.targets.real_tensorrt import ROOT
from tests.targets.test_jetson_errors import one_line, reseal

MIB = 1 << 20

WAITING = "another process is building this engine; waiting for it"


def test_workspace_is_half_of_what_is_free(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    machine.plug(free=600 * MIB)
    infer(made["int8"])
    assert record.workspaces == [300 * MIB]
    infer(made["fp16"])
    machine.plug(free=6 << 30, name="another")
    infer(made["int8"])
    assert record.workspaces[-1] == 1024 * MIB, "more than the board's profile recommends brings nothing"


def test_out_of_memory_is_tried_again_with_less(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    record = machine.install("10.3.0")
    record.most_memory = 200 * MIB
    infer(made["int8"])
    assert record.workspaces == [1024 * MIB, 512 * MIB, 256 * MIB, 128 * MIB]
    assert caplog.text.count("out of memory while building") == 3


def test_when_memory_never_suffices_one_line_says_so(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    record.most_memory = MIB
    with pytest.raises(InferenceError) as caught:
        infer(made["int8"])
    assert "even with 64 MiB of workspace" in one_line(caught)
    assert "close other programs, add swap, or compile with a smaller --imgsz" in one_line(caught)
    assert record.workspaces[-1] == build.LEAST_WORKSPACE == build.workspace(1024 * MIB, 60 * MIB)
    assert not list(machine.cache.glob("*.engine"))


def test_a_gpu_without_int8_gets_fp16_loudly(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    record = machine.install("8.5.2")
    machine.plug(name="NVIDIA Tegra X1", capability=(5, 3))
    found = infer(made["int8"])
    assert record.flags == ["FP16"]
    assert record.parsed == (made["int8"] / "model_fp16.onnx").read_bytes()
    assert "INT8 IS NOT USED" in caplog.text
    assert "NVIDIA Tegra X1 (compute capability 5.3) has no INT8 instructions" in caplog.text
    for a, b in zip(found, portable(made["fp32"]), strict=True):
        assert np.abs(a - b).max() < 0.05
    caplog.clear()
    infer(made["int8"])
    assert record.builds == 1
    assert "this engine computes in FP16, not INT8: NVIDIA Tegra X1" in caplog.text


@pytest.mark.parametrize("version", ["10.3.0", "10.13.3.9"])
def test_int8_that_computes_something_else_gives_way_to_fp16(
    version: str, machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    record = machine.install(version)
    record.spoil = 4.0
    found = infer(made["int8"])
    assert record.builds == 2
    assert record.parsed == (made["int8"] / "model_fp16.onnx").read_bytes()
    assert "its raw maps of the bundle's check pictures are off the float model's: box_p3" in caplog.text
    for a, b in zip(found, portable(made["fp32"]), strict=True):
        assert np.abs(a - b).max() < 0.05
    (facts,) = (json.loads(file.read_text()) for file in machine.cache.glob("*.engine.json"))
    assert facts["precision"] == "fp16"
    assert "off the float model's" in facts["why"]


def test_a_float_engine_that_computes_something_else_is_an_error(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    record.spoil_all = 4.0
    with pytest.raises(InferenceError, match="does not compute what the bundle expects: its raw maps"):
        infer(made["fp16"])
    assert not list(machine.cache.glob("*.engine"))
    assert not machine.cudart.held


def test_a_bundle_without_the_graph_to_fall_back_on(machine: Machine, made: dict[str, Path], tmp_path: Path) -> None:
    machine.install("10.3.0")
    machine.plug(capability=(5, 3))
    old = reseal(made["int8"], tmp_path / "old", lambda folder: (folder / "model_fp16.onnx").unlink())
    with pytest.raises(BundleError, match="no FP16 ONNX to fall back on; compile the bundle again"):
        infer(old)


def test_what_changed_is_said_when_an_engine_is_built_again(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    cache.RELEASE.write_text("# R36 (release), REVISION: 3.0\n")
    machine.install("10.3.0")
    infer(made["fp32"])
    assert "has to be built again" not in caplog.text
    cache.RELEASE.write_text("# R36 (release), REVISION: 4.3\n")
    machine.install("10.3.1")
    infer(made["fp32"])
    assert "the engine has to be built again: TensorRT was '10.3.0' and is '10.3.1', Jetson Linux was" in caplog.text


def test_two_at_once_build_one_engine(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """File locks hold between open files, so that two threads stand for two processes."""
    record = machine.install("10.3.0")
    record.building = lambda: wait_for(lambda: WAITING in caplog.text)
    threads = [threading.Thread(target=infer, args=(made["fp32"],)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert record.builds == 1
    assert WAITING in caplog.text


def test_the_lock_holds_between_processes_and_ends_with_them(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from edge_yolov9.targets.jetson.runtime import cache\n"
        "with cache.locked(Path(sys.argv[1])):\n  print('held', flush=True); time.sleep(60)\n"
    )
    file = tmp_path / "x.engine"
    with subprocess.Popen([sys.executable, "-c", script, file], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        entered = threading.Event()

        def enter() -> None:
            with cache.locked(file):
                entered.set()

        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.wait(0.1)
        other.kill()
        assert entered.wait(10)
        waiting.join()


def test_progress_is_told_during_a_build(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "HEARTBEAT", 0.05)
    caplog.set_level(logging.INFO, "edge_yolov9.jetson")
    for version, step in (("10.3.0", ", Building: step 1 of 2"), ("8.6.2", "")):
        caplog.clear()
        told = re.compile(rf"building for \d+ s{step}")
        machine.install(version).building = lambda told=told: wait_for(lambda: told.search(caplog.text) is not None)
        infer(made["fp32"])
        assert told.search(caplog.text)


def test_frames_are_one_graph_launch_and_need_no_memory(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    session = registry.open_session(bundles.read(made["fp32"]))
    image, held, launches = frames(1, SIZE)[0], len(machine.cudart.held), machine.cudart.launches
    session.infer(image)
    record.idle = True  # the fake engine's arrays are not ours
    whole = np.setbufsize(64)  # values that numpy casts at a time, whatever the size of the frame
    tracemalloc.start()
    session.infer(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.setbufsize(whole)
    assert peak < SIZE * SIZE / 2, "less than half a channel"
    assert machine.cudart.launches == launches + 2
    assert len(machine.cudart.held) == held
    session.close()
    assert session.loaded.engine is None  # type: ignore[attr-defined]
    assert not machine.cudart.held


def test_without_capture_frames_run_one_by_one(
    machine: Machine, made: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "edge_yolov9.jetson")
    machine.install("10.3.0")
    expected = infer(made["fp32"])
    machine.cudart.fail_at["cudaGraphInstantiateWithFlags"] = 0
    for a, b in zip(infer(made["fp32"]), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert "frames run without a CUDA graph: CUDA: cudaGraphInstantiateWithFlags failed" in caplog.text
    assert not machine.cudart.held


def for_agx_orin(tmp_path: Path, precision: str, dla: bool = False, **facts: Any) -> Path:
    """A bundle for a board whose table states other ``facts``."""
    job = make_job(tmp_path, precision, images=4, size=SIZE, target="jetson", board="agx-orin", dla=dla)
    board = replace(job.board, table={**job.board.table, **facts})
    return make_bundle("jetson", replace(job, board=board)).path


def test_dla_layers_are_marked(machine: Machine, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = machine.install("10.3.0")
    record.dla_cores = 2
    machine.plug(free=16 << 30)
    infer(for_agx_orin(tmp_path, "fp16", dla=True))
    assert (record.workspaces, record.runtime_core) == ([4096 * MIB], 0), "of its own profile"
    assert record.flags == ["FP16", "GPU_FALLBACK"]
    assert set(record.on_dla.values()) == {"GPU"}
    assert all("Resize" in name for name in record.on_dla)
    assert "layers are marked for the DLA; on the GPU: /neck/top_down/Resize" in caplog.text


@pytest.mark.parametrize(("version", "cores"), [("10.3.0", 0), ("10.13.3", 2)])
def test_where_there_is_no_dla_the_build_says_so(version: str, cores: int, machine: Machine, tmp_path: Path) -> None:
    machine.install(version).dla_cores = cores
    with pytest.raises(TargetError, match=f"no DLA for TensorRT {version} on Orin; .* compile without --dla"):
        infer(for_agx_orin(tmp_path, "fp16", dla=True))


def test_a_tensorrt_from_the_future(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("11.4.0.106")
    sys.modules["tensorrt"].__version__ = "12.0.0"
    with pytest.raises(RuntimeNotInstalled, match=r"up to 11 is known, 12\.0\.0 is installed; update edge-yolov9"):
        infer(made["int8"])


def test_the_commands_build_and_check(machine: Machine, made: dict[str, Path], tmp_path: Path) -> None:
    record = machine.install("10.3.0")
    run = CliRunner()
    built = run.invoke(main, ["jetson", "build", str(made["int8"]), "--json", str(tmp_path / "b.json")])
    assert built.exit_code == 0, built.output
    facts = json.loads((tmp_path / "b.json").read_text())
    assert (facts["precision"], facts["fallback"]) == ("int8", "")
    assert Path(facts["engine"]).is_file()
    assert "building the TensorRT 10.3.0 engine" in built.stderr
    assert "was there already" in run.invoke(main, ["jetson", "build", str(made["int8"])]).stdout
    checked = run.invoke(main, ["jetson", "check", str(made["int8"])])
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.count("good") == 6
    record.spoil = 4.0  # an engine that was right when it was built
    off = run.invoke(main, ["jetson", "check", str(made["int8"]), "--json", str(tmp_path / "c.json")])
    assert off.exit_code == 1
    assert "OFF" in off.stdout
    assert "off the float model's" in off.stderr
    heads = json.loads((tmp_path / "c.json").read_text())["heads"]
    assert [head["good"] for head in heads].count(False) >= 3
    for spoil, shown in ((float("nan"), "nan"), (float("inf"), "-200.0")):
        record.spoil = spoil
        off = run.invoke(main, ["jetson", "check", str(made["int8"]), "--json", str(tmp_path / "c.json")])
        assert off.exit_code == 1
        assert f"box_p3 {shown} dB instead of" in off.stderr
        heads = json.loads((tmp_path / "c.json").read_text())["heads"]
        assert [(head["max_abs"], head["good"]) for head in heads] == [(None, False)] * 6


def test_build_fails_when_it_cannot_keep_the_engine(machine: Machine, made: dict[str, Path]) -> None:
    machine.install("10.3.0")
    machine.cache.write_text("a file where the folder should be")
    result = CliRunner().invoke(main, ["jetson", "build", str(made["int8"])])
    assert result.exit_code == 1
    assert f"could not be kept in {machine.cache}; make room there, or set EDGE_YOLOV9_CACHE" in result.stderr
    assert not machine.cudart.held


def test_check_without_a_jetson(made: dict[str, Path], tmp_path: Path) -> None:
    run = CliRunner()
    for precision in ("int8", "fp16", "fp32"):
        result = run.invoke(main, ["jetson", "check", str(made[precision]), "--runtime", "onnx"])
        assert result.exit_code == 0, result.output
    absent = run.invoke(main, ["jetson", "check", str(made["int8"])])
    assert absent.exit_code == 1
    assert "JetPack brings it" in absent.stderr
    without = reseal(made["int8"], tmp_path / "old", lambda folder: (folder / "check.npz").unlink())
    result = run.invoke(main, ["jetson", "check", str(without), "--runtime", "onnx"])
    assert "holds no expected raw maps" in result.stderr
    damaged = reseal(
        made["int8"], tmp_path / "bad", lambda folder: (folder / "check.npz").write_bytes(b"PK\3\4 no zip")
    )
    result = run.invoke(main, ["jetson", "check", str(damaged), "--runtime", "onnx"])
    assert "cannot be read" in result.stderr
    assert result.exit_code == 1


def test_the_detector_runs_on_what_was_built(machine: Machine, made: dict[str, Path]) -> None:
    record = machine.install("10.3.0")
    assert CliRunner().invoke(main, ["jetson", "build", str(made["int8"])]).exit_code == 0
    with Detector(made["int8"], confidence=0.01) as detect:
        assert len(detect(frames(1, SIZE)[0])) > 3
    assert record.builds == 1
