"""What every graph promises: shapes, levels, class counts, input sizes, names."""

from __future__ import annotations

import math

import pytest
import torch

from edge_yolov9.errors import InputError
from edge_yolov9.model import RawHeads, build

BOX = 64
SIZES = "tsmce"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("family", "auxiliary_maps"), [("yolov9", 3), ("gelan", None)])
def test_three_levels_fine_to_coarse(family: str, size: str, auxiliary_maps: int | None) -> None:
    with torch.device("meta"):
        model = build(f"{family}-{size}").eval()
        main, auxiliary = model(torch.empty(2, 3, 256, 416))
    shapes = [(2, BOX + 80, 256 // s, 416 // s) for s in (8, 16, 32)]
    assert [tuple(level.shape) for level in main] == shapes
    assert model.name == f"{family}-{size}"
    if auxiliary_maps is None:
        assert auxiliary is None
    else:
        assert auxiliary is not None
        assert [tuple(level.shape) for level in auxiliary] == shapes


@pytest.mark.parametrize("num_classes", [1, 3, 80, 200])
@pytest.mark.parametrize("size", SIZES)
def test_any_number_of_classes(size: str, num_classes: int) -> None:
    with torch.device("meta"):
        main, auxiliary = build(f"yolov9-{size}", num_classes).eval()(torch.empty(1, 3, 64, 64))
    assert auxiliary is not None
    assert {level.shape[1] for level in (*main, *auxiliary)} == {BOX + num_classes}


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 640), (96, 160), (320, 192)])
def test_any_multiple_of_32(height: int, width: int) -> None:
    model = build("yolov9-t", 2).eval()
    with torch.no_grad():
        main, _ = model(torch.rand(1, 3, height, width))
    assert [tuple(level.shape[2:]) for level in main] == [(height // s, width // s) for s in (8, 16, 32)]
    assert all(bool(torch.isfinite(level).all()) for level in main)


def test_images_of_a_batch_do_not_see_each_other() -> None:
    model, images = build("gelan-t", 2).eval(), torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        together, alone = model(images)[0], model(images[1:2])[0]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_every_parameter_learns(size: str) -> None:
    with torch.device("meta"):
        model = build(f"yolov9-{size}", 2).train()
        main, auxiliary = model(torch.empty(2, 3, 64, 64))
        assert auxiliary is not None
        torch.stack([level.square().mean() for level in (*main, *auxiliary)]).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_raw_heads_are_the_maps_apart() -> None:
    model, images = build("gelan-t", 5).eval(), torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        six, (main, _) = RawHeads(model)(images), model(images)
    assert [tensor.shape[1] for tensor in six] == [BOX, 5] * 3
    for level, whole in enumerate(main):
        torch.testing.assert_close(torch.cat(six[2 * level : 2 * level + 2], 1), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("num_classes", [1, 80])
def test_biases_expect_few_objects(num_classes: int) -> None:
    head = build("gelan-t", num_classes).head
    for box, cls, stride in zip(head.box, head.cls, (8, 16, 32), strict=True):
        assert torch.all(box[-1].bias == 1.0)  # type: ignore[index]
        expected = math.log(5 / num_classes / (640 / stride) ** 2)
        torch.testing.assert_close(cls[-1].bias, torch.full((num_classes,), expected))  # type: ignore[index]


@pytest.mark.parametrize("name", ["yolov9", "yolov9-x", "yolo-t", "gelan-", "YOLOv9-T", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"unknown model .* expected one of yolov9-t, .*gelan-e"):
        build(name)


@pytest.mark.parametrize("num_classes", [0, -1])
def test_no_class_is_refused(num_classes: int) -> None:
    with pytest.raises(InputError, match="num_classes must be at least 1"):
        build("yolov9-t", num_classes)
