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
from edge_yolov9.data.reading import is_file, is_folder, read_text, read_yaml
from edge_yolov9.errors import CalibrationError, DataError, SourceError
from edge_yolov9.images import IMAGE_SUFFIXES, image_files, image_size, natural_order
from edge_yolov9.text import brief, shown

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
                f"{brief(self.file)}: no image of {name} has labels; expected e.g. {brief(expected_label(paths[0]))} "
                f"for {brief(paths[0].name)}"
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
            raise DataError(f"{brief(self.file)} has no split {name!r}; it has {has}")
        return entry

    def _coco(self, name: str, entry: dict[Any, Any], missing_ok: bool = False) -> tuple[ImageRecord, ...]:
        if set(entry) != {"images", "annotations"} or not all(isinstance(value, str) for value in entry.values()):
            raise DataError(
                f"{brief(self.file)}: {name} must be {{images: FOLDER, annotations: COCO.json}}, "
                f"found {shown(entry)[:90]}"
            )
        folder, annotations = self.root / entry["images"], self.root / entry["annotations"]
        if not is_folder(folder):
            raise DataError(f"{brief(self.file)}: the folder {brief(folder)} of {name} does not exist")
        found = read_coco(annotations, self.names)
        if not found:
            raise DataError(f"{brief(annotations)} lists no image; {name} would be empty")
        missing = [item.file_name for item in found if not is_file(folder / item.file_name)]
        if missing and not missing_ok:
            raise DataError(
                f"{brief(annotations)} lists {brief(folder / missing[0])}, which is missing "
                f"({len(missing)} of {len(found)} are)"
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
                raise DataError(
                    f"{brief(self.file)}: {name} must name a folder, a text file or a list of these, "
                    f"found {shown(item)[:90]}"
                )
            paths.update(dict.fromkeys(_expand(self.root / item, self.root, f"{brief(self.file)}: {name}", missing_ok)))
        if not paths:
            raise DataError(f"{brief(self.file)}: {name} holds no image ({brief(self.root / str(entries[0]))})")
        return tuple(paths)


def load_data(path: str | Path) -> Dataset:
    """Open a DATA file. Splits are looked at when asked for.

    Raises:
        DataError: unreadable, not a YAML mapping, or without usable class names.
    """
    file = Path(path)
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise DataError(
            f"{brief(file)} must be a YAML mapping with train, val and names, found {type(content).__name__}"
        )
    names = _names(file, content)
    root = content.get("path") or "."
    if not isinstance(root, str):
        raise DataError(f"{brief(file)}: path must be a folder, found {shown(root)[:90]}")
    return Dataset(file, names, file.parent / root, {key: content.get(key) for key in SPLITS})


def image_paths(source: str | Path, split: str = "train") -> tuple[Path, ...]:
    """Images alone, e.g. for calibration: of a split of a DATA file, of a folder (with its subfolders), or of a list.

    In natural order, whatever the file system or the list says.

    Raises:
        CalibrationError: the folder or list holds no image.
        DataError: there is no such thing, or a file is missing.
    """
    path = Path(source)
    if path.suffix.lower() in YAML_SUFFIXES and not is_folder(path):
        return tuple(sorted(load_data(path).image_paths(split), key=natural_order))
    paths = _expand(path, path.parent, "images")
    if not paths:
        raise CalibrationError(
            f"{brief(path)} holds no image; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
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
    if is_folder(path):
        return image_files(path, recursive=True)
    if path.suffix.lower() != ".txt" or not is_file(path):
        raise DataError(f"{context}: {brief(path)} {_why_no_list(path)}")
    images = []
    for number, line in enumerate(read_text(path, "the list").splitlines(), 1):
        if name := line.strip():
            places = (path.parent / name, root / name)
            image = next((place for place in places if is_file(place)), None)
            if image is None and not missing_ok:
                raise DataError(f"{brief(path)}:{number}: the image {brief(name)} does not exist")
            images.append(image or places[1])
    return images


def _why_no_list(path: Path) -> str:
    try:
        exists = path.exists()
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        exists = False
    return "is neither a folder nor a text file that lists images" if exists else "does not exist"


def _names(file: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    names, where = content.get("names"), brief(file)
    if isinstance(names, dict):
        if not all(type(key) is int and 0 <= key < len(names) for key in names):
            raise DataError(f"{where}: names must have the keys 0 to {len(names) - 1}, found {shorten(names)}")
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{where} has no class names; expected names: [first, second, ...]")
    for i, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            raise DataError(f"{where}: class name {i} is {shown(name)}; expected text (put it in quotes)")
    named = tuple(str(name) for name in names)
    if len(set(named)) != len(named):
        raise DataError(f"{where}: class names must differ, found {shorten(named)}")
    if content.get("nc") not in (None, len(named)):
        raise DataError(f"{where}: nc is {shown(content['nc'])}, but there are {len(named)} names")
    return named
