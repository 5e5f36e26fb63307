"""Fine-tuning of INT8 weights, and the interpreter that gradients flow through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.compiler.export import export_onnx
from edge_yolov9.compiler.floatgraph import raw_maps
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.prune import prune
from edge_yolov9.compiler.quantization import QuantizationScheme, Study, study, tune
from edge_yolov9.compiler.quantization.interpret import OPERATORS, run
from edge_yolov9.compiler.quantization.rawmaps import relative_error
from edge_yolov9.geometry import planes
from edge_yolov9.model import RawHeads, build
from edge_yolov9.variants import GraphOptions
from tests.compiler.test_quantization import SCHEMES
from tests.targets.jobs import calibration_set, float_graph, image_paths

SIZE = 160
STEPS = 40
"""Steps that tell on every processor; after 12, on half as many images, the order of additions decides."""


def studied(scheme: QuantizationScheme, images: int = 8) -> Study:
    return study(float_graph(SIZE), calibration_set(images, SIZE), scheme)


def unseen(measured: Study) -> tuple[list[NDArray[np.float32]], list[list[NDArray[np.float32]]]]:
    """Validation images and the float model's raw maps of them."""
    images = [planes(image) for image in CalibrationSet(image_paths("val")[:8], (SIZE, SIZE))]
    return images, raw_maps(measured.graph.model, images)


@pytest.mark.parametrize("activation", ["silu", "hardswish", "relu6"])
def test_the_interpreter_computes_what_onnx_runtime_computes(activation: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    heads = RawHeads(fold(prune(build("yolov9-t", 2, GraphOptions(activation=activation)).eval()))).eval()
    model = onnx.load(export_onnx(heads, (64, 96), tmp_path / "float.onnx"))
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found = run(model, {"images": image}, OPERATORS)
    (wanted,) = raw_maps(model, [image.numpy()])
    assert relative_error([[item.numpy() for item in found]], [wanted]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES[1:])
def test_the_raw_maps_come_closer(scheme: QuantizationScheme) -> None:
    measured = studied(scheme, 16)
    plan = measured.best()
    tuned = tune(measured, plan, STEPS)
    seen = [planes(image) for image in measured.images]
    for images, wanted, share in ((seen, raw_maps(measured.graph.model, seen), 0.95), (*unseen(measured), 1.0)):
        before, after = (relative_error(raw_maps(item.insert(), images), wanted) for item in (plan, tuned))
        assert after < share * before
    assert (plan.title, tuned.title, measured.describe(tuned).fine_tuning_steps) == (
        plan.rule,
        f"{plan.rule}, fine-tuned",
        STEPS,
    )
    for node in plan.graph.convolutions:
        old, new = (np.abs(item.graph.constants[node.input[1]]).max() for item in (plan, tuned))
        assert new == pytest.approx(old, rel=0.01)


def test_layers_of_a_tuned_plan_that_go_back_to_float_have_their_own_weights() -> None:
    measured = studied(SCHEMES[1])
    plan = measured.best()
    tuned, conv = tune(measured, plan, 2), plan.graph.convolutions[4]
    kept = measured.keep_float(tuned, [plan.graph.group[conv.input[0]]])
    floats = set(kept.float_layers())
    assert conv.input[1].removesuffix(".weight") in floats
    for node in plan.graph.convolutions:
        own = measured.graph if node.input[1].removesuffix(".weight") in floats else tuned.graph
        for name in node.input[1:]:
            np.testing.assert_array_equal(kept.graph.constants[name], own.constants[name])
    images, wanted = unseen(measured)
    assert relative_error(raw_maps(kept.insert(), images), wanted) < 1.2 * measured.errors[plan.rule]
    assert measured.plan(plan.rule).title == plan.rule


def test_fine_tuning_again_learns_the_same() -> None:
    measured = studied(SCHEMES[0])
    once, twice = (tune(measured, measured.best(), 2).graph.constants for _ in range(2))
    for name, value in once.items():
        np.testing.assert_allclose(twice[name], value, rtol=1e-4, atol=1e-6)
