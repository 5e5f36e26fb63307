"""From the six raw tensors to boxes, on the host, in float, for the few cells that pass the threshold.

Class logits are compared first (integers as they are, without dequantization); only survivors get a softmax over
their 4 x 16 box bins and a sigmoid. Then class-wise non-maximum suppression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import TensorSpec, Thresholds
from edge_yolov9.errors import InferenceError
from edge_yolov9.variants import REG_MAX, STRIDES

MAX_CANDIDATES = 3000
"""The most confident boxes that enter non-maximum suppression: its cost is quadratic."""

MOST_DB = 200.0
"""Signal to noise ratio of what agrees exactly; its negative, of noise without a signal."""

FLOAT_TENSOR = TensorSpec("", (), "float32", "NCHW")
"""Any raw tensor of the float model."""

Floats = NDArray[np.float32]
Candidates = tuple[Floats, Floats, NDArray[np.int64]]


@dataclass(frozen=True)
class DecodeOptions(Thresholds):
    """Thresholds, and what becomes of several classes in one place."""

    multi_label: bool = False
    """Whether every class above the threshold gets its own box, as COCO evaluation wants."""
    class_agnostic: bool = False
    """Whether a box goes where it overlaps a better one of any class, not of its own alone."""

    @classmethod
    def of(cls, thresholds: Thresholds) -> DecodeOptions:
        """Options with these thresholds, one class a box: a bundle's own way of detecting."""
        return cls(thresholds.confidence, thresholds.iou, thresholds.max_detections)


EVALUATION = DecodeOptions(confidence=0.001, iou=0.7, max_detections=300, multi_label=True)
"""Options that COCO figures are measured with."""


class Decoder:
    """Decodes maps of one input size. Holds nothing that changes, so threads may share it."""

    def __init__(
        self,
        input_size: tuple[int, int],
        outputs: Sequence[TensorSpec] = (FLOAT_TENSOR,) * 6,
        strides: Sequence[int] = STRIDES,
        reg_max: int = REG_MAX,
    ) -> None:
        """``outputs`` gives the integer scales. ``input_size`` is (height, width) pixels."""
        height, width = input_size
        self._strides = tuple(strides)
        self._bins = np.arange(reg_max, dtype=np.float32)
        self._outputs = tuple(outputs)
        self._centres = [_centres(height // s, width // s) for s in self._strides]

    def __call__(self, raw: Sequence[NDArray[Any]], options: DecodeOptions) -> Candidates:
        """Boxes of one frame after suppression.

        Args:
            raw: six 2-D arrays (channels, cells): box bins and class logits of P3, P4, P5.
            options: thresholds.

        Returns:
            xyxy (N, 4) in input pixels, scores (N,), classes (N,), the most confident first.

        Raises:
            InferenceError: a class logit is not a number. Boxes that are not finite are left out.
        """
        levels = [self._level(i, raw[2 * i], raw[2 * i + 1], options) for i in range(len(self._strides))]
        boxes, scores, classes = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        return suppress(boxes, scores, classes, options)

    def _level(self, index: int, box: NDArray[Any], logits: NDArray[Any], options: DecodeOptions) -> Candidates:
        tensor = self._outputs[2 * index + 1]
        threshold = _logit(options.confidence)
        if tensor.scale is not None:
            threshold = threshold / tensor.scale + (tensor.zero_point or 0)
        if not logits.flags.c_contiguous:  # (cells, channels) in memory: numpy's maximum over 80 bytes in a row is slow
            logits = np.asarray(cv2.transpose(logits.T))
        if options.multi_label:
            _refuse_nan(logits.max(axis=0))
            classes, cells = np.nonzero(logits > threshold)
        else:
            best = logits.max(axis=0)
            _refuse_nan(best)
            cells = np.flatnonzero(best > threshold)
            classes = logits[:, cells].argmax(axis=0)
        values = tensor.real(logits[classes, cells])
        # exp overflows to inf for very negative logits, which is the right limit; NaN never passes the threshold
        with np.errstate(over="ignore"):
            scores = 1 / (1 + np.exp(-values))
        if len(cells) > MAX_CANDIDATES:
            keep = np.argpartition(-scores, MAX_CANDIDATES)[:MAX_CANDIDATES]
            cells, classes, scores = cells[keep], classes[keep], scores[keep]
        return self._boxes(index, box, cells), scores.astype(np.float32), classes.astype(np.int64)

    def _boxes(self, index: int, box: NDArray[Any], cells: NDArray[np.int64]) -> Floats:
        """Expected distance to each side, in cells, around the cell's centre -> xyxy in input pixels."""
        weights = box[:, cells].astype(np.float32, copy=False).reshape(4, len(self._bins), -1)
        weights *= np.float32(self._outputs[2 * index].scale or 1)  # softmax does not see the zero point
        weights -= weights.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(weights, out=weights)
        sides = np.einsum("sbn,b->sn", weights, self._bins) / weights.sum(axis=1)
        centre = self._centres[index][:, cells]
        xyxy = np.concatenate((centre - sides[:2], centre + sides[2:])).T * np.float32(self._strides[index])
        return np.ascontiguousarray(xyxy, np.float32)


def suppress(boxes: Floats, scores: Floats, classes: NDArray[np.int64], options: DecodeOptions) -> Candidates:
    """Non-maximum suppression, class by class unless ``class_agnostic``.

    At most ``max_detections`` remain, the most confident first.
    """
    finite = np.isfinite(boxes).all(axis=1)
    if not finite.all():
        boxes, scores, classes = boxes[finite], scores[finite], classes[finite]
    if len(scores) > MAX_CANDIDATES:
        keep = np.argpartition(-scores, MAX_CANDIDATES)[:MAX_CANDIDATES]
        boxes, scores, classes = boxes[keep], scores[keep], classes[keep]
    if len(scores) > 1:
        xywh = boxes.copy()
        xywh[:, 2:] -= xywh[:, :2]
        # the threshold on scores has been applied already; 0 keeps every candidate
        groups = [0] * len(classes) if options.class_agnostic else classes.tolist()
        kept = cv2.dnn.NMSBoxesBatched(xywh.tolist(), scores.tolist(), groups, 0.0, options.iou)
        index: NDArray[np.int64] = np.asarray(kept, np.int64).reshape(-1)
        index = index[np.argsort(-scores[index], kind="stable")][: options.max_detections]
    else:
        index = np.arange(min(len(scores), options.max_detections))
    return boxes[index], scores[index], classes[index]


def sqnr_db(signal: float, noise: float) -> float:
    """Signal to quantization noise ratio of a raw tensor, dB, from -MOST_DB to MOST_DB; NaN where a power is.

    Args:
        signal: sum of the squares of the values that are wanted.
        noise: sum of the squares of the errors.
    """
    if noise == 0:
        return MOST_DB
    with np.errstate(all="ignore"):
        ratio = 10 * np.log10(np.float64(signal) / np.float64(noise))
    return float(np.clip(ratio, -MOST_DB, MOST_DB))


def _refuse_nan(best: NDArray[Any]) -> None:
    """A broken model must not look like an empty street. ``best`` (cells,) carries the NaN of any class."""
    if best.dtype.kind == "f" and np.isnan(best).any():
        raise InferenceError(
            "the model gave scores that are not numbers (NaN); "
            "compile the bundle again, with --precision fp32 if fp16 overflows"
        )


def _logit(confidence: float) -> float:
    """The logit whose sigmoid is ``confidence``; infinite at 0 and 1."""
    if confidence <= 0:
        return -np.inf
    return np.inf if confidence >= 1 else float(np.log(confidence / (1 - confidence)))


def _centres(rows: int, columns: int) -> Floats:
    """Cell centres (2, rows * columns), x then y, in cells."""
    y, x = np.mgrid[:rows, :columns].astype(np.float32).reshape(2, -1) + np.float32(0.5)
    return np.stack((x, y))
