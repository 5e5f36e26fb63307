"""The accuracy section of a report: what was found against what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_yolov9.bundle import Manifest
from edge_yolov9.errors import BundleError, DataError
from edge_yolov9.report import worst
from edge_yolov9.report.predictions import Found, ImageSet, truth_digest
from edge_yolov9.scoring import delta, noise
from edge_yolov9.scoring.accuracy import FIGURES, Accuracy, evaluate
from edge_yolov9.scoring.confusion import confusion


def section(found: Found, images: ImageSet, bundle: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """Evaluate what was found.

    Args:
        found: detections of every image of the set.
        images: labelled images.
        bundle: ``names``, ``thresholds`` and ``accuracy`` of the manifest.

    Returns:
        (the section as ``docs/report.md`` describes it, the contact sheets of the worst images, JPEG).

    Raises:
        DataError: the classes differ, or the images are not those that the detections are of.
        BundleError: the manifest's figures are malformed.
    """
    truth, names = images.truth, tuple(bundle["names"])
    assert truth is not None
    images.check(names)
    keys = images.keys
    records = dict(zip(keys, truth.images, strict=True))
    _same_images(found, keys)
    by_id = {records[key].image_id: boxes for key, boxes in found.scored.items()}
    measured = evaluate(by_id, truth, names, noise.groups(len(truth)))
    mistakes = worst.rank(found.deployed, records)
    deployed = {records[key].image_id: boxes for key, boxes in found.deployed.items()}
    try:
        before = _against(bundle.get("accuracy"), measured, images)
    except (KeyError, TypeError, AttributeError):
        raise BundleError("the accuracy in the bundle's manifest is malformed; compile the bundle again") from None
    described = {
        **_figures(measured),
        "data": {
            "file": images.source,
            "split": images.split,
            "images": len(truth),
            "images_sha256": found.digest(),
            "truth_sha256": truth_digest(truth, keys),
        },
        "confusion": {"thresholds": bundle["thresholds"], "iou": 0.5, "matrix": confusion(deployed, truth).tolist()},
        "float": before,
        "worst": [one.as_dict() for one in mistakes],
    }
    return described, worst.sheets(mistakes, found.deployed, records)


def of_manifest(manifest: Manifest) -> dict[str, Any]:
    """What :func:`section` needs to know of a bundle, for JSON."""
    own = manifest.thresholds
    return {
        "names": list(manifest.names),
        "thresholds": {"confidence": own.confidence, "iou": own.iou, "max_detections": own.max_detections},
        "accuracy": manifest.accuracy,
    }


def _same_images(found: Found, keys: tuple[str, ...]) -> None:
    missing, others = sorted(set(keys) - set(found.scored)), sorted(set(found.scored) - set(keys))
    if missing or others:
        named = f"{missing[0]} has no detections" if missing else f"{others[0]} is not in the split"
        raise DataError(
            f"the detections are of {len(found.scored)} images, the split has {len(keys)}: {named} ({len(missing)} "
            f"without detections, {len(others)} unknown); use the split that the detections were made on"
        )


def _figures(measured: Accuracy) -> dict[str, Any]:
    """``Accuracy.as_dict`` with the standard error, the curve and the replicates of everything."""
    replicates = {name: [one.figures[name] for one in measured.replicates] for name in FIGURES}
    described = measured.as_dict()
    for place, (entry, own) in enumerate(zip(described["classes"], measured.classes, strict=True)):
        entry["curve"] = [round(value, 4) for value in own.curve]
        entry["replicates"] = [one.classes[place].ap for one in measured.replicates]
        entry["standard_error"] = _rounded(noise.jackknife(entry["replicates"]))
    errors = {name: _rounded(noise.jackknife(values)) for name, values in replicates.items()}
    return {**described, "standard_error": errors, "replicates": replicates}


def _against(accuracy: Mapping[str, Any] | None, measured: Accuracy, images: ImageSet) -> dict[str, Any] | None:
    """The float figures of the manifest, and why they may not be comparable; None where the manifest has none."""
    if accuracy is None or "float" not in accuracy:
        return None
    told = (accuracy.get("data"), accuracy.get("split"), accuracy.get("images"))
    here = (images.source, images.split, measured.images)
    same = told == here
    note = None if same else f"measured on {told[2]} images of {told[1]} in {told[0]} when the bundle was compiled"
    names = {"names": [own.name for own in measured.classes]}
    shown = {"float": accuracy["float"], "artifact": measured.as_dict()}
    if [entry["name"] for entry in accuracy["float"]["classes"]] != names["names"]:
        return None
    return {
        "comparable": same,
        "note": note,
        **accuracy["float"],
        "losing_classes": delta.losers(shown) if same else {},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
