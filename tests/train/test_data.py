"""Augmentation, order of the data, and the check before a run."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edge_yolov9.data import load_data
from edge_yolov9.errors import DataError
from edge_yolov9.train.augment import affine, copy_paste, flip, mixup, mosaic, place, shift_colours
from edge_yolov9.train.check import splits, survey
from edge_yolov9.train.dataset import Batch, Loader, Order, Picture, TrainingSet
from edge_yolov9.train.settings import Settings
from tests.train.made import make_data

SIZE = 64


def pictures(folder: Path) -> tuple[Picture, ...]:
    return survey(*splits(load_data(make_data(folder)))).pictures


def batches(
    data: TrainingSet, epoch: int, workers: int = 0, start: int = 0, rank: int = 0, world: int = 1
) -> list[Batch]:
    order = Order(len(data), data.settings, rank, world)
    return list(Loader(data, order, workers, pin=False).epoch(epoch, start))


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x.images, y.images) and torch.equal(x.boxes, y.boxes) and x.indices == y.indices
        for x, y in zip(a, b, strict=True)
    )


def square(side: int, box: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A white box on black."""
    image = np.zeros((side, side, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image, np.array([[1, *box]], np.float32)


def bright(image: np.ndarray) -> tuple[int, int, int, int]:
    """Extent of what is white."""
    y, x = np.nonzero(image[..., 0] > 200)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def test_affine_moves_boxes_with_the_pixels() -> None:
    kept = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        image, boxes = affine(square(128, (50, 40, 90, 70)), SIZE, Settings(scale=0.5), rng)
        for row in boxes:
            kept += 1
            assert np.abs(row[1:] - bright(image)).max() <= 1.5
    assert kept > 20


def test_affine_drops_what_is_hardly_left() -> None:
    """Boxes under 2 px, or with under 10 % of their area in the picture."""
    tiny = (np.zeros((SIZE, SIZE, 3), np.uint8), np.array([[0, 30, 30, 31.5, 50]], np.float32))
    still = Settings(scale=0, translate=0)
    assert len(affine(tiny, SIZE, still, np.random.default_rng(0))[1]) == 0
    for left, kept in ((-18.5, 0), (-17.0, 1)):  # 1.5 and 3 of 20 px remain
        outside = (np.zeros((SIZE, SIZE, 3), np.uint8), np.array([[0, left, 20, left + 20, 60]], np.float32))
        assert len(affine(outside, SIZE, still, np.random.default_rng(0))[1]) == kept


def test_mosaic_places_four_images_around_a_centre() -> None:
    rng = np.random.default_rng(3)
    canvas, boxes = mosaic([square(SIZE, (20, 20, 44, 44))] * 4, SIZE, rng)
    assert canvas.shape == (2 * SIZE, 2 * SIZE, 3)
    assert len(boxes) == 4
    for _, x1, y1, x2, y2 in boxes.astype(int):
        assert (canvas[y1:y2, x1:x2] == 255).all()
    assert (canvas == 114).any()
    assert int((canvas[..., 0] == 255).sum()) == int(((boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2])).sum())


def test_flip_mixup_place_and_colours() -> None:
    image, boxes = square(SIZE, (4, 8, 20, 30))
    mirrored = flip((image, boxes))
    assert tuple(mirrored[1][0, 1:]) == bright(mirrored[0]) == (44, 8, 60, 30)
    black = (np.zeros_like(image), np.zeros((0, 5), np.float32))
    blended, both = mixup((image, boxes), black, 32.0, np.random.default_rng(0))
    assert len(both) == 1
    assert 60 < blended.max() < 200
    placed, moved = place((np.full((32, 64, 3), 255, np.uint8), np.array([[0, 0, 0, 64, 32]], np.float32)), SIZE)
    assert tuple(moved[0, 1:]) == bright(placed) == (0, 16, 64, 48)
    assert (shift_colours(image, Settings(hue=0, saturation=0, value=0), np.random.default_rng(0)) == image).all()
    assert (shift_colours(image + 50, Settings(), np.random.default_rng(0)) != image + 50).any()


def test_copy_paste_adds_mirrored_objects() -> None:
    image, boxes = square(SIZE, (4, 20, 20, 40))
    image[30, 10] = (0, 0, 200)  # a mark, to see that it is mirrored
    outline = (np.array([[4, 20], [20, 20], [20, 40], [4, 40]], np.float32),)
    before, rng = image.copy(), np.random.default_rng(0)
    pasted, more = copy_paste((image, boxes), [outline], 1.0, rng)
    assert (image == before).all()
    assert more.tolist() == [[1, 4, 20, 20, 40], [1, SIZE - 20, 20, SIZE - 4, 40]]
    assert bright(pasted) == (4, 20, SIZE - 4, 40)
    assert tuple(pasted[30, SIZE - 1 - 10]) == (0, 0, 200)
    untouched = (image, boxes)
    assert copy_paste(untouched, [outline], 0.0, rng) is untouched
    state = rng.bit_generator.state
    assert copy_paste(untouched, [()], 1.0, rng) is copy_paste(untouched, [], 1.0, rng) is untouched
    assert rng.bit_generator.state == state  # data without outlines draws no numbers
    middle = square(SIZE, (20, 20, 44, 40))
    around = (np.array([[20, 20], [44, 20], [44, 40], [20, 40]], np.float32),)
    assert len(copy_paste(middle, [around], 1.0, rng)[1]) == 1  # would hide the object itself


def test_outlines_reach_the_samples(tmp_path: Path) -> None:
    data = make_data(tmp_path, train=1)
    label = tmp_path / "labels" / "train" / "000.txt"
    label.write_text("0 0.1 0.2 0.3 0.2 0.2 0.6\n1 0.5 0.9 0.1 0.1\n")
    (picture,) = survey(*splits(load_data(data))).pictures
    assert [len(outline) for outline in picture.outlines] == [1, 0]
    np.testing.assert_allclose(picture.outlines[0][0], [[0.1, 0.2], [0.3, 0.2], [0.2, 0.6]], atol=1e-6)
    counts = {}
    for share in (0.0, 1.0):
        settings = Settings(imgsz=SIZE, scale=0, translate=0, mosaic=0, copy_paste=share, close_mosaic=0)
        counts[share] = len(TrainingSet([picture], settings).sample(0, 0)[1])
    assert counts == {0.0: 2, 1.0: 3}


def test_batches_do_not_depend_on_workers_cache_or_where_the_epoch_starts(tmp_path: Path) -> None:
    settings = Settings(imgsz=SIZE, batch=4, epochs=3, close_mosaic=1, mixup=0.5)
    data = TrainingSet(pictures(tmp_path), settings)
    plain = batches(data, 1)
    assert same(plain, batches(data, 1, workers=2))
    assert same(plain[2:], batches(data, 1, start=2))
    assert not same(plain, batches(data, 0))
    assert data.fill_cache(1 << 30)
    assert same(plain, batches(data, 1))
    assert not data.fill_cache(1 << 10)


def test_processes_share_every_batch(tmp_path: Path) -> None:
    data = TrainingSet(pictures(tmp_path), Settings(imgsz=SIZE, batch=4))
    whole = batches(data, 0)
    shares = [batches(data, 0, rank=rank, world=2) for rank in range(2)]
    for together, *each in zip(whole, *shares, strict=True):
        assert sorted(together.indices) == sorted(i for share in each for i in share.indices)
        assert torch.equal(together.images[0::2], each[0].images)


def test_order_sees_every_image_once_and_fills_up_for_the_last_process() -> None:
    settings = Settings(batch=4)
    keys = [key for batch in Order(10, settings) for key in batch]
    assert sorted(index for _, index in keys) == list(range(10))
    shares = [[index for batch in Order(11, settings, rank, 2) for _, index in batch] for rank in range(2)]
    assert [len(share) for share in shares] == [6, 6]
    assert set(shares[0] + shares[1]) == set(range(11))


def test_last_epochs_are_letterboxed_only(tmp_path: Path) -> None:
    settings = Settings(imgsz=SIZE, epochs=5, close_mosaic=2, hue=0, saturation=0, value=0, flip=0)
    data = TrainingSet(pictures(tmp_path), settings)
    wanted, wanted_boxes = place(data.load(2), SIZE)
    for epoch in (3, 4):
        image, boxes = data.sample(epoch, 2)
        difference = np.abs(image[:, :, ::-1].astype(int) - wanted)
        assert difference.mean() < 1  # the way through HSV rounds
        assert np.array_equal(boxes, wanted_boxes)
    assert np.abs(data.sample(2, 2)[0].astype(int) - image).mean() > 10


def test_check_counts_and_lists_problems(tmp_path: Path) -> None:
    file = make_data(tmp_path)
    train = tmp_path / "images" / "train"
    (train / "002.png").write_bytes(b"no image")
    photo = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8))[1].tobytes()
    (train / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    (train / "005.png").write_bytes((tmp_path / "images" / "val" / "001.png").read_bytes())
    labels = tmp_path / "labels" / "train"
    (labels / "006.txt").write_text("0 0.5 0.5 0 0.2\n1 0.5 0.5 0.5 0.5\n")
    (labels / "007.txt").write_text("1 0.95 0.5 0.4 0.5\n")
    (labels / "008.txt").unlink()
    found = survey(*splits(load_data(file)))
    kinds = {(problem.kind, problem.file.name) for problem in found.problems}
    assert kinds == {
        ("image that does not decode", "002.png"),
        ("image that does not decode", "cut.jpg"),
        ("image of train that is in val too", "005.png"),
        ("box without area", "006.txt".replace("txt", "png")),
        ("box outside its image", "007.png"),
    }
    assert len(found.pictures) == 11
    by_name = {picture.path.name: picture.boxes for picture in found.pictures}
    assert len(by_name["006.png"]) == 1
    assert by_name["007.png"][0, 3] == 128
    assert len(by_name["008.png"]) == 0
    assert "train: 13 images (1 without objects)" in found.summary


def test_check_refuses_data_without_objects(tmp_path: Path) -> None:
    file = make_data(tmp_path)
    for label in (tmp_path / "labels" / "train").iterdir():
        label.write_text("")
    with pytest.raises(DataError, match="no usable object"):
        survey(*splits(load_data(file)))


@pytest.mark.parametrize("form", ["list", "coco"])
def test_missing_images_are_listed_and_left_out(form: str, tmp_path: Path) -> None:
    data = make_data(tmp_path, train=3)
    images, gone = tmp_path / "images" / "train", tmp_path / "images" / "train" / "gone.png"
    if form == "list":
        names = [f"images/train/{name}" for name in ("000.png", "001.png", "gone.png")]
        (tmp_path / "train.txt").write_text("\n".join(names))
        train = "train.txt"
    else:
        box = {"category_id": 1, "bbox": [1, 1, 20, 20]}
        content = {
            "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}],
            "images": [{"id": i, "file_name": name} for i, name in enumerate(("000.png", "001.png", "gone.png"))],
            "annotations": [{"id": i, "image_id": i, **box} for i in range(3)],
        }
        (tmp_path / "train.json").write_text(json.dumps(content))
        train = f"{{images: {images}, annotations: {tmp_path / 'train.json'}}}"
    data.write_text(f"train: {train}\nval: images/val\nnames: [red, green]\n")
    found = survey(*splits(load_data(data)))
    absent = [("class without an object", images / "000.png")] if form == "coco" else []
    assert [(p.kind, p.file) for p in found.problems] == [("image that is missing", gone), *absent]
    assert [picture.path.name for picture in found.pictures] == ["000.png", "001.png"]
    with pytest.raises(DataError, match="gone"):
        load_data(data).split("train")


def test_the_summary_of_ten_thousand_classes_is_not_a_book(tmp_path: Path) -> None:
    names = tuple(f"class {index}" for index in range(10_000))
    data = make_data(tmp_path / "data", names=names)
    summary = survey(*splits(load_data(data))).summary
    assert "and 9900 classes more" in summary
    assert all(len(line) < 2500 for line in summary.splitlines())
