"""One compilation: a precision of a checkpoint for a board. Artifacts are made, compared with float, and scored."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bench import latency
from edge_yolov9.bundle import Bundle, Manifest
from edge_yolov9.bundle.record import CompilationRecord
from edge_yolov9.compiler import calibration, verify
from edge_yolov9.compiler.floatgraph import GraphSession
from edge_yolov9.compiler.gate import Gate
from edge_yolov9.compiler.inputs import PARITY_IMAGES, CompileInputs
from edge_yolov9.compiler.job import EmitJob, Emitted, Pictures, emitter
from edge_yolov9.compiler.quantization import Plan, Study, tune
from edge_yolov9.compiler.stages import Stages
from edge_yolov9.registry import Board
from edge_yolov9.scoring.accuracy import Accuracy

SYNTHETIC_IMAGES = 4
"""Frames of noise on which an artifact is compared with float where the user named no images."""

JUDGED = 100
"""Most images on which the AP of one quantized group is measured."""


@dataclass(frozen=True)
class Compilation:
    """What is the same for every artifact of one precision."""

    inputs: CompileInputs
    board: Board
    precision: str
    """fp32, fp16 or int8."""
    study: Study | None
    """What INT8 plans are made of; None for a float precision."""
    pictures: Pictures
    """Frames on which artifacts are compared with the float model."""
    stages: Stages

    @property
    def target(self) -> str:
        """The target's name."""
        return self.inputs.options.target

    @property
    def runtime(self) -> str | None:
        """The target whose runtime runs the artifacts on this machine; None for its own."""
        return registry.target(self.target).stand_in

    def stage(self, name: str) -> AbstractContextManager[None]:
        """``with compilation.stage("measure AP"):`` prints the stage and its time."""
        return self.stages(name)

    @property
    def report(self) -> Callable[[str], None]:
        """Takes one line of progress."""
        return self.stages.report

    def emit(self, plan: Plan | None) -> Bundle:
        """An artifact in a folder of its own, with an unsealed manifest; ``plan`` is None for a float precision."""
        folder = Path(tempfile.mkdtemp(prefix="artifact-", dir=self.inputs.scratch)) / "bundle"
        folder.mkdir()  # readable for whom the umask lets: a bundle is a copy of it, with its mode
        scratch = Path(tempfile.mkdtemp(prefix="emit-", dir=self.inputs.scratch))
        job = EmitJob(
            heads=self.inputs.heads,
            onnx=self.inputs.onnx,
            input_size=self.inputs.input_size,
            precision=self.precision,
            plan=plan,
            board=self.board,
            pictures=self.pictures,
            folder=folder,
            scratch=scratch,
            stage=self.stage,
            target_options=self.inputs.options.target_options,
        )
        with registry.guarded(registry.target(self.target), "failed to emit its artifact"):
            emitted = emitter(self.target).emit(job)
        shutil.rmtree(scratch)
        return Bundle(folder, self._manifest(plan, emitted))

    def vouch(self, draft: Bundle) -> Bundle:
        """The draft with parity in its manifest.

        Raises:
            ParityError: it does not compute what the checkpoint computes.
        """
        with self.stage("compare with float"):
            session = registry.open_session(draft, self.runtime)
            frames = self.pictures.frames(PARITY_IMAGES, SYNTHETIC_IMAGES)
            try:
                parity = verify.compare(self.inputs.reference, session, draft, frames)
            finally:
                session.close()
        parity["runtime"] = self.runtime or self.target
        parity["on"] = self.pictures.kind
        return Bundle(draft.path, replace(draft.manifest, parity=parity))

    def unscored(self) -> Bundle:
        """The one artifact that is made where nothing is labelled.

        Raises:
            ParityError: it does not compute what the checkpoint computes, or finds other boxes.
        """
        made = self.vouch(self.emit(self.study.best() if self.study else None))
        verify.check_boxes(made.manifest.parity)
        return made

    def _manifest(self, plan: Plan | None, emitted: Emitted) -> Manifest:
        checkpoint, facts = self.inputs.checkpoint, self.inputs.checkpoint.facts
        own = {"edge-yolov9": importlib.metadata.version("edge-yolov9"), "torch": torch.__version__}
        return Manifest(
            variant=f"gelan-{checkpoint.model.variant.size}",
            names=checkpoint.names,
            target=self.target,
            board=self.board.name,
            precision=self.precision,
            input=emitted.input,
            outputs=emitted.outputs,
            model=emitted.model,
            tools={**own, **emitted.tools},
            calibration=calibration.describe(self.inputs.calibration) if plan else None,
            source=self.inputs.source,
            licence={part: str(facts.get(f"{part}_licence", "not stated")) for part in ("weights", "data")},
            extra=emitted.extra,
            compilation=CompilationRecord(plan=self.study.describe(plan) if self.study and plan else None),
        )


@dataclass(frozen=True)
class ScoredCompilation(Compilation):
    """A compilation whose artifacts are scored on labelled images."""

    gate: Gate
    """The float model's figures and the budget."""

    @property
    def fine_tuning(self) -> int:
        """Steps in which weights may be fine-tuned; 0 for none."""
        return self.inputs.options.fine_tuning

    def score(self, draft: Bundle) -> Accuracy:
        """Figures of an artifact through its own runtime."""
        return self.gate.artifact(draft, self.runtime)

    def tune(self, study: Study, plan: Plan) -> Plan:
        """``plan`` with fine-tuned weights."""
        return tune(study, plan, self.fine_tuning)

    def drop_alone(self, study: Study, plan: Plan, group: str) -> float:
        """AP points that are lost when one group of ``plan`` alone is quantized, on a part of the images."""
        return self._few.drop(self._few.simulate(GraphSession(study.alone(plan, group).insert())))

    def latency(self, *drafts: Bundle) -> list[float]:
        """Milliseconds of each artifact on this machine.

        Raises:
            InferenceError: one of them does not run.
        """
        return latency.compare([bundles.seal(draft.path, draft.manifest).path for draft in drafts], self.runtime)

    @cached_property
    def _few(self) -> Gate:
        return self.gate.few(JUDGED)
