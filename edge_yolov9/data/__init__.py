"""DATA: the YAML that YOLO users have -> images and ground truth. No torch; nothing is read before it is asked for.

    path: bccd                    # beside this file; its folder when left out
    train: images/train           # a folder, a text file that lists images, a list of these,
    val: { images: images/val, annotations: annotations/instances_val.json }      # or COCO
    names: [RBC, WBC, Platelets]  # or {0: RBC, 1: WBC, 2: Platelets}

Labels of ``.../images/a/1.jpg`` are in ``.../labels/a/1.txt``, or in ``1.txt`` beside the image; an image without one
holds no object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.data.labels import Objects, expected_label, label_file, make_objects, read_coco, read_yolo, shorten
from edge_yolov9.errors import CalibrationError, DataError, SourceError
from edge_yolov9.images import IMAGE_SUFFIXES, image_files, image_size, natural_order

YAML_SUFFIXES = (".yaml", ".yml")
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image and what is in it. Size and labels are read on first use and kept."""

    path: Path
    image_id: int
    """COCO's id, or the place in the split from 1."""
    num_classes: int
    labels: Path | None = None
    """YOLO text file; None where there is none."""
    annotated: Objects | None = None
    """Ground truth of a COCO file, which comes with the split."""
    stated_size: tuple[int, int] | None = None
    """(height, width) of a COCO file."""

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels.

        Raises:
            DataError: the image does not decode.
        """
        if self.stated_size is not None:
            return self.stated_size
        try:
            return image_size(self.path)
        except SourceError as error:
            raise DataError(str(error)) from None

    @cached_property
    def objects(self) -> Objects:
        """Ground truth in pixels of the image.

        Raises:
            DataError: the label file is malformed; file and line are named.
        """
        if self.annotated is not None:
            return self.annotated
        if self.labels is None:
            return make_objects([])
        return read_yolo(self.labels, self.size, self.num_classes)

    @property
    def height(self) -> int:
        """Pixels."""
        return self.size[0]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.size[1]

    @property
    def xyxy(self) -> NDArray[np.float32]:
        """(N, 4) corners, pixels of the image."""
        return self.objects.xyxy

    @property
    def class_id(self) -> NDArray[np.int64]:
        """(N,) index into the data set's names."""
        return self.objects.class_id

    @property
    def iscrowd(self) -> NDArray[np.bool_]:
        """(N,) COCO's crowd regions."""
        return self.objects.iscrowd

    @property
    def area(self) -> NDArray[np.float64]:
        """(N,) square pixels."""
        return self.objects.area


@dataclass(frozen=True)
class Split:
    """The images of one split, in a fixed order; never empty."""

    name: str
    names: tuple[str, ...]
    images: tuple[ImageRecord, ...]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """A DATA file."""

    file: Path
    names: tuple[str, ...]
    root: Path
    """What the splits are relative to."""
    splits: Mapping[str, Any]
    """The entries as the file has them."""

    def split(self, name: str, missing_ok: bool = False) -> Split:
        """The images of ``name`` with their ground truth.

        Args:
            name: ``train`` or ``val``.
            missing_ok: keep records of images that are listed but not there, for a caller that checks each file.

        Raises:
            DataError: no such split, it is empty, a file is missing, no label is found, or COCO's categories differ.
        """
        entry = self._entry(name)
        if isinstance(entry, dict):
            return Split(name, self.names, self._coco(name, entry, missing_ok))
        paths = self._listed(name, entry, missing_ok)
        labels = [label_file(path) for path in paths]
        if not any(labels):
            raise DataError(
                f"{self.file}: no image of {name} has labels; expected e.g. {expected_label(paths[0])} for {paths[0]}"
            )
        count = len(self.names)
        records = (
            ImageRecord(path, i, count, label) for i, (path, label) in enumerate(zip(paths, labels, strict=True), 1)
        )
        return Split(name, self.names, tuple(records))

    def image_paths(self, name: str) -> tuple[Path, ...]:
        """The images of ``name`` in a fixed order, whether or not they are labelled.

        Raises:
            DataError: no such split, it is empty, or a file is missing.
        """
        entry = self._entry(name)
        if isinstance(entry, dict):
            return tuple(record.path for record in self._coco(name, entry))
        return self._listed(name, entry)

    def _entry(self, name: str) -> Any:
        entry = self.splits.get(name)
        if entry is None or entry in ("", []):
            has = ", ".join(key for key in SPLITS if self.splits.get(key)) or "none"
            raise DataError(f"{self.file} has no split {name!r}; it has {has}")
        return entry

    def _coco(self, name: str, entry: dict[Any, Any], missing_ok: bool = False) -> tuple[ImageRecord, ...]:
        if set(entry) != {"images", "annotations"} or not all(isinstance(value, str) for value in entry.values()):
            raise DataError(f"{self.file}: {name} must be {{images: FOLDER, annotations: COCO.json}}, found {entry}")
        folder, annotations = self.root / entry["images"], self.root / entry["annotations"]
        if not folder.is_dir():
            raise DataError(f"{self.file}: the folder {folder} of {name} does not exist")
        found = read_coco(annotations, self.names)
        if not found:
            raise DataError(f"{annotations} lists no image; {name} would be empty")
        missing = [item.file_name for item in found if not (folder / item.file_name).is_file()]
        if missing and not missing_ok:
            raise DataError(
                f"{annotations} lists {folder / missing[0]}, which is missing ({len(missing)} of {len(found)} are)"
            )
        count = len(self.names)
        return tuple(
            ImageRecord(folder / item.file_name, item.image_id, count, None, item.objects, item.size) for item in found
        )

    def _listed(self, name: str, entry: Any, missing_ok: bool = False) -> tuple[Path, ...]:
        entries = entry if isinstance(entry, list) else [entry]
        paths: dict[Path, None] = {}
        for item in entries:
            if not isinstance(item, str):
                raise DataError(f"{self.file}: {name} must name a folder, a text file or a list of these, found {item}")
            paths.update(dict.fromkeys(_expand(self.root / item, self.root, f"{self.file}: {name}", missing_ok)))
        if not paths:
            raise DataError(f"{self.file}: {name} holds no image ({self.root / str(entries[0])})")
        return tuple(paths)


def load_data(path: str | Path) -> Dataset:
    """Open a DATA file. Splits are looked at when asked for.

    Raises:
        DataError: unreadable, not a YAML mapping, or without usable class names.
    """
    import yaml

    file = Path(path)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read the data file {file}: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} must be a YAML mapping with train, val and names, found {type(content).__name__}")
    names = _names(file, content)
    root = content.get("path") or "."
    if not isinstance(root, str):
        raise DataError(f"{file}: path must be a folder, found {root!r}")
    return Dataset(file, names, file.parent / root, {key: content.get(key) for key in SPLITS})


def image_paths(source: str | Path, split: str = "train") -> tuple[Path, ...]:
    """Images alone, e.g. for calibration: of a split of a DATA file, of a folder (with its subfolders), or of a list.

    In natural order, whatever the file system or the list says.

    Raises:
        CalibrationError: the folder or list holds no image.
        DataError: there is no such thing, or a file is missing.
    """
    path = Path(source)
    if path.suffix.lower() in YAML_SUFFIXES and not path.is_dir():
        return tuple(sorted(load_data(path).image_paths(split), key=natural_order))
    paths = _expand(path, path.parent, "images")
    if not paths:
        raise CalibrationError(f"{path} holds no image; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return tuple(sorted(paths, key=natural_order))


def check_names(model: tuple[str, ...], data: tuple[str, ...]) -> None:
    """Refuse data whose classes are not the model's, in the model's order.

    Raises:
        DataError: they differ; the first difference is named.
    """
    if model == data:
        return
    first = next(
        (i for i, pair in enumerate(zip(model, data, strict=False)) if pair[0] != pair[1]), min(len(model), len(data))
    )
    raise DataError(
        f"the model's classes {shorten(model)} are not the data's {shorten(data)}: they differ from class {first} on; "
        "use the DATA file that the model was trained with"
    )


def _expand(path: Path, root: Path, context: str, missing_ok: bool = False) -> list[Path]:
    """The images of a folder and its subfolders, or those that a text file lists."""
    if path.is_dir():
        return image_files(path, recursive=True)
    if path.suffix.lower() != ".txt" or not path.is_file():
        kind = "is neither a folder nor a text file that lists images" if path.exists() else "does not exist"
        raise DataError(f"{context}: {path} {kind}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from None
    found = []
    for number, line in enumerate(lines, 1):
        if name := line.strip():
            places = (path.parent / name, root / name)
            image = next((place for place in places if place.is_file()), None)
            if image is None and not missing_ok:
                raise DataError(f"{path}:{number}: the image {name} does not exist")
            found.append(image or places[1])
    return found


def _names(file: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(f"{file}: names must have the keys 0 to {len(names) - 1}, found {shorten(names)}")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{file} has no class names; expected names: [first, second, ...]")
    for i, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise DataError(f"{file}: class name {i} is {name!r}; expected text (put it in quotes)")
    named = tuple(str(name) for name in names)
    if len(set(named)) != len(named):
        raise DataError(f"{file}: class names must differ, found {shorten(named)}")
    if content.get("nc") not in (None, len(named)):
        raise DataError(f"{file}: nc is {content['nc']}, but there are {len(named)} names")
    return named
