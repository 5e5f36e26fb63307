"""Bundles and paths that many tests share. Compilations run once per session."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SHARED = ROOT.parent / "shared"
DEMO = EXAMPLES / "bccd-yolov9-t.safetensors"
DATA = EXAMPLES / "bccd.yaml"
PICTURES = EXAMPLES / "bccd" / "images" / "val"

Compiled = Callable[..., Path]


def pytest_configure() -> None:
    """Ctrl-C works in every test and in the programs that tests start, also where pytest is a job in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Training first: its data loader forks, and a fork can crash once OpenVINO has threads in the process."""
    items.sort(key=lambda item: "train" not in item.path.parts)


def unexpected_skips(reports: list[pytest.TestReport], allowed: Path) -> list[str]:
    """``test: reason`` of every skipped test whose reason no line of ``allowed`` matches."""
    lines = [line for line in allowed.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    skipped = []
    for report in reports:
        _, _, reason = report.longrepr  # type: ignore[misc] # of a skipped test: file, line, reason
        reason = reason.removeprefix("Skipped: ")
        if not any(re.search(line, reason) for line in lines):
            skipped.append(f"{report.nodeid}: {reason}")
    return skipped


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where EDGE_YOLOV9_SKIPS names a file of reasons (.ci/run), a test that skips for another one fails the run."""
    allowed = os.environ.get("EDGE_YOLOV9_SKIPS")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not allowed or reporter is None or session.exitstatus != 0:
        return
    skipped = unexpected_skips(reporter.stats.get("skipped", []), ROOT / allowed)
    for line in skipped:
        reporter.write_line(f"unexpected skip: {line}", red=True)
    if skipped:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """``compiled(target, precision)`` -> folder of a bundle of the demo model; do not change it, copy it.

    Where EDGE_YOLOV9_TEST_BUNDLES names a folder, bundles are kept there and shared by the processes of one run.
    """
    from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint

    made: dict[tuple[str, str], Path] = {}
    kept = os.environ.get("EDGE_YOLOV9_TEST_BUNDLES")

    def compile_once(target: str, precision: str) -> Path:
        key = (target, precision)
        if key not in made:
            folder = Path(kept or tmp_path_factory.mktemp("bundles")) / f"{target}-{precision}"
            with folder.with_suffix(".lock").open("w") as turn:
                fcntl.flock(turn, fcntl.LOCK_EX)  # another part of the run may want the same bundle now
                if not folder.is_dir():
                    calibration = PICTURES.parent / "train" if precision == "int8" else None  # nothing labelled: no AP
                    options = CompileOptions(
                        target, precision=precision, calibration=calibration, calibration_images=128
                    )
                    compile_checkpoint(DEMO, options, folder, lambda line: None)
            made[key] = folder
        return made[key]

    return compile_once


def wait_for(true: Callable[[], bool], seconds: float = 10) -> None:
    """Return as soon as something is true; fail when it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def network_camera(picture: NDArray[np.uint8]) -> Iterator[str]:
    """A camera on the network that shows ``picture`` 20 times a second; its URL."""
    from edge_yolov9.video.mjpeg import MjpegServer

    ended = threading.Event()

    def show() -> None:
        while not ended.wait(0.05):
            camera.show(picture)

    with MjpegServer(0, quality=95) as camera:
        thread = threading.Thread(target=show)
        thread.start()
        try:
            yield f"{camera.url}stream"
        finally:
            ended.set()
            thread.join()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference material beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (parity recordings, published checkpoints), which is not here")
    return SHARED


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost source is tried again after hundredths of a second."""
    from edge_yolov9.video import reader as live

    monkeypatch.setattr(live, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(live, "LONGEST_WAIT", 0.05)


@pytest.fixture
def nothing_leaks() -> Iterator[None]:
    """As many threads and open files as before."""

    def counts() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").glob("*")))

    before = counts()
    yield
    assert counts() == before
