"""Accuracy of the artifact against the float model, by one evaluator, and the budget it must hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from edge_yolov9.bundle import Bundle
from edge_yolov9.compiler.reference import session_detector
from edge_yolov9.data import Split
from edge_yolov9.decode import EVALUATION
from edge_yolov9.detector import Detector
from edge_yolov9.errors import InputError
from edge_yolov9.registry import Session
from edge_yolov9.scoring.accuracy import Accuracy, score
from edge_yolov9.scoring.delta import losers


@dataclass(frozen=True, eq=False)
class Gate:
    """The data set, the float figures on it, and how many AP points an artifact may lose against them."""

    model: Session
    """The float model."""
    names: tuple[str, ...]
    input_size: tuple[int, int]
    """(height, width), pixels."""
    file: Path
    split: Split
    max_drop: float
    """AP points, 0 to 100."""

    @cached_property
    def before(self) -> Accuracy:
        """The float model's figures, measured on first use."""
        return self.simulate(self.model)

    def simulate(self, session: Session) -> Accuracy:
        """Figures of float raw maps that no artifact computes."""
        return score(session_detector(session, self.names, self.input_size), self.split, self.names)

    def artifact(self, draft: Bundle, runtime: str | None) -> Accuracy:
        """Figures of an emitted artifact, through its own runtime (see :func:`edge_yolov9.registry.open_session`)."""
        with Detector(draft, runtime=runtime, **asdict(EVALUATION)) as detect:
            return score(detect, self.split, self.names)

    def drop(self, after: Accuracy) -> float:
        """AP points that are lost; negative where the artifact is better."""
        return round(100 * (self.before.ap - after.ap), 3)

    def few(self, count: int) -> Gate:
        """A gate with this budget on at most ``count`` images, evenly spread over those that show an object."""
        if len(self.split) <= count:
            return self
        images = tuple(record for record in self.split.images if not record.iscrowd.all())
        return replace(self, split=replace(self.split, images=images[:: -(-len(images) // count)]))

    def record(self, after: Accuracy) -> dict[str, object]:
        """Figures of both models and the difference, as ``manifest.accuracy`` holds them."""
        measured = {"float": self.before.as_dict(), "artifact": after.as_dict()}
        return {
            "data": self.file.name,
            "split": self.split.name,
            "images": len(self.split),
            **measured,
            "drop_points": self.drop(after),
            "max_drop": self.max_drop,
            "losing_classes": losers(self.before.scores(), after.scores()),
        }


def check_budget(max_drop: float) -> None:
    """Raise InputError when the budget is no number of AP points."""
    if not 0 <= max_drop <= 100:
        raise InputError(f"--max-drop is in AP points, from 0 to 100, got {max_drop}")
