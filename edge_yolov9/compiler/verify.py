"""Run the emitted artifact and compare it with the float model, before a bundle exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.job import OUTPUT_NAMES
from edge_yolov9.compiler.quantization.rawmaps import floor_logits
from edge_yolov9.decode import DecodeOptions, Decoder, sqnr_db
from edge_yolov9.errors import ParityError
from edge_yolov9.geometry import iou_matrix
from edge_yolov9.registry import Session

LEAST_SQNR_DB = {"fp32": 60.0, "fp16": 20.0, "int8": 5.0}
"""Signal to quantization noise below which an artifact does not compute what the checkpoint computes."""

LEAST_FOUND, FEW_BOXES = 0.8, 20
"""Share of the float model's boxes that an artifact must find again where no AP is measured; and too few to tell."""

CONSEQUENCE = "; no bundle was written"


def compare(
    reference: Session, session: Session, bundle: Bundle, images: Iterable[NDArray[np.uint8]]
) -> dict[str, Any]:
    """Figures for the manifest.

    Args:
        reference: the float model.
        session: the artifact, opened.
        bundle: its manifest gives the tensor types.
        images: letterboxed frames (height, width, 3) uint8 BGR.

    Returns:
        ``tensors``: per raw tensor ``max_abs`` and ``rms`` error in logits and ``sqnr_db``, class logits under a score
        of 0.001 taken as equal; ``boxes``: how many boxes
        of the float model at confidence 0.25 the artifact finds again with the same class and IoU over 0.5.

    Raises:
        ParityError: a tensor is not finite, or its SQNR is under the least for the precision.
    """
    manifest = bundle.manifest
    size = (manifest.input.height, manifest.input.width)
    float_decode, decode = Decoder(size), Decoder(size, manifest.outputs)
    totals = {name: np.zeros(3) for name in OUTPUT_NAMES}  # noise power, signal power, largest error
    count = again = wanted = 0
    for image in images:
        expected = reference.infer(image)
        got = session.infer(image)
        for name, spec, want, have in zip(OUTPUT_NAMES, manifest.outputs, expected, got, strict=True):
            have = spec.real(have)
            _accumulate(
                totals[name], *((floor_logits(want), floor_logits(have)) if name.startswith("class") else (want, have))
            )
        count += 1
        if np.isfinite(list(totals.values())).all():  # else no box can be made of it, and the judge refuses it
            hits, boxes = _agreement(float_decode(expected, DecodeOptions()), decode(got, DecodeOptions()))
            again, wanted = again + hits, wanted + boxes
    cells = [count * array.size for array in expected]
    tensors = {name: _figures(totals[name], n) for name, n in zip(OUTPUT_NAMES, cells, strict=True)}
    _judge(tensors, manifest.precision, manifest.target)
    return {"images": count, "tensors": tensors, "boxes": {"float": wanted, "found_again": again}}


def check_boxes(parity: Mapping[str, Any]) -> None:
    """Where no data set tells the AP, the float model's own boxes are the least that an artifact must find.

    Raises:
        ParityError: it finds too few of them again.
    """
    wanted, again = parity["boxes"]["float"], parity["boxes"]["found_again"]
    if wanted >= FEW_BOXES and again < LEAST_FOUND * wanted:
        raise ParityError(
            f"the artifact finds only {again} of the float model's {wanted} boxes again, expected at least "
            f"{100 * LEAST_FOUND:.0f} %{CONSEQUENCE}. Add --data DATA, so that AP is measured and sensitive layers can "
            "stay float, or choose --precision fp16"
        )


def _accumulate(total: NDArray[np.float64], want: NDArray[np.float32], have: NDArray[np.float32]) -> None:
    error = have.astype(np.float64) - want
    total[0] += (error**2).sum()
    total[1] += (want.astype(np.float64) ** 2).sum()
    total[2] = np.maximum(total[2], np.abs(error).max())  # a NaN stays


def _figures(total: NDArray[np.float64], values: int) -> dict[str, float]:
    noise, signal, largest = total
    return {
        "max_abs": round(float(largest), 6),
        "rms": round(float(np.sqrt(noise / values)), 6),
        "sqnr_db": round(sqnr_db(signal, noise), 2),
    }


def _judge(tensors: dict[str, dict[str, float]], precision: str, target: str) -> None:
    least = LEAST_SQNR_DB[precision]
    for name, figures in tensors.items():
        if not figures["sqnr_db"] >= least:  # NaN fails too
            raise ParityError(
                f"the {precision} {target} artifact does not agree with the checkpoint: {name} has a signal to noise "
                f"ratio of {figures['sqnr_db']} dB, expected at least {least}{CONSEQUENCE}"
            )


def _agreement(expected: Any, got: Any) -> tuple[int, int]:
    """(boxes found again, boxes of the float model)."""
    boxes, _, classes = expected
    others, _, other_classes = got
    if not len(boxes) or not len(others):
        return 0, len(boxes)
    overlap = iou_matrix(boxes, others) * (classes[:, None] == other_classes[None])
    return int((overlap.max(axis=1) > 0.5).sum()), len(boxes)
