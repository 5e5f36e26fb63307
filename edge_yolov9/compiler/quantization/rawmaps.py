"""Raw maps as decoding reads them, and how far two sets of them are apart.

Maps of one image come in the order of ``OUTPUT_NAMES``: box bins and class logits of P3, P4, P5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

LEAST_LOGIT, SURE_LOGIT = -7.0, 7.0
"""Class scores of 0.0009, under the 0.001 from which COCO's evaluation counts detections, and of 0.9991."""


def floor_logits(logits: NDArray[np.floating[Any]]) -> Array:
    """Class logits, those under LEAST_LOGIT raised to it: whatever the score of such a cell, nothing is detected."""
    return np.maximum(np.asarray(logits, np.float32), np.float32(LEAST_LOGIT))


def relative_bins(maps: list[list[Array]]) -> list[list[Array]]:
    """Raw maps of every image with box bins relative to the largest bin of their side, as the softmax reads them.

    Bins (1, 4 * bins, H, W) become (1, 4, bins, H, W), 0 or less, down to a weight of a thousandth in the softmax.
    What all bins of a side share is no signal. Class logits stay as they are.
    """

    def below_largest(bins: Array) -> Array:
        sides = bins.reshape(len(bins), 4, -1, *bins.shape[2:])
        return floor_logits(sides - sides.max(axis=2, keepdims=True))

    return [[item if index % 2 else below_largest(item) for index, item in enumerate(image)] for image in maps]


def relative_error(maps: list[list[Array]], wanted: list[list[Array]]) -> float:
    """Root of squared error over squared value, the mean over the raw maps; class logits after ``floor_logits``."""
    errors = []
    for index, pairs in enumerate(zip(zip(*maps, strict=True), zip(*wanted, strict=True), strict=True)):
        got, want = ([floor_logits(item) for item in items] if index % 2 else items for items in pairs)
        squares = sum(float(((a - b) ** 2).sum()) for a, b in zip(got, want, strict=True))
        errors.append((squares / max(sum(float((b**2).sum()) for b in want), 1e-30)) ** 0.5)
    return float(np.mean(errors))
