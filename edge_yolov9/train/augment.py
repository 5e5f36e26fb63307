"""Augmentation of one training image in numpy and OpenCV. Every function takes its random generator.

Images are (H, W, 3) uint8 BGR. Boxes are (N, 5) float32 rows (class, x1, y1, x2, y2) in pixels of their image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data.objects import Outline
from edge_yolov9.geometry import PAD_VALUE, Image, letterbox
from edge_yolov9.train.settings import Settings

Boxes = NDArray[np.float32]
Sample = tuple[Image, Boxes]

MIN_SIDE = 2.0
"""A box is kept after an affine when it is wider and higher than this, pixels,"""
MIN_AREA = 0.1
"""keeps more than this share of its area,"""
MAX_ASPECT = 100.0
"""and is less elongated than this."""

MAX_HIDDEN = 0.3
"""A pasted object hides less than this share of every box that was there."""

_GREY = (PAD_VALUE, PAD_VALUE, PAD_VALUE)


def mosaic(parts: Sequence[Sample], size: int, rng: np.random.Generator) -> Sample:
    """Four images around a random centre of a canvas (2 size, 2 size, 3); what sticks out is cut off."""
    canvas = np.full((2 * size, 2 * size, 3), PAD_VALUE, np.uint8)
    cx, cy = (int(v) for v in rng.uniform(size / 2, 3 * size / 2, 2))
    boxes = []
    for corner, (image, own) in enumerate(parts):
        h, w = image.shape[:2]
        left = cx - w if corner % 2 == 0 else cx
        top = cy - h if corner < 2 else cy
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + w, 2 * size), min(top + h, 2 * size)
        canvas[y1:y2, x1:x2] = image[y1 - top : y2 - top, x1 - left : x2 - left]
        boxes.append(own + np.array([0, left, top, left, top], np.float32))
    placed = np.concatenate(boxes)
    placed[:, 1:] = placed[:, 1:].clip(0, 2 * size)
    return canvas, placed


def affine(sample: Sample, size: int, settings: Settings, rng: np.random.Generator) -> Sample:
    """Rotate, resize and shear about the image's centre, shift, and cut ``size`` x ``size`` out of the middle."""
    image, boxes = sample
    h, w = image.shape[:2]
    matrix = _affine_matrix((w, h), size, settings, rng)
    out = cv2.warpAffine(image, matrix[:2], (size, size), flags=cv2.INTER_LINEAR, borderValue=_GREY)
    corners = boxes[:, [1, 2, 3, 4, 1, 4, 3, 2]].reshape(-1, 2) @ matrix[:2, :2].T + matrix[:2, 2]
    corners = corners.reshape(-1, 4, 2)
    warped = np.concatenate((boxes[:, :1], corners.min(1), corners.max(1)), 1).astype(np.float32)
    warped[:, 1:] = warped[:, 1:].clip(0, size)
    factor = abs(np.linalg.det(matrix[:2, :2]))
    return np.asarray(out, np.uint8), warped[_worth_keeping(boxes, warped, factor)]


def _affine_matrix(
    centre_of: tuple[int, int], size: int, settings: Settings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(3, 3) map from pixels of an image of ``centre_of`` (width, height) to pixels of the cut-out."""
    angle = math.radians(rng.uniform(-settings.degrees, settings.degrees))
    factor = rng.uniform(1 - settings.scale, 1 + settings.scale)
    shear_x, shear_y = np.tan(np.radians(rng.uniform(-settings.shear, settings.shear, 2)))
    shift = rng.uniform(0.5 - settings.translate, 0.5 + settings.translate, 2) * size
    cos, sin = factor * math.cos(angle), factor * math.sin(angle)
    linear = np.array([[1, shear_x], [shear_y, 1]]) @ np.array([[cos, sin], [-sin, cos]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = shift - linear @ (np.array(centre_of) / 2)
    return matrix


def _worth_keeping(before: Boxes, after: Boxes, factor: float) -> NDArray[np.bool_]:
    """Which boxes still show their object after a map that multiplies areas by ``factor``."""
    full = (before[:, 3] - before[:, 1]) * (before[:, 4] - before[:, 2]) * factor
    w, h = after[:, 3] - after[:, 1], after[:, 4] - after[:, 2]
    aspect = np.maximum(w, h) / np.maximum(np.minimum(w, h), 1e-9)
    keep: NDArray[np.bool_] = (w > MIN_SIDE) & (h > MIN_SIDE) & (w * h > MIN_AREA * full) & (aspect < MAX_ASPECT)
    return keep


def mixup(first: Sample, second: Sample, beta: float, rng: np.random.Generator) -> Sample:
    """Blend two images of one size; the boxes of both count in full."""
    share = float(rng.beta(beta, beta))
    image = cv2.addWeighted(first[0], share, second[0], 1 - share, 0)
    return np.asarray(image, np.uint8), np.concatenate((first[1], second[1]))


def copy_paste(sample: Sample, outlines: Sequence[Outline], share: float, rng: np.random.Generator) -> Sample:
    """Paste mirrored copies of objects into their own image, each with probability ``share``.

    Args:
        sample: not written to.
        outlines: one per box, in pixels of the image, or none at all; objects without one stay single.
        share: probability of a copy, for each object with an outline.
        rng: asked only for objects with an outline.
    """
    image, boxes = sample
    mirrored, copies = flip(sample)
    mask = np.zeros(image.shape[:2], np.uint8)
    for index, outline in enumerate(outlines):
        if not outline or rng.random() >= share:
            continue
        if _hidden(boxes, copies[index]).max() < MAX_HIDDEN:
            parts = [np.rint((image.shape[1], 0) + part * (-1, 1)).astype(np.int32) for part in outline]
            cv2.drawContours(mask, parts, -1, 1, cv2.FILLED)
            boxes = np.concatenate((boxes, copies[index : index + 1]))
    if len(boxes) == len(sample[1]):
        return sample
    return np.where(mask[..., None] > 0, mirrored, image), boxes


def _hidden(boxes: Boxes, cover: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of each box that lies under the box ``cover`` (class, x1, y1, x2, y2)."""
    corner, opposite = np.maximum(boxes[:, 1:3], cover[1:3]), np.minimum(boxes[:, 3:], cover[3:])
    area = (boxes[:, 3:] - boxes[:, 1:3]).prod(1)
    return np.asarray((opposite - corner).clip(0).prod(1) / np.maximum(area, 1e-9), np.float32)


def shift_colours(image: Image, settings: Settings, rng: np.random.Generator) -> Image:
    """Multiply hue, saturation and value each by a random factor around 1."""
    gains = 1 + rng.uniform(-1, 1, 3) * (settings.hue, settings.saturation, settings.value)
    ramp = np.arange(256)
    table = np.empty((1, 256, 3), np.uint8)
    table[0, :, 0] = (ramp * gains[0]) % 180
    table[0, :, 1:] = np.clip(ramp[:, None] * gains[1:], 0, 255)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    return np.asarray(cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2BGR), np.uint8)


def flip(sample: Sample) -> Sample:
    """Mirror left and right."""
    image, boxes = sample
    mirrored = boxes.copy()
    mirrored[:, [1, 3]] = image.shape[1] - boxes[:, [3, 1]]
    return np.asarray(cv2.flip(image, 1), np.uint8), mirrored


def place(sample: Sample, size: int) -> Sample:
    """Letterbox into ``size`` x ``size``, as validation does."""
    image, boxes = sample
    out, box = letterbox(image, (size, size))
    scale = np.array([box.resized[1] / image.shape[1], box.resized[0] / image.shape[0]] * 2, np.float32)
    placed = boxes.copy()
    placed[:, 1:] = boxes[:, 1:] * scale + np.array([box.left, box.top] * 2, np.float32)
    return out, placed
