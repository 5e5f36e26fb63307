import resource
from pathlib import Path

import numpy as np
import pytest

from edge_yolov9.cli.common.saving import Saver
from edge_yolov9.errors import InputError
from edge_yolov9.video.frames import Frame, Iterated
from edge_yolov9.video.source import Source


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
    with Saver(Path(name), Source(f"{name}.avi", "video", iter(()), fps=5)) as saver:
        saver.write(Frame(np.zeros((48, 64, 3), np.uint8), "film", 0, 0.0), np.zeros((48, 64, 3), np.uint8))
    assert [file.name for file in (tmp_path / name).iterdir()] == [f"{name}.mp4"]
