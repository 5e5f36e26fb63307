"""Data sets and pictures made to cost memory or time, or to fool: one short line, soon. Sizes are small ones here."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_yolov9.data import load_data
from edge_yolov9.data.coco import read_coco
from edge_yolov9.data.labels import read_yolo
from edge_yolov9.errors import DataError, SourceError
from edge_yolov9.headers import claimed_size
from edge_yolov9.images import MOST_PIXELS, image_size, read_image

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGED = "a0: &a0 {k: x}\n" + "".join(f"a{i}: &a{i}\n  <<: [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
NAMES = "names: [RBC, WBC, Platelets]\n"
LONG = "x" * 5000


def limited(memory_gb: float = 3) -> None:
    """In a child: a bomb that goes off ends the child, not the tests."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (int(memory_gb * 2**30),) * 2)


def said(action: Callable[[], Any], error: type[Exception] = DataError) -> str:
    """What an action that is refused says: one line under 300 characters."""
    with pytest.raises(error) as caught:
        action()
    text = str(caught.value)
    assert len(text) < 300, text
    assert text.isprintable()
    return text


COSTLY = [
    f"{BOMB}val: x\nnames: [*a11]\n",
    f"{BOMB}val: x\nnames: *a11\n",
    f"{BOMB}val: x\npath: *a11\n{NAMES}",
    f"{BOMB}val: [*a11]\n{NAMES}",
    f"{BOMB}val: {{images: *a11, annotations: x}}\n{NAMES}",
    f"{BOMB}val: x\nnc: *a11\n{NAMES}",
    f"{MERGED}val: x\n{NAMES}",
    f"val: &a [*a]\n{NAMES}",
    f"val: x\nnames: {'[' * 3000}",
    f"val: x\nnames: [a, 0x{'f' * 6000}]\n",
    f"val: x\nnc: {'9' * 6000}\n{NAMES}",
    f"val: x\nnc: {'1:' * 2000}1\n{NAMES}",
    f"val: x\npath: {LONG}\n{NAMES}",
    f"val: {LONG}\n{NAMES}",
    f"val: [{LONG}, {LONG}]\n{NAMES}",
    f"val: {LONG}.txt\n{NAMES}",
    f"val: list.txt\n{NAMES}",
    f'val: "a\\0b"\n{NAMES}',
    f"val: {{images: {LONG}, annotations: {LONG}}}\n{NAMES}",
    f"val: {{images: ., annotations: {LONG}}}\n{NAMES}",
    f"val: *{LONG}\n{NAMES}",
    f"val: x\nnames: [{LONG}, {LONG}]\n",
    f"val: x\nnames: [[{LONG}]]\n",
    f"val: x\nnames: {{{LONG}: a}}\n",
    "val: x\nnames: {? [a] : b}\n",
]


def test_a_costly_data_file_is_one_short_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{LONG}.jpg\n")
    for index, text in enumerate(COSTLY):
        (tmp_path / f"{index}.yaml").write_text(text)
    program = (
        "import sys, pathlib; from tests.test_costly_input import limited, said\n"
        "from edge_yolov9.data import load_data; limited()\n"
        "for file in pathlib.Path(sys.argv[1]).glob('*.yaml'):\n"
        "    print(file.name, said(lambda: load_data(file).split('val')), flush=True)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)


def test_aliases_that_unfold_to_little_are_read(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("base: &b {0: a, 1: b}\nval: x\nnames:\n  <<: *b\n  2: c\n")
    assert load_data(tmp_path / "data.yaml").names == ("a", "b", "c")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"images":' * 100_000,
        "9" * 10_000,
        "NaN",
        '{"images": [], "annotations": [], "categories": {}}',
    ],
)
def test_a_costly_annotation_file_is_one_short_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "coco.json").write_text(text)
    said(lambda: read_coco(tmp_path / "coco.json", ("a",)))


HUGE = int("9" * 400)


@pytest.mark.parametrize(
    "changes",
    [
        {"bbox": [HUGE, 0, 1, 1]},
        {"bbox": [1e308, 0, 1e308, 1]},
        {"bbox": [float("inf"), 0, 1, 1]},
        {"bbox": [float("nan"), 0, 1, 1]},
        {"bbox": ["x" * 5000] * 4},
        {"bbox": [0] * 5000},
        {"bbox": {"a": LONG}},
        {"area": HUGE},
        {"area": float("inf")},
        {"iscrowd": HUGE},
        {"image_id": LONG},
        {"image_id": HUGE},
        {"image_id": []},
        {"category_id": LONG},
        {"category_id": HUGE},
        {"id": LONG, "bbox": []},
        {"id": HUGE, "bbox": []},
    ],
)
def test_numbers_without_sense_in_annotations(tmp_path: Path, changes: dict[str, Any]) -> None:
    annotation = {"id": 1, "image_id": 1, "category_id": 0, "bbox": [0, 0, 1, 1], **changes}
    file = tmp_path / "coco.json"
    file.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "1.jpg"}],
                "categories": [{"id": 0, "name": "a"}],
                "annotations": [annotation],
            }
        )
    )
    assert "annotation" in said(lambda: read_coco(file, ("a",)))


@pytest.mark.parametrize("image", [{"id": HUGE, "file_name": "a"}, {"id": 1, "file_name": [LONG]}, {"id": LONG}, LONG])
def test_images_without_sense_in_annotations(tmp_path: Path, image: Any) -> None:
    (tmp_path / "coco.json").write_text(
        json.dumps({"images": [image], "categories": [{"id": 0, "name": "a"}], "annotations": []})
    )
    assert "integer id" in said(lambda: read_coco(tmp_path / "coco.json", ("a",)))


def test_sizes_without_sense_are_not_believed_and_outlines_left_out(tmp_path: Path) -> None:
    data = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": HUGE, "height": 5}],
        "categories": [{"id": 0, "name": "a"}],
        "annotations": [{"image_id": 1, "category_id": 0, "bbox": [0, 0, 1, 1], "segmentation": [[HUGE] * 6]}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(data))
    (image,) = read_coco(tmp_path / "coco.json", ("a",))
    assert image.size is None
    assert image.objects.outlines == ()


def test_ten_thousands_of_categories(tmp_path: Path) -> None:
    """Seconds where each is looked for among all; a child, so that a slow one is ended."""
    count = 60_000
    names = [f"name {i}" for i in range(count)]
    categories = [{"id": i, "name": name} for i, name in enumerate(reversed(names))]
    data = {"images": [{"id": 1, "file_name": "1.jpg"}], "categories": categories, "annotations": []}
    (tmp_path / "coco.json").write_text(json.dumps(data))
    program = (
        "import sys, pathlib; from edge_yolov9.data.coco import read_coco\n"
        f"print(len(read_coco(pathlib.Path(sys.argv[1]), tuple(f'name {{i}}' for i in range({count})))))"
    )
    done = [sys.executable, "-c", program, str(tmp_path / "coco.json")]
    assert subprocess.run(done, check=True, timeout=60, capture_output=True, text=True).stdout == "1\n"
    said(lambda: read_coco(tmp_path / "coco.json", (*names, LONG)))


@pytest.mark.parametrize(
    "line",
    [f"{'0' * 5000}9 .5 .5 .1 .1", f"0 {LONG} .5 .1 .1", "0 " * 5002, f"0 {'9' * 5000} .5 .1 .1", "1e400 1 1 1 1"],
)
def test_costly_label_lines(tmp_path: Path, line: str) -> None:
    (tmp_path / "1.txt").write_text(f"{line}\n")
    assert "1.txt:1: " in said(lambda: read_yolo(tmp_path / "1.txt", (10, 10), 1))


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    for name in ("data.yaml", "1.jpg", "1.txt", "coco.json", "list.txt"):
        os.mkfifo(tmp_path / name)
    for file in (tmp_path, Path("/dev/zero"), tmp_path):
        said(lambda file=file: load_data(file / "data.yaml"))  # type: ignore[misc]
    said(lambda: read_yolo(tmp_path / "1.txt", (10, 10), 1))
    said(lambda: read_yolo(Path("/dev/zero"), (10, 10), 1))
    said(lambda: read_coco(tmp_path / "coco.json", ("a",)))
    for path in (tmp_path / "1.jpg", Path("/dev/zero"), Path("\0"), Path(LONG), tmp_path):
        for read in (read_image, image_size):
            assert "cannot read image" in said(lambda read=read, path=path: read(path), SourceError)  # type: ignore[misc]
    for entry in ("list.txt", "1.jpg", "{images: ., annotations: coco.json}"):
        (tmp_path / "real.yaml").write_text(f"val: {entry}\nnames: [a]\n")
        said(lambda: load_data(tmp_path / "real.yaml").split("val"))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int) -> bytes:
    """A whole black PNG of one bit a pixel."""
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height), 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bomb.png").write_bytes(png(30_000, 30_000))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    for read in (read_image, image_size):
        text = said(lambda read=read: read(tmp_path / "bomb.png"), SourceError)  # type: ignore[misc]
        assert f"30000 x 30000 pixels, expected {MOST_PIXELS} in all" in text


def test_the_limit_on_pixels_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.png").write_bytes(png(30, 20))
    for limit, fine in (("600", True), ("599", False), ("", True)):
        monkeypatch.setenv("EDGE_YOLOV9_MAX_PIXELS", limit)
        if fine:
            assert read_image(tmp_path / "1.png").shape == (20, 30, 3)
        else:
            assert "EDGE_YOLOV9_MAX_PIXELS" in said(lambda: read_image(tmp_path / "1.png"), SourceError)
    for wrong in ("many", "-1", "0", "9" * 5000, "1e9"):
        monkeypatch.setenv("EDGE_YOLOV9_MAX_PIXELS", wrong)
        assert "whole number" in said(lambda: read_image(tmp_path / "1.png"), SourceError)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
def test_the_claimed_size_is_the_decoded_one(suffix: str, colour: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    options = [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]] if suffix == ".jpg" else [[]]
    if suffix == ".webp":
        options.append([cv2.IMWRITE_WEBP_QUALITY, 101])  # without loss
    for option in options:
        data = cv2.imencode(suffix, image if colour else image[:, :, 0], option)[1].tobytes()
        assert claimed_size(data) == (37, 53)
        for end in range(0, min(len(data), 60)):  # cut anywhere: no traceback
            claimed_size(data[:end])


def test_sizes_of_unusual_headers() -> None:
    tag = struct.Struct("<HHII")
    entries = [tag.pack(256, 4, 1, 8), tag.pack(257, 3, 1, 9), tag.pack(322, 4, 1, 70_000), tag.pack(323, 4, 1, 70_000)]
    tiff = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries)
    assert claimed_size(tiff) == (70_000, 70_000)  # room is made for a tile
    assert claimed_size(b"BM" + bytes(12) + struct.pack("<Iii", 40, 7, -5)) == (5, 7)
    assert claimed_size(b"BM" + bytes(12) + struct.pack("<IHH", 12, 7, 5)) == (5, 7)
    assert claimed_size(b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\xff\xff\xff\x01\0\0") == (2, 1 << 24)
    assert claimed_size(b"P6 30000 30000 255\n") is None
    assert claimed_size(b"\xff\xd8" + b"\xff" * 100 + b"\xc0\0\x11\x08\0\x05\0\x07") == (5, 7)
    assert claimed_size(b"\xff\xd8" + b"\xff\xfe\0\x02" * 100_000) is None
