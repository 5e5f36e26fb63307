"""What a person must know of a data set: every kind of finding, and a collector that stays small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from edge_yolov9.errors import DataError
from edge_yolov9.text import brief, printable

KEPT, SHOWN = 12, 3
"""Examples of a kind that are kept for each split, and those of them that a line names."""

Tell = Callable[[str], None]


class Level(str, Enum):
    """What a finding does: nothing, a line and with ``--strict`` an error, or an error."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    level: Level
    remedy: str
    """What happens to it, or what to do."""


def _note(remedy: str) -> Kind:
    return Kind(Level.NOTE, remedy)


def _warning(remedy: str) -> Kind:
    return Kind(Level.WARNING, remedy)


def _error(remedy: str) -> Kind:
    return Kind(Level.ERROR, remedy)


BROKEN, MISSING, DEPTH = "image that does not decode", "image that is missing", "image of few bits in 16"
SIZE, REPEATED = "image of another size than its annotations state", "image that is listed twice"
TWIN, SAME, NEAR = "image of train that is in val too", "image that is there twice", "image of train that val shows too"
MALFORMED, FOREIGN, CORNERS = "malformed label", "label row of another format", "box whose numbers look like corners"
ROTATED = "label row of four corners"
OUTSIDE, EMPTY, SLIVER = "box outside its image", "box without area", "box thinner than a pixel"
COVERING, AREA = "box that covers its image", "area that is none of its box"
DOUBLE, TWO_CLASSES = "box that is there twice", "box of two classes"
UNLABELLED, ORPHAN, SHARED = "image without a label file", "label file without an image", "label file of two images"
CROWD, ABSENT = "crowd region", "class without an object"
MANY, MORE = "image with over 100 objects of a class", "image with over 300 objects"
SWAPPED = "pair of classes that look exchanged"
ALIKE, LISTING = "image that looks like another one of its split", "split that cannot be read"

KINDS: dict[str, Kind] = {
    BROKEN: _warning("it is left out; copy or export it again"),
    MISSING: _warning("it is left out"),
    DEPTH: _error("expected 8 bits, or values up to 65535"),
    SIZE: _error("annotate the images as they are, or export the annotations again"),
    REPEATED: _warning("it counts once"),
    TWIN: _warning("AP on it says nothing of new images; remove it from one of the two"),
    SAME: _warning("it counts as often as it is there"),
    NEAR: _warning("frames of one film? AP on it says little of new images; split by film"),
    MALFORMED: _error("mend the line, or export the labels again"),
    FOREIGN: _error("expected class x y width height, or a polygon; export boxes alone"),
    CORNERS: _error("expected x y of the centre, then width and height, as fractions of the image"),
    ROTATED: _warning("the upright box around them is taken"),
    OUTSIDE: _warning("what lies outside cannot be found; check size and rotation of the annotated images"),
    EMPTY: _warning("it is left out"),
    SLIVER: _warning("hardly any model finds it"),
    COVERING: _note("expected boxes around single objects"),
    AREA: _warning("the area of the box is taken"),
    DOUBLE: _warning("each counts, so one of them is always missed; remove the copy"),
    TWO_CLASSES: _warning("each counts; keep one of the classes"),
    UNLABELLED: _warning("it counts as one without objects; an empty label file would say so"),
    ORPHAN: _warning("nothing reads it; give it the image's name with .txt for the suffix"),
    SHARED: _warning("both images get its boxes; rename one of them"),
    CROWD: _note("COCO's iscrowd: it is neither trained nor scored"),
    ABSENT: _warning("nothing can be learnt or measured of it"),
    MANY: _warning("COCO's AP counts at most 100 detections of a class"),
    MORE: _warning("the detector keeps 300 boxes unless --max-detections says more"),
    ALIKE: _note("frames of one film? they add little"),
    LISTING: _error("mend the DATA file"),
    SWAPPED: _warning("boxes of the one in train have the sizes of the other in val; compare the order of the names"),
}
"""Every kind of finding by its name, most fatal where it is read."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found at one place."""

    kind: str
    """One of :data:`KINDS`."""
    split: str
    file: Path
    """The image; where there is none, the label or annotation file."""
    where: str = ""
    """Label file and line, or annotation; empty where the image itself is meant."""
    detail: str = ""
    """What was found, where the kind does not say it."""
    boxes: tuple[int, ...] = ()
    """Which objects of the image, as it is annotated."""
    remedy: str = ""
    """What to do, where it is known better than for the kind."""

    @property
    def place(self) -> str:
        """Where it is."""
        return self.where or brief(self.file)

    def __str__(self) -> str:
        return f"{self.place} ({self.detail})" if self.detail else self.place


@dataclass
class Group:
    """All findings of one kind in one split."""

    kind: str
    split: str
    level: Level
    count: int = 0
    first: list[Finding] = field(default_factory=list)
    """At most ``KEPT`` of them."""

    @property
    def remedy(self) -> str:
        """What to do."""
        return (self.first[0].remedy if self.first else "") or KINDS[self.kind].remedy

    def __str__(self) -> str:
        details = {one.detail for one in self.first[:SHOWN]}
        same = len(details) == 1
        named = list(dict.fromkeys(one.place if same else str(one) for one in self.first))
        examples = ", ".join(named[:SHOWN]) + (", ..." if self.count > SHOWN else "")
        if same and details != {""}:
            examples += f" ({self.first[0].detail})"
        return printable(f"{self.split}: {self.count} x {self.kind}: {examples}; {self.remedy}")


class Findings:
    """Counts of every kind and split, and the first examples."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}

    def add(self, finding: Finding, times: int = 1) -> None:
        """Count a finding; ``times`` where one place holds several."""
        key = finding.kind, finding.split
        group = self._groups.setdefault(key, Group(*key, KINDS[finding.kind].level))
        group.count += times
        if len(group.first) < KEPT:
            group.first.append(finding)

    def at(self, kind: str, split: str) -> int:
        """How many there are."""
        group = self._groups.get((kind, split))
        return 0 if group is None else group.count

    def level(self, kind: str, split: str, level: Level) -> None:
        """Judge a kind by how often it is there."""
        if group := self._groups.get((kind, split)):
            group.level = level

    def __iter__(self) -> Iterator[Group]:
        """The groups: errors first, then warnings, then notes."""
        order = [Level.ERROR, Level.WARNING, Level.NOTE]
        return iter(sorted(self._groups.values(), key=lambda group: order.index(group.level)))

    def problems(self) -> tuple[Finding, ...]:
        """The kept examples of errors and warnings."""
        return tuple(finding for group in self if group.level is not Level.NOTE for finding in group.first)

    def settle(self, strict: bool, tell: Tell) -> None:
        """Tell the warnings, one line each, and refuse errors; with ``strict`` warnings, too.

        Raises:
            DataError: there is an error; its line, and how many kinds there are beside it.
        """
        errors = [group for group in self if group.level is Level.ERROR]
        warnings = [group for group in self if group.level is Level.WARNING]
        for group in (*errors[1:], *warnings):
            tell(f"{'Error' if group.level is Level.ERROR else 'Warning'}: {group}")
        if errors:
            raise DataError(_more(errors))
        if strict and warnings:
            raise DataError(f"--strict: {_more(warnings)}")


def _more(groups: list[Group]) -> str:
    others = f" (and {len(groups) - 1} other kinds of problem)" if len(groups) > 1 else ""
    return f"{groups[0]}{others}"
