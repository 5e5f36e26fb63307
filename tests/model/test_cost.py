"""The published table of parameters and GFLOPs, after pruning and folding, at 80 classes and 640 x 640."""

from __future__ import annotations

import pytest
import torch

from edge_yolov9.compiler import fold, prune
from edge_yolov9.model import YOLOv9, build, heads
from edge_yolov9.model.cost import gflops, parameters
from edge_yolov9.variants import VARIANTS


def deployed(size: str) -> YOLOv9:
    with torch.device("meta"):
        return fold(prune(build(f"yolov9-{size}")))


@pytest.mark.parametrize("size", "smce")
def test_the_published_table(size: str) -> None:
    model, published = deployed(size), VARIANTS[size].published
    assert round(parameters(model) / 1e6, 1) == published.params
    assert round(gflops(model), 1) == published.gflops


def test_tiny_has_wider_class_branches_than_its_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published keys of T give its class branches 128 channels; its row counts 80. Everything else agrees."""
    model, published = deployed("t"), VARIANTS["t"].published
    assert (round(parameters(model) / 1e6, 1), round(gflops(model), 1)) == (2.4, 9.8)
    width = heads.branch_widths
    narrow = lambda p3, classes, kind: (width(p3, classes, kind)[0], max(p3, classes))  # noqa: E731
    monkeypatch.setattr(heads, "branch_widths", narrow)
    model = deployed("t")
    assert (round(parameters(model) / 1e6, 1), round(gflops(model), 1)) == (published.params, published.gflops)


def test_operations_follow_the_area() -> None:
    with torch.device("meta"):
        model = build("gelan-t", 3).eval()
    assert gflops(model, (320, 320)) == pytest.approx(gflops(model) / 4)
    assert gflops(model, (320, 640)) == pytest.approx(gflops(model) / 2)


def test_one_convolution_by_hand() -> None:
    layer = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert parameters(layer) == 3 * 8 * 9 + 8
    assert gflops(layer, (64, 32)) * 1e9 == 2 * (3 * 8 * 9) * (32 * 16)  # type: ignore[operator]


def test_counting_leaves_the_model_alone() -> None:
    model = build("yolov9-t", 2).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert gflops(model) > gflops(prune(model))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
