"""Figures 6 and 7 of the paper."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from edge_yolov9.cli import main
from edge_yolov9.images import read_image
from edge_yolov9.outputs import RECORD
from edge_yolov9.train.paper_figures import (
    ARCHITECTURES,
    DEPTHS,
    depth_maps,
    explained_variance,
    network,
    network_input,
)
from edge_yolov9.variants import VARIANTS
from tests.conftest import DATA
from tests.test_files import names


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["visualize", *map(str, arguments)])


@pytest.fixture
def image(made: Path) -> Path:
    return made.parent / "images" / "val" / "000.png"


def test_kept_is_one_for_the_image_itself_and_nothing_for_noise() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    assert explained_variance(torch.cat((image, image.square()), 1), image) == pytest.approx(1)
    assert explained_variance(torch.zeros(1, 4, 32, 32), image) == pytest.approx(0, abs=1e-6)
    assert 0 <= explained_variance(torch.rand(1, 4, 32, 32), image) < 0.05


@pytest.mark.parametrize("depth", DEPTHS)
def test_networks_are_as_deep_as_they_say(depth: int) -> None:
    for kind in ARCHITECTURES:
        with torch.device("meta"):
            net = network(kind, VARIANTS["t"], depth)
        count = sum(isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3) for m in net[2:].modules())
        assert abs(count - depth) <= 0.15 * depth, kind


def test_depth_costs_the_plain_network_the_image() -> None:
    given = network_input(read_image(sorted((DATA.parent / "bccd" / "images" / "val").iterdir())[0]), 192)
    maps = depth_maps(given, VARIANTS["t"], seed=0)
    assert all(found[0].shape == (1, 32, 48, 48) for found in maps.values())
    left = {kind: [explained_variance(m, given) for m in found] for kind, found in maps.items()}
    assert all(len(found) == len(DEPTHS) for found in left.values())
    for kind in ("ResNet", "GELAN"):  # chained CSP blocks of random weights keep no more than plain ones
        assert left[kind][-1] > 1.5 * left["PlainNet"][-1], left


def test_both_figures(made: Path, image: Path, tmp_path: Path) -> None:
    result = call(
        image, "--data", made, "--imgsz", 64, "--batch", 6, "--iterations", 3, "--device", "cpu", "-o", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    sizes = {}
    for name in ("figure-6.png", "figure-7.png"):
        drawn = cv2.imread(str(tmp_path / "out" / name))
        assert drawn is not None
        sizes[name] = drawn.shape
        assert np.asarray(drawn).std() > 10
    assert sizes["figure-6.png"][0] > sizes["figure-7.png"][0]
    assert names(tmp_path / "out") == [RECORD, "figure-6.png", "figure-7.png"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("IMAGE",), "--figure 6"),
        (("IMAGE", "--figure", 6, "--model", "resnet"), "unknown model"),
        (("nothing.png", "--figure", 6), "nothing.png"),
        (("IMAGE", "--figure", 6, "--imgsz", 100), "multiple of 32"),
        (("IMAGE", "--data", "nothing.yaml"), "nothing.yaml"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[object, ...], text: str, image: Path, tmp_path: Path) -> None:
    result = call(*(image if a == "IMAGE" else a for a in arguments), "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.output.strip().splitlines()[-1].startswith("Error: ")
    assert text in result.output
    assert "Traceback" not in result.output
