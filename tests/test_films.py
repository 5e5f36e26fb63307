"""Films to their true end: damaged, cut off, trimmed, uneven; what MP4 says of its frames."""

from __future__ import annotations

import struct
from itertools import accumulate
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_yolov9.errors import SourceError
from edge_yolov9.video.mp4 import counts_frames, has_index, set_times
from edge_yolov9.video.source import open_source

COUNT = 40


def film(path: Path, fourcc: str = "mp4v", fps: float = 10) -> Path:
    """Frame k is noise with a white column at 8 * k."""
    noise = np.random.default_rng(0).integers(0, 120, (96, 328, 3), np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*fourcc), fps, (328, 96))
    for index in range(COUNT):
        image = np.roll(noise, 3 * index, 0)
        image[:, 8 * index : 8 * index + 8] = 255
        writer.write(image)
    writer.release()
    return path


def place(image: np.ndarray) -> int:
    """Which frame of :func:`film` it is."""
    return int(image[:, :, 1].mean(axis=0)[: 8 * COUNT].reshape(-1, 8).mean(axis=1).argmax())


def spoil(path: Path, start: float = 0.4, end: float = 0.6) -> Path:
    data = bytearray(path.read_bytes())
    a, b = int(start * len(data)), int(end * len(data))
    data[a:b] = bytes(b - a)
    path.write_bytes(data)
    return path


def test_behind_a_hole_frames_have_their_own_index_and_time(tmp_path: Path) -> None:
    with open_source(spoil(film(tmp_path / "f.mp4"))) as source:
        frames = list(source)
        assert source.shortfall is not None
        assert (source.shortfall.read, source.shortfall.total, source.shortfall.certain) == (len(frames), COUNT, True)
        assert str(source.shortfall).startswith(f"{len(frames)} of 40 frames could be read")
    assert len(frames) < COUNT - 5
    assert frames[-1].index == COUNT - 1
    clear = [frame for frame in frames if frame.index < 14 or frame.index > 36]  # between key frames smeared
    assert [place(frame.image) for frame in clear] == [frame.index for frame in clear]
    assert [frame.timestamp for frame in frames] == pytest.approx([frame.index / 10 for frame in frames])


@pytest.mark.parametrize(("name", "fourcc"), [("f.avi", "MJPG"), ("f.avi", "XVID")])
def test_frames_that_a_container_lost_are_counted(tmp_path: Path, name: str, fourcc: str) -> None:
    for damage in (spoil, lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]) and path):
        with open_source(damage(film(tmp_path / name, fourcc))) as source:
            count = len(list(source))
            assert source.shortfall is not None
            assert (source.shortfall.read, source.shortfall.total) == (count, COUNT)
            assert count < COUNT


@pytest.mark.parametrize(("name", "fourcc"), [("f.mp4", "mp4v"), ("f.avi", "MJPG"), ("f.mkv", "XVID")])
def test_a_whole_film_lacks_nothing(tmp_path: Path, name: str, fourcc: str) -> None:
    with open_source(film(tmp_path / name, fourcc)) as source:
        assert [place(frame.image) for frame in source] == list(range(COUNT))
        assert source.shortfall is None


def test_who_stops_early_hears_of_no_shortfall(tmp_path: Path) -> None:
    with open_source(film(tmp_path / "f.mp4")) as source:
        next(source)
    assert source.shortfall is None


def test_a_film_trimmed_by_its_edit_list_is_whole_and_its_number_an_estimate(tmp_path: Path) -> None:
    path = film(tmp_path / "f.mp4")
    assert counts_frames(path)
    data = bytearray(path.read_bytes())
    struct.pack_into(">IIIi", data, data.find(b"elst") + 4, 0, 1, 2000, 20480)
    path.write_bytes(data)
    assert not counts_frames(path)
    with open_source(path) as source:
        assert 0 < len(list(source)) < COUNT
        assert source.shortfall is not None
        assert not source.shortfall.certain
        assert "about 40" in str(source.shortfall)


def test_a_film_without_its_index_is_one_line(tmp_path: Path) -> None:
    path = film(tmp_path / "f.mp4")
    path.write_bytes(path.read_bytes()[:-1200])
    assert not has_index(path)
    with pytest.raises(SourceError, match="its index is missing"):
        open_source(path)
    empty = cv2.VideoWriter(str(tmp_path / "e.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    empty.release()
    with pytest.raises(SourceError, match="gave no frame"):
        list(open_source(tmp_path / "e.avi"))


@pytest.mark.parametrize("fps", [1, 10, 25, 29.97, 60])
def test_times_can_be_given_to_the_frames_of_a_film(tmp_path: Path, fps: float) -> None:
    path = film(tmp_path / "f.mp4", fps=fps)
    times = [7.0, *accumulate(np.random.default_rng(1).choice([0.04, 0.1, 0.5, 3.0], COUNT - 1), initial=7.2)][:COUNT]
    set_times(path, times)
    with open_source(path) as source:
        frames = list(source)
    assert [place(frame.image) for frame in frames] == list(range(COUNT))
    assert [frame.timestamp for frame in frames] == pytest.approx([time - 7.0 for time in times], abs=0.001)
    assert counts_frames(path)


def test_what_no_film_is_gets_no_times(tmp_path: Path) -> None:
    path = film(tmp_path / "f.mp4")
    data = path.read_bytes()
    for other in (data[:-1200], data + bytes(16), b"", b"\0\0\0\1ftyp", data[:40]):
        path.write_bytes(other)
        with pytest.raises(ValueError, match="index"):
            set_times(path, [0, 1])
        assert path.read_bytes() == other
