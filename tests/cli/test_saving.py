import resource
from pathlib import Path

import numpy as np
import pytest

from edge_yolov9.cli.common.saving import Saver
from edge_yolov9.errors import InputError
from edge_yolov9.video.frames import Frame, Iterated
from edge_yolov9.video.source import Source, open_source


def save_on_a_full_disk(folder):
    noise = np.random.default_rng(0).integers(0, 256, (9, 240, 320, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with Saver(folder, Source("a/film.avi", "video", Iterated(iter(())))) as saver:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))  # of each file; Python ignores the signal
            for index, image in enumerate(noise):
                saver.write(Frame(image, "film", index, 0.0), image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_video_that_did_not_fit_on_the_disk_is_an_error(tmp_path):
    with pytest.raises(InputError, match="is the disk full"):
        save_on_a_full_disk(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["10:00", "a ! b", "http:x", "v%03d"])
def test_folders_and_films_of_any_name_are_saved(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{name}.avi").write_bytes(b"a film")
    with Saver(Path(name), Source(f"{name}.avi", "video", Iterated(iter(()), fps=5))) as saver:
        saver.write(Frame(np.zeros((48, 64, 3), np.uint8), "film", 0, 0.0), np.zeros((48, 64, 3), np.uint8))
    assert [file.name for file in (tmp_path / name).glob("[!.]*")] == [f"{name}.mp4"]


@pytest.mark.parametrize(("kind", "claimed"), [("live", 25), ("live", None), ("video", 1.82), ("video", 10)])
@pytest.mark.parametrize("period", [1.0, 0.2, 1 / 60])
def test_a_saved_film_plays_at_true_speed(tmp_path, kind, claimed, period):
    times = [5000.0 + period * k for k in range(20)] + [5000.0 + period * (20 + 7 * k) for k in range(10)]
    with Saver(tmp_path, Source("film.avi", kind, Iterated(iter(()), fps=claimed))) as saver:
        for index, time in enumerate(times):
            image = np.full((48, 64, 3), 8 * index, np.uint8)
            file = saver.write(Frame(image, "film", index, time), image)
    with open_source(file) as source:
        frames = list(source)
    assert [round(float(frame.image.mean()) / 8) for frame in frames] == list(range(30))
    assert [frame.timestamp for frame in frames] == pytest.approx([time - 5000 for time in times], abs=0.002)


def test_frames_of_another_size_are_drawn_into_the_first(tmp_path):
    with Saver(tmp_path, Source("camera", "live", Iterated(iter(()), fps=10))) as saver:
        for index, (height, width) in enumerate([(48, 64), (64, 48), (480, 640)]):
            image = np.full((height, width, 3), 200, np.uint8)
            file = saver.write(Frame(image, "camera", index, index / 10), image)
    with open_source(file) as source:
        first, turned, large = (frame.image for frame in source)
    assert first.shape == turned.shape == large.shape == (48, 64, 3)
    assert abs(int(turned[24, 2, 0]) - 114) < 20
    assert abs(int(turned[24, 32, 0]) - 200) < 20
    assert abs(int(large[24, 2, 0]) - 200) < 20
