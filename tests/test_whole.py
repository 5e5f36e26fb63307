"""One function decides whether a picture is whole: cut files are refused, what follows a whole one is no matter."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_yolov9.errors import SourceError
from edge_yolov9.images import decoded, read_image
from edge_yolov9.whole import is_whole
from tests.conftest import ROOT

PICTURE = cv2.imread(str(sorted((ROOT / "examples/bccd/images/val").iterdir())[0]))
FORMATS = {
    "baseline": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 90]),
    "restarts": (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 8]),
    "progressive": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "png": (".png", []),
    "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    "lossy webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
    "bmp": (".bmp", []),
    "tiff": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
    "lzw tiff": (".tif", [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
}
FILES = {name: cv2.imencode(suffix, PICTURE, options)[1].tobytes() for name, (suffix, options) in FORMATS.items()}
JPEGS = ("baseline", "restarts", "progressive")
SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)


@pytest.mark.parametrize("name", FILES)
def test_a_cut_picture_is_refused_from_its_structure_alone(name, tmp_path, capfd):
    assert is_whole(FILES[name])
    for share in SHARES:
        assert not is_whole(FILES[name][: int(share * len(FILES[name]))])
    (tmp_path / "half.jpg").write_bytes(FILES[name][: len(FILES[name]) // 2])
    with pytest.raises(SourceError, match=r"half\.jpg does not decode"):
        read_image(tmp_path / "half.jpg")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", JPEGS)
def test_an_end_marker_or_zeros_behind_half_a_picture_do_not_make_it_whole(name):
    last_scan = FILES[name].rfind(b"\xff\xda") if name == "progressive" else len(FILES[name])
    for share in SHARES:
        cut = FILES[name][: int(share * last_scan)]
        for flags in (cv2.IMREAD_COLOR, cv2.IMREAD_REDUCED_GRAYSCALE_8):
            assert decoded(cut + b"\xff\xd9", flags) is None
            assert decoded(cut + bytes(9000), flags) is None


@pytest.mark.parametrize("name", FILES)
def test_what_follows_a_whole_picture_is_no_matter(name):
    whole, noise = decoded(FILES[name]), np.random.default_rng(0).bytes(70_000)
    assert whole is not None
    for tail in (b"\n", bytes(6000), noise, FILES["baseline"][:3000]):
        again = decoded(FILES[name] + tail)
        assert again is not None
        np.testing.assert_array_equal(again, whole)


def test_a_small_picture_inside_does_not_end_the_large_one():
    small = cv2.imencode(".jpg", PICTURE[:40, :40])[1].tobytes()
    inside = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
    data = FILES["baseline"][:2] + inside + FILES["baseline"][2:]
    assert is_whole(data)
    assert not is_whole(data[: len(data) // 2])


@pytest.mark.parametrize("value", [64, 128])
def test_a_whole_picture_in_the_grey_of_missing_data_is_whole(value):
    for size in ((48, 64), (7, 5), (100, 641)):
        data = cv2.imencode(".jpg", np.full((*size, 3), value, np.uint8))[1].tobytes()
        assert decoded(data) is not None
        assert decoded(data, cv2.IMREAD_REDUCED_GRAYSCALE_8) is not None
