"""The files that a DATA, a folder, a list of images or a recipe stands for: no command may write to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge_yolov9.data import YAML_SUFFIXES, Dataset, load_data
from edge_yolov9.data.places import label_file
from edge_yolov9.data.reading import read_text
from edge_yolov9.errors import EdgeYoloError
from edge_yolov9.images import image_files


def files_of(source: str | Path | None) -> Iterator[Path]:
    """The file itself, and the images, labels and annotations that it names, as far as they can be found.

    ``RECIPE=FOLDER`` is the recipe and the images of the folder.
    """
    if source is None:
        return
    path = Path(source)
    name, equals, folder = str(source).partition("=")
    if equals and not path.exists():
        yield from (Path(name), *files_of(folder))
        return
    yield path
    try:
        if path.is_dir():
            yield from image_files(path, recursive=True)
            yield from _of_export(path)
        elif path.suffix.lower() in YAML_SUFFIXES:
            dataset = load_data(path)
            for entry in dataset.splits.values():
                yield from _of_entry(dataset, entry)
        elif path.suffix.lower() == ".txt":
            yield from _of_list(path, path.parent)
    except (EdgeYoloError, OSError, ValueError):  # what it stands for cannot be read: the command itself will say so
        return


def _of_export(folder: Path) -> Iterator[Path]:
    """What a folder that stands for a data set holds beside images; nothing of a folder of images alone."""
    try:
        dataset = load_data(folder)
    except EdgeYoloError:
        return
    yield dataset.file
    for entry in dataset.splits.values():
        yield from _of_entry(dataset, entry)
        if isinstance(entry, dict):
            annotations = dataset.root / entry["annotations"]
            yield from annotations.glob("*.xml") if annotations.is_dir() else ()


def _of_entry(dataset: Dataset, entry: Any) -> Iterator[Path]:
    names = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else [entry]
    for name in names:
        if not isinstance(name, str):
            continue
        path = dataset.root / name
        yield path
        images = image_files(path, recursive=True) if path.is_dir() else []
        if path.suffix.lower() == ".txt" and path.is_file():
            images = list(_of_list(path, dataset.root))
        yield from images
        yield from (label for label in map(label_file, images) if label is not None)


def _of_list(path: Path, root: Path) -> Iterator[Path]:
    for line in read_text(path, "the list").splitlines():
        if name := line.strip():
            yield from (path.parent / name, root / name)
