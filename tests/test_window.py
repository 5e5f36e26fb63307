"""The window: what it asks first, and which keys it reports. Real windows: tests/cli/test_detect.py, under Xvfb."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9.errors import InputError
from edge_yolov9.video import window
from edge_yolov9.video.window import Window

FRAME = np.zeros((4, 4, 3), np.uint8)


class Screen:
    """Plays OpenCV's windows: keys to come, and after how many keys the user closes the window."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: list[int], closes_after: int = 99) -> None:
        self.keys, self.closes_after, self.shown = keys, closes_after, 0
        monkeypatch.setattr(window, "PROBE", "")
        monkeypatch.setattr(cv2, "imshow", lambda title, image: setattr(self, "shown", self.shown + 1))
        monkeypatch.setattr(cv2, "waitKey", self.wait)
        monkeypatch.setattr(cv2, "getWindowProperty", self.visible)
        monkeypatch.setattr(cv2, "destroyAllWindows", lambda: setattr(self, "shown", -1))

    def wait(self, milliseconds: int) -> int:
        assert milliseconds > 0
        self.closes_after -= 1
        return self.keys.pop(0) if self.keys else -1

    def visible(self, title: str, flag: int) -> float:
        if self.closes_after < 0:
            raise cv2.error("NULL guiReceiver")  # as OpenCV's Qt windows do
        return 1.0 if self.closes_after else 0.0


def test_keys_are_reported_and_escape_means_q(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, [-1, ord("s"), 27, 0x100000 + ord("x")])
    with Window("test") as opened:
        assert [opened.show(FRAME) for _ in range(4)] == ["", "s", "q", "x"]
        assert screen.shown == 4
    assert screen.shown == -1
    opened.close()


def test_a_still_waits_for_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    Screen(monkeypatch, [-1, -1, -1, ord("n")])
    assert Window("test").show(FRAME, wait=True) == "n"


@pytest.mark.parametrize("extra", [0, 1])
def test_a_closed_window_means_q_and_stays_closed(monkeypatch: pytest.MonkeyPatch, extra: int) -> None:
    screen = Screen(monkeypatch, [], closes_after=1 - extra)
    opened = Window("test")
    assert opened.show(FRAME) == ""
    assert opened.show(FRAME) == "q"
    assert screen.shown == 1
    screen = Screen(monkeypatch, [], closes_after=5)
    assert Window("test").show(FRAME, wait=True) == "q"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays are found by DISPLAY on Linux alone")
@pytest.mark.parametrize("display", [None, ":7654"])
def test_without_a_display_it_is_an_error_not_the_end(monkeypatch: pytest.MonkeyPatch, display: str | None) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display is not None:
        monkeypatch.setenv("DISPLAY", display)
    headless = re.search(r"GUI:\s+NONE", cv2.getBuildInformation())
    with pytest.raises(InputError, match="has no windows" if headless else "needs a display"):
        Window("test")


def test_an_opencv_without_windows_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "The function is not implemented. Rebuild the library with Windows, GTK+ 2.x or Cocoa support."
    (tmp_path / "cv2.py").write_text(f"def namedWindow(title): raise RuntimeError({text!r})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError, match="install opencv-python"):
        Window("test")
