"""``edge-yolov9 detect``."""

from __future__ import annotations

import os
import signal
import statistics
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from edge_yolov9.cli.common.keys import key_option
from edge_yolov9.cli.common.output import JsonLines, check_writable, write_json
from edge_yolov9.cli.common.targets import RUNTIME_HELP, known_target
from edge_yolov9.cli.common.terminal import echo
from edge_yolov9.errors import InputError, SourceError
from edge_yolov9.text import printable

if TYPE_CHECKING:
    from edge_yolov9.detections import Detections
    from edge_yolov9.geometry import Image
    from edge_yolov9.video.reader import Status
    from edge_yolov9.video.source import Frame, Source
    from edge_yolov9.video.stream import Stream

WINDOW = "edge-yolov9 (q ends)"

Viewer = Callable[["Image", bool], object]
"""Takes an annotated frame, and whether it is a still that waits for a key; "q" says that it is time to end."""


@dataclass
class Tally:
    """What the summary and the JSON say."""

    detail: Callable[[dict[str, Any]], object] | None
    """Takes every frame's entry of the JSON."""
    counts: Counter[str] = field(default_factory=Counter)
    count: int = 0
    milliseconds: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    """Time from frame to boxes, of the last frames only: a camera may run for months."""
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    finished: float = 0

    def add(self, frame: Frame, detections: Detections, saved: Path | None) -> None:
        """Count one frame of a stream."""
        times = detections.times
        assert times is not None  # a stream's results have them
        milliseconds = 1000 * (times.finished - times.started)
        self.counts.update(detections.names[index] for index in detections.class_id)
        self.count += 1
        self.milliseconds.append(milliseconds)
        self.finished = times.finished
        if self.detail is not None:
            height, width = frame.image.shape[:2]
            about = {"name": frame.name, "index": frame.index, "timestamp": round(frame.timestamp, 4)}
            about |= {"width": width, "height": height, "milliseconds": round(milliseconds, 3)}
            about |= {"saved": None if saved is None else str(saved), "detections": detections.as_dicts()}
            self.detail(about)

    def refuse(self, error: SourceError) -> None:
        """Report an image that does not decode, and remember it."""
        self.errors.append(str(error))
        if sys.stderr.isatty():  # the progress bar's line is not over
            echo("", err=True)
        echo(f"Error: {error}", err=True)

    def end(self, source: Source) -> None:
        """Say where a film ended before its end; an error where it is certain."""
        shortfall = source.shortfall
        if shortfall is not None:
            text = f"{printable(Path(source.name).name)}: {shortfall}"
            (self.errors if shortfall.certain else self.warnings).append(text)
            echo(f"{'Error' if shortfall.certain else 'Warning'}: {text}", err=True)

    def line(self, source: Source) -> str:
        """The summary: counts per class, the median time from frame to boxes, and frames per second."""
        unit = "image" if source.kind in ("image", "folder") else "frame"
        plural = "" if self.count == 1 else "s"
        short = source.shortfall
        of = "" if short is None else f" of {'' if short.certain else 'about '}{short.total}"
        parts = [f"{self.count}{of} {unit}{plural}"]
        parts += [f"{number} {name}" for name, number in self.counts.most_common()] or ["no object"]
        if self.milliseconds:
            parts.append(f"{statistics.median(self.milliseconds):.1f} ms per {unit}")
        if self.count > 1:
            parts.append(f"{self.count / (self.finished - self.started):.1f} {unit}s per second")
        if self.errors and short is None:
            parts.append(f"{len(self.errors)} not readable")
        return f"{source.name}: {', '.join(parts)}"


def parse_address(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int] | None:
    """``8080`` or ``0.0.0.0:8080`` -> (host, port); this machine alone when there is no host."""
    if value is None:
        return None
    host, _colon, port = value.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise click.BadParameter(f"expected a port like 8080, or 0.0.0.0:8080, got {value!r:.200}")
    return host or "127.0.0.1", int(port)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("source")
@click.option(
    "--save", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Folder for the annotated frames."
)
@click.option("--json", "json_file", metavar="FILE", help="File for the detections; - for standard output.")
@click.option("--track", is_flag=True, help="Give the objects of a video or stream ids that stay.")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Pictures per second of a folder, for --track.")
@click.option("--show", is_flag=True, help="Show frames in a window; q ends.")
@click.option(
    "--serve",
    metavar="[HOST:]PORT",
    callback=parse_address,
    help="Show frames in the browser, at http://127.0.0.1:PORT/; with HOST 0.0.0.0 to the whole network.",
)
@click.option("--confidence", type=float, help="Least score; the bundle's default (0.25) when left out.")
@click.option("--iou", type=float, help="Overlap above which the weaker box goes; the bundle's (0.45) when left out.")
@click.option("--class-agnostic", is_flag=True, help="Of overlapping boxes of two classes, too, the weaker goes.")
@click.option("--max-detections", type=int, help="Most boxes per frame; the bundle's (300) when left out.")
@key_option
@click.option("--threads", type=int, help="CPU threads; the runtime's default when left out.")
@click.option("--runtime", metavar="TARGET", callback=known_target, help=RUNTIME_HELP)
def detect(
    bundle: Path,
    source: str,
    save: Path | None,
    track: bool,
    fps: float | None,
    json_file: str | None,
    show: bool,
    serve: tuple[str, int] | None,
    runtime: str | None,
    **limits: Any,
) -> None:
    """Find objects in SOURCE: image, folder of images, video file, camera index or device, URL, GStreamer pipeline.

    SOURCE may stand elsewhere, so that no list of processes shows a password: env:NAME, @FILE.

    Prints one summary line. A camera or stream that is lost is opened again; frames that come too fast are dropped;
    Ctrl-C ends it in good order. An image in a folder that does not decode is reported and passed over, and the exit
    code is then not 0.

    --json: {bundle, source, kind (image, folder, video, live), names, settings {confidence, iou, max_detections,
    multi_label, class_agnostic (where it is on)}, frames [{name, index, timestamp (s), width, height, milliseconds,
    saved (file or null), detections [{xyxy [x1, y1, x2, y2] in pixels of the frame, confidence, class_id, name,
    track_id (with --track; null for an object seen once so far)}]}], counts {name: number}, errors [text],
    warnings [text] (where there are any)}. It is written at the end, and grows in memory until then. For a camera that
    runs for long, name a file FILE.jsonl: it gets the entry of each frame as a line of its own, at once.
    """
    check_writable(json_file, lambda: [bundle, source])
    _end_on_sigterm()
    from edge_yolov9.detector import Detector
    from edge_yolov9.video.source import open_source

    entries: list[dict[str, Any]] = []
    by_line = json_file is not None and json_file.endswith(".jsonl")
    tally = Tally(None if json_file is None else entries.append)
    with ExitStack() as stack:
        viewers = _viewers(stack, show, serve)
        detector = stack.enter_context(Detector(bundle, runtime=runtime, **limits))
        frames = stack.enter_context(open_source(source, fps=fps, broken=tally.refuse, status=_tell))
        if track and frames.kind == "folder" and fps is None:
            raise InputError("--track follows objects from picture to picture; add --fps if these were taken in a row")
        if serve is not None and frames.kind in ("image", "folder"):
            raise InputError("--serve shows a camera, a stream or a video; use --save DIR for images")
        if json_file is not None and by_line:
            tally.detail = stack.enter_context(JsonLines(json_file)).write
        _run(detector.stream(frames, track=track), tally, save, viewers)
    tally.end(frames)
    echo(tally.line(frames), err=json_file == "-")
    if json_file is not None and not by_line:
        facts: dict[str, Any] = {
            "bundle": str(bundle),
            "source": frames.name,
            "kind": frames.kind,
            "names": list(detector.names),
        }
        settings = asdict(detector.options)
        if not settings["class_agnostic"]:  # as files without it read
            del settings["class_agnostic"]
        facts |= {"settings": settings, "frames": entries}
        facts |= {"counts": dict(tally.counts), "errors": tally.errors}
        write_json({**facts, "warnings": tally.warnings} if tally.warnings else facts, json_file)
    if tally.errors:
        raise click.exceptions.Exit(1)


def _tell(news: Status) -> None:
    echo(news, err=True)


def _viewers(stack: ExitStack, show: bool, serve: tuple[str, int] | None) -> list[Viewer]:
    """The window and the browser's stream, as far as they are wanted."""
    viewers: list[Viewer] = []
    if show:
        from edge_yolov9.video.window import Window

        viewers.append(stack.enter_context(Window(WINDOW)).show)
    if serve is not None:
        from edge_yolov9.video.mjpeg import MjpegServer

        host, port = serve
        server = stack.enter_context(MjpegServer(port, host))
        viewers.append(lambda drawn, _: server.show(drawn))
        echo(f"{server.url} shows the frames; Ctrl-C ends", err=True)
    return viewers


def _run(stream: Stream, tally: Tally, save: Path | None, viewers: list[Viewer]) -> None:
    from edge_yolov9.cli.common.saving import Saver

    source = stream.source
    still = source.kind in ("image", "folder")
    with stream, ExitStack() as stack:
        saver = None if save is None else stack.enter_context(Saver(save, source))
        stack.enter_context(_until_interrupted(source))
        tally.started = time.monotonic()
        for image, detections in stack.enter_context(_progress(stream)):
            assert stream.frame is not None
            drawn = detections.draw(image) if saver is not None or viewers else None
            saved = saver.write(stream.frame, drawn) if saver is not None and drawn is not None else None
            tally.add(stream.frame, detections, saved)
            if drawn is not None and "q" in [view(drawn, still) for view in viewers]:
                break


@contextmanager
def _progress(stream: Stream) -> Iterator[Iterable[tuple[Image, Detections]]]:
    """The frames, with a bar on standard error where there are many and their number is known.

    The bar stands where reading stands, and stays where reading ended.
    """
    source = stream.source
    if source.total is None or source.total < 2:
        yield stream
        return
    label = printable(Path(source.name).name)
    with click.progressbar(length=source.total, label=label, file=sys.stderr) as bar:

        def frames() -> Iterator[tuple[Image, Detections]]:
            for item in stream:
                yield item
                assert stream.frame is not None
                bar.update(stream.frame.index + 1 - bar.pos)

        yield frames()


def _end_on_sigterm() -> None:
    """A service manager's SIGTERM is Ctrl-C. A process that a library forks keeps the plain meaning."""
    mine = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != mine:
            os._exit(128 + number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGTERM, end)


@contextmanager
def _until_interrupted(source: Source) -> Iterator[None]:
    """Ctrl-C is how one ends a live source; elsewhere it aborts."""
    try:
        yield
    except KeyboardInterrupt:
        if not source.live:
            raise
        source.hurry()
