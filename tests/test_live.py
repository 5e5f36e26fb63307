"""Live sources: lost and back again, and files behind a URL."""

from __future__ import annotations

import http.server
import threading
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_yolov9.errors import SourceError
from edge_yolov9.video import reader as live
from edge_yolov9.video.reader import Reader, Status
from edge_yolov9.video.source import open_source
from tests.streams import Plug, detectors

pytestmark = pytest.mark.usefixtures("impatient", "nothing_leaks")


class Pauses:
    """A clock that only pauses move on, and each pause."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def clock(self) -> float:
        return sum(self.seconds)

    def pause(self, event: threading.Event, seconds: float) -> bool:
        self.seconds.append(seconds)
        return event.is_set()


def test_a_lost_source_comes_back() -> None:
    plug, told, pauses = Plug([3, 0, 2, 10], refusals=2), [], Pauses()
    reader = Reader(plug, "cam", live=True, status=told.append, clock=pauses.clock, pause=pauses.pause)
    indices = [next(reader).index for _ in range(6)]
    assert indices[:3] == [0, 1, 2]
    first = round(100 * sum(pauses.seconds[:6]))  # time that was missed counts in frames
    assert indices[3:5] == [3 + first, 4 + first]
    assert indices[5] == indices[4] + 1 + round(100 * sum(pauses.seconds[6:]))
    assert [(status.event, status.attempt) for status in told[:8]] == [
        ("lost", 0),
        *(("reconnecting", attempt) for attempt in range(1, 7)),  # the third opens but gives no frame
        ("back", 6),
    ]
    assert [status.reason for status in told[:4]] == [
        "it gave no more frames",
        "it gave no more frames",
        "does not open; check that it is connected",
        "does not open; check that it is connected",
    ]
    assert told[7].reason == "it gave no more frames"
    assert str(told[2]) == "cam: opening it again, attempt 2 (does not open; check that it is connected)"
    assert reader.reconnects == 2
    reader.close()
    reader.close()
    assert plug.opened == plug.released == 4
    assert next(reader, None) is None


def test_waits_grow_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    pauses = Pauses()
    reader = Reader(Plug([1, 1, 1], refusals=9), "cam", live=True, clock=pauses.clock, pause=pauses.pause)
    next(reader)
    next(reader)
    next(reader)
    assert pauses.seconds[:10] == pauses.seconds[10:] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    reader.close()


def test_closing_ends_a_wait_and_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_WAIT", 60)
    monkeypatch.setattr("edge_yolov9.video.source.OpenCVCapture", lambda *_: Plug([2])())
    for latest in (True, False):
        lost = threading.Event()
        source = open_source(0, latest=latest, status=lambda status, lost=lost: lost.set())  # type: ignore[misc]
        consumer = threading.Thread(target=list, args=(source,))
        consumer.start()
        assert lost.wait(2)
        source.close()
        consumer.join(1)
        assert not consumer.is_alive()


@pytest.mark.parametrize("latest", [True, False])
@pytest.mark.parametrize("error", [SourceError, SystemExit])
def test_what_the_callback_raises_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], latest: bool
) -> None:
    plug = Plug([2])
    monkeypatch.setattr("edge_yolov9.video.source.OpenCVCapture", lambda *_: plug())

    def enough(status: Status) -> None:
        raise error(f"given up: {status.reason}")

    with detectors(monkeypatch) as make:
        stream = make().stream(0, latest=latest, status=enough)
        with pytest.raises(error, match="given up: it gave no more frames"):
            list(stream)
        assert plug.released == 1
        assert next(stream, None) is None


def test_a_camera_that_never_gave_a_frame_is_an_error_at_once() -> None:
    plug = Plug([0])
    with pytest.raises(SourceError, match="gave no frame"):
        next(Reader(plug, "cam", live=True))
    assert plug.released == 1


def test_a_file_behind_a_url_is_a_video_with_an_end(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(12):
        writer.write(np.full((48, 64, 3), 20 * i, np.uint8))
    writer.release()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with open_source(f"http://u:secret@127.0.0.1:{server.server_port}/film.avi") as source:
            assert (source.kind, source.total, source.latest) == ("video", 12, False)
            assert "secret" not in source.name
            assert [(frame.index, round(frame.image.mean() / 20)) for frame in source] == [(i, i) for i in range(12)]
        server.shutdown()
        thread.join()


def test_the_rate_of_a_live_source_is_measured() -> None:
    """FFmpeg claims 100 (``Plugged.fps``); five a second arrive, and after a loss it is measured anew."""
    now = 0.0
    reader = Reader(Plug([30, 30]), "cam", live=True, clock=lambda: now, pause=lambda *_: False)
    rates = []
    for _ in range(45):
        next(reader)
        rates.append(reader.rate)
        now += 0.2
    assert rates[:14] == [100.0] * 14
    assert rates[14:30] == pytest.approx([5.0] * 16)
    assert rates[30:] == pytest.approx([100.0] * 14 + [5.0])
    reader.close()
