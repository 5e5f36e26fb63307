"""Letterbox and its inverse."""

from __future__ import annotations

import numpy as np
import pytest

from edge_yolov9.errors import InputError
from edge_yolov9.geometry import PAD_VALUE, Letterbox, iou_matrix, letterbox, planes


@pytest.mark.parametrize("size", [(480, 640), (720, 1280), (1280, 720), (33, 1000), (1, 1), (320, 320), (7, 5)])
def test_boxes_return_to_the_frame(size: tuple[int, int]) -> None:
    placed = Letterbox.fit(size, (320, 320))
    h, w = size
    frame_boxes = np.array([[0, 0, w, h], [w * 0.25, h * 0.25, w * 0.5, h * 0.75]], np.float32)
    new_h, new_w = placed.resized
    scale = np.array([new_w / w, new_h / h] * 2, np.float32)
    inside = frame_boxes * scale + np.array([placed.left, placed.top] * 2, np.float32)
    assert np.allclose(placed.to_frame(inside), frame_boxes, atol=1e-3 * max(size))


def test_the_border_is_grey_and_the_picture_centred() -> None:
    frame = np.zeros((100, 200, 3), np.uint8)
    image, placed = letterbox(frame, (320, 320))
    assert placed.resized == (160, 320)
    assert (placed.left, placed.top) == (0, 80)
    assert (image[:80] == PAD_VALUE).all()
    assert (image[240:] == PAD_VALUE).all()
    assert (image[80:240] == 0).all()


def test_a_reused_canvas_holds_nothing_of_the_frame_before() -> None:
    canvas = np.zeros((64, 64, 3), np.uint8)
    Letterbox.fit((64, 64), (64, 64)).apply(np.full((64, 64, 3), 255, np.uint8), canvas)
    again = Letterbox.fit((16, 64), (64, 64)).apply(np.zeros((16, 64, 3), np.uint8), canvas)
    assert again is canvas
    assert set(np.unique(again)) == {0, PAD_VALUE}


def test_boxes_are_clipped_to_the_frame() -> None:
    placed = Letterbox.fit((100, 100), (320, 320))
    boxes = placed.to_frame(np.array([[-50, -50, 900, 900]], np.float32))
    assert boxes.tolist() == [[0, 0, 100, 100]]


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(InputError, match="at least one pixel"):
        Letterbox.fit((0, 5), (320, 320))


def test_iou() -> None:
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    assert np.allclose(iou_matrix(a, b), [[1, 1 / 3, 0]])


def test_planes_are_rgb_and_every_grey_level_is_itself_over_255() -> None:
    image = np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3).astype(np.uint8)
    got = planes(image)
    assert (got.shape, got.dtype, got.flags.c_contiguous) == ((1, 3, 16, 16), np.float32, True)
    for plane, channel in enumerate((2, 1, 0)):
        np.testing.assert_array_equal(got[0, plane], image[:, :, channel].astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(planes(image[:, ::-1]), got[:, :, :, ::-1])
