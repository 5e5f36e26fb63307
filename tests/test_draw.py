import numpy as np
import pytest

from edge_yolov9.detections import Detections
from edge_yolov9.draw import boxes, class_colour, class_colours
from edge_yolov9.errors import InputError


def found(rows, names=("cell", "Zelle é")):
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, 1:5], table[:, 5], table[:, 0].astype(np.int64), names)


def test_classes_have_colours_of_their_own():
    colours = np.array([class_colour(i) for i in range(24)], float)
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=2) + 1e3 * np.eye(24)
    assert distance.min() > 20
    assert distance[:8, :8].min() > 80


def test_a_box_is_drawn_on_a_copy():
    frame = np.full((200, 300, 3), 90, np.uint8)
    drawn = found([(0, 50, 60, 150, 160, 0.9)]).draw(frame)
    assert (frame == 90).all()
    assert tuple(drawn[160, 100]) == class_colour(0)  # bottom side
    assert tuple(drawn[100, 150]) == class_colour(0)  # right side
    assert (drawn[100, 100] == 90).all()  # inside
    assert (drawn[180:] == 90).all()  # below
    label = drawn[46:59, 50:60].reshape(-1, 3)
    assert (label == class_colour(0)).all(axis=1).mean() > 0.3  # filled background above the box


def test_labels_stay_inside_and_any_name_and_size_works():
    rows = [(0, 0, 0, 30, 30, 0.9), (1, 280, 190, 300, 200, 0.8), (1, -20, -20, 400, 300, 0.7)]
    for shape in ((200, 300, 3), (16, 16, 3), (1, 1, 3), (1080, 1920, 3)):
        drawn = found(rows).draw(np.zeros(shape, np.uint8))
        assert drawn.shape == shape
        assert drawn.any()
    assert not found([]).draw(np.zeros((20, 20, 3), np.uint8)).any()


def test_the_most_confident_is_on_top_and_views_are_fine():
    frame = np.zeros((100, 100, 6), np.uint8)[::-1, :, ::2]
    drawn = found([(0, 20, 40, 80, 80, 0.9), (1, 20, 40, 80, 80, 0.3)]).draw(frame)
    assert tuple(drawn[80, 50]) == class_colour(0)


def test_lines_grow_with_the_frame():
    def coloured(side):
        box = found([(0, 0.2 * side, 0.2 * side, 0.8 * side, 0.8 * side, 1)])
        drawn = box.draw(np.zeros((side, side, 3), np.uint8))
        return int((drawn[side // 2] != 0).any(axis=1).sum())

    assert coloured(4000) > 2 * coloured(300)


@pytest.mark.parametrize("frame", [None, np.zeros((20, 20, 3), np.float32)])
def test_only_bytes_are_drawn_on(frame):
    with pytest.raises(InputError, match="expected a uint8 frame"):
        found([(0, 2, 4, 8, 8, 0.9)]).draw(frame)


def test_detections_draw_their_boxes_with_class_and_confidence():
    frame, objects = np.full((200, 300, 3), 90, np.uint8), found([(0, 50, 60, 150, 160, 0.9), (1, 9, 90, 99, 190, 0.5)])
    drawn = boxes(frame, objects.xyxy, ["cell 0.90", "Zelle é 0.50"], class_colours([0, 1]))
    assert np.array_equal(objects.draw(frame), drawn)
    assert not np.array_equal(boxes(frame, objects.xyxy, ["cell", "Zelle"], class_colours([0, 1])), drawn)
