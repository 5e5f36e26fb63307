import resource

import numpy as np
import pytest

from edge_yolov9.cli.common.saving import Saver
from edge_yolov9.errors import InputError
from edge_yolov9.video.source import Frame, Source


def save_on_a_full_disk(folder):
    noise = np.random.default_rng(0).integers(0, 256, (9, 240, 320, 3), np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Saver(folder, Source("a/film.avi", "video", iter(()))) as saver:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))  # of each file; Python ignores the signal
        try:
            for index, image in enumerate(noise):
                saver.write(Frame(image, "film", index, 0.0), image)
            saver._writer.release()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_video_that_did_not_fit_on_the_disk_is_an_error(tmp_path):
    with pytest.raises(InputError, match="is the disk full"):
        save_on_a_full_disk(tmp_path)
    assert list(tmp_path.iterdir()) == []
