"""The one class a camera application needs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle, read
from edge_yolov9.decode import DecodeOptions
from edge_yolov9.detections import Detections
from edge_yolov9.errors import InferenceError, InputError
from edge_yolov9.lane import Lane, Postprocess
from edge_yolov9.registry import concurrency, open_session, open_sessions
from edge_yolov9.system.closing import Closing

if TYPE_CHECKING:
    from edge_yolov9.video.reader import Status
    from edge_yolov9.video.source import Source
    from edge_yolov9.video.stream import Stream
    from edge_yolov9.video.tracking import ByteTrack

MOST_LANES = 8
"""Frames in work at the same time, at most: each lane has memory of its own."""
MOST_THREADS = 1024
"""CPU threads of the runtime; LiteRT crashes where the system refuses them."""


class Detector(Closing):
    """Opens a bundle and finds objects in frames.

    Threads may share one: calls take turns, in the order in which they came, each with all CPU threads of the runtime.
    Other processes open it anew, by its path, where one is pickled to them.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        confidence: float | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
        multi_label: bool = False,
        class_agnostic: bool = False,
        threads: int | None = None,
        runtime: str | None = None,
        key: str | Path | None = None,
    ) -> None:
        """Check and load a bundle.

        Args:
            bundle: folder written by ``edge-yolov9 compile``, or one that has been read already.
            confidence: least score, in [0, 1]; the bundle's default (0.25) when None.
            iou: overlap above which the weaker box of a class goes, in [0, 1]; the bundle's default (0.45) when None.
            max_detections: most objects per frame; the bundle's default (300) when None.
            multi_label: give every class above the threshold its own box.
            class_agnostic: let the weaker of two boxes that overlap go also where they are of two classes.
            threads: CPU threads of the runtime; its sensible default when None.
            runtime: another target's session, see :func:`edge_yolov9.registry.open_session`.
            key: public key of minisign, its file or the line in it; a bundle that it did not sign is refused.

        Raises:
            BundleError: the bundle is missing, changed, incomplete or too new.
            RuntimeNotInstalled: the vendor runtime is absent.
            InputError: a threshold or ``threads`` is out of range, or no number.
        """
        if isinstance(bundle, Bundle):
            self.bundle = bundle if key is None else read(bundle.path, key=key)
        else:
            self.bundle = read(bundle, key=key)
        manifest = self.bundle.manifest
        defaults = manifest.thresholds
        self.options = checked_options(
            defaults.confidence if confidence is None else confidence,
            defaults.iou if iou is None else iou,
            defaults.max_detections if max_detections is None else max_detections,
            multi_label,
            class_agnostic,
        )
        if threads is not None and not (_whole(threads) and 1 <= threads <= MOST_THREADS):
            raise InputError(f"threads must be a whole number from 1 to {MOST_THREADS}, got {threads!r}")
        self.names = manifest.names
        self.input_size = (manifest.input.height, manifest.input.width)
        self._runtime, self._threads = runtime, None if threads is None else int(threads)
        key = self.bundle.key
        self._key = Path(key).resolve() if key is not None and Path(key).is_file() else key
        self._lane = Lane(open_session(self.bundle, runtime, self._threads), Postprocess.of(manifest))
        self._parallel: list[Lane] = []
        self._opening = threading.Lock()
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self._closed = False

    @property
    def note(self) -> str:
        """What a reader of results must know of the runtime, one line: a fall-back and its reason; "" for nothing."""
        return self._lane.note

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """Find objects in one frame.

        Args:
            frame: (H, W, 3) uint8 BGR of any size, also a non-contiguous view; (H, W) grey is accepted too.

        Returns:
            Detections in pixels of ``frame``.

        Raises:
            InputError: the frame is of another type or shape.
            InferenceError: the runtime failed, the model gave NaN, or the detector is closed.
        """
        return self._lane.detect(frame, self.options)

    def batch(self, frames: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Find objects in several frames at the same time; the results in the order of ``frames``.

        The first call, of this or of :meth:`stream`, loads the model a second time, for frames side by side.

        Raises:
            InputError, InferenceError: as for a single frame; also when the detector is closed meanwhile.
        """
        if isinstance(frames, np.ndarray) and frames.ndim < 4:  # its rows would pass for grey frames
            raise InputError(f"a batch is a list of frames, got one array {frames.shape}; call detect(frame) for one")
        from concurrent.futures import ThreadPoolExecutor
        from queue import SimpleQueue

        with self._opening:
            self._check_open()
            lanes = [self._lane] if len(frames) == 1 else self._lanes()
        free: SimpleQueue[Lane] = SimpleQueue()
        for lane in lanes:
            free.put(lane)

        def detect(frame: NDArray[np.uint8]) -> Detections:
            lane = free.get()
            try:
                return lane.detect(frame, self.options)
            finally:
                free.put(lane)

        results: list[Detections] = []
        with ThreadPoolExecutor(len(lanes), "detect") as pool:
            try:
                for detections in pool.map(detect, frames):
                    results.append(detections)
            except InferenceError as error:
                if not self._closed:
                    raise
                done = f"this Detector was closed after {len(results)} of {len(frames)} frames"
                raise InferenceError(done) from error
        return results

    def stream(
        self,
        source: str | int | Path | Source,
        *,
        latest: bool | None = None,
        track: bool | ByteTrack = False,
        fps: float | None = None,
        status: Callable[[Status], None] | None = None,
    ) -> Stream:
        """Frames of a source with what is in them.

        Args:
            source: image, folder, video file, camera index or device, a stream's URL, or a GStreamer pipeline; see
                :func:`edge_yolov9.video.source.open_source`. Or one that is open; the stream closes it.
            latest: of a live source, detect in the newest frame only, with all CPU threads, and drop what arrived
                meanwhile; the default when None. Otherwise every frame is delivered, several in work at a time.
            track: give the objects ids that stay, by a :class:`edge_yolov9.video.tracking.ByteTrack` with the threshold
                of this detector, or by one of your own.
            fps: pictures per second of a folder whose pictures were taken in a row.
            status: is told, in another thread, when a live source is lost and when it is back. It is opened again for
                ever; what ``status`` raises ends the stream.

        Returns:
            An iterator of (frame (H, W, 3) uint8 BGR, Detections with ``times``), also
            a context manager, which counts ``frames``, ``dropped`` and ``reconnects``. An error in one frame is raised
            in its place, and iterating may go on.

        Raises:
            SourceError: the source does not open.
            InputError: ``track`` of a folder without ``fps``: pictures that do not follow each other have no tracks.
        """
        from edge_yolov9.video.source import Source, open_source

        opened = source if isinstance(source, Source) else open_source(source, latest=latest, fps=fps, status=status)
        return self._start(opened, track)

    def _start(self, source: Source, track: bool | ByteTrack) -> Stream:
        from edge_yolov9.video.stream import Stream
        from edge_yolov9.video.tracking import ByteTrack

        options, tracker = self.options, None
        try:
            if track is not False:
                if source.kind == "folder" and source.fps is None:
                    raise InputError(
                        "a folder's pictures are tracked only where they were taken in a row; give fps, their rate"
                    )
                low = min(0.1, options.confidence)
                tracker = (
                    ByteTrack(source.frame_rate, confidence=options.confidence, low=low) if track is True else track
                )
                options = replace(options, confidence=tracker.low)
            with self._opening:
                self._check_open()
                alone = source.latest or source.total == 1
                stream = Stream(source, [self._lane] if alone else self._lanes(), options, tracker)
                self._streams.add(stream)
        except BaseException:
            source.close()
            raise
        return stream

    def _check_open(self) -> None:
        if self._closed:
            raise InferenceError("this Detector is closed; open the bundle again")

    def _lanes(self) -> list[Lane]:
        """Lanes for frames side by side; loaded when they are first wanted."""
        if not self._parallel:
            count = min(concurrency(self._runtime or self.bundle.manifest.target, self._threads), MOST_LANES)
            if count == 1:
                return [self._lane]
            sessions = open_sessions(self.bundle, self._runtime, self._threads, count)
            self._parallel = [Lane(session, Postprocess.of(self.bundle.manifest)) for session in sessions]
        return self._parallel

    def close(self) -> None:
        """End the streams and free the runtime. Calling it twice does no harm."""
        with self._opening:
            self._closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.close()
        for lane in (self._lane, *self._parallel):
            lane.close()

    def __reduce__(self) -> tuple[Any, ...]:
        options: dict[str, Any] = asdict(self.options)
        options |= {"threads": self._threads, "runtime": self._runtime, "key": self._key}
        return partial(type(self), **options), (self.bundle.path.resolve(),)


def checked_options(
    confidence: float, iou: float, max_detections: int, multi_label: bool, class_agnostic: bool = False
) -> DecodeOptions:
    """Thresholds in range, or an InputError that says which is not."""
    for name, value in (("confidence", confidence), ("iou", iou)):
        if not (isinstance(value, Real) and 0 <= value <= 1):
            raise InputError(f"{name} must be a number in [0, 1], got {value!r}")
    if not (_whole(max_detections) and max_detections >= 1):
        raise InputError(f"max_detections must be a whole number, at least 1, got {max_detections!r}")
    return DecodeOptions(float(confidence), float(iou), int(max_detections), bool(multi_label), bool(class_agnostic))


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
