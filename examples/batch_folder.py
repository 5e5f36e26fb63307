"""A folder of pictures to one CSV: a row per object.

    python examples/batch_folder.py BUNDLE FOLDER -o objects.csv [--batch 16] [--confidence 0.25]

Pictures are read and detected --batch at a time, as many side by side as the runtime has CPU threads. One that does not
decode is named, and the rest go on; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_yolov9 import one_line_errors

with one_line_errors():  # a package that does not load is one line too
    from edge_yolov9 import Detector, InputError, SourceError, image_files, read_image

COLUMNS = ("picture", "width", "height", "name", "confidence", "x1", "y1", "x2", "y2")


def batches(files: list[Path], size: int, broken: list[Path]) -> Iterator[list[tuple[Path, Any]]]:
    """(file, picture (H, W, 3) BGR), ``size`` at a time; files that do not decode end up in ``broken``."""
    batch = []
    for file in files:
        try:
            batch.append((file, read_image(file)))
        except SourceError as error:
            print(f"Error: {error}", file=sys.stderr)
            broken.append(file)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def main() -> int:
    """Read the command line and write the file; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=16, help="pictures in memory at the same time")
    parser.add_argument("--confidence", type=float, help="least score; the bundle's default when left out")
    options = parser.parse_args()
    if not options.folder.is_dir():
        raise InputError(f"{options.folder} is not a folder")
    if options.batch < 1:
        raise InputError(f"--batch must be at least 1, got {options.batch}")
    files = image_files(options.folder, recursive=True)
    broken: list[Path] = []
    pictures = objects = 0
    start = time.perf_counter()
    with (
        Detector(options.bundle, confidence=options.confidence) as detect,
        options.output.open("w", encoding="utf-8", newline="") as output,
    ):
        table = csv.writer(output)
        table.writerow(COLUMNS)
        for batch in batches(files, options.batch, broken):
            for (file, image), detections in zip(batch, detect.batch([image for _, image in batch]), strict=True):
                place = (file.relative_to(options.folder).as_posix(), image.shape[1], image.shape[0])
                for row in detections.as_dicts():
                    table.writerow((*place, row["name"], row["confidence"], *row["xyxy"]))
                pictures, objects = pictures + 1, objects + len(detections)
    seconds = time.perf_counter() - start
    rate = pictures / seconds
    print(f"{pictures} pictures, {objects} objects, {len(broken)} not readable, {rate:.1f} pictures per second")
    return 1 if broken else 0


if __name__ == "__main__":
    with one_line_errors():
        sys.exit(main())
