"""Our graphs are the published ones: the same keys, the same shapes, the same numbers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_yolov9.errors import CheckpointError
from edge_yolov9.model import YOLOv9, build, load_published, published_tensors
from tests.model.weights import CLASSES, NAMES, RECORDING, filled, outputs

ALL = tuple(f"{family}-{size}" for family in ("yolov9", "gelan") for size in "tsmce")


def recorded_weights(shared: Path, name: str) -> dict[str, Tensor]:
    spec = importlib.util.spec_from_file_location("parity_weights", shared / "parity" / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {key: torch.from_numpy(np.asarray(value)) for key, value in module.state_dict(name).items()}


@pytest.mark.parametrize("name", ALL)
def test_keys_and_shapes_are_the_published_ones(name: str, shared: Path) -> None:
    spec = json.loads((shared / "parity" / f"{name}.keys.json").read_text())
    published = {key: tuple(shape) for key, shape in spec["keys"] if ".dfl" not in key}
    with torch.device("meta"):
        model = build(name)
    assert {key: tuple(tensor.shape) for key, tensor in published_tensors(model).items()} == published
    projections = sum(int(np.prod(shape)) for key, shape in spec["keys"] if ".dfl" in key)
    assert sum(parameter.numel() for parameter in model.parameters()) == spec["parameters"] - projections


@pytest.mark.parametrize("name", ["yolov9-t", "yolov9-s", pytest.param("yolov9-c", marks=pytest.mark.slow)])
def test_raw_maps_agree_with_the_reference(name: str, shared: Path) -> None:
    recording = np.load(shared / "parity" / f"{name}.io.npz")
    model = load_published(build(name), recorded_weights(shared, name)).eval()
    with torch.no_grad():
        main, auxiliary = model(torch.from_numpy(recording["image"]).float() / 255)
    assert auxiliary is not None
    for kind, maps in (("main", main), ("aux", auxiliary)):
        for level, got in enumerate(maps, 3):
            expected = recording[f"{kind}_p{level}"]
            assert got.shape == expected.shape
            # These weights amplify rounding: float64 is 5.6e-3 away from the recording of T, whose maps reach 48.
            # Measured where this was written: T equal to the last bit, S 2.6e-5 and C 8e-4 away.
            assert np.abs(got.numpy() - expected).max() <= 1e-3 + 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize("name", NAMES)
def test_raw_maps_agree_with_our_recording(name: str) -> None:
    recording = np.load(RECORDING)
    got = outputs(name)
    assert len(got) == 6
    for key, value in got.items():
        np.testing.assert_allclose(value, recording[key], rtol=0, atol=2e-5, err_msg=key)


@pytest.mark.parametrize("size", "tm")
def test_published_names_lead_back_to_the_same_tensors(size: str) -> None:
    """Loading our own tensors under their published names into another model copies every one."""
    source = filled(f"yolov9-{size}")
    target = load_published(build(f"yolov9-{size}", CLASSES), published_tensors(source))
    ours, theirs = source.state_dict(), target.state_dict()
    assert len(published_tensors(source)) == len(ours)
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


@pytest.fixture(scope="module")
def small() -> tuple[YOLOv9, dict[str, Tensor]]:
    model = build("gelan-t", 3)
    return model, dict(published_tensors(build("gelan-t", 3)))


def test_half_precision_is_widened_and_the_projection_ignored(small: tuple[YOLOv9, dict[str, Tensor]]) -> None:
    model, state = small
    halves = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    halves["model.22.dfl.conv.weight"] = torch.arange(16.0).view(1, 16, 1, 1)
    assert load_published(model, halves) is model
    key = "model.0.conv.weight"
    assert published_tensors(model)[key].dtype == torch.float32
    assert torch.equal(published_tensors(model)[key], state[key].half().float())


def test_counters_may_be_missing(small: tuple[YOLOv9, dict[str, Tensor]]) -> None:
    model, state = small
    load_published(model, {key: value for key, value in state.items() if "num_batches_tracked" not in key})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("model.0.conv.weight"), "1 tensors missing, among them model.0.conv.weight"),
        (lambda state: state.update({"model.99.x": torch.zeros(1)}), "1 tensors unexpected, among them model.99.x"),
        (
            lambda state: state.update({"model.0.conv.weight": torch.zeros(16, 3, 5, 5)}),
            "1 tensors of another shape, among them model.0.conv.weight",
        ),
    ],
)
def test_what_does_not_fit_is_named(small, change, says) -> None:  # type: ignore[no-untyped-def]
    model, state = small
    state = dict(state)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    change(state)
    with pytest.raises(CheckpointError, match=says):
        load_published(model, state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
