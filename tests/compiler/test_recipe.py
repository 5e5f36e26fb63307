"""Calibration recipes: how images are chosen, and how they are held to what was chosen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge_yolov9.bundle import read as read_bundle
from edge_yolov9.cli import main
from edge_yolov9.compiler import calibration
from edge_yolov9.compiler.calibration import recipe
from edge_yolov9.compiler.calibration.selection import cover, select
from edge_yolov9.data import load_data
from edge_yolov9.errors import CalibrationError
from tests.conftest import DATA, DEMO

NAMES = ("RBC", "WBC", "Platelets")
PICTURES = DATA.parent / "bccd" / "images" / "train"


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of 16 BCCD images."""
    file = tmp_path_factory.mktemp("recipe") / "bccd.toml"
    result = call("calibration", "select", "--data", DATA, "-n", 16, "-o", file)
    assert result.exit_code == 0, result.output
    assert f"{file}: 16 images; use --calibration {file}={PICTURES}" in result.output
    return file


def test_cover_takes_what_is_rare_first_and_drops_near_duplicates() -> None:
    shows = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 0]], np.float32)
    hashes = np.zeros((5, 64), np.uint8)
    for row in range(5):
        hashes[row, 8 * row : 8 * row + 8] = 1
    hashes[4] = hashes[2]
    hashes[4, 0] = 1
    assert cover(shows, hashes, 9) == [2, 3, 0, 1]  # 4 is 2 again, but for one bit
    assert cover(shows, hashes, 2) == [2, 3]


def test_selection_is_deterministic_and_a_beginning_is_a_smaller_selection() -> None:
    split = load_data(DATA).split("train")
    first, folder = select(split, "bccd", 24, 0)
    again, _ = select(split, "bccd", 12, 0)
    assert folder == PICTURES
    assert first.images[:12] == again.images
    assert select(split, "bccd", 12, 1)[0].images != again.images
    assert len({image.sha256 for image in first.images}) == 24


def test_a_selection_shows_more_than_a_sample() -> None:
    split = load_data(DATA).split("train")
    records = {record.path.name: record for record in split.images}

    def rare(files: list[str]) -> int:
        return sum(bool((records[file].class_id == 2).any()) for file in files)

    chosen = [image.file for image in select(split, "bccd", 32, 0)[0].images]
    samples = [[p.name for p in calibration.choose(DATA, 32, seed, (320, 320), NAMES).paths] for seed in range(5)]
    assert rare(chosen) > max(rare(sample) for sample in samples)


def test_a_recipe_round_trips_and_gives_its_images(made: Path) -> None:
    found = recipe.read(made)
    assert (found.dataset, found.split, found.seed, found.names) == ("bccd", "train", 0, NAMES)
    recipe.write(found, made.with_name("copy.toml"))
    assert made.with_name("copy.toml").read_bytes() == made.read_bytes()
    images = calibration.choose(f"{made}={PICTURES}", 5, 0, (320, 320), NAMES)
    assert [path.name for path in images.paths] == [image.file for image in found.images[:5]]
    described = calibration.describe(images)
    assert (described["images"], described["source"], described["rule"]) == (5, "recipe bccd.toml", found.rule)
    assert len(described["digest"]) == len(described["recipe"]) == 64


def test_images_that_are_missing_changed_or_elsewhere_are_named(made: Path, tmp_path: Path) -> None:
    found = recipe.read(made)
    for image in found.images:
        shutil.copy(PICTURES / image.file, tmp_path)
    second, third = (tmp_path / found.images[i].file for i in (1, 2))
    third.write_bytes(third.read_bytes() + b"\0")
    with pytest.raises(CalibrationError, match=rf"{third.name} is not the one .* it changed"):
        recipe.take(recipe.open_recipe(str(made)), tmp_path, 16, NAMES)
    second.unlink()
    with pytest.raises(CalibrationError, match=f"{second.name} .* is missing"):
        recipe.take(recipe.open_recipe(str(made)), tmp_path, 16, NAMES)
    assert len(recipe.take(recipe.open_recipe(str(made)), tmp_path, 1, NAMES)) == 1
    with pytest.raises(CalibrationError, match="other classes"):
        recipe.take(recipe.open_recipe(str(made)), tmp_path, 1, ("cat", "dog"))
    outside = made.with_name("outside.toml")
    outside.write_text(made.read_text().replace(found.images[0].file, f"../{found.images[0].file}"))
    (tmp_path / "below").mkdir()
    with pytest.raises(CalibrationError, match="is missing"):
        recipe.take(recipe.open_recipe(str(outside)), tmp_path / "below", 1, NAMES)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[", "is not a calibration recipe"),
        ("version = 1", "its content: dataset is missing"),
        ("version = 2", "newer"),
        ('version = "1"', "version must be an integer, got '1'"),
        ("version = " + 9999 * "[", "nested too deep"),
        (
            "version = 1\ndataset = ''\nsplit = ''\nrule = ''\nseed = 0\nnames = []\n"
            "images = [{ id = inf, file = '', sha256 = '' }]",
            r"images\[0\]\.id must be an integer, got inf",
        ),
    ],
)
def test_a_file_that_is_no_recipe(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(CalibrationError, match=says):
        recipe.read(tmp_path / "a.toml")


def test_unknown_recipes_name_the_known() -> None:
    for name in ("imagenet", "../coco", "nothing.toml"):
        with pytest.raises(CalibrationError, match="one of coco"):
            recipe.find(name)


def test_a_copy_of_a_scored_image_does_not_calibrate(tmp_path: Path) -> None:
    scored = sorted((DATA.parent / "bccd" / "images" / "val").iterdir())
    shutil.copy(scored[3], tmp_path / "renamed.jpg")
    images = calibration.choose(tmp_path, 8, 0, (320, 320), NAMES)
    with pytest.raises(CalibrationError, match=r"renamed\.jpg is also in the split"):
        calibration.check(images, frozenset(path.resolve() for path in scored))


def test_the_shipped_recipe_of_coco(shared: Path, tmp_path: Path) -> None:
    found = recipe.read(recipe.find("coco"))
    images = recipe.take(recipe.open_recipe("coco"), shared / "coco" / "train2017", 999, found.names)
    assert len(images) == len(found.images) > 100
    images = calibration.choose(f"coco={shared / 'coco' / 'train2017'}", 8, 0, (64, 64), found.names)
    assert [image.shape for image in images] == [(64, 64, 3)] * 8


def test_the_shipped_recipe_names_80_classes_and_no_image_twice() -> None:
    found = recipe.read(recipe.find("coco"))
    assert (found.dataset, found.split, len(found.names)) == ("coco", "train", 80)
    assert len({image.sha256 for image in found.images}) == len({image.id for image in found.images})
    assert all(image.file == f"{image.id:012}.jpg" for image in found.images)


@pytest.mark.slow
def test_compiling_with_a_recipe(made: Path, tmp_path: Path) -> None:
    common = ("compile", DEMO, "--target", "onnx", "--precision", "int8", "--imgsz", 160)
    result = call(*common, "--calibration", f"{made}={PICTURES}", "-o", tmp_path / "bundle")
    assert result.exit_code == 0, result.output
    described = read_bundle(tmp_path / "bundle").manifest.calibration
    assert described is not None
    assert (described["images"], described["source"]) == (16, "recipe bccd.toml")
    result = call(*common, "--calibration", f"coco={PICTURES}", "-o", tmp_path / "other")
    assert result.exit_code == 1
    assert "other classes" in result.output
    assert not (tmp_path / "other").exists()


def pictures(folder: Path, *names: str) -> Path:
    """Noise with one object each, in ``images`` and ``labels`` below ``folder``."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8)
        cv2.imwrite(str(folder / "new.png"), noise)
        (folder / "new.png").rename(folder / "images" / f"{name}.png")
        (folder / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    return folder / "images"


def test_images_of_several_folders_linked_and_with_any_name_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_class = 'caf\xe9 \U0001f600 "\\'
    name = f"{of_class}\x7f"  # YAML has no DEL
    (tmp_path / "a").mkdir()
    other = pictures(tmp_path / "b", name)
    elsewhere = pictures(tmp_path / "c", "0", "1") / "1.png"
    pictures(tmp_path / "a" / "d")
    Path(tmp_path / "a" / "d" / "images" / "link.png").symlink_to(elsewhere)
    monkeypatch.chdir(tmp_path / "a")
    data = {"train": [str(other), "d/images", "../b/images"], "names": [of_class]}
    Path("data.yaml").write_text(json.dumps(data, ensure_ascii=False))
    result = call("calibration", "select", "--data", "data.yaml", "-o", "new/r.toml")
    assert result.exit_code == 0, result.output
    found = calibration.choose(f"new/r.toml={tmp_path}", 9, 0, (32, 32), (of_class,))
    assert {path.resolve() for path in found.paths} == {other / f"{name}.png", elsewhere}


@pytest.mark.parametrize("output", [".", "/", ""])
def test_a_recipe_needs_a_name(output: str, tmp_path: Path) -> None:
    pictures(tmp_path, "a")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [a]\n")
    result = call("calibration", "select", "--data", tmp_path / "data.yaml", "-o", output)
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "cannot write" in result.output


def test_a_name_that_toml_cannot_hold(tmp_path: Path) -> None:
    pictures(tmp_path, "a\udcff")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [a]\n")
    result = call("calibration", "select", "--data", tmp_path / "data.yaml", "-o", tmp_path / "r.toml")
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "a name is not UTF-8" in result.output
    assert r"a\udcff" in result.output
    assert not (tmp_path / "r.toml").exists()


def test_selecting_from_what_does_not_decode(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "images" / "b.png").write_bytes(b"not a picture")
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [a]\n")
    result = call("calibration", "select", "--data", tmp_path / "data.yaml", "-o", tmp_path / "r.toml", "--strict")
    assert result.exit_code == 1
    assert "b.png" in result.output
    assert not (tmp_path / "r.toml").exists()
