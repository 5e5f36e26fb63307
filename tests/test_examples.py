"""Every example as a user starts it, headless, on the shipped pictures or a film made from them."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9 import Detector
from edge_yolov9.images import read_image
from tests.conftest import EXAMPLES, PICTURES, network_camera

Compiled = Callable[..., Path]
Film = Callable[[Path, list[bool]], Path]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def bundle(compiled: Compiled) -> Path:
    return compiled("openvino", "fp32")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A white cell crosses the picture to the right, again to the right, then to the left; a second between them."""
    picture = read_image(PICTURES / "BloodImage_00031.jpg")
    cell = picture[128:288, 112:285]
    empty = np.full((480, 640, 3), np.median(picture.reshape(-1, 3), axis=0), np.uint8)
    path = tmp_path_factory.mktemp("film") / "cells.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for to_right in (True, True, False):
        places = np.linspace(0, 640 - cell.shape[1], 24).astype(int)
        for left in places if to_right else places[::-1]:
            frame = empty.copy()
            frame[150 : 150 + cell.shape[0], left : left + cell.shape[1]] = cell
            writer.write(frame)
        for _ in range(12):
            writer.write(empty)
    writer.release()
    return path


@pytest.fixture(scope="module")
def short(film: Path) -> Path:
    """The first 12 frames of the film."""
    reader, path = cv2.VideoCapture(str(film)), film.with_name("short.avi")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for _ in range(12):
        writer.write(reader.read()[1])
    writer.release()
    reader.release()
    return path


def command(name: str, *words: str | Path | int) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *map(str, words)]


def run(
    name: str, *words: str | Path | int, code: int = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(name, *words), capture_output=True, text=True, timeout=120, check=False, cwd=cwd)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_every_program_is_short_and_has_help() -> None:
    programs = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "demo.py")
    assert len(programs) >= 6
    for path in programs:
        assert len(path.read_text().splitlines()) < 120
        assert "edge_yolov9." not in path.read_text(), "examples use public names alone"
        if path.name != "counting.py":
            assert "usage:" in run(path.name, "--help").stdout


@pytest.mark.parametrize("name", ["camera_app.py", "people_counter.py", "mjpeg_server.py", "multi_camera.py"])
def test_a_source_that_does_not_open_is_one_line(bundle: Path, tmp_path: Path, name: str) -> None:
    words = {"camera_app.py": ["--headless"], "people_counter.py": ["--name", "WBC"], "mjpeg_server.py": ["--port", 0]}
    done = run(name, bundle, tmp_path / "gone.mp4", *words.get(name, []), code=1)
    assert done.stderr.startswith("Error: no source")
    assert done.stderr.count("\n") == 1


def test_camera_app_headless(bundle: Path, short: Path) -> None:
    done = run("camera_app.py", bundle, short, "--headless", "--track", "--frames", 9)
    assert done.stdout.endswith("\n9 frames\n")
    assert re.match(r"- fps, \d+ ms, age \d+ ms, 0 dropped, 1 objects\n", done.stdout)


@contextmanager
def display() -> Iterator[str]:
    """A display without a screen."""
    read, write = os.pipe()
    with subprocess.Popen(["Xvfb", "-displayfd", str(write)], pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        try:
            os.close(write)
            with os.fdopen(read) as line:
                yield f":{line.readline().strip()}"
        finally:
            server.terminate()


@pytest.mark.skipif(not (shutil.which("Xvfb") and shutil.which("xdotool")), reason="needs Xvfb and xdotool")
def test_camera_app_in_a_window_obeys_keys(bundle: Path, tmp_path: Path) -> None:
    picture = read_image(PICTURES / "BloodImage_00031.jpg")
    with display() as screen, network_camera(picture) as url:
        environment = {**os.environ, "DISPLAY": screen}
        program = subprocess.Popen(
            command("camera_app.py", bundle, url), env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        try:
            find = ["xdotool", "search", "--sync", "--onlyvisible", "--name", "camera"]
            window = subprocess.run(find, env=environment, capture_output=True, text=True, timeout=60, check=True)
            press = ["xdotool", "key", "--window", window.stdout.split()[0]]
            subprocess.run([*press, "b"], env=environment, timeout=10, check=True)
            for key, done in (("s", lambda: list(tmp_path.glob("*.jpg"))), ("q", lambda: program.poll() is not None)):
                for _ in range(40):  # a busy machine may overlook one
                    subprocess.run([*press, key], env=environment, timeout=10, check=False)
                    threading.Event().wait(0.5)
                    if done():
                        break
            output, _ = program.communicate(timeout=30)
        finally:
            program.kill()
    assert program.returncode == 0
    saved = next(tmp_path.glob("*.jpg"))
    assert f"saved {saved.name}" in output
    assert cv2.imread(str(saved)).shape == picture.shape


def test_people_counter(bundle: Path, film: Path) -> None:
    words = ("--name", "WBC", "--confidence", 0.54, "--line", "0.5,1,0.5,0", "--zone", "0.6,0,1,0,1,1,0.6,1")
    done = run("people_counter.py", bundle, film, *words)
    crossings = [line.split(" ", 1)[1] for line in done.stdout.splitlines()[:-1]]
    assert [re.sub(r" in the zone.*", "", line) for line in crossings] == [
        "WBC #1 in: 1 in, 0 out, 0",
        "WBC #2 in: 2 in, 0 out, 0",
        "WBC #3 out: 2 in, 1 out, 0",
    ]
    assert done.stdout.splitlines()[-1] == "total: 2 in, 1 out, 0 in the zone, 2 entered"
    assert "takes one of RBC, WBC, Platelets" in run("people_counter.py", bundle, film, code=1).stderr


def test_multi_camera(bundle: Path, short: Path) -> None:
    done = run("multi_camera.py", bundle, short, short, short, short)
    last = done.stdout.splitlines()[-4:]
    assert all(re.match(rf"{short}: ended, 12 frames, 0 dropped, \d objects, ", line) for line in last), last


def test_the_programs_in_the_camera_guide_run(bundle: Path, short: Path) -> None:
    text = (EXAMPLES.parent / "docs" / "camera.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(programs) == 4
    for program in programs:
        for name, value in (
            ('"bundle"', repr(str(bundle))),
            ('"rtsp://camera/stream"', repr(str(short))),
            ("8080", "0"),
        ):
            program = program.replace(name, value)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_batch_folder(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    files = sorted(PICTURES.iterdir())[:5]
    for i, file in enumerate(files):
        shutil.copy(file, folder / ("more" if i == 4 else "") / file.name)
    (folder / "broken.png").write_bytes(b"no picture")
    done = run("batch_folder.py", bundle, folder, "-o", tmp_path / "objects.csv", "--batch", 2, code=1)
    assert "broken.png does not decode" in done.stderr
    with (tmp_path / "objects.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert done.stdout.startswith(f"5 pictures, {len(rows)} objects, 1 not readable")
    with Detector(bundle) as detect:
        for file, name in zip(files, [*(f.name for f in files[:4]), f"more/{files[4].name}"], strict=True):
            found = detect(read_image(file)).as_dicts()
            mine = [row for row in rows if row["picture"] == name]
            assert [(row["name"], float(row["confidence"])) for row in mine] == [
                (row["name"], pytest.approx(row["confidence"], abs=1e-4)) for row in found
            ]


@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium (apt install chromium)")
def test_mjpeg_server_in_a_browser(bundle: Path, tmp_path: Path) -> None:
    picture = read_image(PICTURES / "BloodImage_00031.jpg")
    with (
        network_camera(picture) as url,
        subprocess.Popen(
            command("mjpeg_server.py", bundle, url, "--port", 0), stdout=subprocess.PIPE, text=True
        ) as program,
    ):
        try:
            assert program.stdout is not None
            page = program.stdout.readline().split()[1]
            view = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
            view += ["--window-size=800,600", f"--screenshot={tmp_path}/page.png", page]
            subprocess.run(view, capture_output=True, timeout=60, check=True)
        finally:
            program.terminate()
    seen = cv2.imread(f"{tmp_path}/page.png")
    assert seen.shape[:2] == (600, 800)
    with Detector(bundle) as detect:
        drawn = detect(picture).draw(picture)
    shown, plain = seen[60:540, 80:720].astype(int), picture.astype(int)
    to_drawn, to_plain = (np.abs(shown - other).mean(axis=2) for other in (drawn, plain))
    labels = np.abs(drawn - plain).max(axis=2) > 60
    assert to_drawn.mean() < 10
    assert (to_drawn < to_plain)[labels].mean() > 0.8
