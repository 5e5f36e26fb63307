"""Pruning changes nothing, folding next to nothing, and neither touches the model it was given."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edge_yolov9.compiler import fold, prune
from edge_yolov9.model import YOLOv9, build
from edge_yolov9.model.blocks import RepConv
from tests.targets.jobs import demo_model


def lived_in(name: str, num_classes: int = 5) -> YOLOv9:
    """A model whose BatchNorm statistics are not the initial ones."""
    torch.manual_seed(0)
    model = build(name, num_classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, 0, 0.1)
    return model.eval()


@pytest.mark.parametrize("size", "tsmce")
def test_pruned_main_outputs_are_identical(size: str) -> None:
    model, images = lived_in(f"yolov9-{size}"), torch.rand(1, 3, 64, 96)
    pruned = prune(model)
    with torch.no_grad():
        (main, auxiliary), (kept, none) = model(images), pruned(images)
    assert auxiliary is not None
    assert none is None
    assert pruned.name == f"gelan-{size}"
    assert model.name == f"yolov9-{size}"
    assert all(torch.equal(a, b) for a, b in zip(main, kept, strict=True))
    assert sum(p.numel() for p in pruned.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("size", "tsmce")
def test_folded_outputs_agree(size: str) -> None:
    model, images = lived_in(f"gelan-{size}"), torch.rand(1, 3, 64, 96)
    before = copy.deepcopy(model.state_dict())
    folded = fold(model)
    assert not any(isinstance(module, (nn.BatchNorm2d, RepConv)) for module in folded.modules())
    with torch.no_grad():
        for a, b in zip(model(images)[0], folded(images)[0], strict=True):
            assert (a - b).abs().max() <= 1e-3
        in_double = fold(copy.deepcopy(model).double())
        for a, b in zip(model.double()(images.double())[0], in_double(images.double())[0], strict=True):
            assert (a - b).abs().max() <= 1e-9
    assert all(torch.equal(value, before[key]) for key, value in model.float().state_dict().items())


def test_the_trained_model_folds_within_a_thousandth() -> None:
    model, images = demo_model(), torch.rand(2, 3, 320, 320)
    with torch.no_grad():
        for a, b in zip(model(images)[0], fold(prune(model))(images)[0], strict=True):
            assert (a - b).abs().max() <= 1e-3


def test_a_training_graph_folds_whole() -> None:
    model, images = lived_in("yolov9-t"), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, got = model(images), fold(model)(images)
    assert expected[1] is not None
    for a, b in zip(expected[1], got[1], strict=True):
        assert (a - b).abs().max() <= 1e-3
