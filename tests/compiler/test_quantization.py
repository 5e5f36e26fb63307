"""The INT8 plan: ranges, importance, equalization, bias correction, and what they do to fragile weights."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edge_yolov9.compiler.export import export_onnx
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.prune import prune
from edge_yolov9.compiler.quantization import (
    QuantizationScheme,
    Study,
    correct,
    qdq,
    ranges,
    rawmaps,
    rules,
    stats,
    study,
)
from edge_yolov9.compiler.quantization.plan import FineTuning, with_weights
from edge_yolov9.errors import CompileError
from edge_yolov9.geometry import planes
from edge_yolov9.model import RawHeads, build
from edge_yolov9.variants import GraphOptions
from tests.targets.jobs import calibration_set, float_graph, frames

SCHEMES = [
    QuantizationScheme(symmetric=True, integers=False),
    QuantizationScheme(weight_levels=63),
    QuantizationScheme(everywhere=True, outputs=True),
]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_rule_is_measured_and_the_best_is_taken(scheme: QuantizationScheme) -> None:
    images = calibration_set(4)
    measured = study(float_graph(), images, scheme)
    plan = measured.best()
    assert set(measured.errors) == {"min-max", "percentile 99.99", "mse", "per tensor"}
    assert plan.rule == min(measured.errors, key=measured.errors.__getitem__)
    assert measured.errors[plan.rule] < 0.08
    assert set(plan.ranges) == set(plan.graph.group.values())
    assert plan.float_layers() == ()


def test_an_outlier_channel_that_nobody_reads_does_not_set_the_range() -> None:
    """One channel 10^5 times too large whose readers are nearly deaf to it: float barely moves, INT8 too."""
    images = calibration_set(4)
    scheme = QuantizationScheme(symmetric=True, integers=False)
    graph = rules.read(float_graph(), scheme)
    first, second = graph.convolutions[0], graph.convolutions[1]
    bias, kernel = np.array(graph.constants[first.input[2]]), np.array(graph.constants[second.input[1]])
    bias[3] += 3e5
    kernel[:, 3] *= 1e-6
    fragile = with_weights(graph, {first.input[2]: bias, second.input[1]: kernel})
    errors = study(fragile.model, images, scheme).errors
    assert errors["min-max"] > 3 * min(errors.values())
    assert min(errors.values()) < 0.08


def test_weights_that_read_a_silent_channel_do_not_set_the_rounding_step() -> None:
    images = calibration_set(4)
    graph = rules.read(float_graph(), SCHEMES[1])
    seen = stats.collect_stats(graph, map(planes, images), 4)
    assert correct.limit(graph, seen, SCHEMES[1]) == {}  # as it was trained, nothing is cut
    first, second = graph.convolutions[0], graph.convolutions[1]
    silent, bias = np.array(graph.constants[first.input[1]]), np.array(graph.constants[first.input[2]])
    silent[3], bias[3] = 0, 0
    kernel = np.array(graph.constants[second.input[1]])
    kernel[:, 3] = np.sign(kernel[:, 3]) * 50
    fragile = with_weights(graph, {first.input[1]: silent, first.input[2]: bias, second.input[1]: kernel})
    seen = stats.collect_stats(fragile, map(planes, images), 4)
    (cut,) = correct.limit(fragile, seen, SCHEMES[1]).values()
    read = [channel for channel in range(cut.shape[1]) if channel != 3]
    rounded = qdq.rounded_weights(cut, SCHEMES[1])[:, read]
    np.testing.assert_allclose(rounded, kernel[:, read], atol=float(np.abs(kernel[:, read]).max()) / 50)


def test_a_group_in_float_has_no_pair_and_its_layers_are_named() -> None:
    images = calibration_set(2)
    measured = study(float_graph(), images, SCHEMES[1])
    plan = measured.best()
    conv = plan.graph.convolutions[4]
    kept = measured.keep_float(plan, [plan.graph.group[conv.input[0]]])
    assert conv.input[1].removesuffix(".weight") in kept.float_layers()
    inserted = kept.insert()
    (same,) = [node for node in inserted.graph.node if node.name == conv.name]
    assert list(same.input[:2]) == list(conv.input[:2])
    pairs = sum(node.op_type == "QuantizeLinear" for node in plan.insert().graph.node)
    assert sum(node.op_type == "QuantizeLinear" for node in inserted.graph.node) < pairs


def test_a_convolution_that_writes_a_float_map_has_its_own_weights() -> None:
    images = calibration_set(1)
    graph = rules.read(float_graph(), SCHEMES[2])
    seen = stats.collect_stats(graph, map(planes, images), 1)
    chosen = {group: ranges.Range(-8.0, 8.0, "") for group in graph.group.values()}
    measured = Study(graph.model, graph, SCHEMES[2], images, seen, {"wide": chosen})
    last = next(node for node in graph.convolutions if node.output[0] == "box_p5")
    names = list(last.input[1:])
    moved = {name: value + 1 for name, value in graph.constants.items() if "model." in name}
    learned = measured.plan("wide", fine_tuning=FineTuning(moved, 1))
    kept = measured.keep_float(learned, ["box_p5"])
    assert kept.float_layers() == (names[0].removesuffix(".weight"),)
    for name in names:
        assert (learned.graph.constants[name] == graph.constants[name] + 1).all()
        assert (kept.graph.constants[name] == graph.constants[name]).all()
    (same,) = [node for node in kept.insert().graph.node if node.name == last.name]
    assert same.input[1] == names[0]


def test_what_is_moved_needs_no_second_pair() -> None:
    """OpenVINO fuses one FakeQuantize into a convolution; a second one of the same scale stays a kernel of its own."""
    model = float_graph()
    made = {}
    for moves in (True, False):
        scheme = QuantizationScheme(weight_levels=63, moves=moves)
        graph = rules.read(model, scheme)
        chosen = {group: ranges.Range(-0.25, 6.0, "min-max") for group in graph.group.values()}
        made[moves] = qdq.insert(graph, chosen, scheme).graph.node
    moved = {name for node in made[False] if node.op_type in rules.MOVES for name in node.output}
    assert len(moved) > 40
    assert not [node for node in made[False] if node.op_type == "QuantizeLinear" and node.input[0] in moved]
    sources = {name: node.op_type for node in made[False] for name in node.output}
    for node in made[False]:
        if node.op_type == "Conv":
            assert sources[node.input[1]] == "DequantizeLinear"
            assert node.input[0] in moved or sources[node.input[0]] == "DequantizeLinear"
    assert len(made[True]) > len(made[False])


def test_nothing_is_rounded_between_a_convolution_and_its_relu6(tmp_path: Path) -> None:
    heads = RawHeads(fold(prune(build("yolov9-t", 2, GraphOptions(activation="relu6")).eval()))).eval()
    graph = rules.read(onnx.load(export_onnx(heads, (64, 64), tmp_path / "float.onnx")), SCHEMES[2])
    clips = [node for node in graph.nodes if node.op_type == "Clip"]
    assert len(clips) > 150
    assert not {node.input[0] for node in clips} & set(graph.group)
    assert {node.output[0] for node in clips} <= set(graph.group)


def test_steps_are_float16_numbers_that_never_clip() -> None:
    wanted = np.random.default_rng(0).uniform(1e-6, 0.2, 1000)
    steps = ranges.round_up(wanted)
    assert (steps >= wanted).all()
    np.testing.assert_array_equal(steps, steps.astype(np.float16))
    assert (steps <= wanted * 1.04 + 1e-6).all()


def test_an_offset_that_the_bins_of_a_side_share_does_not_drown_what_rounding_does_to_them() -> None:
    bins = np.random.default_rng(0).normal(0, 2, (1, 64, 5, 5)).astype(np.float32)
    offsets = np.repeat(np.float32([2000, 4000, 6000, 8000]), 16).reshape(1, 64, 1, 1)
    rounded = np.rint((bins + offsets) / 32) * np.float32(32)
    (((plain,),), ((moved,),)) = (rawmaps.relative_bins([[maps]]) for maps in (bins, bins + offsets))
    np.testing.assert_allclose(plain, moved, atol=1e-3)
    assert (plain.max(axis=2) == 0).all()
    assert rawmaps.relative_error([[rounded]], [[bins + offsets]]) < 0.01
    assert rawmaps.relative_error(rawmaps.relative_bins([[rounded]]), rawmaps.relative_bins([[bins + offsets]])) > 0.5


def test_a_model_that_gives_nan_is_not_calibrated() -> None:
    graph = rules.read(float_graph(), SCHEMES[0])
    image = np.full((1, 3, 320, 320), np.nan, np.float32)
    with pytest.raises(CompileError, match="NaN or infinity"):
        stats.collect_stats(graph, [image], 1)


def test_measuring_holds_one_image_at_a_time_and_no_more_places_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "SAMPLES", 3)
    graph = rules.read(float_graph(), SCHEMES[0])
    alive: list[Any] = []

    def stream() -> Iterator[NDArray[np.float32]]:
        for image in frames(5):
            copy = planes(image)
            alive.append(weakref.ref(copy))
            assert sum(reference() is not None for reference in alive) <= 2
            yield copy
            del copy

    collected = stats.collect_stats(graph, stream(), 5)
    assert set(graph.measured) <= set(collected)
    assert collected["images"].magnitude <= 1
    assert {len(tensor.samples) for tensor in collected.values()} == {3}
