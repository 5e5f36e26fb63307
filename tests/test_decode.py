"""Raw maps to boxes, against a plain formulation of yolov9.md section 3."""

from __future__ import annotations

import numpy as np
import pytest

from edge_yolov9.bundle import TensorSpec
from edge_yolov9.decode import DecodeOptions, Decoder, sqnr_db, suppress
from edge_yolov9.errors import InferenceError

SIZE = (64, 96)
CLASSES = 3
CELLS = [(SIZE[0] // s) * (SIZE[1] // s) for s in (8, 16, 32)]


def raw_maps(seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(0, 3, (c, n)).astype(np.float32) for n in CELLS for c in (64, CLASSES)]


def plain(raw: list[np.ndarray], confidence: float) -> list[tuple[float, ...]]:
    """Every (x1, y1, x2, y2, score, class) over the threshold, cell by cell, in float64."""
    found = []
    for level, stride in enumerate((8, 16, 32)):
        columns = SIZE[1] // stride
        box, logits = raw[2 * level].astype(np.float64), raw[2 * level + 1].astype(np.float64)
        for cell in range(box.shape[1]):
            sides = []
            for side in range(4):
                bins = np.exp(box[16 * side : 16 * side + 16, cell])
                sides.append((bins / bins.sum() * np.arange(16)).sum())
            cx, cy = cell % columns + 0.5, cell // columns + 0.5
            corners = (cx - sides[0], cy - sides[1], cx + sides[2], cy + sides[3])
            for index in range(CLASSES):
                score = 1 / (1 + np.exp(-logits[index, cell]))
                if score > confidence:
                    found.append((*(value * stride for value in corners), score, index))
    return sorted(found, key=lambda row: -row[4])


def test_multi_label_gives_every_class_over_the_threshold() -> None:
    raw = raw_maps()
    boxes, scores, classes = Decoder(SIZE)(raw, DecodeOptions(0.6, 1.0, 1000, multi_label=True))
    expected = plain(raw, 0.6)
    assert len(scores) == len(expected) > 20
    got = np.column_stack((boxes, scores, classes))
    assert np.allclose(got, np.array(expected), atol=1e-3)


def test_single_label_gives_the_best_class_of_each_cell() -> None:
    raw = raw_maps(1)
    boxes, scores, _ = Decoder(SIZE)(raw, DecodeOptions(0.6, 1.0, 1000))
    best: dict[tuple[float, ...], float] = {}
    for row in plain(raw, 0.6):
        best[row[:4]] = max(row[4], best.get(row[:4], 0))
    assert np.allclose(scores, sorted(best.values(), reverse=True), atol=1e-5)
    assert len(boxes) == len(best)


def test_integers_decode_as_their_real_values() -> None:
    random = np.random.default_rng(2)
    specs, integers, reals = [], [], []
    for n in CELLS:
        for channels, scale, zero in ((64, 0.07, -5), (CLASSES, 0.09, 11)):
            values = random.integers(-128, 128, (channels, n)).astype(np.int8)
            specs.append(TensorSpec("x", values.shape, "int8", "NCHW", scale, zero))
            integers.append(values)
            reals.append(((values.astype(np.float32) - zero) * scale).astype(np.float32))
    options = DecodeOptions(0.5, 0.5, 300, multi_label=True)
    for got, expected in zip(Decoder(SIZE, specs)(integers, options), Decoder(SIZE)(reals, options), strict=True):
        assert np.allclose(got, expected, atol=1e-3)


def test_suppression_is_by_class_and_keeps_the_best() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [50, 50, 60, 60]], np.float32)
    scores = np.array([0.6, 0.9, 0.5, 0.7], np.float32)
    classes = np.array([0, 0, 1, 0])
    kept_boxes, kept, kept_classes = suppress(boxes, scores, classes, DecodeOptions(0.1, 0.5))
    assert kept.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert kept_classes.tolist() == [0, 0, 1]
    assert kept_boxes[0].tolist() == [1, 0, 11, 10]
    assert len(suppress(boxes, scores, classes, DecodeOptions(0.1, 0.5, max_detections=1))[1]) == 1


def test_nothing_over_the_threshold_gives_empty_arrays() -> None:
    raw = [np.full_like(array, -20) for array in raw_maps()]
    boxes, scores, classes = Decoder(SIZE)(raw, DecodeOptions())
    assert boxes.shape == (0, 4)
    assert scores.shape == classes.shape == (0,)


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_that_are_not_numbers_are_an_error(multi_label: bool) -> None:
    raw = raw_maps()
    raw[3][1, 5] = np.nan
    with pytest.raises(InferenceError, match="not numbers"):
        Decoder(SIZE)(raw, DecodeOptions(multi_label=multi_label))


@pytest.mark.parametrize("poison", [np.inf, -np.inf])
def test_a_broken_model_gives_finite_boxes_only(poison: float) -> None:
    raw = raw_maps()
    for array in raw:
        array[:, ::2] = poison
    with np.errstate(invalid="ignore"):
        boxes, scores, _ = Decoder(SIZE)(raw, DecodeOptions(0.25))
    assert np.isfinite(boxes).all()
    assert np.isfinite(scores).all()


def test_confidence_zero_and_one() -> None:
    raw = raw_maps()
    assert len(Decoder(SIZE)(raw, DecodeOptions(0.0, 1.0, 10_000))[1]) == sum(CELLS)
    assert len(Decoder(SIZE)(raw, DecodeOptions(1.0))[1]) == 0


def test_signal_to_noise_is_a_number_for_json_but_where_a_power_is_none() -> None:
    assert sqnr_db(1000, 10) == pytest.approx(20)
    assert (sqnr_db(3, 0), sqnr_db(0, 3), sqnr_db(0, 0)) == (200, -200, 200)
    assert np.isnan(sqnr_db(float("nan"), 1))
    assert np.isnan(sqnr_db(1, float("nan")))


def test_integers_of_a_tensor_as_real_numbers() -> None:
    values = np.array([[-128, 0, 127]], np.int8)
    assert TensorSpec("a", (1, 3), "int8", "NHWC", 0.5, -8).real(values).tolist() == [[-60, 4, 67.5]]
    assert TensorSpec("a", (1, 3), "int8", "NHWC", 0.5).real(values).tolist() == [[-64, 0, 63.5]]
    half = TensorSpec("a", (1, 3), "float16", "NHWC").real(values.astype(np.float16))
    assert (half.dtype, half.tolist()) == (np.float32, [[-128, 0, 127]])
