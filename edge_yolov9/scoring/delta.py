"""What quantization did to accuracy, from the figures in a manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edge_yolov9.files import from_json
from edge_yolov9.scoring import accuracy
from edge_yolov9.text import table

SHOWN = ("AP", "AP50", "AP75", "APs", "APm", "APl")
LOSS = 2.0
"""AP points beyond which a class is named."""

Row = tuple[str, float | None, float | None]
"""Name of a figure, its value for the float model and for the artifact: AP in [0, 1], None where there is no object."""


@dataclass(frozen=True)
class Delta:
    """Figures of the float model and of the artifact, on the same images; the fields are keys of the manifest."""

    artifact: accuracy.Scores
    float: accuracy.Scores

    def rows(self) -> Iterator[Row]:
        """The figures over all classes, then the AP of each class."""
        before, after = self.float.by_name(), self.artifact.by_name()
        yield from ((name, before[name], after[name]) for name in SHOWN)
        for float_class, own in zip(self.float.classes, self.artifact.classes, strict=True):
            yield f"AP of {own.name}", float_class.AP, own.AP

    def table(self, precision: str) -> str:
        """Plain text of several lines: float, artifact and the difference in AP points (minus: lost)."""
        lines = [("", "float", precision, "points")]
        for name, before, after in self.rows():
            if before is None or after is None:
                lines.append((name, "-", "-", "-"))
            else:
                lines.append((name, f"{before:.4f}", f"{after:.4f}", f"{100 * (after - before):+.2f}"))
        return table(lines)


def of_manifest(measured: object) -> Delta:
    """The figures of ``manifest.accuracy``.

    Raises:
        ValueError: they are malformed.
    """
    delta = from_json(Delta, measured, "accuracy")
    if [scores.name for scores in delta.float.classes] != [scores.name for scores in delta.artifact.classes]:
        raise ValueError("accuracy: the classes of float and artifact differ")
    return delta


def losers(before: accuracy.Scores, after: accuracy.Scores) -> dict[str, float]:
    """Classes that lose more than ``LOSS`` AP points, the worst first, and how many each loses."""
    pairs = zip(before.classes, after.classes, strict=True)
    lost = {a.name: 100 * (a.AP - (b.AP or 0.0)) for a, b in pairs if a.AP is not None}
    return {name: round(points, 2) for name, points in sorted(lost.items(), key=lambda i: -i[1]) if points > LOSS}
