"""Frames in a window on this machine's display."""

from __future__ import annotations

import subprocess

import cv2

from edge_yolov9.errors import InputError
from edge_yolov9.geometry import Image
from edge_yolov9.system import children
from edge_yolov9.system.closing import Closing
from edge_yolov9.video.address import masked

PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"


class Window(Closing):
    """Opens with the first frame. A context manager; for the main thread alone, as OpenCV wants it."""

    def __init__(self, title: str) -> None:
        """Find out whether a window can be opened, in a process of its own: without a display OpenCV would abort ours.

        Raises:
            InputError: there is no display, or this OpenCV was built without windows.
        """
        done = subprocess.run(
            children.python(PROBE), capture_output=True, text=True, check=False, env=children.environment()
        )
        if done.returncode and "not implemented" in done.stderr:
            raise InputError(
                "this OpenCV has no windows (opencv-python-headless); install opencv-python, or serve or save instead"
            )
        if done.returncode:
            raise InputError("a window needs a display, and there is none here; serve or save the frames instead")
        self._title = masked(title)
        self._shown = False

    def show(self, image: Image, wait: bool = False) -> str:
        """Show ``image`` (H, W, 3) BGR; with ``wait`` until a key is pressed.

        Returns:
            The key pressed since the last call, or "". "q" also for Esc and for a window that was closed.
        """
        if self._shown and self._closed():
            return "q"
        cv2.imshow(self._title, image)
        self._shown = True
        key = cv2.waitKey(1)
        while wait and key < 0:
            if self._closed():
                return "q"
            key = cv2.waitKey(50)
        return "" if key < 0 else "q" if key & 0xFF == 27 else chr(key & 0xFF)

    def _closed(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error:  # OpenCV's Qt windows, once the last one is closed
            return True

    def close(self) -> None:
        """Close the window. Calling it twice does no harm."""
        if self._shown:
            self._shown = False
            cv2.destroyAllWindows()
