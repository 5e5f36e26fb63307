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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_yolov9.data.classes import class_names, keypoint_numbers
from edge_yolov9.data.coco import read_coco
from edge_yolov9.data.formats.cvat import cvat_split
from edge_yolov9.data.formats.layouts import data_file, layout
from edge_yolov9.data.formats.voc import voc_split
from edge_yolov9.data.places import expand, expected_label, hint, label_file
from edge_yolov9.data.reading import is_file, is_folder, read_yaml
from edge_yolov9.data.records import ImageRecord, Split
from edge_yolov9.errors import CalibrationError, DataError
from edge_yolov9.images import IMAGE_SUFFIXES, natural_order
from edge_yolov9.text import brief, shown

YAML_SUFFIXES = (".yaml", ".yml")
SPLITS = ("train", "val", "test")
VALIDATION = ("val", "valid", "validation")
"""What programs call the split val."""
TEXTS = ("names", "path", *SPLITS, *VALIDATION)
"""Keys of a DATA file whose numbers are texts."""


@dataclass(frozen=True)
class Dataset:
    """A DATA file."""

    file: Path
    names: tuple[str, ...]
    root: Path
    """What the splits are relative to."""
    splits: Mapping[str, Any]
    """The entries as the file has them."""
    keypoints: int = 0
    """Numbers behind the box in a row of keypoints, as ``kpt_shape`` says; 0 without."""
    loose: bool = False
    """Whether paths of lists begin in a folder that need not be there."""
    _read: dict[tuple[str, bool], Split] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Splits of annotation files, which are read once."""

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
            return self._annotated(name, entry, missing_ok)
        paths = self._listed(name, entry, missing_ok)
        labels = [label_file(path) for path in paths]
        if not any(labels):
            self._listed(name, entry)  # says what is missing, where that is the reason
            raise DataError(
                f"{brief(self.file)}: no image of {name} has labels; expected e.g. {brief(expected_label(paths[0]))} "
                f"for {brief(paths[0].name)}"
            )
        count, keypoints = len(self.names), self.keypoints
        records = (
            ImageRecord(path, i, count, label, keypoints=keypoints)
            for i, (path, label) in enumerate(zip(paths, labels, strict=True), 1)
        )
        return Split(name, self.names, tuple(records))

    def image_paths(self, name: str, missing_ok: bool = False) -> tuple[Path, ...]:
        """The images of ``name`` in a fixed order, labelled or not; ``missing_ok`` as for :meth:`split`.

        Raises:
            DataError: no such split, it is empty, or a file is missing.
        """
        entry = self._entry(name)
        if isinstance(entry, dict):
            return tuple(record.path for record in self._annotated(name, entry, missing_ok).images)
        paths = self._listed(name, entry, missing_ok)
        return paths if any(map(is_file, paths)) else self._listed(name, entry)  # says which are missing

    def _entry(self, name: str) -> Any:
        entry = self.splits.get(name)
        if entry is None or entry in ("", []):
            has = ", ".join(key for key in SPLITS if self.splits.get(key)) or "none"
            raise DataError(f"{brief(self.file)} has no split {name!r}; it has {has}")
        return entry

    def _annotated(self, name: str, entry: dict[Any, Any], missing_ok: bool = False) -> Split:
        key = name, missing_ok
        if key not in self._read:
            self._read[key] = self._read_annotated(name, entry, missing_ok)
        return self._read[key]

    def _read_annotated(self, name: str, entry: dict[Any, Any], missing_ok: bool) -> Split:
        """A split whose annotations are a COCO file, or a folder of Pascal VOC's XML files."""
        fine = {"images", "annotations"} <= set(entry) <= {"images", "annotations", "list"}
        if not fine or not all(isinstance(value, str) for value in entry.values()):
            raise DataError(
                f"{brief(self.file)}: {name} must be {{images: FOLDER, annotations: COCO.json or FOLDER of XML}}, "
                f"found {shown(entry)[:90]}"
            )
        folder, annotations = self.root / entry["images"], self.root / entry["annotations"]
        if not is_folder(folder):
            where = hint(entry["images"], self.root, self.file.parent)
            raise DataError(f"{brief(self.file)}: the folder {brief(folder)} of {name} does not exist{where}")
        if is_folder(annotations):
            listed = self.root / entry["list"] if "list" in entry else None
            return voc_split(name, self.names, folder, annotations, listed, missing_ok)
        if annotations.suffix.lower() == ".xml":
            return cvat_split(name, self.names, folder, annotations, missing_ok)
        found = read_coco(annotations, self.names)
        if not found:
            raise DataError(f"{brief(annotations)} lists no image; {name} would be empty")
        missing = [item.file_name for item in found if not is_file(folder / item.file_name)]
        if missing and not (missing_ok and len(missing) < len(found)):
            raise DataError(
                f"{brief(annotations)} lists {brief(folder / missing[0])}, which is missing "
                f"({len(missing)} of {len(found)} are){hint(missing[0], folder, self.root)}"
            )
        count = len(self.names)
        records = (
            ImageRecord(folder / item.file_name, item.image_id, count, None, item.objects, item.size) for item in found
        )
        return Split(name, self.names, tuple(records))

    def _listed(self, name: str, entry: Any, missing_ok: bool = False) -> tuple[Path, ...]:
        entries = entry if isinstance(entry, list) else [entry]
        paths: dict[Path, None] = {}
        for item in entries:
            if not isinstance(item, str):
                raise DataError(
                    f"{brief(self.file)}: {name} must name a folder, a text file or a list of these, "
                    f"found {shown(item)[:90]}"
                )
            context = f"{brief(self.file)}: {name}"
            paths.update(dict.fromkeys(expand(self._place(item), self.root, context, missing_ok, item, self.loose)))
        if not paths:
            raise DataError(f"{brief(self.file)}: {name} holds no image ({brief(self.root / str(entries[0]))})")
        return tuple(paths)

    def _place(self, item: str) -> Path:
        """Where an entry of a split lies; beside the DATA file where its ``path`` leads nowhere, an error says so."""
        place = self.root / item
        if not is_folder(self.root) and not (is_folder(place) or is_file(place)):
            beside = self.file.parent / item
            written = str(self.root).removeprefix(f"{self.file.parent}/")
            there = is_folder(beside) or is_file(beside)
            tip = "; it is beside the file: leave path out" if there else hint(written, self.file.parent)
            raise DataError(f"{brief(self.file)}: path {brief(self.root)} does not exist{tip}")
        return place


def load_data(path: str | Path) -> Dataset:
    """Open a DATA file, or a folder as programs export it (:mod:`edge_yolov9.data.layouts`). Splits are looked at when
    asked for.

    Raises:
        DataError: unreadable, not a YAML mapping, or without usable class names.
    """
    file = Path(path)
    if is_folder(file):
        inside = data_file(file)
        if inside is None:
            known = layout(file)
            return Dataset(file, known.names, known.root, known.splits, loose=True)
        file = inside
    content = read_yaml(file, TEXTS)
    if not isinstance(content, dict):
        raise DataError(
            f"{brief(file)} must be a YAML mapping with train, val and names, found {type(content).__name__}"
        )
    names = class_names(file, content)
    root = content.get("path") or "."
    if not isinstance(root, str):
        raise DataError(f"{brief(file)}: path must be a folder, found {shown(root)[:90]}")
    entries = {key: content.get(key) for key in SPLITS}
    entries["val"] = next((content[key] for key in VALIDATION if content.get(key)), None)
    return Dataset(file, names, file.parent / root, entries, keypoint_numbers(file, content.get("kpt_shape")))


def image_paths(source: str | Path, split: str = "train", missing_ok: bool = False) -> tuple[Path, ...]:
    """Images alone, e.g. for calibration: of a split of a DATA file, of a folder (with its subfolders), or of a list.

    In natural order, whatever the file system or the list says. With ``missing_ok`` some may be missing.

    Raises:
        CalibrationError: the folder or list holds no image.
        DataError: there is no such thing, or a file is missing.
    """
    path = Path(source)
    if path.suffix.lower() in YAML_SUFFIXES and not is_folder(path):
        return tuple(sorted(load_data(path).image_paths(split, missing_ok), key=natural_order))
    paths = expand(path, path.parent, "images", missing_ok)
    if paths and not any(map(is_file, paths)):
        paths = expand(path, path.parent, "images")  # says which are missing
    if not paths:
        raise CalibrationError(
            f"{brief(path)} holds no image; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )
    return tuple(sorted(paths, key=natural_order))
