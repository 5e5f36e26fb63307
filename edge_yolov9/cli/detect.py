"""``edge-yolov9 detect``."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_yolov9.cli.output import check_writable, write_json
from edge_yolov9.errors import InputError, SourceError
from edge_yolov9.registry import TARGETS

if TYPE_CHECKING:
    from edge_yolov9.detections import Detections
    from edge_yolov9.detector import Detector
    from edge_yolov9.geometry import Image
    from edge_yolov9.sources import Frame, Source

WINDOW = "edge-yolov9 (q ends)"


@dataclass
class Tally:
    """What the summary and the JSON say."""

    detail: bool
    """Keep every frame's detections for the JSON."""
    counts: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, frame: Frame, found: Detections, milliseconds: float, saved: Path | None) -> None:
        """Count one frame."""
        self.counts.update(found.names[index] for index in found.class_id)
        self.milliseconds.append(milliseconds)
        if self.detail:
            height, width = frame.image.shape[:2]
            about = {"name": frame.name, "index": frame.index, "timestamp": round(frame.timestamp, 4)}
            about |= {"width": width, "height": height, "milliseconds": round(milliseconds, 3)}
            about |= {"saved": None if saved is None else str(saved), "detections": found.as_dicts()}
            self.frames.append(about)

    def refuse(self, error: SourceError) -> None:
        """Report an image that does not decode, and remember it."""
        self.errors.append(str(error))
        new_line = "\n" if sys.stderr.isatty() else ""  # the progress bar's line is not over
        click.echo(f"{new_line}Error: {error}", err=True)

    def line(self, source: Source) -> str:
        """The summary: counts per class and the median time from frame to boxes."""
        unit = "image" if source.kind in ("image", "folder") else "frame"
        count = len(self.milliseconds)
        parts = [f"{count} {unit}{'' if count == 1 else 's'}"]
        parts += [f"{number} {name}" for name, number in self.counts.most_common()] or ["no object"]
        if count:
            parts.append(f"{statistics.median(self.milliseconds):.1f} ms per {unit}")
        if self.errors:
            parts.append(f"{len(self.errors)} not readable")
        return f"{source.name}: {', '.join(parts)}"


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source")
@click.option("--save", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Annotated output.")
@click.option("--json", "json_file", metavar="FILE", help="Write the detections there; - for standard output.")
@click.option("--show", is_flag=True, help="Show frames in a window; q ends.")
@click.option("--confidence", type=float, help="Least score; the bundle's default (0.25) when left out.")
@click.option("--iou", type=float, help="Overlap above which the weaker box goes; the bundle's (0.45) when left out.")
@click.option("--max-detections", type=int, help="Most boxes per frame; the bundle's (300) when left out.")
@click.option("--threads", type=int, help="CPU threads; the runtime's default when left out.")
@click.option("--runtime", type=click.Choice(list(TARGETS)), help="onnx runs a jetson bundle where there is no Jetson.")
def detect(
    bundle: Path, source: str, save: Path | None, json_file: str | None, show: bool, runtime: str | None, **limits: Any
) -> None:
    """Find objects in SOURCE: an image, a folder of images, a video file, a camera index or a URL.

    Prints one summary line. An image in a folder that does not decode is reported and passed over; the exit code is
    then not 0. Ctrl-C ends a camera or stream in good order.

    --json: {bundle, source, kind (image, folder, video, live), names, settings {confidence, iou, max_detections,
    multi_label}, frames [{name, index, timestamp (s), width, height, milliseconds, saved (file or null), detections
    [{xyxy [x1, y1, x2, y2] in pixels of the frame, confidence, class_id, name}]}], counts {name: number}, errors
    [text]}.
    """
    check_writable(json_file)
    if show:
        _check_display()
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # our own message says what is wrong
    from edge_yolov9.detector import Detector
    from edge_yolov9.sources import open_source

    tally = Tally(detail=json_file is not None)
    with (
        Detector(bundle, runtime=runtime, **limits) as detector,
        open_source(source, broken=tally.refuse) as frames,
    ):
        _run(detector, frames, tally, save, show)
        settings = asdict(detector.options)
    click.echo(tally.line(frames), err=json_file == "-")
    if json_file is not None:
        facts: dict[str, Any] = {
            "bundle": str(bundle),
            "source": frames.name,
            "kind": frames.kind,
            "names": list(detector.names),
        }
        facts |= {"settings": settings, "frames": tally.frames, "counts": dict(tally.counts), "errors": tally.errors}
        write_json(facts, json_file)
    if tally.errors:
        raise click.exceptions.Exit(1)


def _run(detector: Detector, source: Source, tally: Tally, save: Path | None, show: bool) -> None:
    from edge_yolov9.cli.saving import Saver
    from edge_yolov9.draw import annotate

    with ExitStack() as stack:
        if show:
            stack.callback(_close_window)
        saver = None if save is None else stack.enter_context(Saver(save, source))
        stack.enter_context(_until_interrupted(source))
        for frame in stack.enter_context(_progress(source)):
            start = time.perf_counter()
            found = detector(frame.image)
            milliseconds = 1000 * (time.perf_counter() - start)
            drawn = annotate(frame.image, found) if saver is not None or show else None
            saved = saver.write(frame, drawn) if saver is not None and drawn is not None else None
            tally.add(frame, found, milliseconds, saved)
            if show and drawn is not None and not _shown(drawn, source):
                break


def _progress(source: Source) -> AbstractContextManager[Iterable[Frame]]:
    """The frames, with a bar on standard error where there are many and their number is known."""
    if source.total is None or source.total < 2:
        return nullcontext(source)
    return click.progressbar(source, length=source.total, label=Path(source.name).name, file=sys.stderr)


@contextmanager
def _until_interrupted(source: Source) -> Iterator[None]:
    """Ctrl-C is how one ends a live source; elsewhere it aborts."""
    try:
        yield
    except KeyboardInterrupt:
        if not source.live:
            raise


def _check_display() -> None:
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InputError("--show needs a display, and there is none here; use --save DIR instead")


def _shown(drawn: Image, source: Source) -> bool:
    """Show one frame; False once q or Esc was pressed. A picture waits for a key."""
    import cv2

    try:
        cv2.imshow(WINDOW, drawn)
        key = cv2.waitKey(0 if source.kind in ("image", "folder") else 1)
    except cv2.error:
        raise InputError(
            "--show needs an OpenCV that can open windows (not opencv-python-headless); use --save DIR"
        ) from None
    return key & 0xFF not in (ord("q"), 27)


def _close_window() -> None:
    import cv2

    try:
        cv2.destroyAllWindows()
    except cv2.error:
        return  # there was no window
