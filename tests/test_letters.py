"""Labels in any script: drawn where a font has the letters, else the class index; figures warn of no glyph."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9 import letters
from edge_yolov9.detections import Detections
from edge_yolov9.letters import FONT_VARIABLE, coverage, drawable, font_for
from edge_yolov9.scoring.curves import confusion_matrix

pytest.importorskip("PIL", reason="Pillow comes with the extra labels")
CJK = "人犬ね"
BARS = CJK + letters.BESIDE


def forget() -> None:
    for cached in (letters.font_with, letters.all_fonts, letters.opened):
        cached.cache_clear()


@pytest.fixture(autouse=True)
def cached() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture
def fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of fonts: it has DejaVu Sans of matplotlib, and a made font whose CJK letters are bars."""
    folder = tmp_path / "fonts"
    folder.mkdir()
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    def bar(width: int) -> object:
        pen = TTGlyphPen(None)
        pen.moveTo((100, 0))
        for point in ((100, 700), (100 + width, 700), (100 + width, 0)):
            pen.lineTo(point)
        pen.closePath()
        return pen.glyph()

    names = [".notdef", *(f"u{ord(char):X}" for char in BARS)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(char): f"u{ord(char):X}" for char in BARS})
    builder.setupGlyf({name: bar(50 * (index + 1)) for index, name in enumerate(names)})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Bars", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(folder / "bars-regular.ttf")
    import matplotlib

    shutil.copy(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", folder)
    monkeypatch.setattr(letters, "font_files", lambda: sorted(folder.iterdir()))
    return folder


def drawn(names: tuple[str, ...]) -> list[np.ndarray]:
    frame = np.zeros((480, 640, 3), np.uint8)
    found = [
        Detections(np.array([[100, 100, 200, 200]], np.float32), np.array([0.5], np.float32), np.array([k]), names)
        for k in range(len(names))
    ]
    return [cv2.cvtColor(each.draw(frame), cv2.COLOR_BGR2GRAY)[80:100, 100:180] > 90 for each in found]


def test_every_script_of_a_font_is_drawn(fonts: Path) -> None:
    for text, name in (("кот", "DejaVuSans.ttf"), ("Straße", "DejaVuSans.ttf"), ("人犬", "bars-regular.ttf")):
        assert font_for(text) == fonts / name
        share = coverage(text, 20)
        assert share is not None
        assert share.max() > 200
        assert 10 < share.shape[0] < 30
    assert drawable("plain")
    assert not drawable("猫")
    assert not drawable("人 кот"), "no font has both"


def test_labels_tell_classes_apart(fonts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = drawn(("人", "犬", "кот", "猫", "狗"))
    assert all((a != b).any() for i, a in enumerate(looks) for b in looks[:i])
    monkeypatch.setattr(letters, "font_files", lambda: [])
    forget()
    texts: list[str] = []
    put = cv2.putText
    monkeypatch.setattr(cv2, "putText", lambda canvas, text, *rest: texts.append(text) or put(canvas, text, *rest))
    drawn(("人", "犬", "ねこ", "dog"))
    assert texts == ["0 0.50", "1 0.50", "2 0.50", "dog 0.50"]


def test_a_font_may_be_named_and_rubbish_is_passed_over(fonts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fonts / "aa-sans-regular.ttf").write_bytes(b"no font")
    monkeypatch.setenv(FONT_VARIABLE, str(fonts / "bars-regular.ttf"))
    assert font_for("人") == fonts / "bars-regular.ttf"
    assert font_for("кот") == fonts / "DejaVuSans.ttf"


def test_letters_that_need_shaping_are_drawn_only_where_they_are_shaped(
    fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "shapes_letters", lambda: False)
    assert not drawable("قطة")
    assert drawable("кот")
    forget()
    monkeypatch.setattr(letters, "shapes_letters", lambda: True)
    assert font_for("قطة") == fonts / "DejaVuSans.ttf"


def test_figures_warn_of_no_glyph_and_tell_classes_apart(fonts: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_font = confusion_matrix(np.eye(4, dtype=np.int64), ["人", "犬", "кот"])
        without = confusion_matrix(np.eye(4, dtype=np.int64), ["猫", "狗", "बिल्ली"])
        assert without == confusion_matrix(np.eye(4, dtype=np.int64), ["0", "1", "2"])
        assert with_font != without
