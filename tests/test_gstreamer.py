"""GStreamer pipelines as sources."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_yolov9.errors import SourceError
from edge_yolov9.video import gstreamer
from edge_yolov9.video.reader import Status
from edge_yolov9.video.source import open_source
from tests.streams import Plug, needs_gstreamer

pytestmark = pytest.mark.usefixtures("impatient", "nothing_leaks")


def pipeline_process() -> int:
    """The gst-launch-1.0 that this process has started."""
    mine = {word for file in Path("/proc/self/task").glob("*/children") for word in file.read_text().split()}
    (child,) = (word for word in mine if Path(f"/proc/{word}/comm").read_text().startswith("gst-launch"))
    return int(child)


@needs_gstreamer
@pytest.mark.parametrize(("width", "height"), [(640, 480), (30, 21)])
def test_a_pipeline_that_ends(width: int, height: int) -> None:
    caps = f"video/x-raw,format=RGB,width={width},height={height},framerate=25/1"
    with open_source(f"videotestsrc num-buffers=5 pattern=red ! '{caps}' ! appsink drop=true") as source:
        assert (source.kind, source.fps, source.live) == ("video", 25, False)
        pictures = [frame.image for frame in source]
    assert [picture.shape for picture in pictures] == [(height, width, 3)] * 5
    assert all((picture == (0, 0, 255)).all() for picture in pictures)


@needs_gstreamer
def test_a_live_pipeline_is_started_again_when_it_dies() -> None:
    told: list[Status] = []
    pipeline = "videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=50/1"
    with open_source(pipeline, latest=False, status=told.append) as source:
        assert source.live
        next(source)
        os.kill(pipeline_process(), signal.SIGKILL)
        while not source.reconnects:
            next(source)
    assert [status.event for status in told] == ["lost", "reconnecting", "back"]


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("nosuchsrc ! videoconvert", 'no element "nosuchsrc"'),
        ("filesrc location=/no/such/file ! decodebin", "Resource not found"),
        ("videotestsrc ! 'video/x-raw", "is no GStreamer pipeline: No closing quotation"),
        ("rtspsrc location=rtsp://u:secret@127.0.0.1:9/ user-pw=secret ! decodebin", "rtsp://127.0.0.1:9/ ! decodebin"),
        ("audiotestsrc num-buffers=9 ! identity", "does not start: "),
    ],
)
def test_pipelines_that_do_not_start(pipeline: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(pipeline)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_gstreamer
def test_a_pipeline_that_stalls_or_changes_its_size_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "READ_SECONDS", 0.5)
    monkeypatch.setattr(gstreamer, "OPEN_SECONDS", 0.5)
    for index, size in enumerate((16, 16, 32)):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((size, size, 3), np.uint8))
    files = f"multifilesrc location={tmp_path}/%d.png caps=image/png,framerate=25/1 ! pngdec"
    with open_source(files) as source, pytest.raises(SourceError, match="another size"):
        list(source)
    with pytest.raises(SourceError, match=r"no frame within 0\.5 s"):
        open_source("appsrc is-live=true ! video/x-raw,format=RGB,width=16,height=16,framerate=25/1")
    stalled = open_source("videotestsrc is-live=true num-buffers=99 ! video/x-raw,width=64,height=48,framerate=50/1")
    with stalled as source:
        next(source)
        os.kill(pipeline_process(), signal.SIGSTOP)
        with pytest.raises(SourceError, match=r"no frame for 0\.5 s"):
            list(source)


def test_without_gstreamer_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SourceError, match="apt install gstreamer1"):
        open_source("videotestsrc ! identity")


def test_opencv_runs_the_pipeline_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda _: True)
    monkeypatch.setattr(gstreamer, "OpenCVCapture", lambda *spec: asked.append(spec) or Plug([3])())
    with open_source("nvarguscamerasrc ! nvvidconv ! appsink sync=false", latest=False) as source:
        next(source)
    ((_, pipeline, backend),) = asked
    assert pipeline.startswith("nvarguscamerasrc ! nvvidconv ! videoconvert ! video/x-raw,format=BGR ! appsink ")
    assert pipeline.count("appsink") == 1
    assert backend == cv2.CAP_GSTREAMER


@pytest.mark.parametrize(
    "pipeline", ["--gst-plugin-load=x.so ! a", "-v ! a", "'--gst-plugin-load=x.so' ! a", "\\-v ! a"]
)
@pytest.mark.parametrize("by_opencv", [False, True])
def test_a_pipeline_gives_no_options(monkeypatch: pytest.MonkeyPatch, pipeline: str, by_opencv: bool) -> None:
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda _: by_opencv)
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/false")
    with pytest.raises(SourceError, match="begins with an option, expected an element"):
        open_source(pipeline)


def test_words_of_a_pipeline_are_never_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch, heard = tmp_path / "launch", tmp_path / "heard"
    launch.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {heard}\n')
    launch.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(launch))
    with pytest.raises(SourceError, match="it ended without a frame"):
        open_source("videotestsrc ! identity --gst-plugin-load=x.so")
    words = heard.read_text().splitlines()
    assert words.index("--") < words.index("videotestsrc") < words.index("--gst-plugin-load=x.so")
