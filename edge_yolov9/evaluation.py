"""COCO AP of a checkpoint or a bundle on labelled images: one letterbox, one decoder, one evaluator for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_yolov9 import registry
from edge_yolov9.data import check_names, load_data, read_data
from edge_yolov9.decode import DecodeOptions
from edge_yolov9.detector import checked_options
from edge_yolov9.errors import CheckpointError, InputError
from edge_yolov9.scoring.accuracy import Accuracy, Detect, check_labelled, score


@dataclass(frozen=True)
class Subject:
    """The model that is evaluated, and what runs it."""

    kind: str
    """``checkpoint`` or ``bundle``."""
    variant: str
    target: str | None
    """The target that a bundle was compiled for; None for a checkpoint."""
    precision: str
    runtime: str
    """The target whose session runs the bundle; ``torch`` for a checkpoint."""
    note: str | None
    """Why the runtime is another than the bundle's own, or falls back."""
    input_size: tuple[int, int]
    """(height, width) of the network's input, pixels."""


@dataclass(frozen=True)
class Evaluation:
    """AP, and how it was measured."""

    model: Path
    subject: Subject
    data: Path
    split: str
    settings: DecodeOptions
    accuracy: Accuracy
    """The twelve COCO figures in [0, 1], and AP of each class."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``edge-yolov9 val --json`` writes them."""
        return {
            "model": str(self.model),
            **asdict(self.subject),
            "data": str(self.data),
            "split": self.split,
            "settings": asdict(self.settings),
            **self.accuracy.as_dict(),
        }


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    split: str = "val",
    input_size: tuple[int, int] | None = None,
    confidence: float = 0.001,
    iou: float = 0.7,
    max_detections: int = 300,
    runtime: str | None = None,
    key: str | Path | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
    looking: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Measure COCO AP, as ``edge-yolov9 val`` does. Every class above the threshold gets its own box (multi-label).

    Args:
        model: a checkpoint file, or a bundle's folder.
        data: DATA file (YAML).
        split: ``train``, ``val`` or ``test`` of it.
        input_size: (height, width) in pixels, multiples of 32; for checkpoints only, theirs when None.
        confidence: least score of a detection, in [0, 1].
        iou: overlap in [0, 1] above which the weaker of two boxes goes.
        max_detections: most boxes per image.
        runtime: the target whose session runs a bundle; its own when None, or a stand-in where that is not installed.
        key: public key of minisign that must have signed a bundle; see :mod:`edge_yolov9.bundle.signing`.
        strict: whether a problem in the data is an error.
        progress: is called with images done and images in all.
        looking: likewise, while the data is checked.
        report: is told in a line of each problem in the data, and when a stand-in measures.

    Raises:
        InputError: an option is out of range, or does not go with the kind of model.
        CheckpointError, BundleError: the model cannot be opened.
        DataError: the data cannot be read, its classes are others, or nothing in it is labelled.
    """
    options = checked_options(confidence, iou, max_detections, multi_label=True)
    dataset = load_data(Path(data))
    with _opened(Path(model), options, input_size, runtime, key, dataset.names) as (detect, names, subject):
        check_names(names, dataset.names)
        images = read_data(dataset, (split,), strict=strict, tell=report, progress=looking).splits[split]
        check_labelled(images, Path(data))
        if subject.note:
            report(f"Note: {subject.note}")
        accuracy = score(detect, images, names, progress)
    return Evaluation(Path(model), subject, Path(data), split, options, accuracy)


@contextmanager
def _opened(
    model: Path,
    options: DecodeOptions,
    input_size: tuple[int, int] | None,
    runtime: str | None,
    key: str | Path | None,
    data_names: tuple[str, ...],
) -> Iterator[tuple[Detect, tuple[str, ...], Subject]]:
    """The model as a function from frame to detections, its class names, and what it is."""
    if model.is_dir():
        with _opened_bundle(model, options, input_size, runtime, key) as opened:
            yield opened
        return
    if runtime is not None:
        raise InputError("--runtime is for bundles; a checkpoint runs in PyTorch")
    if not model.exists():
        raise CheckpointError(f"nothing at {model}; expected a checkpoint file or a bundle folder")
    from edge_yolov9.checkpoint import load
    from edge_yolov9.compiler.reference import checkpoint_detector

    checkpoint = load(model, data_names)
    detect = checkpoint_detector(checkpoint, input_size, options)
    size = input_size or checkpoint.input_size
    yield detect, checkpoint.names, Subject("checkpoint", checkpoint.variant, None, "fp32", "torch", None, size)


@contextmanager
def _opened_bundle(
    model: Path,
    options: DecodeOptions,
    input_size: tuple[int, int] | None,
    runtime: str | None,
    key: str | Path | None,
) -> Iterator[tuple[Detect, tuple[str, ...], Subject]]:
    from edge_yolov9.bundle import read
    from edge_yolov9.detector import Detector

    if input_size is not None:
        raise InputError("--imgsz is for checkpoints; a bundle has the size it was compiled for")
    bundle = read(model, key=key)
    manifest = bundle.manifest
    runtime, note = _runtime(manifest.target, runtime)
    with Detector(bundle, runtime=runtime, **asdict(options)) as detector:
        yield (
            detector,
            detector.names,
            Subject(
                "bundle",
                manifest.variant,
                manifest.target,
                manifest.precision,
                runtime or manifest.target,
                note or detector.note or None,
                detector.input_size,
            ),
        )


def _runtime(target: str, runtime: str | None) -> tuple[str | None, str | None]:
    """The runtime to take, and a note where it is a stand-in, because the target's own is absent."""
    own = registry.target(target)
    if runtime is not None or own.stand_in is None or own.runtime is not None:
        return runtime, None
    other = registry.target(own.stand_in)
    absent = f"the {own.name} runtime ({' or '.join(own.runtimes)}) is not installed here"
    return other.name, f"{absent}: the bundle is measured by the target {other.name} ({other.title}) instead"
