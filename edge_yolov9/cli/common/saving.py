"""Annotated pictures and videos on disk: whole or not at all."""

from __future__ import annotations

import os
import re
from array import array
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from edge_yolov9.errors import InputError
from edge_yolov9.files import open_partial, put_in_place
from edge_yolov9.geometry import Image, Letterbox
from edge_yolov9.images import image_files, quiet
from edge_yolov9.outputs import OwnFiles, make_folder
from edge_yolov9.video.mp4 import set_times
from edge_yolov9.video.source import Frame, Source

DEFAULT_FPS = 25.0
"""Frames per second of a saved video whose source does not state its own."""


class Saver:
    """Writes what was drawn into a folder: pictures under their own names, anything else as one .mp4.

    A video gets its name when the block ends without an error. Its frames are shown at the times at which they stand in
    a film, or arrived; those of another size than the first are drawn into its size.
    """

    def __init__(self, folder: Path, source: Source) -> None:
        """Make the folder.

        Raises:
            InputError: it cannot be made, or writing there would replace the source.
        """
        path = Path(source.name)
        sources: list[Path] = []
        if source.kind in ("image", "folder", "video"):
            home = path if source.kind == "folder" else path.parent
            if os.path.realpath(home) == os.path.realpath(folder):  # of a circle of links, too
                raise InputError(f"--save {folder} would replace the source; choose another folder")
            sources = image_files(path) if source.kind == "folder" else [path]
        named = source.kind == "video" and path.is_file()
        stem = path.stem if named else re.sub(r"[^A-Za-z0-9]+", "-", source.name).strip("-")[:100]
        self._pictures = source.kind in ("image", "folder")
        self._video = folder / f"{stem}.mp4"
        names = [file.name for file in sources] if self._pictures else [self._video.name]
        make_folder("--save", folder, names, lambda: sources)
        self._folder, self._own = folder, OwnFiles("--save", folder)
        self._fps = source.fps or DEFAULT_FPS
        self._partial: Path | None = None
        self._held = -1
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._times = array("d")
        """Timestamps of the frames of a video, in seconds."""

    def write(self, frame: Frame, drawn: Image) -> Path:
        """Write one annotated frame (H, W, 3) BGR; returns the file it is, or will be, in.

        Raises:
            InputError: the file cannot be written.
        """
        if not self._pictures:
            self._append(drawn, frame.timestamp)
            return self._video
        file = self._folder / frame.name
        fine, data = cv2.imencode(file.suffix, drawn)
        if not fine:
            raise InputError(f"cannot encode {file}")
        try:
            self._own.write(file.name, data.tobytes())
        except OSError as error:
            raise InputError(f"cannot save {file}: {error.strerror or error}") from None
        return file

    def _append(self, drawn: Image, timestamp: float) -> None:
        size = (drawn.shape[1], drawn.shape[0])
        if self._writer is None:
            fourcc = cv2.VideoWriter.fourcc(*"mp4v")
            try:
                self._held, self._partial = open_partial(self._folder.absolute() / "video", ".mp4")
            except OSError as error:
                raise InputError(f"cannot save {self._video}: {error.strerror or error}") from None
            with quiet():
                self._writer, self._size = cv2.VideoWriter(str(self._partial), fourcc, self._fps, size), size
            if not self._writer.isOpened():
                raise InputError(f"cannot write the video {self._video}; check the folder, and that OpenCV has FFmpeg")
        if size != self._size:
            drawn = Letterbox.fit(drawn.shape[:2], self._size[::-1]).apply(drawn)
        self._writer.write(drawn)
        self._times.append(timestamp)

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
                if error is None and self._partial is not None:
                    self._check()
                    if self._uneven():
                        set_times(self._partial, self._times)
                    self._own.claim(self._partial)
                    put_in_place(self._partial, self._video)
        except (OSError, ValueError) as failure:
            reason = getattr(failure, "strerror", None) or failure
            raise InputError(f"cannot save {self._video}: {reason}") from None
        finally:
            if self._partial is not None:
                self._partial.unlink(missing_ok=True)
                os.close(self._held)

    def _uneven(self) -> bool:
        """Whether the frames' own times are half a frame or more off those of the constant rate that was written."""
        times = np.asarray(self._times) - self._times[0]
        if not (np.isfinite(times).all() and (np.diff(times) >= 0).all() and times[-1] > 0):
            return False  # a source without times
        return bool((abs(times - np.arange(len(times)) / self._fps) >= 0.5 / self._fps).any())

    def _check(self) -> None:
        """OpenCV says nothing of a write that failed; the index comes last, and without it nothing opens."""
        with quiet():
            whole = cv2.VideoCapture(str(self._partial)).isOpened()
        if not whole:
            raise InputError(f"cannot save {self._video}: what was written does not open again; is the disk full?")
