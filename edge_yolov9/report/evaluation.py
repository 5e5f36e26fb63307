"""Fills the accuracy section of a report: what was detected against what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_yolov9.bundle import Thresholds
from edge_yolov9.errors import BundleError, DataError
from edge_yolov9.files import from_json
from edge_yolov9.report import worst
from edge_yolov9.report.accuracy import AccuracySection, ClassSection, ConfusionSection, FloatSection, ScoredImages
from edge_yolov9.report.predictions import ImageSet, Predictions, truth_digest
from edge_yolov9.scoring import delta, noise
from edge_yolov9.scoring.accuracy import FIGURES, Accuracy, Figures, Scores, evaluate
from edge_yolov9.scoring.confusion import confusion

OVERLAP = 0.5
"""Least IoU of an object and a detection that count as a pair in the confusion matrix."""


@dataclass(frozen=True)
class Model:
    """What the accuracy section needs to know of a bundle."""

    names: tuple[str, ...]
    thresholds: Thresholds
    accuracy: object
    """``accuracy`` of its manifest."""


def accuracy_section(predictions: Predictions, images: ImageSet, model: Model) -> tuple[AccuracySection, list[bytes]]:
    """Evaluate predictions for every image of a labelled set.

    Returns:
        (the section, the contact sheets of the worst images, JPEG).

    Raises:
        DataError: the classes differ, or the images are not those that the predictions are for.
        BundleError: the manifest's figures are malformed.
    """
    truth, keys = images.truth, images.keys
    if truth is None:
        raise DataError(f"{images.source} is not labelled, so there is no AP to measure on it")
    images.check(model.names)
    records = dict(zip(keys, truth.images, strict=True))
    _same_images(predictions, keys)
    by_id = {records[key].image_id: boxes for key, boxes in predictions.scored.items()}
    measured = evaluate(by_id, truth, model.names, noise.groups(len(truth)))
    mistakes = worst.rank(predictions.deployed, records)
    deployed = {records[key].image_id: boxes for key, boxes in predictions.deployed.items()}
    matrix = confusion(deployed, truth, OVERLAP).tolist()
    replicates = {name: tuple(replicate.figures[name] for replicate in measured.replicates) for name in FIGURES}
    errors = {name: _rounded(noise.jackknife(values)) for name, values in replicates.items()}
    digests = (predictions.digest(), truth_digest(truth, keys))
    section = AccuracySection(
        **measured.figures,
        images=measured.images,
        classes=_classes(measured),
        standard_error=Figures(**errors),
        replicates=replicates,
        data=ScoredImages(images.source, images.split, len(truth), *digests),
        confusion=ConfusionSection(model.thresholds, OVERLAP, tuple(tuple(row) for row in matrix)),
        float=_float_section(model.accuracy, measured, images),
        worst=tuple(mistakes),
    )
    return section, worst.sheets(mistakes, predictions.deployed, records)


def _same_images(predictions: Predictions, keys: tuple[str, ...]) -> None:
    missing, others = sorted(set(keys) - set(predictions.scored)), sorted(set(predictions.scored) - set(keys))
    if missing or others:
        named = f"{missing[0]} has no detections" if missing else f"{others[0]} is not in the split"
        raise DataError(
            f"the detections are of {len(predictions.scored)} images, the split has {len(keys)}: {named} "
            f"({len(missing)} without detections, {len(others)} unknown); use the split that the detections were made "
            "on"
        )


def _classes(measured: Accuracy) -> tuple[ClassSection, ...]:
    sections = []
    for place, own in enumerate(measured.classes):
        replicates = tuple(replicate.classes[place].ap for replicate in measured.replicates)
        curve = tuple(round(value, 4) for value in own.curve)
        error = _rounded(noise.jackknife(replicates))
        sections.append(ClassSection(own.name, own.ap, own.ap50, own.objects, curve, replicates, error))
    return tuple(sections)


@dataclass(frozen=True)
class _Before:
    """What ``manifest.accuracy`` has of the float model."""

    float: Scores
    data: str | None = None
    split: str | None = None
    images: int | None = None


def _float_section(accuracy: object, measured: Accuracy, images: ImageSet) -> FloatSection | None:
    """The float figures of the manifest, and why they may not be comparable; None where the manifest has none."""
    if accuracy is None or (isinstance(accuracy, Mapping) and "float" not in accuracy):
        return None
    try:
        before = from_json(_Before, accuracy, "accuracy")
    except ValueError as error:
        raise BundleError(
            f"the accuracy in the bundle's manifest is malformed: {error}; compile the bundle again"
        ) from None
    if [own.name for own in before.float.classes] != [own.name for own in measured.classes]:
        return None
    same = (before.data, before.split, before.images) == (images.source, images.split, measured.images)
    where = f"measured on {before.images} images of {before.split} in {before.data} when the bundle was compiled"
    return FloatSection(
        **vars(before.float),
        comparable=same,
        note=None if same else where,
        losing_classes=delta.losers(before.float, measured.scores()) if same else {},
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
